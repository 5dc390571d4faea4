"""Merge the many small files of the results table into a few, and move damaged ones aside; safe while sweeps run."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence

from imprint_sweep.cli.app import user_errors
from imprint_sweep.cli.options import parse_options
from imprint_sweep.invocation import command, named_path, outputs_folder
from imprint_sweep.store import compact
from imprint_sweep.wording import counted


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = ArgumentParser(prog=command("compact"), description=__doc__)
    parser.add_argument("--results", metavar="FOLDER", help="the results table (default: that of the runs)")
    parser.add_argument("--outputs", metavar="FOLDER", help="the paths.outputs of the runs (default: theirs)")
    parser.add_argument(
        "--repair",
        action="store_true",
        help="rename damaged files, so that no command reads them again, and take back renamed ones that are intact",
    )
    given = parse_options(parser, arguments)
    with user_errors():
        root = outputs_folder(given.outputs) / "results"
        if given.results is not None:
            root = named_path("the results table (--results)", given.results)
        done = compact(root, repair=given.repair)
        dropped = done.rows_before - done.rows_after
        print(f"{root}")
        print(f"before: {counted(done.rows_before, 'row')} in {counted(done.parts_before, 'file')}")
        after = f"{counted(done.rows_after, 'row')} in {counted(done.parts_after, 'file')}"
        print(f"after:  {after}, {counted(dropped, 'exact duplicate')} dropped")
        for path in done.restored:
            print(f"intact, taken back as {path.name}")
        for path in done.moved:
            print(f"damaged, moved aside as {path.name}; its cells without another row will be computed again")
        if done.damaged:
            print(f"left alone: {counted(len(done.damaged), 'damaged file')}; --repair moves them aside")
        if done.newer:
            print(f"left alone: {counted(len(done.newer), 'file')} of a newer version of imprint-sweep")


if __name__ == "__main__":
    main()
