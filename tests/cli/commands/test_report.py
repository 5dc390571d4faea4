"""The command that writes the report, or some of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from imprint_sweep.cli.commands.report import main
from imprint_sweep.planning.plan import Plan
from tests import plausible
from tests.analysis import handmade
from tests.sweeping import requested, tree_of

ROOT = Path(__file__).resolve().parents[3]
AXES = ["model=resnet18", "task=mnist,fashion_mnist", "gen=mean,kmeans", "k=1,5", "seed=1,2"]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of outputs with made-up results."""
    outputs = tmp_path_factory.mktemp("outputs")
    plausible.write(outputs, Plan.of(requested(tree_of(), *AXES)))
    return outputs


@pytest.fixture
def outputs(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same results in a folder of this test, and hand-made artefacts."""
    (tmp_path / "results").symlink_to(table / "results")
    handmade.install(monkeypatch, handmade.artefacts())
    return tmp_path


def refused(*arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What the command says before it ends with code 2."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    return printed.err


def test_it_writes_the_page_and_says_how_much_is_there(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--outputs", str(outputs)])
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("3 tables and figures: 1 complete, 1 partial, 1 empty (")
    assert second == str(outputs / "report" / "index.html")
    assert f"report.py --outputs {outputs}" in Path(second).read_text()


def test_only_writes_and_prints_what_was_asked_for(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--only", "fig11a", "fig2", "fig2", "--outputs", str(outputs)])
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert [line for line in lines if line.startswith("## ")] == [
        "## Neural collapse over the number of modes (Fig. 11a)",
        "## Five methods on the same embeddings (Fig. 2)",
    ]
    assert "- There is no result on ImageNet." in lines
    assert any(line.startswith("| Oracle") and "**94.54**" in line for line in lines)
    assert "7 files in" in printed.err
    assert not (outputs / "report" / "index.html").exists()
    assert (outputs / "report" / "artefacts" / "fig2" / "fig2.pdf").exists()


def test_where_chooses_rows(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--where", "task == mnist and k == 5", "--outputs", str(outputs)])
    page = (outputs / "report" / "index.html").read_text()
    assert "Only rows with task == mnist and k == 5: 2 of 12." in page


def test_an_unknown_name_or_axis_or_word_is_explained(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused("--only", "fig22", "--outputs", str(outputs), capsys=capsys)
    assert said == "error: unknown artefact 'fig22'; did you mean fig2 or fig6? Available: fig11a, fig2, fig6\n"
    said = refused("--where", "tsk == mnist", "--outputs", str(outputs), capsys=capsys)
    assert "unknown axis in the condition 'tsk == mnist': 'tsk'; did you mean task?" in said
    said = refused("--where", "task == mnits", "--outputs", str(outputs), capsys=capsys)
    assert "did you mean mnist? Available: fashion_mnist, mnist" in said


def test_no_table_and_an_empty_one_are_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused("--outputs", str(tmp_path), capsys=capsys)
    assert f"there is no results table at {tmp_path / 'results'}; run a cell" in said
    (tmp_path / "results").mkdir()
    said = refused("--outputs", str(tmp_path), capsys=capsys)
    assert "holds no good row of method version 1; run a cell or a sweep first" in said


def test_it_needs_no_torch() -> None:
    program = "import sys; import imprint_sweep.cli.commands.report; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0
