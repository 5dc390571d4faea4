"""The classifier that a row of the results table is about."""

from __future__ import annotations

from dataclasses import asdict
from os import PathLike
from typing import Any

from imprint_sweep.api.imprinter import Imprinter
from imprint_sweep.api.samples import class_names, features_of, samples_of_cell, settings_of
from imprint_sweep.config.overrides_of import cell_of
from imprint_sweep.config.settings import Settings
from imprint_sweep.embeddings.cache import READS
from imprint_sweep.grid.cell import Cell
from imprint_sweep.grid.scheme import TEST
from imprint_sweep.store import history


def imprinter_from_cell(cell_id: str, *, outputs: str | PathLike[str] | None = None) -> Imprinter:
    """The classifier of a cell of the results table, fitted on the present embeddings of its task.

    That of a cell with ``eval.split=validation`` is fitted on what the cell trains on, without the held-out samples.

    Args:
        cell_id: its id, or as many of the first digits as make it unique.
        outputs: the `paths.outputs` of the runs; None is theirs.

    Raises:
        StoreError: no such cell, or several.
        EmbeddingsError: its embeddings are missing or damaged.
    """
    settings = settings_of(outputs)
    return fitted(cell_named(cell_id, settings), settings)


def cell_named(cell_id: str, settings: Settings) -> Cell:
    """The cell of the results table whose id begins with some digits."""
    return cell_of(history(settings.results, cell_id)[0])


def fitted(cell: Cell, settings: Settings) -> Imprinter:
    """The classifier of a cell, fitted."""
    features = features_of(cell.model, cell.task, settings, cell.scheme.split)
    clf = unfitted(cell).fit(*samples_of_cell(features, cell)[0])
    clf.provenance_ = {
        "cell_id": cell.cell_id,
        "fingerprint": features.open(cell.task, READS[cell.scheme.split]),
        "model": asdict(cell.model),
        "task": {"name": cell.task.name, "classes": cell.task.classes, "limit": cell.task.limit},
    }
    return clf


def unfitted(cell: Cell) -> Imprinter:
    """The estimator with the parameters of a cell; of those without meaning the defaults."""
    scheme = cell.scheme
    known: dict[str, Any] = {
        name: getattr(scheme, name)
        for name in ("k", "m", "weighting", "weight_decay")
        if getattr(scheme, name) is not None
    }
    return Imprinter(
        gen=scheme.gen,
        norm_pre=scheme.norm_pre,
        norm_post=scheme.norm_post,
        norm_inf=scheme.norm_inf,
        agg=scheme.agg,
        metric=scheme.metric,
        seed=scheme.seed,
        # Where samples are held out, it gets the shots without these.
        n_shot=scheme.n_shot if scheme.split == TEST else None,
        classes=class_names(cell.task),
        parameters=dict(scheme.parameters) or None,
        **known,
    )
