"""Which training samples of a label a draw takes, and which it holds out to test on (method, section 2)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.errors import StageError
from imprint_sweep.grid.cell import Label, spelled, stage_seed
from imprint_sweep.grid.keys import Draw
from imprint_sweep.imprinting import n_shot, validation

Positions = NDArray[np.int64]


def training(draw: Draw, label: Label, n_samples: int) -> Positions | None:
    """The samples of a label that GEN sees; None if these are all.

    Args:
        draw: which.
        label: of which label; it keys what is drawn.
        n_samples: training samples of the label.

    Returns:
        (m,) int64 positions in ascending order.

    Raises:
        StageError: a fifth is to be held out of too few samples.
    """
    if draw.validation:
        return _held_out(draw, label, n_samples)[0]
    return _shots(draw, label, n_samples) if draw.n_shot else None


def held_out(draw: Draw, label: Label, n_samples: int) -> Positions:
    """The samples of a label that are held out; arguments and errors are those of :func:`training`."""
    return _held_out(draw, label, n_samples)[1]


def n_held_out(draw: Draw, n_samples: int) -> int:
    """How many samples :func:`held_out` holds out of so many, without drawing them."""
    shots = min(n_samples, draw.n_shot or n_samples)
    return shots - validation.trained(shots)


def _held_out(draw: Draw, label: Label, n_samples: int) -> tuple[Positions, Positions]:
    shots = _shots(draw, label, n_samples)
    if len(shots) < validation.PARTS:
        raise StageError(
            f"eval.split=validation holds out a fifth of the training samples of each label, and {spelled(label)} has "
            f"only {len(shots)}; it takes {validation.PARTS} or more"
        )
    trained, tested = validation.hold_out(len(shots), _rng("validation", draw, label))
    return shots[trained], shots[tested]


def _shots(draw: Draw, label: Label, n_samples: int) -> Positions:
    return n_shot.draw(n_samples, draw.n_shot or None, _rng("n_shot", draw, label))


def _rng(stage: str, draw: Draw, label: Label) -> np.random.Generator:
    return np.random.default_rng(stage_seed(stage, draw.seed, label))
