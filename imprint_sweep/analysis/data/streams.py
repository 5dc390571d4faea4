"""Class-incremental streams among the tasks of a results table.

A cell does not know its stream: orders that have seen the same classes share it. But an order of classes follows from
its number (:func:`imprint_sweep.grid.tasks.arrival`), so the tasks themselves tell which streams were run.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from imprint_sweep.grid.cell import Label, Task
from imprint_sweep.grid.tasks import MAX_ORDERS, arrival

ORDERS = 5
"""Orders that a stream is to have."""


@dataclass(frozen=True)
class Step:
    """A step of a stream.

    Args:
        classes: the selection of classes, as the results table shows it.
        seen: all labels that have arrived, in the order of the task.
        arrived: those that came at this step.
    """

    classes: str
    seen: tuple[Label, ...]
    arrived: tuple[Label, ...]


@dataclass(frozen=True)
class Stream:
    """One order of the classes of a dataset.

    Args:
        order: its number.
        steps: those that are in the results, the last of which has all classes.
        lacking: how many classes have been seen at the steps that other orders have, and this one does not.
    """

    order: int
    steps: tuple[Step, ...]
    lacking: tuple[int, ...]


def is_list(classes: str) -> bool:
    """Whether a selection of classes is a list, as those of all steps but the last are, and not a name."""
    return re.fullmatch(r"-?\d+(,-?\d+)*", classes) is not None


def streams(tasks: Iterable[Task]) -> list[Stream]:
    """The streams on one dataset.

    A stream ends with the largest task, and its steps have so many classes as at least half of the first orders that
    were run have steps of. A list of classes that happens to be a step of one order makes no stream.

    Args:
        tasks: all that the results have of the dataset, as it is (``merge`` and ``remap`` are None).

    Returns:
        Those among the first :data:`ORDERS` orders of which there is a step, and the next ones as far as they are
        complete. Empty if there are no streams.
    """
    # A step has its labels in ascending order.
    known = {task.labels: task.classes for task in tasks if list(task.labels) == sorted(task.labels)}
    whole = max(known, key=len, default=())
    if any(not set(whole).issuperset(labels) for labels in known):
        return []
    sizes = sorted({len(labels) for labels in known if labels != whole})

    def there(order: int) -> dict[int, tuple[Label, ...]]:
        """The steps of an order but the last, by their size."""
        arrived = arrival(whole, order)
        prefixes = {size: tuple(sorted(arrived[:size])) for size in sizes}
        return {size: labels for size, labels in prefixes.items() if labels in known}

    first = {order: steps for order in range(ORDERS) if (steps := there(order))}
    listed = [labels for steps in first.values() for labels in steps.values() if is_list(known[labels])]
    if len(listed) < 2:
        return []
    count = Counter(size for steps in first.values() for size in steps)
    usual = [size for size in sizes if 2 * count[size] >= max(count.values())]
    found = [_stream(order, whole, steps, usual, known) for order, steps in first.items()]
    orders = {stream.steps for stream in found}
    for order in range(ORDERS, MAX_ORDERS):
        another = _stream(order, whole, there(order), usual, known)
        if another.lacking or another.steps in orders:
            break
        found.append(another)
        orders.add(another.steps)
    return found


def _stream(
    order: int,
    whole: tuple[Label, ...],
    there: Mapping[int, tuple[Label, ...]],
    usual: Iterable[int],
    known: Mapping[tuple[Label, ...], str],
) -> Stream:
    arrived = arrival(whole, order)
    steps, before = [], 0
    lacking = tuple(size for size in usual if size not in there)
    for size in (*(size for size in usual if size in there), len(whole)):
        labels = tuple(sorted(arrived[:size]))
        steps.append(Step(known[labels], labels, tuple(arrived[before:size])))
        before = size
    return Stream(order, tuple(steps), lacking)
