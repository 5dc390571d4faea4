"""What one command does from its plan to its last line, in this process: the launcher is a loop over the shards."""

from __future__ import annotations

from pathlib import Path

import pytest

from imprint_sweep.config import Settings
from imprint_sweep.embeddings import EmbeddingCache
from imprint_sweep.sweep import run_single
from tests import data
from tests.outputs import Outputs


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Fresh outputs without embeddings."""
    return Settings(outputs=tmp_path, data=tmp_path / "data", threads=1)


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


# --- What is asked for -----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("params", ["+hydra.sweeper.params={k: [1,5]}", "+hydra.sweeper.params.k='1,5'"])
def test_params_of_hydras_sweeper_on_the_command_line_are_a_block(params: str, tmp_path: Path) -> None:
    out, _ = Outputs.create(tmp_path).run("task.name=small", "gen=kmeans", "sweep.dry_run=true", params)
    assert out.startswith("requested 2 -> 2 distinct -> 0 done, 2 to run")


# --- One cell --------------------------------------------------------------------------------------------------------


def test_a_cell_shows_the_result_of_its_present_embeddings(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """Embeddings a, then b, then a again: what was computed from b is newer, and is not a's result."""
    a, b = (data.blobs(train_sizes={0: 20, 1: 20, 2: 20}, spread=spread) for spread in (3.0, 0.1))
    cell = data.cell(data.task(a), gen="mean")
    cache = EmbeddingCache(settings.embeddings)
    said = []
    for embeddings in (a, b, a):
        data.write(cache, embeddings)
        run_single(cell, settings)
        said.append(printed(capsys).splitlines())
    first, second, third = said
    assert first[0].startswith("accuracy ")
    assert first[0] != second[0]
    assert third == ["done before (force=true computes it again):", *first]
