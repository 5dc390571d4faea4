"""The documentation is true: its commands and code run, print what the pages show, and its links lead somewhere."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from imprint_sweep import __version__
from tests import documentation
from tests.documentation import ELSEWHERE, NOT_RUN, PLANNED, ROOT, Block, Result, missing

PAGES = [page for page in documentation.pages() if documentation.run_here(page)]
BLOCKS = [block for page in PAGES for block in documentation.blocks(page)]
LEFT_OUT = {
    "README.md": {"make demo", "python scripts/report.py", "make test", "make lint", "python benchmarks/"},
    "docs/quickstart.md": {"make demo", "source .venv/bin/activate", "pip install", "jupyter lab"},
    "docs/sweeps.md": {
        "python -m imprint_sweep -m +experiment=paper",
        "python -m imprint_sweep -m hydra/sweeper=optuna",
    },
    "docs/embeddings.md": {"python scripts/embed.py"},
    "docs/text.md": {"pip install", "python scripts/embed.py", "python -m imprint_sweep -m model=minilm"},
    "docs/slurm.md": {"python -m imprint_sweep -m +experiment=agg_focus hydra/launcher=submitit_slurm"},
    "docs/deploy.md": {"python scripts/export.py da27c8f8 --to model.onnx --with-model"},
    "docs/checked.md": {"make test", "python benchmarks/"},
    "docs/benchmarks.md": {"python benchmarks/"},
    "CONTRIBUTING.md": {"make demo", "source .venv/bin/activate", "make ", "bash .ci/run"},
}
"""How the commands begin that no test here runs; each page says why before the block."""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    """What became of every block: all are run in one process and one folder, in the order of the site."""
    words = [sys.executable, "-m", "tests.documentation", str(tmp_path_factory.mktemp("documentation"))]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    found = [Result(**of | {"block": Block(**of["block"])}) for of in map(json.loads, done.stdout.splitlines())]
    return {result.block.name: result for result in found}


@pytest.mark.slow
@pytest.mark.parametrize("name", [block.name for block in BLOCKS if block.mark != NOT_RUN])
def test_a_block_runs_and_prints_what_the_page_shows(name: str, results: dict[str, Result]) -> None:
    result = results[name]
    assert not result.error, f"{result.error}\n{result.block.text}\n{result.printed}"


def test_what_is_not_run_says_why_and_is_known_here() -> None:
    for block in BLOCKS:
        assert len(block.why.split()) >= 3 or block.mark not in (NOT_RUN, PLANNED), block.name
        known = LEFT_OUT.get(block.page, set())
        for command in block.commands if block.mark == NOT_RUN else ():
            assert any(command.startswith(beginning) for beginning in known), f"{block.name}: {command}"


def test_only_sweeps_are_planned_only() -> None:
    planned = [command for block in BLOCKS if block.mark == PLANNED for command in block.commands]
    assert planned
    assert all(command.startswith("python -m imprint_sweep -m ") for command in planned)


def test_every_page_is_run_here_or_elsewhere() -> None:
    counts = Counter(block.page for block in BLOCKS)
    for page in PAGES:
        fences = (ROOT / page).read_text(encoding="utf-8").count("\n```")
        assert 2 * counts[page] == fences, f"{page} has a block that is not read"
    for why in ELSEWHERE.values():
        for test in re.findall(r"tests/\w+\.py", why):
            assert (ROOT / test).is_file()


def test_what_is_quoted_as_an_error_is_in_the_code() -> None:
    """Of errors that are told in passing; those in blocks are provoked."""
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "imprint_sweep").rglob("*.py"))
    quoted = re.findall(r"\*`([^`]+)`\*", page)
    assert len(quoted) > 5
    for sentence in quoted:
        for part in filter(None, map(str.strip, sentence.split("..."))):
            assert part in sources, sentence


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_links_from_outside_of_the_site_lead_to_a_file(page: str) -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", (ROOT / page).read_text(encoding="utf-8"))
    assert links
    assert all((ROOT / link).exists() for link in links if "://" not in link)


def test_the_readme_is_short() -> None:
    assert (ROOT / "README.md").read_text(encoding="utf-8").count("\n") < 150


def test_the_citation_is_of_this_version_and_of_the_paper() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["cff-version"], citation["version"], citation["license"]) == ("1.2.0", __version__, "MIT")
    (paper,) = citation["references"]
    assert paper["title"] in " ".join((ROOT / "README.md").read_text(encoding="utf-8").replace("*", "").split())


@pytest.mark.parametrize(
    ("shown", "printed", "lacking"),
    [
        ("a 1.5", "a 2", None),
        ("a 1.5", "b 2", "a 1.5"),
        ("a\nb", "note\na\n more\nb", None),
        ("b\na", "a\nb", "a"),
        ("from ... to 3", "from here to 4", None),
        ("a\n...", "a", None),
        ("k1 is 3", "k2 is 3", "k1 is 3"),
        ("1,024 bytes", "7 bytes", None),
    ],
)
def test_lines_are_compared_but_for_their_numbers(shown: str, printed: str, lacking: str | None) -> None:
    assert missing(shown, printed) == lacking


def test_blocks_are_found_with_their_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = "<!-- not run: so\nit is -->\n```bash\na \\\n  b\n# c\n```\n\n```text\nx\n```\n"
    (tmp_path / "page.md").write_text(page)
    monkeypatch.setattr(documentation, "ROOT", tmp_path)
    first, second = documentation.blocks("page.md")
    assert (first.mark, first.why, first.line, first.commands) == (NOT_RUN, "so it is", 3, ["a   b"])
    assert (second.mark, second.language, second.text, second.line) == ("", "text", "x\n", 9)
