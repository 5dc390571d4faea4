"""The commands and blocks of code in the documentation, found and run as a reader types them.

    python -m tests.documentation FOLDER      run every page in an empty folder; a line of JSON for each block

In a page a comment before a block says what is special about it::

    <!-- not run: why -->               nothing runs it
    <!-- planned only: why -->          sweeps run with sweep.dry_run=true
    <!-- printed by: COMMAND -->        before a block of text: an error that this command ends with

A block of Python or YAML whose first line is a comment with the name of a file is that file. A block of text after
another block is what that block prints: its lines, in this order, maybe with others between them. ``...`` stands for
anything and a number for any number, as numbers depend on embeddings, which depend on the machine.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import runpy
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parents[1]
NOT_RUN, PLANNED, PRINTED = "not run", "planned only", "printed by"
ELSEWHERE = {
    "docs/method.md": "tests/test_method_document.py runs its examples",
    "docs/extending.md": "tests/test_touchstones.py runs its files, in copies of the project",
    "docs/results": "says how a run of hours was made",
    "docs/where-imprinting-stands.md": "says how a run of hours was made",
}
"""Pages, and folders of pages, whose blocks are not run here, and why."""

_BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>not run|planned only|printed by):\s*(?P<why>.*?)\s*-->\n\n?)?"
    r"^```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_FILE = re.compile(r"# ([\w./-]+\.(?:py|ya?ml))\n")
_NUMBER = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?")
_SET = re.compile(r"(\w+)=(.*)", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A block of a page.

    Args:
        page: its path from the root of the checkout.
        line: of its fence, from 1.
        language: as the fence says.
        text: what stands between the fences.
        mark: of the comment before it; empty if there is none.
        why: what the comment says.
    """

    page: str
    line: int
    language: str
    text: str
    mark: str = ""
    why: str = ""

    @property
    def name(self) -> str:
        """Page and line, for people."""
        return f"{self.page}:{self.line}"

    @property
    def commands(self) -> list[str]:
        """The commands of a block of shell, one a line."""
        joined = self.text.replace("\\\n", "")
        return [line for line in joined.splitlines() if line.strip() and not line.startswith("#")]


@dataclass
class Result:
    """What became of a block.

    Args:
        block: which.
        seconds: that it took.
        printed: standard output and error, as they came.
        error: why it failed; empty if it did not.
    """

    block: Block
    seconds: float = 0.0
    printed: str = ""
    error: str = ""


def pages() -> list[str]:
    """The pages of the site in its order, then those beside it."""
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    return [*(f"docs/{page}" for page in _leaves(site["nav"])), "README.md", "CONTRIBUTING.md"]


def _leaves(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    else:
        for entry in nav.values() if isinstance(nav, dict) else nav:
            yield from _leaves(entry)


def run_here(page: str) -> bool:
    """Whether the blocks of a page are run here."""
    return not any(page == place or page.startswith(f"{place}/") for place in ELSEWHERE)


def blocks(page: str) -> list[Block]:
    """The blocks of a page."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [
        Block(
            page,
            text.count("\n", 0, found.start("language")) + 1,
            found["language"],
            found["text"],
            found["mark"] or "",
            " ".join((found["why"] or "").split()) if found["mark"] != PRINTED else (found["why"] or ""),
        )
        for found in _BLOCK.finditer(text)
    ]


# --- running ----------------------------------------------------------------------------------------------------------


@dataclass
class Page:
    """A page that is being read: its blocks share the names of Python.

    Args:
        names: what was defined so far.
        printed: by the block before; None where a block of text is no output.
    """

    names: dict[str, Any] = field(default_factory=lambda: {"__name__": "__main__"})
    printed: str | None = None

    def run(self, block: Block) -> Result:
        """Run a block, in the present folder, and compare what it shows."""
        result, start = Result(block), time.perf_counter()
        out = io.StringIO()
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
                self._run(block)
        except Exception as error:
            result.error = f"{type(error).__name__}: {error}"
        result.printed = out.getvalue()
        if block.language == "text":
            printed = result.printed if block.mark == PRINTED else self.printed
            if not result.error and printed is not None and (lacking := missing(block.text, printed)):
                result.error = f"not printed: {lacking!r}, but:\n{printed}"
        else:
            self.printed = None if block.mark or _FILE.match(block.text) else result.printed
        result.seconds = time.perf_counter() - start
        return result

    def _run(self, block: Block) -> None:
        if block.mark == NOT_RUN:
            return
        if block.mark == PRINTED:
            lines = block.why.splitlines()
            for line in lines[:-1]:
                command(line)
            with contextlib.suppress(FailedCommandError):
                command(lines[-1])
                raise AssertionError(f"{lines[-1]} ended well")
        elif found := _FILE.match(block.text):
            path = Path(found[1])
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        elif block.language == "bash":
            for line in block.commands:
                command(line, *(["sweep.dry_run=true"] if block.mark == PLANNED else []))
        elif block.language == "python":
            lines_before = "\n" * block.line
            exec(compile(lines_before + block.text, block.page, "exec"), self.names)
        elif block.language != "text":
            raise AssertionError(f"a block of {block.language or 'nothing'}: expected bash, python, text, or a file")


class FailedCommandError(Exception):
    """A command ended with another exit code than 0."""


def command(line: str, *more: str) -> None:
    """Run a line of the shell: Python in this process, as starting one takes seconds; anything else in a shell.

    Raises:
        FailedCommandError: its exit code is not 0.
    """
    words = [*shlex.split(line, comments=True), *more]
    variables = {}
    while found := _SET.fullmatch(words[0]):
        variables[found[1]] = found[2]
        words.pop(0)
    if words[0] != "python":
        done = subprocess.run(line, shell=True, capture_output=True, text=True, check=False)
        print(done.stdout + done.stderr)
        if done.returncode:
            raise FailedCommandError(f"{line}: exit code {done.returncode}: {done.stderr}")
        return
    before = sys.argv, dict(os.environ)
    os.environ.update(variables)
    try:
        if words[1] == "-m":
            sys.argv = words[2:]
            runpy.run_module(words[2], run_name="__main__")
        elif words[1] == "-c":
            _execute(words[2])
        else:
            sys.argv = words[1:]
            runpy.run_path(words[1], run_name="__main__")
    except SystemExit as end:
        if end.code:
            raise FailedCommandError(f"{line}: exit code {end.code}") from None
    finally:
        sys.argv = before[0]
        os.environ.clear()
        os.environ.update(before[1])


def _execute(code: str) -> None:
    """What ``python -c`` does; of an error the last line of its traceback."""
    try:
        exec(code, {"__name__": "__main__"})
    except Exception as error:
        print(f"{type(error).__name__}: {error}")
        raise SystemExit(1) from error


def missing(shown: str, printed: str) -> str | None:
    """The first line that a page shows and that was not printed after the ones before it; None if all were."""
    rest = [_plain(line) for line in printed.splitlines()]
    for line in filter(str.strip, shown.splitlines()):
        pattern = re.compile(".*".join(map(re.escape, _plain(line).split("..."))))
        while rest and not pattern.fullmatch(rest[0]):
            rest.pop(0)
        if not rest and not re.fullmatch(r"\s*\.\.\.\s*", line):
            return line
    return None


def _plain(line: str) -> str:
    """A line whose numbers and spaces are any."""
    return " ".join(_NUMBER.sub("#", line).split())


def main(folder: Path) -> None:
    """Run every page, in order, in one folder that looks like a checkout, and print a line of JSON for each block."""
    from imprint_sweep import invocation

    for name in ("scripts", "pyproject.toml"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "imprint_sweep").mkdir()
    (folder / "imprint_sweep" / "conf").symlink_to(ROOT / "conf")
    invocation._PACKAGE = folder / "imprint_sweep"  # so that outputs are those of this folder
    os.chdir(folder)
    for name in filter(run_here, pages()):
        page = Page()
        for block in blocks(name):
            print(json.dumps(asdict(page.run(block))), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
