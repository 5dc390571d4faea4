"""Write the report on all results: one page, and every table and figure of the paper as files beside it."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from imprint_sweep import telling
from imprint_sweep.analysis import rendering
from imprint_sweep.analysis.artefact import Artefact, Options
from imprint_sweep.analysis.artefacts import ARTEFACTS, make
from imprint_sweep.analysis.data.results import Results, load
from imprint_sweep.analysis.data.subset import subset
from imprint_sweep.analysis.report import artefact_folder, build, write
from imprint_sweep.cli.app import user_errors
from imprint_sweep.cli.options import parse_options
from imprint_sweep.errors import UnknownOptionError
from imprint_sweep.invocation import command, outputs_folder, shell_line
from imprint_sweep.wording import duration, visible


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line.

    Raises:
        SystemExit: code 2 where there is nothing to report on, or an option that does not exist.
    """
    parser = ArgumentParser(prog=command("report"), description=__doc__)
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help="only these, like fig2 or tableA2: prints them, writes no page"
    )
    parser.add_argument("--where", metavar="CONDITION", help='only these rows: "model == resnet18 and k in [1, 20]"')
    parser.add_argument(
        "--published",
        action="store_true",
        help="decide as the paper's published figures do: identical results differ, ties rank densely, p-values of "
        "pairs with a tie are approximate, their NC1",
    )
    parser.add_argument("--outputs", metavar="DIR", help="the paths.outputs of the runs (default: theirs)")
    words = sys.argv[1:] if arguments is None else list(arguments)
    given = parse_options(parser, words)
    with user_errors():
        if unknown := [name for name in given.only or () if name not in ARTEFACTS]:
            raise UnknownOptionError("artefact", unknown[0], ARTEFACTS)
        options = Options(published=True, nc_centering="published") if given.published else Options()
        start = time.monotonic()
        with _telling(1 if given.only else len(ARTEFACTS) + 3) as tell:
            tell("reading the results")
            results = load(outputs_folder(given.outputs))
            if given.where is not None:
                results = subset(results, given.where)
            if not given.only:
                report = build(results, options, command=shell_line("report", words), tell=tell)
        if given.only:
            _some(given.only, results, options)
        else:
            print(f"{report.summary} ({duration(time.monotonic() - start)})\n{_shown(report.page)}")


def _some(names: Sequence[str], results: Results, options: Options) -> None:
    """Write some artefacts and print them as Markdown."""
    for note in results.notes:
        print(f"note: {visible(note)}", file=sys.stderr)
    for name in dict.fromkeys(names):
        artefact = make(name, results, options)
        print("\n\n".join(markdown(artefact)), end="\n\n", flush=True)
        written = write(artefact, results.outputs)
        if written:
            folder = _shown(artefact_folder(results.outputs, name))
            print(f"{len(written)} files in {folder}: {', '.join(path.name for path in written)}", file=sys.stderr)


def markdown(artefact: Artefact) -> Iterator[str]:
    """An artefact for the terminal, in blocks: what a page says of it, without its figures."""
    yield f"## {artefact.title}"
    yield from map(visible, filter(None, (artefact.caption, artefact.basis)))
    for table in artefact.tables:
        yield rendering.markdown(table).strip()
    if artefact.missing:
        yield visible("\n".join(["Missing or set aside:", *(f"- {sentence}" for sentence in artefact.missing)]))
    if artefact.command:
        yield visible(f"    {artefact.command}")


@contextmanager
def _telling(total: int) -> Iterator[Callable[[str], object]]:
    """Tell what is being done, one artefact after the other."""
    done = 0
    with telling.counting(total, "artefact", brief=True) as count:

        def tell(what: str) -> None:
            nonlocal done
            done += 1
            count.update(done, details=what)

        yield tell


def _shown(path: Path) -> Path:
    """A path as one would type it here."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


if __name__ == "__main__":
    main()
