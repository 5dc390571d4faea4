"""What an artefact of curves is, and the sentences on what it stands and what it lacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from imprint_sweep.analysis.artefact import Artefact, Figure, Table
from imprint_sweep.analysis.data import filling, names
from imprint_sweep.analysis.data.results import Results
from imprint_sweep.analysis.data.selection import MAIN_SEEDS, Axes, select
from imprint_sweep.analysis.stats.curves import FM, Points, gaps, lacking, mostly_run
from imprint_sweep.invocation import choices
from imprint_sweep.wording import counted

WHOLE: Axes = {"classes": ["all"], "limit": [None]}
"""All classes of a dataset, merged or not, and all of their samples."""

UNMERGED: Axes = {**WHOLE, "merge": [None]}

PANEL = (FM, "task")
"""A model and a dataset."""

TASK = (*PANEL, "merge")
"""A model, and a dataset or d of its classes in a label."""

MOST_MERGED = 10
"""The largest d of "d in 1" in the paper."""


@dataclass(frozen=True)
class About:
    """What an artefact is, whatever the results.

    Args:
        name, title, section, caption: of the artefact.
        needs: what it is made from, for the sentence that there is none of it.
        seeds: the paper's.
    """

    name: str
    title: str
    section: str
    caption: str
    needs: str
    seeds: tuple[int, ...] = MAIN_SEEDS

    def artefact(
        self,
        basis: str,
        missing: Sequence[str],
        commands: Sequence[str],
        tables: Sequence[Table],
        figures: Sequence[Figure],
    ) -> Artefact:
        """The artefact.

        Args:
            basis, missing, tables, figures: its own.
            commands: what computes what is missing, one after the other.
        """
        command = " && ".join(commands) or None
        return Artefact(
            self.name,
            self.title,
            self.section,
            self.caption,
            basis,
            tuple(missing),
            command,
            tuple(tables),
            tuple(figures),
        )

    def nothing(self, missing: Sequence[str], commands: Sequence[str]) -> Artefact:
        """The artefact of results that hold nothing for it."""
        return self.artefact(
            "", [f"The results hold nothing for it; it needs {self.needs}.", *missing], commands, [], []
        )


def sweep(request: str, frame: pd.DataFrame, results: Results) -> str:
    """The sweep that computes an experiment on whole datasets of the results.

    Args:
        request: the experiment, as on the command line.
        frame: rows of the results.
        results: all of them.
    """
    whole = select(frame, UNMERGED)
    return filling.command(request, whole if len(whole) else frame, results, whole=whole.empty)


def merged_sweep(request: str, frame: pd.DataFrame, results: Results) -> str:
    """The same on "d in 1" tasks: on those of the results, else on the datasets with most classes.

    Args:
        request: the experiment, as on the command line.
        frame: rows of the results.
        results: all of them.
    """
    merged, whole = select(frame[frame["merge"].notna()], WHOLE), select(frame, UNMERGED)
    if len(merged):
        return filling.command(request, merged, results)
    if whole.empty:
        return filling.command(request, frame, results, whole=True)
    classes = int(whole["n_labels"].max())
    most = min(MOST_MERGED, classes // 2)  # a task needs two labels
    merges = choices("task.merge", range(1, most + 1))
    return filling.command(f"{request} {merges}", whole[whole["n_labels"] == classes], results)


def basis(parts: Sequence[str], frame: pd.DataFrame, table: pd.DataFrame) -> str:
    """On what points stand, and which models and datasets of the results are not among them.

    Args:
        parts: counts.
        frame: a results frame, with models.
        table: the points.
    """
    others = lacking(select(frame, UNMERGED), table[table["merge"].isna()] if "merge" in table else table, PANEL)
    elsewhere = f" Not shown, lacking a third of it or more: {names.some(others)}." if others else ""
    return f"{'; '.join(parts)}.{elsewhere}"


def merge_missing(frame: pd.DataFrame, merged: pd.DataFrame) -> list[str]:
    """Sentences on what is missing of "d in 1" tasks.

    Args:
        frame: a results frame, with models.
        merged: points that are means over remaps.
    """
    others = lacking(select(frame[frame["merge"].notna()], WHOLE), merged, TASK)
    found = [f"Not in the results: {names.some(others)}."] if others else []
    if merged.empty:
        return found or ['The results hold no "d in 1" tasks.']
    most = merged.groupby(list(PANEL), observed=True)["remaps"].transform("max")
    few = int((merged["remaps"] < most).sum())
    return [*found, *([f"{few:,} of {len(merged):,} points stand on fewer remaps than others."] if few else [])]


def lines_run(table: pd.DataFrame) -> pd.DataFrame:
    """The points of the whole datasets, and of the "d in 1" tasks, that an experiment was run on.

    Args:
        table: points that are means over remaps.
    """
    merged = table["merge"].notna()
    return pd.concat([mostly_run(table[merged], TASK), mostly_run(table[~merged], TASK)]).sort_index()


def modes_missing(
    frame: pd.DataFrame,
    table: pd.DataFrame,
    ks: Sequence[int],
    requests: tuple[str, str],
    results: Results,
    *,
    complete: bool,
) -> tuple[list[str], list[str]]:
    """What accuracy over k lacks, on whole datasets and on "d in 1" tasks.

    Args:
        frame: a results frame, with models.
        table: points that are means over remaps, with ``merge`` (null for whole datasets) and ``k``.
        ks: the k that every line should have.
        requests: the experiments that compute it: on whole datasets, on "d in 1" tasks.
        results: all results.
        complete: whether all points stand on all seeds.

    Returns:
        Sentences, and the commands that compute what is missing.
    """
    expected = pd.DataFrame({"k": ks})
    whole, merged = table[table["merge"].isna()], table[table["merge"].notna()]
    of_whole = gaps(whole, TASK, expected, "k")
    of_merged = [*gaps(merged, TASK, expected, "k"), *merge_missing(frame, merged)]
    commands = [sweep(requests[0], frame, results)] if of_whole or table.empty or not complete else []
    commands += [merged_sweep(requests[1], frame, results)] if of_merged or not complete else []
    return [*of_whole, *of_merged], commands


def panels_in_words(table: pd.DataFrame) -> str:
    """How many models and datasets some points are of."""
    return f"{counted(table[FM].nunique(), 'model')} and {counted(table['task'].nunique(), 'dataset')}"


def seeds_in_words(found: Points, paper: Sequence[int]) -> str:
    """How many seeds some points stand on, and whether they are the paper's."""
    if not set(found.seeds) <= set(paper):
        return f"{counted(len(found.seeds), 'seed')} (not the paper's)"
    few = f" of the paper's {len(paper)}" if len(found.seeds) < len(paper) else ""
    return counted(len(found.seeds), "seed") + few


def merges_in_words(table: pd.DataFrame) -> str:
    """How many d and remaps some points are of, which are means over remaps."""
    merged = table[table["merge"].notna()]
    if merged.empty:
        return 'no "d in 1" tasks'
    return f"{counted(merged['merge'].nunique(), 'value')} of d with {counted(int(merged['remaps'].max()), 'remap')}"
