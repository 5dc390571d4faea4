"""Cells whose k is chosen: what the plain cells of the chosen k give, alone, in a sweep, and in any shard."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imprint_sweep.api.cells import of_row
from imprint_sweep.api.samples import features_of, samples_of_cell
from imprint_sweep.cli.commands import cell as cell_command
from imprint_sweep.config.schemas import SweepConfig
from imprint_sweep.config.settings import Settings
from imprint_sweep.engine import EngineSettings, run
from imprint_sweep.errors import CellFailedError, SweepFailedError
from imprint_sweep.grid.cell import Cell
from imprint_sweep.imprinting.gen.cov_max import COV_MAX
from imprint_sweep.planning.plan import Plan
from imprint_sweep.running.sweep import run_single, run_sweep
from imprint_sweep.running.work import find_work, run_cells
from imprint_sweep.store import history, load_results
from tests import data
from tests.running.test_sweep import Loop, request, with_sweep

BLOBS = data.blobs("modes", train_sizes=dict.fromkeys(range(4), 40), test_size=60, modes=6, spread=0.9)
TASK = data.task(BLOBS)
FEW = data.task(data.blobs("few", train_sizes={0: 30, 1: 4, 2: 20}))
TRIED = (1, 2, 3, 5, 8)


def chosen(rule: str, **axes: Any) -> Cell:
    return data.cell(TASK, **{"gen": "kmeans", "k": None, "select_rule": rule, "select_max_k": 8, **axes})


CHOSEN = [
    chosen(rule, n_shot=n_shot, seed=seed, agg=agg, metric="cosine")
    for rule in ("bic", "cv_1se")
    for n_shot in (None, 12, 6, 3)
    for seed in (0, 1)
    for agg in ("max", "mnn")
] + [chosen("cv_1se", gen="fps"), chosen("cv_1se", gen="cov_max", seed=1, n_shot=10)]
PLAIN = [data.cell(TASK, gen="kmeans", k=k, n_shot=n_shot, seed=0) for k in (*TRIED, 20) for n_shot in (None, 12)]


@pytest.fixture(scope="module")
def embeddings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return prepared(tmp_path_factory.mktemp("outputs"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return prepared(tmp_path)


def prepared(folder: Path) -> Settings:
    found = Settings(outputs=folder, data=folder / "data", sweep=SweepConfig(threads=2))
    data.write(found.cache, BLOBS)
    return found


def plain(settings: Settings, *cells: Cell) -> list[int]:
    """n_correct of plain cells, from nothing but the embeddings."""
    found = {outcome.cell: outcome.n_correct for outcome in run(cells, settings.cache, EngineSettings())}
    return [found[cell] or 0 for cell in cells]


def by_hand(cell: Cell, settings: Settings) -> int:
    """The k of a cell that validation cells choose, by the rule's own words."""
    n_shot = cell.scheme.n_shot or 40
    if n_shot < 5:
        return 1
    choosers = [
        replace(cell, scheme=replace(cell.scheme, k=k, select_rule=None, select_max_k=None, split="validation"))
        for k in TRIED
    ]
    n_correct, n_test = plain(settings, *choosers), 4 * (n_shot // 5)
    error = math.sqrt(max(n_correct) * (n_test - max(n_correct)) / n_test)
    return next(k for k, n in zip(TRIED, n_correct, strict=True) if n >= max(n_correct) - error - 1e-9)


def results(settings: Settings) -> dict[str, tuple[int, list[int] | None, str]]:
    rows = load_results(settings.results)
    columns = zip(rows["cell_id"], rows["n_correct"], rows["k_chosen"], rows["computation_id"], strict=True)
    return {cell: (n, None if ks is None else list(ks), computed) for cell, n, ks, computed in columns}


@pytest.fixture(scope="module")
def swept(embeddings: Settings) -> dict[str, tuple[int, list[int] | None, str]]:
    run_sweep(request(*CHOSEN, *PLAIN), embeddings, Loop(embeddings))
    return results(embeddings)


def test_validation_cells_choose_k_and_the_cell_is_that_of_this_k(
    swept: dict[str, tuple[int, list[int] | None, str]], embeddings: Settings
) -> None:
    cells = [cell for cell in CHOSEN if cell.scheme.select_rule == "cv_1se"]
    ks = [by_hand(cell, embeddings) for cell in cells]
    assert len(set(ks)) > 2
    same = [replace(cell, scheme=cell.scheme.having_k(k)) for cell, k in zip(cells, ks, strict=True)]
    for cell, k, plain_cell, n_correct in zip(cells, ks, same, plain(embeddings, *same), strict=True):
        assert swept[cell.cell_id] == (n_correct, [k] * 4, plain_cell.computation_id())


def test_validation_cells_are_rows_like_others(
    swept: dict[str, tuple[int, list[int] | None, str]], embeddings: Settings
) -> None:
    rows = load_results(embeddings.results, split="validation")
    assert rows["k_chosen"].isna().all()
    assert set(rows["k"]) == set(TRIED)
    assert set(rows["n_shot"].dropna()) == {6, 10, 12}


def test_no_other_cell_has_a_chosen_k(swept: dict[str, tuple[int, list[int] | None, str]]) -> None:
    assert {swept[cell.cell_id][1] is None for cell in PLAIN} == {True}


@pytest.mark.parametrize("cell", [CHOSEN[i] for i in (0, 4, 14, 17, 20, 32, 33)], ids=lambda cell: cell.cell_id)
def test_a_cell_alone_has_the_result_of_the_sweep(
    cell: Cell, swept: dict[str, tuple[int, list[int] | None, str]], settings: Settings, capsys: Any
) -> None:
    run_single(cell, settings)
    assert results(settings)[cell.cell_id] == swept[cell.cell_id]
    said = capsys.readouterr().out
    assert f"k chosen for each label: {' '.join(map(str, swept[cell.cell_id][1] or []))}" in said
    run_single(cell, settings)
    assert capsys.readouterr().out == f"done before (force=true computes it again):\n{said}"


@pytest.mark.parametrize("count", [2, 5])
def test_shards_hold_what_their_choices_need(
    count: int, swept: dict[str, tuple[int, list[int] | None, str]], settings: Settings, capsys: Any
) -> None:
    loop = Loop(settings)
    run_sweep(request(*CHOSEN, *PLAIN), with_sweep(settings, shards=count), loop)
    assert len(loop.shards) == count
    assert results(settings) == swept
    rows = load_results(settings.results, status=None, split=None)
    (folder,) = settings.sweeps.iterdir()
    columns = Plan.load(folder / "plan.npz")[1]
    assert len(columns["shard"]) == len(rows) == len(list(every_row(settings)))  # no cell was computed twice
    assert capsys.readouterr().out.splitlines()[1] == "  70 validation cells to choose k by, 70 of them to run"


def every_row(settings: Settings) -> Iterator[dict[str, Any]]:
    for cell_id in load_results(settings.results, status=None, split=None)["cell_id"]:
        yield from history(settings.results, cell_id)


def test_what_is_done_chooses(settings: Settings, capsys: Any) -> None:
    cell = chosen("cv_1se", n_shot=12)
    work = find_work(Plan.of_cells([cell]), settings)
    choosers = [work.plan.cell(position) for position, _ in work.choices.of(0)]
    run_cells(Plan.of_cells(choosers[:3]), settings)
    run_sweep(request(cell), settings, Loop(settings))
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("requested 1 -> 1 distinct -> 0 done, 3 to run in 1 shard")
    assert out[1] == "  5 validation cells to choose k by, 2 of them to run"
    assert out[-1].startswith("3 cells in ")
    run_sweep(request(cell), settings, Loop(settings))
    assert capsys.readouterr().out.splitlines()[0] == "requested 1 -> 1 distinct -> 1 done, 0 to run"
    run_sweep(request(cell), replace(settings, force=True), Loop(settings))
    assert len(list(every_row(settings))) == 2 * 6


def test_a_class_of_fewer_than_five_samples_leaves_nothing_to_choose(settings: Settings) -> None:
    data.write(settings.cache, data.blobs("few", train_sizes={0: 30, 1: 4, 2: 20}))
    by_validation, by_class = (replace(chosen(rule), task=FEW) for rule in ("cv_1se", "bic"))
    run_sweep(request(by_validation, by_class), settings, Loop(settings))
    found = results(settings)
    assert found[by_validation.cell_id][1] == [1, 1, 1]
    assert (found[by_class.cell_id][1] or [])[1] == 1
    assert load_results(settings.results, split=None).shape[0] == 2


def test_a_validation_cell_that_fails_is_the_reason(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    made = COV_MAX.proxies

    def failing(given: Any, variant: Any) -> Any:
        if variant.k == 5:
            raise RuntimeError("five are too many")
        return made(given, variant)

    monkeypatch.setattr(COV_MAX, "proxies", failing)
    cells = [chosen("cv_1se", gen="cov_max", n_shot=12), data.cell(TASK, gen="kmeans", k=2)]
    with pytest.raises(SweepFailedError, match="2 cells failed and 0 were not computed"):
        run_sweep(request(*cells), settings, Loop(settings))
    (error,) = (row["error"] for row in history(settings.results, cells[0].cell_id))
    assert error.startswith("StageError: k cannot be chosen: cell ")
    assert "k=5 eval.split=validation, failed by RuntimeError: five are too many (" in error
    assert results(settings).keys() == {cells[1].cell_id}
    monkeypatch.undo()
    again = with_sweep(settings, retry_failed=False)
    with pytest.raises(CellFailedError, match="failed before"):
        run_single(cells[0], again)
    with pytest.raises(CellFailedError, match=r"k=5 eval.split=validation, failed before \(sweep.retry_failed=true"):
        run_single(replace(cells[0], scheme=replace(cells[0].scheme, select_max_k=6)), again)
    run_single(cells[0], settings)


@pytest.mark.parametrize("cell", [CHOSEN[i] for i in (0, 5, 16, 20, 29, 33)], ids=lambda cell: cell.cell_id)
def test_the_classifier_of_a_row_has_its_k(
    cell: Cell, swept: dict[str, tuple[int, list[int] | None, str]], embeddings: Settings
) -> None:
    _, clf, note = of_row(cell.cell_id, embeddings)
    assert note is None
    features = features_of(cell.model, cell.task, embeddings)
    queries, truth = samples_of_cell(features, cell)[1]
    assert int((clf.predict(queries) == truth).sum()) == swept[cell.cell_id][0]


def test_a_row_is_checked_from_nothing_but_its_embeddings(
    swept: dict[str, tuple[int, list[int] | None, str]], embeddings: Settings, capsys: Any
) -> None:
    cell = CHOSEN[16]
    cell_command.main([cell.cell_id, "--check", "--outputs", str(embeddings.outputs)])
    said = capsys.readouterr().out
    assert f"n_correct={swept[cell.cell_id][0]} of 240 as in the table" in said
    assert " ".join(map(str, swept[cell.cell_id][1] or [])) in said
