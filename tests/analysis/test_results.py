"""What of a results table the analysis compares, and what it says of the rest."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from imprint_sweep.analysis.data.results import COLUMNS, load
from imprint_sweep.errors import StoreError
from imprint_sweep.grid.axes import parameter_column
from imprint_sweep.grid.cell import METHOD_VERSION
from imprint_sweep.grid.outcome import FAILED, OK, Outcome, Status
from imprint_sweep.grid.scheme import known_parameters
from imprint_sweep.store import Provenance, table_schema
from imprint_sweep.store.parts import write_part
from imprint_sweep.store.rows import table_of
from tests import data

TASK = data.task(data.clean())
START = datetime(2026, 1, 1, tzinfo=UTC)


def part(outputs: Path, *, seeds: range = range(1), status: Status = OK, without: str = "", **columns: Any) -> None:
    """Write rows of one configuration, a seed each, as another version of the package may have written them.

    Args:
        outputs: the folder that holds the table.
        seeds: a row each.
        status: of all of them.
        without: a column that the file lacks.
        columns: values that differ from those of a row of today.
    """
    outcomes = [
        Outcome(data.cell(TASK, gen="fps", seed=seed), "c", "f" * 20, status=status, n_correct=8, n_test=10)
        for seed in seeds
    ]
    finished = START + timedelta(hours=len(list(outputs.glob("results/*"))))
    table = table_of([(outcome, finished) for outcome in outcomes], Provenance("0.1.0", None, "here"))
    for name, value in columns.items():
        values = pa.array([value] * len(table), table_schema().field(name).type)
        table = table.set_column(table.column_names.index(name), table_schema().field(name), values)
    if without:
        table = table.drop_columns([without])
    (outputs / "results").mkdir(exist_ok=True)
    write_part(outputs / "results", f"part-{len(list(outputs.glob('results/*')))}.parquet", table)


def test_rows_have_the_columns_of_the_analysis_and_words_are_categories(tmp_path: Path) -> None:
    part(tmp_path, seeds=range(3))
    results = load(tmp_path)
    assert list(results.frame.columns) == [*COLUMNS, *map(parameter_column, known_parameters())]
    assert results.frame["seed"].tolist() == [0, 1, 2]
    assert results.frame["gen"].dtype == "category"
    assert results.notes == ()


def test_rows_without_test_samples_are_left_out(tmp_path: Path) -> None:
    part(tmp_path, seeds=range(2), n_test=0)
    with pytest.raises(StoreError, match=r"no good row .*without test samples"):
        load(tmp_path)
    part(tmp_path, seeds=range(5, 8))
    results = load(tmp_path)
    assert results.frame["seed"].tolist() == [5, 6, 7]
    assert results.notes == ("Left out are rows without test samples, which have no accuracy: 2.",)


def test_rows_of_another_method_version_are_set_aside(tmp_path: Path) -> None:
    part(tmp_path, seeds=range(2))
    part(tmp_path, seeds=range(2, 5), method_version=METHOD_VERSION + 1)
    results = load(tmp_path)
    assert results.frame["seed"].tolist() == [0, 1]
    (note,) = results.notes
    assert note.startswith(f"Set aside are rows of method version {METHOD_VERSION + 1}: 3; ")


def test_cells_that_only_failed_are_left_out_and_counted(tmp_path: Path) -> None:
    part(tmp_path, seeds=range(3))
    part(tmp_path, seeds=range(2, 5), status=FAILED)
    results = load(tmp_path)
    assert results.frame["seed"].tolist() == [0, 1, 2]
    (note,) = results.notes
    assert note.startswith("Left out are cells that only ever failed: 2;")


def test_rows_from_embeddings_that_were_replaced_are_set_aside(tmp_path: Path) -> None:
    part(tmp_path, seeds=range(3), fingerprint="a" * 20)
    part(tmp_path, seeds=range(1), fingerprint="b" * 20)
    results = load(tmp_path)
    assert results.frame["seed"].tolist() == [0]
    (note,) = results.notes
    assert note.startswith("Set aside are rows from embeddings that were replaced later (toy on clean")


def test_mixed_package_versions_are_used_together_and_named(tmp_path: Path) -> None:
    part(tmp_path, seeds=range(1))
    part(tmp_path, seeds=range(1, 2), package_version="0.0.9")
    results = load(tmp_path)
    assert len(results.frame) == 2
    assert results.notes == ("Rows of package versions 0.0.9, 0.1.0 are used together; their method is the same.",)


@pytest.mark.parametrize(
    "column", [name for name in COLUMNS if table_schema().field(name).nullable and name != "precision"]
)
def test_a_column_that_an_old_part_lacks_is_null(tmp_path: Path, column: str) -> None:
    part(tmp_path, seeds=range(2), without=column)
    part(tmp_path, seeds=range(2, 3))
    frame = load(tmp_path).frame
    assert len(frame) == 3
    older = frame.loc[frame["seed"] < 2, column]
    assert (older == "test").all() if column == "split" else older.isna().all()


def test_no_table_and_tables_without_comparable_rows_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no results table"):
        load(tmp_path)
    (tmp_path / "results").mkdir()
    with pytest.raises(StoreError, match="holds no good row of method version 1; run a cell or a sweep first"):
        load(tmp_path)
    part(tmp_path, status=FAILED)
    with pytest.raises(StoreError, match=r"\(Left out are cells that only ever failed: 1;"):
        load(tmp_path)
