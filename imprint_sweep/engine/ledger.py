"""What a run computed, how often, and how long it took: what tests of sharing and benchmarks look at."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from threading import Lock
from typing import Any


@dataclass(frozen=True)
class Ledger:
    """Counts by stage, over all threads.

    Args:
        calls: how often a stage was computed; results taken from memory or from disk do not count.
        seconds: CPU seconds it took, over all threads.
        operations: floating-point operations of the dense stages (multiplications and additions, or element
            differences for Manhattan).
    """

    calls: Counter[str] = field(default_factory=Counter)
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    operations: Counter[str] = field(default_factory=Counter)
    _lock: Lock = field(default_factory=Lock, repr=False, compare=False)

    def add(self, stage: str, *, calls: int = 0, seconds: float = 0.0, operations: int = 0) -> None:
        """Count some work of a stage; from any thread."""
        with self._lock:
            self.calls[stage] += calls
            self.seconds[stage] += seconds
            self.operations[stage] += operations

    def content(self) -> dict[str, Any]:
        """The counts, as JSON takes them."""
        with self._lock:
            return {name: dict(getattr(self, name)) for name in ("calls", "seconds", "operations")}
