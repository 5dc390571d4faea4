"""``docs/tour.ipynb`` runs, and shows what running it shows."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from tests import notebook


@pytest.mark.slow
def test_the_tour_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = notebook.load()
    now = copy.deepcopy(kept)
    monkeypatch.chdir(tmp_path)
    notebook.run(now)
    # Numbers depend on the embeddings, which depend on the machine. What kind of things a cell shows does not.
    assert [_shown(cell) for cell in notebook.code_cells(now)] == [_shown(cell) for cell in notebook.code_cells(kept)]
    last = notebook.code_cells(now)[-1]["outputs"]
    assert "run by onnxruntime" in "".join(last[0]["text"])


def test_the_tour_says_nothing_about_where_it_was_run() -> None:
    text = notebook.TOUR.read_text(encoding="utf-8")
    for folder in (str(Path.home()), "/tmp/", str(notebook.TOUR.parents[1])):
        assert folder not in text


def _shown(cell: notebook.Json) -> list[list[str]]:
    return [sorted(output.get("data", ["text"])) for output in cell["outputs"]]
