"""Comparing the values of one component (a GEN, a NORM, an AGG) over instances, from a slice of the table to a diagram.

1. The slice: median accuracy over the seeds, per instance and configuration (:mod:`analysis.data.selection`).
2. Its configurations are ranked within each instance.
3. For every value of the component the configuration with the best average rank is kept.
4. The kept ones are tested against each other (:mod:`imprint_sweep.analysis.stats.ranking`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from imprint_sweep.analysis.artefact import Column, Floats, Options, RankDiagram, Table
from imprint_sweep.analysis.data.names import some
from imprint_sweep.analysis.data.published import Pair, Published
from imprint_sweep.analysis.data.selection import Matrix
from imprint_sweep.analysis.rendering import text_of
from imprint_sweep.analysis.stats import ranking
from imprint_sweep.analysis.stats.ranking import Ranking
from imprint_sweep.wording import counted


@dataclass(frozen=True, eq=False)
class Comparison:
    """The values of a component, each with its best configuration. Best average rank first.

    Args:
        matrix: the slice: n_i instances, n_c configurations.
        slice_ranks: (n_c,) average ranks within the slice, ties on average.
        names: (k,) the compared values.
        kept: (k,) which configuration of the slice each stands with.
        ranking: of the kept ones among themselves, in the order of `names`.
    """

    matrix: Matrix
    slice_ranks: Floats
    names: tuple[str, ...]
    kept: NDArray[np.int64]
    ranking: Ranking

    @property
    def accuracy(self) -> Floats:
        """(n_i, k) float64, shares."""
        return self.matrix.accuracy[:, self.kept]


def compare(matrix: Matrix, values: Sequence[str], options: Options) -> Comparison:
    """Compare the values of a component.

    Of configurations with the same average rank the more accurate stands for the value, then the first.

    Args:
        matrix: the slice, not empty.
        values: (n_c,) the value of each configuration.
        options: how.

    Raises:
        ValueError: the slice is empty.
    """
    if not matrix.n_correct.size:
        raise ValueError("a comparison needs at least one instance and one configuration")
    slice_ranks = ranking.ranks_within(matrix.n_correct).mean(axis=0)
    order = np.lexsort((-matrix.accuracy.mean(axis=0), slice_ranks))
    kept: dict[str, int] = {}
    for configuration in order.tolist():
        kept.setdefault(values[configuration], configuration)
    ranks = ranking.ranks_within(matrix.n_correct[:, list(kept.values())]).mean(axis=0)
    names = [list(kept)[place] for place in np.argsort(ranks, kind="stable")]
    columns = np.array([kept[name] for name in names])
    result = ranking.rank(matrix.n_correct[:, columns], matrix.n_test, alpha=options.alpha, published=options.published)
    return Comparison(matrix, slice_ranks, tuple(names), columns, result)


def alike(matrix: Matrix, values: Sequence[str], settings: Sequence[str]) -> NDArray[np.bool_]:
    """Which configurations have settings that every value was run with.

    The best of nine normalisations beats the best of one by choice alone, so values are compared within the settings
    that all of them have. If there is none such, all configurations count.

    Args:
        matrix: the slice.
        values: (n_c,) the value of each configuration.
        settings: columns of the configurations; empty if nothing needs to agree.

    Returns:
        (n_c,) bool.
    """
    everything = np.ones(len(values), np.bool_)
    if not settings:
        return everything
    of_setting = matrix.configurations.groupby(list(settings), observed=True, dropna=False).ngroup().to_numpy()
    run_with = pd.Series(values).groupby(of_setting).transform("nunique").to_numpy()
    shared: NDArray[np.bool_] = run_with == len(set(values))
    return shared if shared.any() else everything


def results_table(
    comparison: Comparison,
    name: str,
    title: str,
    component: str,
    published: Published,
    configurations: Sequence[str] | None = None,
) -> Table:
    """The compared values: accuracy over instances (mean ± std, ddof 1) and average rank, beside the paper's.

    Args:
        comparison: what was compared.
        name: of the table.
        title: of the table.
        component: what was compared, the head of the first column.
        published: the paper's numbers. What it has and we do not is a row without ours.
        configurations: (n_c,) what the best configuration of a value is called; None if a value has but one.
    """
    accuracy = comparison.accuracy
    several = len(comparison.slice_ranks) > len(comparison.names)
    frame = pd.DataFrame(
        {
            "name": comparison.names,
            "configuration": [configurations[column] for column in comparison.kept] if configurations else None,
            "accuracy": accuracy.mean(axis=0),
            "std": accuracy.std(axis=0, ddof=1) if len(accuracy) > 1 else np.nan,
            "rank": comparison.ranking.ranks,
            "slice_rank": comparison.slice_ranks[comparison.kept],
        }
    )
    absent = [name for name in published.accuracy if name not in comparison.names]
    frame = pd.concat([frame, pd.DataFrame({"name": absent})], ignore_index=True)
    frame["paper_accuracy"] = frame["name"].map(published.accuracy)
    frame["paper_std"] = frame["name"].map(published.std)
    frame["paper_rank"] = frame["name"].map(published.rank)
    columns = [Column("name", component)]
    columns += [Column("configuration", "best with")] if configurations else []
    columns += [
        Column("accuracy", "accuracy, %", "percent", "highest"),
        Column("std", "± std", "percent"),
        Column("rank", "rank", "rank", "lowest"),
    ]
    columns += [Column("slice_rank", f"rank among all {len(comparison.slice_ranks):,}", "rank")] if several else []
    columns += [Column("paper_accuracy", "paper: accuracy, %", "percent")] if published.accuracy else []
    columns += [Column("paper_std", "paper: ± std", "percent")] if published.std else []
    columns += [Column("paper_rank", "paper: rank (dense)", "rank")] if published.rank else []
    return Table(name, title, tuple(columns), frame)


def pairs_table(comparison: Comparison, name: str, title: str, published: Published) -> Table | None:
    """Every pair with its test, the most certain difference first; None if pairs were not tested."""
    result, accuracy = comparison.ranking, comparison.accuracy
    if not result.tested:
        return None
    first, second = np.triu_indices(len(comparison.names), 1)
    names = np.array(comparison.names, dtype=object)
    stated = [published.p.get(Pair((names[a], names[b])), np.nan) for a, b in zip(first, second, strict=True)]
    counts = comparison.matrix.n_correct[:, comparison.kept]
    frame = pd.DataFrame(
        {
            "first": names[first],
            "second": names[second],
            "difference": (accuracy[:, first] - accuracy[:, second]).mean(axis=0),
            "wins": (counts[:, first] > counts[:, second]).sum(axis=0),
            "ties": (counts[:, first] == counts[:, second]).sum(axis=0),
            "losses": (counts[:, first] < counts[:, second]).sum(axis=0),
            "p": result.p[first, second],
            "adjusted": result.adjusted[first, second],
            "differ": np.where(result.differ[first, second], "yes", "no"),
            "paper_p": stated,
        }
    ).sort_values("p", kind="stable", ignore_index=True)
    columns = [
        Column("first", "better in rank"),
        Column("second", "than"),
        Column("difference", "accuracy by, %", "percent"),
        Column("wins", "better on", "count"),
        Column("ties", "equal on", "count"),
        Column("losses", "worse on", "count"),
        Column("p", "p", "p"),
        Column("adjusted", "p after Holm", "p"),
        Column("differ", "differ"),
    ]
    columns += [Column("paper_p", "paper: p", "p")] if published.p else []
    return Table(name, title, tuple(columns), frame)


def diagram(comparison: Comparison, name: str, title: str, colours: Sequence[str] | None = None) -> RankDiagram | None:
    """The critical-difference diagram; None if nothing says that there are differences.

    Args:
        comparison: what was compared.
        name: of the figure.
        title: of the figure.
        colours: (k,) see :attr:`~imprint_sweep.analysis.artefact.RankDiagram.colours`.
    """
    result = comparison.ranking
    if not result.tested:
        return None
    shown = None if colours is None else tuple(colours)
    return RankDiagram(name, title, comparison.names, result.ranks, result.cliques, shown)


def verdict(comparison: Comparison, options: Options) -> str:
    """What the tests say and what they cannot say, in sentences."""
    result, names, n = comparison.ranking, comparison.names, len(comparison.matrix.instances)
    instances = counted(n, "instance")
    if len(names) == 1:
        return f"Nothing to compare {names[0]} with."
    sentences = []
    pairs = len(names) * (len(names) - 1) // 2
    if result.friedman is not None:
        rejects = "rejects" if result.tested else "does not reject"
        sentences.append(
            f"Friedman's test {rejects} that the {len(names)} rank alike (p = {result.friedman:.2g}, {instances})"
            + ("." if result.tested else ", so there is no diagram and no pair is tested.")
        )
    else:
        sentences.append("Two are compared by the signed-rank test alone.")
    least, most = ranking.needed(pairs, options.alpha), _evidence(comparison, options)
    if result.tested and most < least:
        asked = "a single pair needs" if pairs == 1 else f"{pairs:,} pairs need"
        unequal = f" with different results, and no pair has more than {most}" if least <= n else ""
        sentences.append(
            f"On {instances} no pair could differ significantly at level {options.alpha:g}: {asked} {least} or more"
            f"{unequal}."
        )
    same: dict[bytes, list[str]] = {}
    for name, counts in zip(names, comparison.matrix.n_correct[:, comparison.kept].T, strict=True):
        same.setdefault(counts.tobytes(), []).append(name)
    groups = [" = ".join(group) for group in same.values() if len(group) > 1]
    if groups:
        differ = " They count as different (published)." if options.published and result.tested else ""
        sentences.append(f"Identical on every instance: {'; '.join(groups)}.{differ}")
    return " ".join(sentences)


def finding(comparison: Comparison, options: Options) -> str:
    """What the comparison says, in sentences: what is first, what the tests say, and which pairs differ."""
    said, ranks = verdict(comparison, options), comparison.ranking.ranks
    if len(comparison.names) == 1:
        return said
    first = [name for name, rank in zip(comparison.names, ranks, strict=True) if rank == ranks.min()]
    accuracy = f", with a mean accuracy of {text_of(float(comparison.accuracy[:, 0].mean()), 'percent')} %"
    best = f"First by average rank ({text_of(float(ranks.min()), 'rank')}): {'; '.join(first)}"
    said = f"{best}{accuracy if len(first) == 1 else ''}. {said}"
    return said if _too_few(comparison, options) else f"{said} {significance(comparison)}".strip()


def significance(comparison: Comparison) -> str:
    """Which pairs differ significantly, a sentence; empty if no pair was tested."""
    result, names = comparison.ranking, comparison.names
    if not result.tested:
        return ""
    pairs = list(zip(*np.triu_indices(len(names), 1), strict=True))
    alike = [f"{names[a]} and {names[b]}" for a, b in pairs if not result.differ[a, b]]
    if len(pairs) == 1:
        return f"The two {'do not differ' if alike else 'differ'} significantly."
    if not alike:
        return f"All {len(pairs):,} pairs differ significantly."
    if len(alike) == len(pairs):
        return f"None of the {len(pairs):,} pairs differs significantly."
    return f"{len(pairs) - len(alike):,} of {len(pairs):,} pairs differ significantly; not {some(alike, 10)}."


def noise(comparison: Comparison, options: Options) -> str:
    """A comparison beside the paper's sentence that such differences lie well within statistical noise.

    Empty where there is nothing to compare.
    """
    if len(comparison.names) == 1:
        return ""
    spread = text_of(float(np.ptp(comparison.accuracy.mean(axis=0))), "percent")
    said = f'The paper calls such differences "well within statistical noise". Here mean accuracies differ by {spread} '
    if comparison.ranking.differ.any():
        return f"{said}percentage points, and significantly."
    if _too_few(comparison, options):
        return f"{said}percentage points, on too few instances to tell."
    return f"{said}percentage points, and no pair significantly."


def _too_few(comparison: Comparison, options: Options) -> bool:
    """Whether there are so few instances that no pair could differ significantly."""
    k = len(comparison.names)
    return len(comparison.matrix.instances) < ranking.needed(k * (k - 1) // 2, options.alpha)


def _evidence(comparison: Comparison, options: Options) -> int:
    """On how many instances the two of a pair have different results, for the pair that has most of them.

    The published approximation takes ties for evidence.
    """
    if options.published:
        return len(comparison.matrix.instances)
    counts = comparison.matrix.n_correct[:, comparison.kept]
    return int((counts[:, :, None] != counts[:, None, :]).sum(axis=0).max())
