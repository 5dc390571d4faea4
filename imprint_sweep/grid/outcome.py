"""What the engine says of one cell: the numbers of one row, before provenance is added by the store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from imprint_sweep.grid.cell import Cell

Status = Literal["ok", "failed"]
OK: Final = "ok"
FAILED: Final = "failed"


@dataclass(frozen=True)
class Outcome:
    """The result of one cell (method, section 8), or the reason why there is none.

    Args:
        cell: what was asked for.
        computation_id: what was computed; equal for all cells that share the computation.
        fingerprint: content hash of the embeddings that the cell's task reads.
        status: ``"ok"`` or ``"failed"``.
        n_correct: correctly classified test samples; None if failed, like every number below.
        n_test: test samples of the task.
        correct: correctly classified test samples of each label, in task order.
        f1: one-vs-rest F1 per label, in task order; 0 where a label has neither predictions nor hits.
        f1_macro: mean of ``f1``.
        f1_weighted: mean of ``f1`` weighted by test samples per label.
        n_proxies: proxies of all labels together.
        k_chosen: the k that a rule chose for each label, in task order; None where k was given.
        gen_seconds: CPU time of GEN summed over labels, also when its result was shared.
        eval_seconds: CPU time of everything after GEN that this cell took part in, undivided also where others
            shared it: about what the cell would have cost alone.
        error: the message, None if all went well.
    """

    cell: Cell
    computation_id: str
    fingerprint: str
    status: Status = OK
    n_correct: int | None = None
    n_test: int | None = None
    correct: tuple[int, ...] | None = None
    f1: tuple[float, ...] | None = None
    f1_macro: float | None = None
    f1_weighted: float | None = None
    n_proxies: int | None = None
    k_chosen: tuple[int, ...] | None = None
    gen_seconds: float | None = None
    eval_seconds: float | None = None
    error: str | None = None

    @property
    def accuracy(self) -> float | None:
        """Share of test samples classified correctly, float64."""
        if self.n_correct is None or not self.n_test:
            return None
        return self.n_correct / self.n_test
