"""However little there is in the results table, every section stands and says on what it stands."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from imprint_sweep.analysis.artefact import Options
from imprint_sweep.analysis.artefacts import ARTEFACTS, SECTIONS
from imprint_sweep.analysis.data.results import load
from imprint_sweep.analysis.report import build
from imprint_sweep.planning.plan import Plan
from tests import plausible
from tests.sweeping import requested, tree_of

ONE = ["model=resnet18", "task=mnist"]
SEEDS = "seed=17121997,123987,12412312"
TABLES = {
    "one cell": ONE,
    "one configuration": ["model=resnet18,vit_b_16", "task=mnist,cifar10", "task.classes=all,even", SEEDS],
    "one instance": [*ONE, "gen=kmeans,mean,random", "k=1,5,20", "norm.post=none,l2", SEEDS],
    "one seed": ["model=resnet18,vit_b_16", "task=mnist", "task.classes=all,odd", "gen=kmeans,mean", "k=1,20"],
    "two configurations": ["model=resnet18", "task=mnist,cifar10", "gen=kmeans,mean", SEEDS],
    "seeds of one's own": [*ONE, "task.classes=all,even,odd", "gen=kmeans,mean,all", "k=1,5", "seed=1,2"],
    "few samples": [*ONE, "gen=kmeans,all", "k=1,5", "n_shot=1,10,null", "seed=14057,994348"],
    "a network without weights of the paper": ["model=pixels", "task=digits", "gen=mean,kmeans", "k=1,2,3"],
    "merged classes": [*ONE, "task.merge=1,2", "task.remap=0,1", "k=1,2,5", SEEDS],
}


@pytest.mark.parametrize("axes", TABLES.values(), ids=TABLES.keys())
def test_every_section_stands(axes: Sequence[str], tmp_path: Path) -> None:
    plausible.write(tmp_path, Plan.of(requested(tree_of(), *axes)))
    report = build(load(tmp_path), Options(), command="")
    assert [entry.name for entry in report.entries] == list(ARTEFACTS)
    assert {entry.section for entry in report.entries} <= set(SECTIONS)
    for entry in report.entries:
        assert entry.caption, entry.name
        if entry.state == "empty":
            assert entry.missing, f"{entry.name} shows nothing and does not say why"
        else:
            assert entry.basis, f"{entry.name} does not say on what it stands"
    page = report.page.read_text()
    assert all(f'id="{name}"' in page for name in ARTEFACTS)
    assert "nan" not in pd.Series(page.lower().split()).tolist()


def test_the_published_decisions_make_a_report_too(tmp_path: Path) -> None:
    plausible.write(tmp_path, Plan.of(requested(tree_of(), *TABLES["one instance"])))
    report = build(load(tmp_path), Options(published=True, nc_centering="published"), command="")
    assert [entry.name for entry in report.entries] == list(ARTEFACTS)
