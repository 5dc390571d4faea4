"""The validation cells by which k of other cells is chosen (method, section 4): made here, run as all cells are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.embeddings.cache import EntryHeader, EntryKey, label_sizes
from imprint_sweep.grid.scheme import VALIDATION, Scheme
from imprint_sweep.imprinting import validation
from imprint_sweep.imprinting.choosing_k import CV_1SE, LEAST_SAMPLES, candidates
from imprint_sweep.planning.plan import Indices, Plan


@dataclass(frozen=True, eq=False)
class Choices:
    """Which cells choose k for which, as positions in a plan.

    Args:
        chooser: (n,) of the validation cell.
        cell: (n,) of the cell whose k it helps to choose, ascending.
        k: (n,) of the validation cell.
        n_test: position of a cell -> samples that its validation cells are tested on; 0 where a label has too few to
            hold any out, so that there are no such cells, and k is 1.
    """

    chooser: Indices
    cell: Indices
    k: Indices
    n_test: Mapping[int, int]

    def of(self, cell: int) -> list[tuple[int, int]]:
        """The validation cells of a cell, (position, k) each, in ascending order of k."""
        mine = slice(*np.searchsorted(self.cell, [cell, cell + 1]))
        return list(zip(self.chooser[mine].tolist(), self.k[mine].tolist(), strict=True))

    def atoms(self, positions: Indices, atoms: NDArray[np.int64]) -> NDArray[np.int64]:
        """Groups of cells, so that every cell is in the group of those that choose its k.

        Args:
            positions: (m,) of the grouped cells, ascending.
            atoms: (m,) the code of each cell's group; groups are united.
        """
        there = np.isin(self.chooser, positions) & np.isin(self.cell, positions)
        if not there.any():
            return atoms
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        one, other = (atoms[np.searchsorted(positions, of[there])] for of in (self.chooser, self.cell))
        n = int(atoms.max()) + 1
        united = connected_components(coo_array((np.ones(len(one)), (one, other)), shape=(n, n)), directed=False)[1]
        return np.asarray(united, np.int64)[atoms]


def with_choosers(plan: Plan, todo: NDArray[np.bool_], headers: Mapping[EntryKey, EntryHeader]) -> tuple[Plan, Choices]:
    """A plan with the validation cells that choose k for some of its cells, behind its own where it lacks them.

    Args:
        plan: the cells.
        todo: (n,) bool, those whose k is to be chosen, if a rule does it by validation cells.
        headers: of the cache entries that they read. Where one is missing nobody knows how many samples a label has;
            then there are validation cells, too.
    """
    schemes, tried = _tried(plan)
    waiting = np.flatnonzero(todo & np.isin(plan.scheme, list(tried)))
    n_test = {cell: _held_out(plan, cell, headers) for cell in waiting.tolist()}
    pairs = [
        (cell, k, scheme)
        for cell, held_out in n_test.items()
        if held_out
        for k, scheme in tried[int(plan.scheme[cell])]
    ]
    cell, k, scheme = np.array(pairs, np.int64).reshape(-1, 3).T
    chooser = scheme
    if pairs:
        plan, chooser = plan.extended(schemes, plan.model[cell], plan.task[cell], scheme.astype(np.int32))
    return plan, Choices(chooser, cell, k, n_test)


def _tried(plan: Plan) -> tuple[tuple[Scheme, ...], dict[int, list[tuple[int, int]]]]:
    """The schemes of a plan and of the validation cells, and for each that needs some: (k, scheme) of each of these."""
    numbers = {scheme: number for number, scheme in enumerate(plan.schemes)}
    tried = {}
    for number, scheme in enumerate(plan.schemes):
        if scheme.select_rule == CV_1SE and not scheme.nothing_to_choose:
            choosers = ((k, scheme.having_k(k, VALIDATION)) for k in candidates(scheme.select_max_k or 1))
            tried[number] = [(k, numbers.setdefault(chooser, len(numbers))) for k, chooser in choosers]
    return tuple(numbers), tried


def _held_out(plan: Plan, cell: int, headers: Mapping[EntryKey, EntryHeader]) -> int:
    """Samples that the validation cells of a cell are tested on; 0 where a label has too few, 1 where nobody knows."""
    model, task, scheme = plan.models[plan.model[cell]], plan.tasks[plan.task[cell]], plan.schemes[plan.scheme[cell]]
    sizes = label_sizes(model, task, "train", headers.get)
    if sizes is None:
        return 1
    shots = [size if scheme.n_shot is None else min(size, scheme.n_shot) for size in sizes]
    return sum(n - validation.trained(n) for n in shots) if min(shots) >= LEAST_SAMPLES else 0
