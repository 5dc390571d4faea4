"""The stages up to the proxies: the samples, NORM_pre and GEN, each checked against what its component promises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.errors import StageError
from imprint_sweep.imprinting.components import (
    GENS,
    NORMS,
    ClassSamples,
    JointGen,
    Position,
    Rows,
    Setting,
    Shared,
    Variant,
    checked_rows,
)


def training_samples(x: Rows, drawn: NDArray[np.int64] | None, norm_pre: Setting) -> Rows:
    """What a gen sees of one class: its samples after the draw and NORM_pre.

    Args:
        x: (n, d) float32 training samples of the class.
        drawn: (m,) which of them; None takes all.
        norm_pre: of :data:`~imprint_sweep.imprinting.components.NORMS`.

    Returns:
        (m, d) float32, read-only: what a gen changed, others would see.
    """
    rows = normalised(x if drawn is None else x[drawn], norm_pre, Position.PRE).view()
    rows.flags.writeable = False
    return rows


def normalised(x: Rows, norm: Setting, position: Position) -> Rows:
    """Rows after a norm that sees each by itself, (n, d) float32.

    Args:
        x: (n, d) float32.
        norm: of :data:`~imprint_sweep.imprinting.components.NORMS`.
        position: where it is applied, for messages.
    """
    return checked_rows(NORMS[norm].rows(x), f"norm.{position}={norm}", x.shape[1], len(x))


def class_proxies(gen: str, given: ClassSamples, variant: Variant) -> Rows:
    """The proxies of one class, (number of proxies, d) float32; of a biased gen d + 1 columns. The width of the gen's
    map, if it has one, takes the place of d.

    Args:
        gen: a name of :data:`~imprint_sweep.imprinting.components.GENS`, of a gen that sees one class at a time.
        given: the class.
        variant: the parameters of the gen.

    Raises:
        StageError: they cannot be computed, or are not what a gen promises.
    """
    if variant.rule:
        gen, variant = _with_chosen_k(gen, given, variant)
    return checked_proxies(gen, [GENS[gen].proxies(given, variant)], 1, given.samples.shape[1], variant)[0]


def _with_chosen_k(gen: str, given: ClassSamples, variant: Variant) -> tuple[str, Variant]:
    """What makes the same proxies, bit for bit, with the k that the rule of a variant chooses."""
    k = GENS[gen].chosen_k(given, variant)
    same = GENS[gen].with_one_proxy
    return (gen, replace(variant, k=k, rule="")) if k > 1 or same is None else (same, Variant())


def joint_proxies(gen: str, classes: Sequence[ClassSamples], task: Shared, variant: Variant) -> list[Rows]:
    """The proxies of each class of a task, of a gen that sees all classes at once; as :func:`class_proxies`.

    Args:
        gen: a name of :data:`~imprint_sweep.imprinting.components.GENS`, of a joint gen.
        classes: in the order of the task.
        task: what the classes have in common.
        variant: the parameters of the gen.

    Raises:
        StageError: they cannot be computed, or are not what a gen promises.
    """
    solved = cast(JointGen, GENS[gen]).solve(classes, task, variant)
    return checked_proxies(gen, solved, len(classes), classes[0].samples.shape[1], variant)


def checked_proxies(gen: str, made: Sequence[Rows], n_classes: int, d: int, variant: Variant) -> list[Rows]:
    """The proxies of classes, if they are what a gen promises.

    Args:
        gen: its name.
        made: what it returned.
        n_classes: of how many classes.
        d: features of the samples.
        variant: the parameters of the gen.

    Raises:
        StageError: they are not.
    """
    if len(made) != n_classes:
        raise StageError(f"gen={gen} returned proxies of {len(made)} classes of {n_classes}")
    by = GENS[gen].query_map(d, variant)
    columns = (d if by is None else by.width) + GENS[gen].biased
    return [checked_rows(rows, f"gen={gen}", columns) for rows in made]


def without_biases(rows: Rows, *, biased: bool) -> tuple[Rows, NDArray[np.float32] | None]:
    """Proxies, (p, d), and their biases, (p,), if they have some.

    Args:
        rows: as a gen returns them.
        biased: whether the last column is a bias.
    """
    return (np.ascontiguousarray(rows[:, :-1]), rows[:, -1].copy()) if biased else (rows, None)
