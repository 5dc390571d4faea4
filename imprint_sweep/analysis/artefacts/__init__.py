"""Every table and figure of the paper by name, in reading order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from imprint_sweep.analysis.artefact import Artefact, Options
from imprint_sweep.analysis.artefacts.collapse import COLLAPSE
from imprint_sweep.analysis.artefacts.comparisons import COMPARISONS
from imprint_sweep.analysis.artefacts.curves import CURVES
from imprint_sweep.analysis.artefacts.incremental import incremental
from imprint_sweep.analysis.artefacts.k_selection import k_selection
from imprint_sweep.analysis.artefacts.networks import table_a1
from imprint_sweep.analysis.artefacts.times import table_a2
from imprint_sweep.analysis.data.results import Results, without_parameters
from imprint_sweep.errors import UnknownOptionError

__all__ = ["ARTEFACTS", "SECTIONS", "Options", "make"]

SECTIONS = {
    "headline": "Five methods",
    "gen": "How proxies are made (GEN)",
    "k": "Choosing k",
    "norm": "Normalisation (NORM)",
    "agg": "How proxies vote (AGG)",
    "n_shot": "Few samples per class",
    "collapse": "Neural collapse",
    "streams": "Classes that arrive over time",
    "networks": "Networks",
    "times": "What proxies cost",
}
"""Key -> heading, in the order of the report."""

ARTEFACTS: dict[str, Callable[[Results, Options], Artefact]] = {
    "fig2": COMPARISONS["fig2"],
    "baselines": COMPARISONS["baselines"],
    "fig5": COMPARISONS["fig5"],
    "figA1": COMPARISONS["figA1"],
    "oracles": COMPARISONS["oracles"],
    "fig6": CURVES["fig6"],
    "k_selection": k_selection,
    "fig7": COMPARISONS["fig7"],
    "table1": COMPARISONS["table1"],
    "figA2": COMPARISONS["figA2"],
    "figA3": COMPARISONS["figA3"],
    "fig8": COMPARISONS["fig8"],
    "fig9": COMPARISONS["fig9"],
    "metricsAll": COMPARISONS["metricsAll"],
    "metrics20": COMPARISONS["metrics20"],
    "metrics5": COMPARISONS["metrics5"],
    "weightingsAll": COMPARISONS["weightingsAll"],
    "weightings20": COMPARISONS["weightings20"],
    "weightings5": COMPARISONS["weightings5"],
    "fig10": CURVES["fig10"],
    "figA4": CURVES["figA4"],
    "fig11a": COLLAPSE["fig11a"],
    "fig11b": CURVES["fig11b"],
    "fig12": COLLAPSE["fig12"],
    "figA6a": CURVES["figA6a"],
    "figA6b": CURVES["figA6b"],
    "figA7": CURVES["figA7"],
    "incremental": incremental,
    "tableA1": table_a1,
    "tableA2": table_a2,
}
"""Name -> what makes it, in reading order."""


OF_ALL_ROWS = ("tableA2", "k_selection")
"""The artefacts that show other values of parameters than neutral ones, or k that was chosen; the others are about the
paper's components."""


def make(name: str, results: Results, options: Options = Options()) -> Artefact:  # noqa: B008 (frozen)
    """One artefact by name.

    Args:
        name: a key of :data:`ARTEFACTS`.
        results: the rows it is made from.
        options: how.

    Raises:
        UnknownOptionError: there is no artefact of this name.
    """
    if name not in ARTEFACTS:
        raise UnknownOptionError("artefact", name, ARTEFACTS)
    if name not in OF_ALL_ROWS:
        results = replace(results, frame=without_parameters(results.frame), steps=without_parameters(results.steps))
    return ARTEFACTS[name](results, options)
