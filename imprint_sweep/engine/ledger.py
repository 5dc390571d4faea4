"""What a run computed, how often, and how long it took: what tests of sharing and benchmarks look at."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Ledger:
    """Counts by stage, over all threads.

    Args:
        calls: how often a stage was computed; results taken from memory or from disk do not count.
        seconds: thread-seconds it took.
        operations: floating-point operations of the dense stages (multiplications and additions, or element
            differences for Manhattan).
    """

    calls: Counter[str] = field(default_factory=Counter)
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    operations: Counter[str] = field(default_factory=Counter)
