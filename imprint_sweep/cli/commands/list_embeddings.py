"""List the embeddings that are cached; with --verify, hash their content."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Sequence

from imprint_sweep.cli.app import USER_ERROR, user_errors
from imprint_sweep.cli.options import parse_options
from imprint_sweep.embeddings.cache import EmbeddingCache, EntryHeader, read_header
from imprint_sweep.errors import InvalidEmbeddingsError
from imprint_sweep.invocation import command, outputs_folder
from imprint_sweep.wording import aligned, visible

COLUMNS = (
    "model",
    "weights",
    "image size",
    "dataset",
    "split",
    "limit",
    "n",
    "classes",
    "d",
    "MB",
    "fingerprint",
    "created",
)
_NUMBERS = {COLUMNS.index(name) for name in ("image size", "limit", "n", "classes", "d", "MB")}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line.

    Raises:
        SystemExit: code 2 if an entry is damaged.
    """
    parser = ArgumentParser(prog=command("embeddings"), description=__doc__)
    parser.add_argument("--outputs", metavar="FOLDER", help="the paths.outputs of the runs (default: theirs)")
    parser.add_argument("--verify", action="store_true", help="hash every entry and compare with its fingerprint")
    given = parse_options(parser, arguments)
    with user_errors():
        _list(EmbeddingCache(outputs_folder(given.outputs) / "embeddings"), verify=given.verify)


def _list(cache: EmbeddingCache, *, verify: bool) -> None:
    rows, damaged = [], []
    for path in cache.paths():
        try:
            rows.append(_row(cache.verify(path) if verify else read_header(path)))
        except InvalidEmbeddingsError as error:
            damaged.append(str(error))
    print(
        visible("\n".join(aligned([COLUMNS, *rows], right=_NUMBERS)))
        if rows
        else f"there are no embeddings under {cache.root}; {command('embed')} makes them"
    )
    if verify and rows:
        print(f"{len(rows)} verified")
    for message in damaged:
        print(f"error: {visible(message)}", file=sys.stderr)
    if damaged:
        raise SystemExit(USER_ERROR)


def _row(header: EntryHeader) -> tuple[str, ...]:
    key = header.key
    return (
        key.model.name,
        key.model.spelled_weights,
        str(key.model.image_size or "native"),
        key.dataset,
        key.split,
        str(key.limit or ""),
        f"{header.n:,}",
        f"{len(header.class_counts):,}",
        f"{header.d:,}",
        f"{header.size / 1e6:,.1f}",
        header.fingerprint[:12],
        header.metadata["created"],
    )


if __name__ == "__main__":
    main()
