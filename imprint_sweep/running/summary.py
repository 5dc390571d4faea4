"""What a run tells its user: what it is about to do, and what came out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from imprint_sweep.embeddings.cache import EntryHeader, EntryKey, label_sizes
from imprint_sweep.grid.axes import AXES, SEED, Axis
from imprint_sweep.grid.scheme import COMPONENTS, baselines, known_parameters
from imprint_sweep.planning.cost import Estimate
from imprint_sweep.planning.factorize import Codes, combined, factorize
from imprint_sweep.planning.plan import Plan
from imprint_sweep.planning.request import Request
from imprint_sweep.running.work import Work
from imprint_sweep.wording import counted, duration

SHOWN = 20
OUTCOME_FIELDS = (
    "accuracy",
    "n_correct",
    "n_test",
    "f1_macro",
    "gen_seconds",
    "n_proxies",
    "k_chosen",
    "eval_seconds",
)
LABELS_WIDTH = 30


def planned_lines(
    request: Request, work: Work, estimate: Estimate, *, n_shards: int, seconds: float | None
) -> list[str]:
    """``requested 1,442, 2 left out -> 612 distinct -> 204 done, 408 to run in 4 shards``, and what there is to say.

    Args:
        request: what was asked for.
        work: what of it is done and what is to do.
        estimate: what the cells to run take here.
        n_shards: into how many shards that is split.
        seconds: how long it will take; None where nobody knows.
    """
    asked = work.plan[np.arange(work.asked)]
    done, todo, more = int(work.rows.done[: work.asked].sum()), len(work.remaining), len(work.plan) - work.asked
    lines = [
        f"{requested_in_words(work.plan.requested, request.left_out)} -> {work.asked:,} distinct -> "
        f"{done:,} done, {todo:,} to run"
        + (f" in {counted(n_shards, 'shard')}" if todo else "")
        + (f", about {duration(seconds)}" if todo and seconds is not None else "")
    ]
    if more:
        open_ones = int(work.todo[work.asked :].sum())
        lines.append(f"  {counted(more, 'validation cell')} to choose k by, {open_ones:,} of them to run")
    computations = len(np.unique(asked.computation))
    if computations < work.asked:
        lines.append(f"  {counted(computations, 'different computation')}; the others are equal by construction")
    lines += [f"  {axis} has no meaning in any of these cells" for axis in axes_without_meaning(asked, request.axes)]
    lines += [f"  {line}" for line in notes_on_shots(asked, work.sources.headers)]
    lines += [f"  {note}" for note in request.notes]
    if request.excluded:
        lines.append(
            f"  {counted(request.excluded, 'combination')} left out: excluded by a condition of the experiment"
        )
    for reason, count in request.invalid.items():
        lines.append(f"  {counted(count, 'combination')} left out: {reason}")
    outdated = int((work.rows.outdated & work.todo).sum())
    if outdated:
        anew = float(estimate.seconds[work.rows.outdated[work.todo]].sum())
        lines.append(
            f"  {counted(outdated, 'cell')} with results from other embeddings or older versions of method or "
            f"components: kept, and computed anew, {duration(anew)} of one core"
        )
    skipped = int((work.rows.failed & ~work.todo).sum())
    if skipped:
        lines.append(f"  {skipped:,} failed before and are not tried again (sweep.retry_failed=false)")
    return lines


def requested_in_words(rows: int, left_out: int) -> str:
    """How many combinations a sweep asked for.

    Args:
        rows: those that are cells.
        left_out: the others.

    >>> requested_in_words(1436, 4), requested_in_words(3, 0)
    ('requested 1,440, 4 left out', 'requested 3')
    """
    return f"requested {rows + left_out:,}" + (f", {left_out:,} left out" if left_out else "")


def outcome_lines(row: Mapping[str, Any], results: Path) -> list[str]:
    """A good row of the results table in a few lines.

    Args:
        row: its columns.
        results: the table's folder.
    """
    return [
        f"accuracy {row['accuracy']:.4f} ({row['n_correct']:,} of {row['n_test']:,} correct), "
        f"macro F1 {row['f1_macro']:.4f}",
        f"GEN {row['gen_seconds']:.3f} s for {row['n_proxies']:,} proxies, evaluation {row['eval_seconds']:.3f} s",
        *([] if row["k_chosen"] is None else [f"k chosen for each label: {' '.join(map(str, row['k_chosen']))}"]),
        f"cell {row['cell_id']} in {results}",
    ]


def axes_without_meaning(plan: Plan, axes: Iterable[str]) -> list[str]:
    """Those of the swept axes that no cell has a use for: ``agg.m`` where all of them are ``agg=max``."""
    fields = _fields(axis for axis in AXES if axis.depends_on) | _parameters()
    return [axis for axis in axes if axis in fields and _coded(plan, *fields[axis])[1] == [None]]


def notes_on_shots(plan: Plan, headers: Mapping[EntryKey, EntryHeader]) -> list[str]:
    """What n_shot comes to, where that may be a surprise; arguments as for :func:`shots_of_everything`."""
    few = sorted({scheme.n_shot for scheme in plan.schemes if scheme.nothing_to_choose and scheme.n_shot is not None})
    lines = (
        [f"n_shot={','.join(map(str, few))} is too few to choose k by: k = 1 where select.rule is given"] if few else []
    )
    return [*lines, *shots_of_everything(plan, headers)]


def shots_of_everything(plan: Plan, headers: Mapping[EntryKey, EntryHeader]) -> list[str]:
    """A line for each task of which some n_shot takes every training sample, as ``n_shot=null`` does.

    Args:
        plan: the cells.
        headers: of the embeddings; tasks without are passed over.
    """
    shots: dict[tuple[str, int], set[int]] = {}
    codes, values = _coded(plan, "scheme", "n_shot")
    for pair, code in (divmod(both, len(values)) for both in np.unique(plan.pair * len(values) + codes).tolist()):
        model, task, n_shot = plan.models[pair // len(plan.tasks)], plan.tasks[pair % len(plan.tasks)], values[code]
        sizes = None if n_shot is None else label_sizes(model, task, "train", headers.get)
        if sizes and n_shot >= max(sizes):
            shots.setdefault((task.name, max(sizes)), set()).add(n_shot)
    return [
        f"n_shot={','.join(map(str, sorted(of_task)))} takes every training sample of {name}, whose largest class has "
        f"{largest:,}: the same as n_shot=null"
        for (name, largest), of_task in shots.items()
    ]


def accuracy_table(plan: Plan, accuracy: NDArray[np.float64]) -> str:
    """The swept axes against accuracy, best first: the median over seeds. One line where nothing but the seed varies.

    Args:
        plan: the cells.
        accuracy: (n,) float64, NaN for cells without a result.
    """
    known = ~np.isnan(accuracy)
    if not known.any():
        return ""
    columns = _columns(plan)
    if not columns:
        seeds = f", the median of {known.sum():,} seeds" if known.sum() > 1 else ""
        return f"accuracy {np.median(accuracy[known]):.4f}{seeds}"
    frame = pd.DataFrame({name: codes[known] for name, (codes, _) in columns.items()})
    axes = list(frame.columns)
    frame["accuracy"] = accuracy[known]
    grouped = frame.groupby(axes, sort=False)["accuracy"].agg(["median", "size"]).reset_index()
    grouped = grouped.sort_values("median", ascending=False, kind="stable")
    top = grouped.head(SHOWN)
    shown = pd.DataFrame(
        {
            **{name: [_text(columns[name][1][code]) for code in top[name]] for name in axes},
            "accuracy": [f"{value:.4f}" for value in top["median"]],
            "seeds": [str(size) for size in top["size"]],
        }
    )
    more = f"\n... and {len(grouped) - SHOWN:,} more" if len(grouped) > SHOWN else ""
    return f"{shown.to_string(index=False)}{more}{_marked(plan)}"


def _marked(plan: Plan) -> str:
    """A line that names the components of the cells that are baselines, if any are."""
    there = {
        f"{registry.key}={getattr(scheme, field)}" for scheme in plan.schemes for field, registry in COMPONENTS.items()
    }
    found = [baseline for baseline in baselines() if baseline in there]
    return f"\nbaselines, which are no imprinting: {', '.join(found)}" if found else ""


def _columns(plan: Plan) -> dict[str, tuple[Codes, list[Any]]]:
    """Everything but the seed in which the cells differ: the code of each cell's value, and the values."""
    telling = _fields(axis for axis in AXES if not axis.follows and axis.name != SEED)
    found = {name: _coded(plan, *field) for name, field in (telling | _parameters()).items()}
    found = {name: column for name, column in found.items() if _combinations([column[0]]) > 1}
    for name, field in _fields(axis for axis in AXES if axis.follows).items():
        column, others = _coded(plan, *field), [codes for codes, _ in found.values()]
        if _combinations([*others, column[0]]) > _combinations(others):
            found[name] = column
    return found


def _fields(axes: Iterable[Axis]) -> dict[str, tuple[str, str]]:
    """Axis -> the part of a cell that holds it, and the field."""
    return {axis.name: (axis.part, axis.field) for axis in axes}


def _parameters() -> dict[str, tuple[str, str]]:
    """The parameters of components, as :func:`_fields` has the axes that all cells have."""
    return {key: ("scheme", key) for key in known_parameters()}


def _coded(plan: Plan, part: str, field: str) -> tuple[Codes, list[Any]]:
    """(n,) code of each cell's value of one field, and the values."""
    of_a_component = field in known_parameters()
    found = getattr(plan, f"{part}s")
    values = [value.parameter(field) if of_a_component else getattr(value, field) for value in found]
    codes, first = factorize(values)
    return codes[getattr(plan, part)], [values[i] for i in first]


def _combinations(columns: Sequence[Codes]) -> int:
    """How many combinations of codes occur; 1 of no columns."""
    return int(combined(*columns).max()) + 1 if columns else 1


def _text(value: object) -> str:
    """A value of an axis: numbers as they are typed, nothing as a dash, labels by their classes."""
    if value is None:
        return "-"
    if isinstance(value, tuple):
        text = " ".join("+".join(str(number) for _, number in label) for label in value)
        return text if len(text) <= LABELS_WIDTH else f"{text[:LABELS_WIDTH]}... ({len(value)})"
    return f"{value:g}" if isinstance(value, float) else str(value)
