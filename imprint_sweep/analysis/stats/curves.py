"""Points of curves: accuracy over the number of proxies, over shots and over d, from the rows of a results table.

A point is a group of rows that differ in their seed alone, later also in their remap. What there is is shown; what is
missing is named and counted.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from imprint_sweep.analysis.data import names
from imprint_sweep.analysis.data.results import MODEL
from imprint_sweep.analysis.data.selection import ELSEWHERE, Axes, Slice, medians, seeds_of, select
from imprint_sweep.grid.cell import Precision
from imprint_sweep.imprinting.components import GENS

STANDARD_ERRORS = 1.96
"""What the paper draws to either side of a point. Over its 3 to 10 values that covers less than 95 %."""

FM = "fm"
"""The column that names the model, see :func:`with_models`."""

_PAPER_WEIGHTS = "IMAGENET1K_V1"

_ONE_PROXY = {"mean": "kmeans", "least_squares": "k_least_squares"}
"""What goes without k -> what it equals by construction with k = 1."""


@dataclass(frozen=True, eq=False)
class Points:
    """Points of curves.

    Args:
        table: one row per point: the columns that tell points apart, then ``accuracy_median``, ``accuracy_mean`` and
            ``accuracy_std`` (shares, over seeds; ddof 1, NaN for one seed) and ``seeds`` (how many).
        seeds: those that count.
        missing: sentences on what stands on fewer seeds or has none of them.
    """

    table: pd.DataFrame
    seeds: tuple[int, ...]
    missing: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether all points stand on all seeds."""
        return bool((self.table["seeds"] == len(self.seeds)).all())


def with_models(frame: pd.DataFrame) -> pd.DataFrame:
    """A results frame with the column :data:`FM`, one name for what :data:`MODEL` identifies."""
    grouped = frame.groupby(list(MODEL), observed=True, dropna=False, sort=False)
    number = grouped.ngroup().to_numpy()
    models = frame.loc[~pd.Series(number, frame.index).duplicated(), list(MODEL)]
    named = names.models(models)
    column = pd.Categorical.from_codes(number.tolist(), pd.Index(named)).reorder_categories(sorted(named))
    return frame.assign(**{FM: column})


def paper_models(frame: pd.DataFrame) -> dict[str, str]:
    """The models that are the paper's own, with its weights and image size: :data:`FM` -> the paper's name for it.

    Args:
        frame: a results frame, :func:`with_models`.
    """
    models = frame[[FM, *MODEL]].drop_duplicates()
    full = models["precision"] == Precision.FLOAT32
    same = models[(models["weights"] == _PAPER_WEIGHTS) & models["image_size"].isna() & full]
    return dict(zip(same[FM], same["model"], strict=True))


def points(
    frame: pd.DataFrame, axes: Slice, by: Sequence[str], preferred: Sequence[int], given: Sequence[int] | None = None
) -> Points:
    """The points that some rows make, over their seeds.

    ``mean`` counts as ``kmeans`` with k = 1, and ``least_squares`` as ``k_least_squares`` with k = 1: they are equal by
    construction. So do all rows that draw no more samples than the proxies they ask for count as ``all``.

    Args:
        frame: a results frame, :func:`with_models`.
        axes: which rows count; the blocks of several must not overlap.
        by: columns that tell points apart.
        preferred, given: seeds, see :func:`imprint_sweep.analysis.data.selection.seeds_of`.
    """
    rows = pd.concat([_rows_of(frame, block) for block in ([axes] if isinstance(axes, Mapping) else axes)])
    seeds = seeds_of(rows, preferred, given)
    table, sentences = medians(rows, by, seeds)
    others = lacking(rows, table, [FM, "task"])
    if others:
        sentences = (*sentences, f"Left out, as they have no row of these seeds: {names.some(others)}.")
    return Points(table, seeds, tuple(sentences))


def over_remaps(table: pd.DataFrame, by: Sequence[str], value: str) -> pd.DataFrame:
    """Means over the remaps of "d in 1" tasks; what was not merged stays as it is.

    Args:
        table: with ``remap``, null for what was not merged.
        by: columns that tell apart what is averaged.
        value: what is averaged.

    Returns:
        One row per group, sorted: the columns of `by`, ``mean``, ``std`` (over remaps, ddof 1, NaN for one) and
        ``remaps`` (0 for what was not merged).
    """
    groups = table.groupby(list(by), observed=True, dropna=False)
    return groups.agg(mean=(value, "mean"), std=(value, "std"), remaps=("remap", "count")).reset_index()


def shots(table: pd.DataFrame, ks: Sequence[int]) -> pd.DataFrame:
    """The lines of accuracy over n: k = n, which is every sample a proxy, and k-means with each k.

    A class of k samples or fewer has as many proxies as samples: there the line of k goes through k = n.

    Args:
        table: points with ``gen``, ``k`` and ``n_shot``.
        ks: of the lines of k-means.

    Returns:
        The points of all lines, with the column ``line`` (``"k = n"``, ``"k = 1"``, ...).
    """
    kmeans, every = table[table["gen"] == "kmeans"], table[table["gen"] == "all"]
    lines = [every.assign(line="k = n")]
    for k in ks:
        few = (every["n_shot"] <= k).fillna(False)
        lines.append(pd.concat([every[few], kmeans[kmeans["k"] == k]]).assign(line=f"k = {k}"))
    return pd.concat(lines, ignore_index=True)


def every_sample_from(frame: pd.DataFrame, panel: Sequence[str]) -> dict[tuple[Any, ...], int]:
    """From which n on a draw takes every training sample of every class, so that it repeats what is there without it.

    Args:
        frame: a results frame, :func:`with_models`; rows of whole datasets.
        panel: columns that make a panel.

    Returns:
        Panel -> n, where rows tell: those with every sample a proxy say how many were drawn.
    """
    rows = _with_k(frame)
    rows = rows[(rows["gen"] == "all") & rows["n_proxies"].notna()]
    found = {}
    for head, of_panel in rows.groupby(list(panel), observed=True):
        most = of_panel["n_proxies"] == of_panel["n_proxies"].max()
        drawn = sorted(int(n) for n in of_panel.loc[most, "n_shot"].dropna().unique())
        whole = bool(of_panel["n_shot"].isna().any())
        if drawn and (whole or len(drawn) > 1):
            assert isinstance(head, tuple)
            found[head] = drawn[0] + (not whole)
    return found


def above_from(n: Sequence[int], line: Sequence[float], other: Sequence[float]) -> int | None:
    """The n from which on a line lies above another, there and at every larger n; None if it does not at the largest.

    Args:
        n: ascending.
        line, other: accuracies, NaN where there is none; such an n does not count.

    >>> above_from([1, 5, 20, 50], [0.1, 0.6, float("nan"), 0.8], [0.2, 0.5, 0.7, 0.7])
    5
    """
    above = [(at, a > b) for at, a, b in zip(n, line, other, strict=True) if not np.isnan(a - b)]
    found = None
    for at, is_above in reversed(above):
        if not is_above:
            break
        found = at
    return found


def best_k(table: pd.DataFrame, by: Sequence[str], value: str = "mean") -> pd.DataFrame:
    """The rows with the k that has the highest value of its group; the fewest proxies where several have.

    Args:
        table: with ``k``.
        by: columns that make a group.
        value: which value.
    """
    # Equal means of different values can differ in their last bit.
    highest = table[value].round(12)
    order = table.assign(highest=highest).sort_values([*by, "highest", "k"], ascending=[True] * len(by) + [False, True])
    return order.drop(columns="highest").drop_duplicates(list(by), ignore_index=True)


def spread(table: pd.DataFrame, by: Sequence[str], over: str, values: Sequence[Hashable], of: str) -> pd.DataFrame:
    """From a row a point to a row a line.

    Args:
        table: no two rows alike in `by` and `over`.
        by: columns that make a line, in whose order of appearance rows come.
        over: the column whose values become columns.
        values: which of them, in which order.
        of: what the cells hold.

    Returns:
        The columns of `by`, and ``<over>=<value>`` (float64, NaN where there is no point).
    """
    line = table.groupby(list(by), observed=True, dropna=False, sort=False).ngroup().to_numpy()
    column = pd.Index(list(values)).get_indexer(pd.Index(table[over]))
    heads = table.loc[~pd.Series(line, table.index).duplicated(), list(by)].reset_index(drop=True)
    cells = np.full((len(heads), len(values)), np.nan)
    shown = column >= 0
    cells[line[shown], column[shown]] = table[of].to_numpy(np.float64)[shown]
    return heads.join(pd.DataFrame(cells, columns=[f"{over}={value}" for value in values]))


def mostly_run(table: pd.DataFrame, panel: Sequence[str]) -> pd.DataFrame:
    """The points of the panels that an experiment was run on.

    A panel that lacks a third or more of the points of the fullest has them from another experiment: the joined digits
    of section 5.3 have k-means with five of the k of Fig. 6.

    Args:
        table: points.
        panel: columns that make a panel.
    """
    size = table.groupby(list(panel), observed=True, dropna=False)[panel[0]].transform("size")
    run: pd.DataFrame = table[size > (1 - ELSEWHERE) * size.max()]
    return run


def gaps(
    table: pd.DataFrame,
    panel: Sequence[str],
    expected: pd.DataFrame,
    over: str,
    below: Mapping[tuple[Any, ...], int] | None = None,
) -> tuple[str, ...]:
    """What curves lack, in a sentence that counts and names it; no sentence if nothing.

    Args:
        table: the points that there are.
        panel: its columns that make a panel, :data:`FM` first.
        expected: the points that every panel should have: further columns, and `over`.
        over: the column of the x axis.
        below: panel -> what `over` is below in the points that it should have.
    """
    panels = table[list(panel)].drop_duplicates()
    wanted = panels.merge(expected, how="cross")
    if below:
        ends = [below.get(head, math.inf) for head in _tuples(wanted[list(panel)])]
        wanted = wanted[wanted[over].to_numpy() < np.array(ends)]
    there = set(_tuples(table[list(wanted.columns)]))
    absent = wanted[[row not in there for row in _tuples(wanted)]]
    if absent.empty:
        return ()
    line = [name for name in wanted.columns if name != over]
    whole = Counter(_tuples(wanted[line]))
    lines: dict[tuple[Any, ...], list[str]] = {}
    for head, (at,) in zip(_tuples(absent[line]), _tuples(absent[[over]]), strict=True):
        lines.setdefault(head, []).append(str(at))
    found = [
        _described(line, head)
        + (" (all)" if len(at) == whole[head] else f" ({_SHORT.get(over, over)} = {', '.join(at)})")
        for head, at in lines.items()
    ]
    return (f"Missing are {len(absent):,} of {len(wanted):,} points: {names.some(found)}.",)


def lacking(frame: pd.DataFrame, table: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    """The names of what rows have and points do not.

    Args:
        frame: rows.
        table: points.
        columns: of both; what is compared, :data:`FM` first.
    """
    there = set(_tuples(table[list(columns)]))
    universe = frame[list(columns)].drop_duplicates()
    return sorted(_described(columns, row) for row in _tuples(universe) if row not in there)


_SHORT = {"n_shot": "n", "merge": "d"}


def _described(columns: Sequence[str], values: Sequence[Any]) -> str:
    """A panel or a line for a sentence, for example ``resnet18 on mnist, k-means``."""
    words: list[str] = []
    for column, value in zip(columns, values, strict=True):
        if column == "task":
            words[-1] += f" on {value}"
        elif column == "gen":
            words.append(names.gen(value))
        elif column in (FM, "line"):
            words.append(value)
        elif value is not None:
            words.append(f"{_SHORT.get(column, column)} = {value}")
    return ", ".join(words)


def _rows_of(frame: pd.DataFrame, axes: Axes) -> pd.DataFrame:
    """The rows of one block, those that go by another generator's name included."""
    generators = {name: values for name, values in axes.items() if name in ("gen", "k")}
    rows = select(frame, {name: values for name, values in axes.items() if name not in generators})
    return select(_with_k(rows), generators)


def _with_k(rows: pd.DataFrame) -> pd.DataFrame:
    """The same rows, with k = 1 where there is one proxy per class, and ``all`` where every sample is a proxy.

    A generator of one class returns all samples where there are no more than k of them (:meth:`Scheme.normal_form
    <imprint_sweep.grid.cell.Scheme.normal_form>`): k-means with k = 20 of 5 samples is what ``all`` is.
    """
    one = rows["gen"].isin(list(_ONE_PROXY))
    k = rows["k"].mask(one, 1)
    joint = rows["gen"].isin([name for name, generator in GENS.items() if generator.joint])
    every = (rows["n_shot"] <= k).fillna(False).astype(bool) & ~joint
    gen = rows["gen"].astype(str).replace(_ONE_PROXY).mask(every, "all")
    return rows.assign(gen=gen, k=k.mask(every))


def _tuples(frame: pd.DataFrame) -> list[tuple[Any, ...]]:
    """Rows that can be compared: nulls as None, whatever the column's type."""
    plain = frame.astype(object).where(frame.notna(), None)
    return list(plain.itertuples(index=False, name=None))
