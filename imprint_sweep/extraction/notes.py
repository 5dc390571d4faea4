"""Notes for whoever watches a command: on stderr, at once."""

from __future__ import annotations

import sys


def note(text: str) -> None:
    """Print a note."""
    print(f"note: {text}", file=sys.stderr, flush=True)
