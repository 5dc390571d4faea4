"""From the classes of datasets to the labels of a task (method, section 1)."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import TypeVar

from imprint_sweep.errors import InvalidCellError, UnknownOptionError, enumerated
from imprint_sweep.grid.cell import Label, Task
from imprint_sweep.grid.scheme import check_count

T = TypeVar("T", int, Label)

PUBLISHED_SEED = 420
"""Seeds the sample of ImageNet's classes and the shuffles of "d in 1", as in the paper's published runs."""

MERGED_LABELS = 10
"""Labels of a "d in 1" task, where the dataset has classes enough."""

MAX_REMAPS = 1000
"""Remaps are cumulative shuffles; the paper uses ten."""

MAX_ORDERS = 1000
"""Orders in which classes may arrive; five are usual."""

SELECTIONS = {"all": slice(None), "even": slice(0, None, 2), "odd": slice(1, None, 2), "short": slice(0, 3)}
"""The named selections, by position in the sorted list of the dataset's classes."""


def make_task(
    name: str,
    datasets: Sequence[str],
    available: Sequence[int],
    classes: str | Sequence[int] = "all",
    *,
    sample: int | None = None,
    order: int | None = None,
    seen: int | None = None,
    merge: int | None = None,
    remap: int | None = None,
    limit: int | None = None,
) -> Task:
    """Make a task over the classes that one or several datasets share.

    With several datasets, a label unites one class of each of them, in the order of the datasets (CombiDigits). With
    ``merge``, a label unites several classes ("d in 1", section 4, Fig. 4).

    With ``seen``, the task is a step of a class-incremental stream: it has the first classes of an order, and no memory
    of the order itself. They are listed in ascending order, so orders that have seen the same classes share the task.

    Args:
        name: the task's name; not part of its identity.
        datasets: the datasets' names, at least one.
        available: the classes that each of the datasets has; any integers.
        classes: a name of :data:`SELECTIONS`, or the classes in the order that the task is to have.
        sample: the task is about so many of the available classes, drawn once for all (ImageNet: 100).
        order: which order the selected classes arrive in, see :func:`arrival`; None for that in which they are listed.
            Without meaning, hence dropped, where all classes are there from the start.
        seen: how many of them have arrived; all if there are no more. None if there is no stream.
        merge: d of "d in 1"; None leaves every class a label of its own.
        remap: which shuffle of the classes is merged, from 0; without meaning, hence dropped, where nothing is merged.
        limit: at most so many samples of each split.

    Returns:
        The task. A name and the list that it stands for give the same task.

    Raises:
        UnknownOptionError: a selection that does not exist.
        InvalidCellError: a class that the datasets lack or that is listed twice, an empty selection, or numbers out of
            range.
    """
    if limit is not None:
        check_count("limit", limit)
    rng = random.Random(PUBLISHED_SEED)
    drawn = _drawn(name, available, sample, rng)
    universe = sorted(drawn)
    selected = _selected(name, universe, classes)
    if seen is not None:
        selected = _first(selected, order, seen, merge)
    shown = _shown(universe, selected)
    if merge is None:
        groups = [[value] for value in selected]
    else:
        listed = drawn if shown == "all" else selected
        shuffled = _shuffled(listed, _checked_remap(merge, remap), rng)
        groups = _merged(name, shuffled, merge)
    labels: tuple[Label, ...] = tuple(
        tuple((dataset, value) for value in group for dataset in datasets) for group in groups
    )
    return Task(name, shown, labels, merge=merge, remap=None if merge is None else remap, limit=limit)


def arrival(classes: Iterable[T], order: int) -> list[T]:
    """The order in which classes arrive in a class-incremental stream.

    Args:
        classes: numbers, or labels; how they are ordered does not matter.
        order: which of the random orders, from 0.

    Returns:
        A shuffle of the sorted classes that depends on how many there are and on `order` alone.
    """
    shuffled = sorted(classes)
    random.Random(order).shuffle(shuffled)
    return shuffled


def classes_of(name: str, available: Sequence[int], sample: int | None = None) -> frozenset[int]:
    """The classes that a task is about, whatever it selects, merges or shuffles of them; see :func:`make_task`.

    Raises:
        InvalidCellError: a sample of more classes than there are, or of none.
    """
    return frozenset(_drawn(name, available, sample, random.Random(PUBLISHED_SEED)))


def _drawn(name: str, available: Sequence[int], sample: int | None, rng: random.Random) -> list[int]:
    """The classes that the task is about, in the order in which they were drawn."""
    universe = sorted(available)
    if sample is None:
        return universe
    if not 1 <= sample <= len(universe):
        raise InvalidCellError(f"task.sample must be 1 to {len(universe)} (the classes of {name}), got {sample}")
    return rng.sample(universe, sample)


def _selected(name: str, universe: Sequence[int], classes: str | Sequence[int]) -> list[int]:
    if isinstance(classes, str):
        if classes not in SELECTIONS:
            raise UnknownOptionError("task.classes", classes, [*SELECTIONS, "a list such as [3,1,7]"])
        return list(universe[SELECTIONS[classes]])
    listed = list(classes)
    if not listed:
        raise InvalidCellError(f"task.classes is empty; {name} has {enumerated(universe)}")
    known = set(universe)
    if absent := [value for value in listed if value not in known]:
        raise InvalidCellError(f"task.classes: {name} has no class {enumerated(absent)}; it has {enumerated(universe)}")
    return listed


def _first(selected: Sequence[int], order: int | None, seen: int, merge: int | None) -> list[int]:
    """The classes that have arrived, ascending."""
    check_count("task.seen", seen)
    if merge is not None:
        raise InvalidCellError(
            f"task.seen={seen} is a step of a stream of classes, and task.merge={merge} unites classes in labels: a "
            "cell has one or the other; use task.seen=null or task.merge=null"
        )
    if order is not None and not 0 <= order < MAX_ORDERS:
        raise InvalidCellError(f"task.order must be 0 to {MAX_ORDERS - 1}, got {order}")
    return sorted((selected if order is None else arrival(selected, order))[:seen])


def _shown(universe: Sequence[int], selected: Sequence[int]) -> str:
    """The one spelling of a selection: the first name that stands for it, else the list."""
    names = (name for name, part in SELECTIONS.items() if list(universe[part]) == list(selected))
    return next(names, None) or ",".join(map(str, selected))


def _checked_remap(merge: int, remap: int | None) -> int:
    if remap is None:
        raise InvalidCellError(f"task.merge={merge} needs task.remap: 0 for the first shuffle of the classes, ...")
    if not 0 <= remap < MAX_REMAPS:
        raise InvalidCellError(f"task.remap must be 0 to {MAX_REMAPS - 1}, got {remap}")
    return remap


def _shuffled(listed: Sequence[int], remap: int, rng: random.Random) -> list[int]:
    shuffled = list(listed)
    for _ in range(remap + 1):
        rng.shuffle(shuffled)
    return shuffled


def _merged(name: str, shuffled: Sequence[int], merge: int) -> list[list[int]]:
    if not 1 <= merge <= len(shuffled):
        raise InvalidCellError(f"task.merge must be 1 to {len(shuffled)} (the listed classes of {name}), got {merge}")
    n_labels = min(MERGED_LABELS, len(shuffled) // merge)
    stride = len(shuffled) // n_labels
    return [list(shuffled[stride * j : stride * j + merge]) for j in range(n_labels)]
