"""Artefacts that no results table gave: what a page must cope with, in a few numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import pytest

from imprint_sweep.analysis.artefact import Artefact, Chart, Column, Options, Panel, RankDiagram, Series, Table
from imprint_sweep.analysis.artefacts import ARTEFACTS
from imprint_sweep.analysis.data.results import Results

HOSTILE = "</script><script>document.title='hacked'</script><b>&amp;\"'"
COMMAND = "python -m imprint_sweep -m +experiment=fig6 'model=resnet18,resnet50,vit_b_16,swin_b' task=cifar10"
METHODS = ("Oracle", "Ours", "Qi et al. 2018", "Janson et al. 2022", "Hosoda et al. 2024")


def complete() -> Artefact:
    """A table and a rank diagram, nothing missing."""
    ranks = np.array([1.0, 2.0, 3.667, 3.917, 4.271])
    frame = pd.DataFrame(
        {
            "method": METHODS,
            "accuracy": [0.9454, 0.9106, 0.8679, 0.8664, 0.829],
            "rank": ranks,
            "paper": [0.9454, 0.9106, None, 0.8664, 0.829],
        }
    )
    columns = (
        Column("method", "method"),
        Column("accuracy", "accuracy", "percent", "highest"),
        Column("rank", "average rank", "rank", "lowest"),
        Column("paper", "paper", "percent"),
    )
    return Artefact(
        name="fig2",
        title="Five methods on the same embeddings (Fig. 2)",
        section="headline",
        caption="Median accuracy over seeds for each instance, then ranks within the instance.",
        basis="48 instances, 5 configurations, 3 seeds.",
        tables=(Table("fig2", "Five methods", columns, frame, "Paper: 4 FMs x 12 tasks."),),
        figures=(RankDiagram("fig2", "Average ranks", METHODS, ranks, ((2, 3),)),),
    )


def partial() -> Artefact:
    """A chart of two panels a table wider than any screen and a long one, with something missing."""
    k = np.array([1.0, 2, 5, 10, 20])
    panels = tuple(
        Panel(model, tuple(Series(gen, k, base + k, colour=f"gen:{gen}") for gen in ("kmeans", "random")))
        for model, base in (("resnet18", 60.0), ("vit_b_16", 65.0))
    )
    frame = pd.DataFrame({f"c{i}": [i, i + 0.5, None] for i in range(30)})
    frame.insert(
        0, "name", ["one", HOSTILE, "a sentence that is much longer than what fits into a line of a narrow table"]
    )
    columns = (Column("name", "name"), *(Column(f"c{i}", f"column {i}", "number") for i in range(30)))
    long = pd.DataFrame({"name": [f"row {i}" for i in range(30)], "value": np.arange(30) / 7})
    long_columns = (Column("name", "name"), Column("value", "value", "number"))
    return Artefact(
        name="fig6",
        title="Accuracy over the number of proxies (Fig. 6)",
        section="gen",
        caption=f"A caption with {HOSTILE}.",
        basis="1 model, 1 dataset.",
        missing=("kmedoids is missing for k = 100: 3 of 24 cells.", f"A sentence with {HOSTILE}."),
        command=COMMAND,
        tables=(Table("fig6", "A wide table", columns, frame), Table("fig6-long", "A long table", long_columns, long)),
        figures=(
            Chart("fig6", "Accuracy over k", panels, "proxies per class, k", "accuracy in %", columns=2),
            Chart("fig6-second", "Another", panels[:1], "proxies per class, k", "accuracy in %"),
        ),
    )


def empty() -> Artefact:
    """Nothing but what it needs."""
    return Artefact(
        name="fig11a",
        title="Neural collapse over the number of modes (Fig. 11a)",
        section="collapse",
        caption="NC1 over d.",
        basis="",
        missing=("There is no result on ImageNet.",),
        command="python -m imprint_sweep -m +experiment=collapse_imagenet " + "x" * 300,
    )


def artefacts() -> list[Artefact]:
    """One of each."""
    return [complete(), partial(), empty()]


def install(patch: pytest.MonkeyPatch, given: Sequence[Artefact]) -> None:
    """Put artefacts in the place of those of the paper."""
    for name in list(ARTEFACTS):
        patch.delitem(ARTEFACTS, name)
    for artefact in given:
        patch.setitem(ARTEFACTS, artefact.name, _returning(artefact))


def _returning(artefact: Artefact) -> Callable[[Results, Options], Artefact]:
    return lambda results, options: artefact
