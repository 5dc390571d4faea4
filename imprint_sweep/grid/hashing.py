"""Hashes of content: one spelling of every value, and digests of it."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def canonical_json(value: Any) -> str:
    """JSON with one spelling per value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(*fragments: str) -> str:
    """20 hex digits (80 bits: half a million cells collide with a chance of 1e-13)."""
    return hashlib.blake2b("\n".join(fragments).encode(), digest_size=10).hexdigest()


def code(text: str) -> int:
    """A number for a text, 64 bits unsigned; 0 for the empty text.

    >>> code(""), code("gen:kmeans=2") > 0
    (0, True)
    """
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) if text else 0
