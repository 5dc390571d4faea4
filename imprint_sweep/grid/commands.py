"""Which command does what: the lines that a message, a page or an error prints for a user to type."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from imprint_sweep.grid.cell import Model
from imprint_sweep.grid.choosing import IMPORTED, Chosen, chosen_dataset, chosen_network, overrides
from imprint_sweep.invocation import MAIN, named, override, place, place_option, shell_line

MOST_LISTED = 100
"""More classes than these are not named in a command."""


def embedding(
    model: Model,
    dataset: str,
    limit: int | None = None,
    *,
    classes: Sequence[int] | None = None,
    force: bool = False,
    outputs: Path | None = None,
    data: Path | None = None,
) -> str:
    """The command that brings the embeddings of a dataset into the cache: computes them, or imports them.

    Args:
        model: whose embeddings.
        dataset: of which.
        limit: at most so many samples of each split.
        classes: the classes that must be there, besides those that are; None means those of the dataset's task. Of
            more than :data:`MOST_LISTED` the command makes all that the dataset has.
        force: also where damaged ones are in their place.
        outputs: the folder in whose ``embeddings`` they are to be; None means the default.
        data: the folder of the datasets; None means the default.
    """
    if model.weights == IMPORTED:
        given = [*named("--model", model.name), *named("--dataset", dataset), "--train", "FILE", "--test", "FILE"]
        given += [] if model.image_size is None else ["--image-size", str(model.image_size)]
        given += [] if outputs is None else place_option(outputs)
        return shell_line("import_embeddings", [*given, *(["--force"] if force else [])])
    chosen = {**chosen_network(model), **chosen_dataset(dataset, model)}
    if classes is not None:
        chosen |= {"task.labels": list(classes) if len(classes) <= MOST_LISTED else None, "task.sample": None}
    if limit is not None:
        chosen["limit"] = limit
    data_folder = [] if data is None else [override("paths.data", str(data.absolute()))]
    anew = [override("force", True)] if force else []
    return shell_line("embed", [*overrides(chosen), *place(outputs), *data_folder, *anew])


def sweep(words: Iterable[str], outputs: Path) -> str:
    """The command that runs a sweep.

    Args:
        words: what follows ``-m``.
        outputs: where its table is.
    """
    return shell_line(MAIN, ["-m", *words, *place(outputs)])


def status(outputs: Path) -> str:
    """The command that shows how far the sweeps are, and what failed."""
    return shell_line("status", place_option(outputs))


def collapse(outputs: Path) -> str:
    """The command that measures the NC1 of the embeddings that a table is about."""
    return shell_line("collapse", place_option(outputs))


def repair(results: Path) -> str:
    """The command that moves the damaged parts of a table aside.

    Args:
        results: the folder of the table.
    """
    return shell_line("compact", ["--results", str(results.absolute()), "--repair"])


def projection(chosen: Chosen, outputs: Path) -> str:
    """The command that draws embeddings in two dimensions.

    Args:
        chosen: the model and the task.
        outputs: where their embeddings are.
    """
    return shell_line("projection", [*overrides(chosen), *place(outputs)])


def contact_sheet(chosen: Chosen, outputs: Path) -> str:
    """The command that draws images of each label.

    Args:
        chosen: the task.
        outputs: where the picture goes.
    """
    return shell_line("contact_sheet", [*overrides(chosen), *place(outputs)])
