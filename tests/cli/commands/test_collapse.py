"""The command computes what is missing, prints all, and says what is in the way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from imprint_sweep.analysis.stats import collapse_table
from imprint_sweep.cli.commands.collapse import main
from imprint_sweep.embeddings.cache import EmbeddingCache
from imprint_sweep.embeddings.features import Features
from tests import data
from tests.analysis import table

DATASET = data.uneven()
TASKS = [data.task(DATASET), *(replace(data.task(DATASET, merge=2), remap=remap) for remap in (0, 1))]


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    cache = EmbeddingCache(tmp_path / "embeddings")
    data.write(cache, DATASET)
    for task in TASKS:
        fingerprint = Features(cache, data.MODEL, None).recorded(task)
        table.write(tmp_path, [(data.cell(task, gen="mean"), 1)], fingerprint)
    return tmp_path


def test_values_are_computed_once_and_printed_each_time(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--outputs", str(outputs)])
    first, _ = capsys.readouterr()
    main(["--outputs", str(outputs)])
    again, _ = capsys.readouterr()
    assert first.count("NC1 = ") == 3
    assert again.count("NC1 = ") == 0
    assert first.endswith(again)

    values = collapse_table.read(table.write(outputs, []))["nc1"]
    heads, plain, merged = again.strip().splitlines()
    assert heads.split()[-4:] == ["NC1", "NC1", "(published", "centring)"]
    assert plain.split()[:-1] == ["toy", "none", "uneven", "all", "-", "-", "53", f"{values[0]:.4g}"]
    assert merged.split()[:-1] == ["toy", "none", "uneven", "all", "2", "2", "52", f"{values[1:].mean():.4g}"]


def test_missing_embeddings_are_an_error_with_the_command(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (outputs / "embeddings").rglob("*-train.safetensors"):
        path.unlink()
    with pytest.raises(SystemExit) as ended:
        main(["--outputs", str(outputs)])
    assert ended.value.code == 1
    _, err = capsys.readouterr()
    assert err.startswith("error: there are no embeddings of toy (none) on uneven train; make them with: ")
    assert len(err.splitlines()) == 1


def test_a_task_of_one_label_alone_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache = EmbeddingCache(tmp_path / "embeddings")
    data.write(cache, DATASET)
    one = data.task(DATASET, classes=DATASET.classes[:1])
    table.write(tmp_path, [(data.cell(one, gen="mean"), 1)], Features(cache, data.MODEL, None).recorded(one))
    with pytest.raises(SystemExit) as ended:
        main(["--outputs", str(tmp_path)])
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("error: NC1 compares classes, and every task in the results table has a single label")


def test_without_results_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--outputs", str(tmp_path)])
    assert ended.value.code == 2
    assert "there is no results table" in capsys.readouterr().err
