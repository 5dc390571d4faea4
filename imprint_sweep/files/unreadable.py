"""Messages about files that cannot be read: what is in them instead, and how to get the right ones."""

from __future__ import annotations

import re
from pathlib import Path

from imprint_sweep.errors import one_line

_HEAD_BYTES = 1024
_SHOWN_CHARACTERS = 60
_POINTERS = {
    b"version https://git-lfs.github.com/spec/": ("a Git LFS pointer", "git lfs pull"),
    b"/annex/objects/": ("a git-annex pointer", "git annex get"),
}
"""How each pointer begins, its name, and the command that puts the file in its place."""

_UNSAFE_ADVICE = re.compile("[Ww]eights[_ ]only|allow_pickle|pickled|Python objects")
"""Messages of torch and NumPy that say how to load objects, which can run any code."""


def stand_in(path: Path) -> str | None:
    """What lies in the place of a file, and how to get the file itself; None if nothing says that it is not there.

    Recognised are pointers of Git LFS and git-annex, web pages, short texts (the error messages of servers), and
    files without content.

    Args:
        path: a file that could not be read; one that cannot even be opened is no stand-in.
    """
    head, more = _head(path)
    if head is None:
        return None
    if not head:
        return "it is empty; fetch the file again"
    if found := _pointer(head):
        return found
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"<") and (b"<html" in text or b"<!doctype html" in text):
        return "it is a web page (HTML), not the file itself; fetch the file again, from its direct address"
    if text.startswith(b"<?xml"):
        return "it is an XML document, such as a server's error message; fetch the file again"
    words = " ".join(head.decode("ascii", "replace").split())
    if not more and words.isprintable() and "\N{REPLACEMENT CHARACTER}" not in words:
        shown = words if len(words) <= _SHOWN_CHARACTERS else f"{words[:_SHOWN_CHARACTERS]}..."
        return f"it is a text ({shown!r}), not the file itself; fetch the file again"
    return None


def pointer(path: Path) -> str | None:
    """What lies in the place of a file that Git LFS or git-annex is to fetch; None if it is no such pointer."""
    return _pointer(_head(path)[0] or b"")


def _head(path: Path) -> tuple[bytes | None, bool]:
    """The first bytes of a file, None if it cannot be opened, and whether there are more."""
    try:
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES), bool(file.read(1))
    except OSError:
        return None, False


def _pointer(head: bytes) -> str | None:
    for start, (name, command) in _POINTERS.items():
        if head.startswith(start):
            return f"it is {name}, not the file itself; run: {command}"
    return None


def unreadable(path: Path, error: Exception, *, objects: str = "numbers", mend: str = "") -> str:
    """Why a file cannot be read.

    Libraries that refuse to load objects advise to switch that off; this never repeats such advice.

    Args:
        path: the file.
        error: what its reader raised.
        objects: what the file should hold where it holds other objects.
        mend: what to do about a damaged file.

    Returns:
        A part of a sentence, on one line.
    """
    if isinstance(error, FileNotFoundError) and not path.exists():
        return "no such file"
    if isinstance(error, IsADirectoryError):
        return "it is a folder, expected a file"
    if found := stand_in(path):
        return found
    if _UNSAFE_ADVICE.search(str(error)):
        return f"it is damaged, or holds other objects than {objects}"
    kind = "" if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: "
    reason = one_line(error)
    return f"{'' if reason == type(error).__name__ else kind}{reason}{mend and f'; {mend}'}"
