"""Rows that are tested on held-out samples are to choose by: nothing that is shown of results may count them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from imprint_sweep.analysis.artefacts import ARTEFACTS, make
from imprint_sweep.analysis.data.results import load
from imprint_sweep.analysis.report.listing import listing
from imprint_sweep.analysis.report.overview import overview
from imprint_sweep.cli.commands.report import markdown
from imprint_sweep.errors import StoreError, UnknownOptionError
from imprint_sweep.planning.plan import Plan
from imprint_sweep.store import ResultStore, load_results
from tests import plausible
from tests.sweeping import requested, tree_of

AXES = ("+experiment=[fig2,n_shot]", "model=resnet18", "task=mnist", "task.classes=all,even,odd,short")
NOTE = "Set aside are cells with eval.split=validation, for choosing: "


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Outputs with rows of the test split, with validated ones beside them, and with the latter alone."""
    plans = [Plan.of(requested(tree_of(), *AXES, f"eval.split={split}")) for split in ("test", "validation")]
    folders = [tmp_path_factory.mktemp(name) for name in ("tested", "mixed", "validated")]
    for folder, of_folder in zip(folders, ((0,), (0, 1), (1,)), strict=True):
        for number in of_folder:
            plausible.write(folder, plans[number])
    return folders[0], folders[1], folders[2]


def test_readers_of_the_table_get_them_if_they_ask(folders: tuple[Path, Path, Path]) -> None:
    tested, mixed, _ = (folder / "results" for folder in folders)
    volatile = ["finished_at", "computation_id"]
    pd.testing.assert_frame_equal(
        load_results(mixed).drop(columns=volatile), load_results(tested).drop(columns=volatile)
    )
    validated, both = load_results(mixed, split="validation"), load_results(mixed, split=None)
    assert set(validated["split"]) == {"validation"}
    assert len(both) == len(load_results(mixed)) + len(validated) > len(validated) > 0
    assert load_results(mixed, ["n_correct"]).columns.tolist() == ["n_correct"]
    with pytest.raises(UnknownOptionError, match="unknown split 'valid'; did you mean validation"):
        load_results(mixed, split="valid")


def test_done_cells_are_done_whatever_they_are_tested_on(folders: tuple[Path, Path, Path]) -> None:
    _, mixed, _ = folders
    snapshot = ResultStore(mixed / "results").snapshot()
    assert len(snapshot) == len(load_results(mixed / "results", split=None))


@pytest.mark.parametrize("name", ARTEFACTS)
def test_no_artefact_counts_them(name: str, folders: tuple[Path, Path, Path]) -> None:
    tested, mixed = (list(markdown(make(name, load(folder)))) for folder in folders[:2])
    assert [block.replace(str(folders[1]), str(folders[0])) for block in mixed] == tested


def test_neither_do_the_lists_of_the_report(folders: tuple[Path, Path, Path]) -> None:
    tested, mixed = (load(folder) for folder in folders[:2])
    assert len(mixed.notes) == len(tested.notes) + 1
    assert mixed.notes[0].startswith(NOTE)
    pd.testing.assert_frame_equal(listing(mixed).frame, listing(tested).frame)
    assert overview(mixed).facts[1:] == overview(tested).facts[1:]


def test_a_table_of_nothing_else_says_so(folders: tuple[Path, Path, Path]) -> None:
    with pytest.raises(StoreError, match=rf"holds no good row of method version \d \({NOTE}"):
        load(folders[2])
    assert set(load(folders[2], "validation").frame["split"]) == {"validation"}
