"""What is classified, by label, and the same under a gen's map."""

from __future__ import annotations

from collections.abc import Iterable

from imprint_sweep.embeddings.features import Features
from imprint_sweep.engine import draws
from imprint_sweep.engine.ledger import Ledger
from imprint_sweep.engine.memory import StageMemory
from imprint_sweep.grid.cell import Label
from imprint_sweep.grid.keys import Draw
from imprint_sweep.imprinting.components import NORMS, Position, QueryMap, Rows, Setting
from imprint_sweep.imprinting.generation import normalised
from imprint_sweep.imprinting.vectors import Vectors

NONE = Setting("none")
"""The norm that leaves vectors as they are."""

ALL = slice(None)


class Queries:
    """The test split, or what a draw holds out, by label, measured once and kept.

    Args:
        features: the embeddings.
        ledger: told of every computation.
        held_out: the draw whose validation samples they are; None for the test split.
    """

    def __init__(self, features: Features, ledger: Ledger, held_out: Draw | None = None) -> None:
        self._features, self._ledger, self._held_out = features, ledger, held_out
        self._memory = StageMemory(ledger)
        self._mapped: dict[QueryMap, MappedQueries] = {}

    def __call__(self, label: Label, norm_inf: Setting, rows: slice = ALL) -> Vectors:
        """The label's queries after NORM_inf, (n, d), or some of them."""

        def compute() -> Vectors:
            if norm_inf == NONE:
                return Vectors.of(self._rows(label))
            return Vectors.of(normalised(self(label, NONE).rows, norm_inf, Position.INF))

        return self._memory.get(("queries", label, norm_inf), compute).value[rows]

    def _rows(self, label: Label) -> Rows:
        if self._held_out is None:
            return self._features.rows("test", label)
        rows = self._features.rows("train", label)
        return rows[draws.held_out(self._held_out, label, len(rows))]

    def count(self, label: Label) -> int:
        """Queries of the label."""
        if self._held_out is None:
            return self._features.count("test", label)
        return draws.n_held_out(self._held_out, self._features.count("train", label))

    def unscaled(self, norm_inf: Setting) -> Setting:
        """The norm whose inner products serve a NORM_inf, too: none for one that only scales."""
        return NONE if NORMS[norm_inf].scales else norm_inf

    def mapped(self, by: QueryMap, asked: Iterable[tuple[Label, Setting]], room: int) -> MappedQueries:
        """The queries under a gen's map, kept until others need the room.

        Args:
            by: the map.
            asked: the labels, and the NORM_inf, whose queries will be asked for.
            room: bytes for all that is kept of any map. Queries that do not fit even alone are mapped whenever they are
                asked for.
        """
        found = self._mapped.pop(by, None) or MappedQueries(self, by, StageMemory(self._ledger))
        found.kept.update(asked)
        if found.nbytes > room:
            return MappedQueries(self, by, None)
        self._mapped[by] = found  # the last one to go
        while sum(other.nbytes for other in self._mapped.values()) > room:
            del self._mapped[next(iter(self._mapped))]
        return found


class MappedQueries:
    """Queries under a gen's map.

    Args:
        queries: what is mapped.
        by: the map.
        memory: keeps them; None maps them whenever they are asked for.
    """

    def __init__(self, queries: Queries, by: QueryMap, memory: StageMemory | None) -> None:
        self._queries, self._by, self._memory = queries, by, memory
        self.kept: set[tuple[Label, Setting]] = set()

    def __call__(self, label: Label, norm_inf: Setting, rows: slice = ALL) -> Vectors:
        """The label's queries after NORM_inf and the map, (n, width), or some of them."""
        if self._memory is None:
            return self._map(label, norm_inf, rows)
        return self._memory.get(("query_map", label, norm_inf), lambda: self._map(label, norm_inf, ALL)).value[rows]

    def seconds(self, label: Label, norm_inf: Setting) -> float:
        """What mapping all of the label's queries took; 0 where that is done whenever they are asked for."""
        if self._memory is None:
            return 0.0
        return self._memory.get(("query_map", label, norm_inf), lambda: self._map(label, norm_inf, ALL)).seconds

    def _map(self, label: Label, norm_inf: Setting, rows: slice) -> Vectors:
        return Vectors.of(self._by.transform(self._queries(label, norm_inf, rows).rows))

    def count(self, label: Label) -> int:
        """Queries of the label."""
        return self._queries.count(label)

    def unscaled(self, norm_inf: Setting) -> Setting:
        """NORM_inf itself: rows that are scaled before the map are not, to the last bit, those scaled after it."""
        return norm_inf

    @property
    def nbytes(self) -> int:
        """Bytes of what is kept."""
        return sum(4 * self._by.width * self.count(label) for label, _ in self.kept)
