"""The classifier that a row of the results table is about."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from os import PathLike
from typing import Any

from imprint_sweep.api.imprinter import Imprinter
from imprint_sweep.api.samples import class_names, features_of, samples_of_cell, settings_of
from imprint_sweep.config.overrides_of import cell_of
from imprint_sweep.config.settings import Settings
from imprint_sweep.embeddings.cache import READS
from imprint_sweep.errors import StoreError
from imprint_sweep.grid.cell import Cell
from imprint_sweep.grid.scheme import TEST
from imprint_sweep.imprinting.choosing_k import CV_1SE
from imprint_sweep.store import history, is_present


def imprinter_from_cell(cell_id: str, *, outputs: str | PathLike[str] | None = None) -> Imprinter:
    """The classifier of a cell of the results table, fitted on the present embeddings of its task.

    That of a cell with ``eval.split=validation`` is fitted on what the cell trains on, without the held-out samples.

    Args:
        cell_id: its id, or as many of the first digits as make it unique.
        outputs: the `paths.outputs` of the runs; None is theirs.

    Raises:
        StoreError: no such cell, or several.
        EmbeddingsError: its embeddings are missing or damaged.

    Warns:
        UserWarning: the table has no good row of the present embeddings and versions, so the accuracy may be another.
    """
    settings = settings_of(outputs)
    _, clf, note = of_row(cell_id, settings)
    if note:
        warnings.warn(note, stacklevel=2)
    return clf


def of_row(cell_id: str, settings: Settings) -> tuple[Cell, Imprinter, str | None]:
    """The cell whose id begins with some digits, its classifier, and how that may differ from what the table says."""
    rows = history(settings.results, cell_id)
    cell = cell_of(rows[0])
    clf = fitted(cell, settings, rows)
    if any(is_present(row, cell, clf.provenance_["fingerprint"]) for row in rows):
        return cell, clf, None
    note = (
        f"cell {cell.cell_id} has no good row of the present embeddings and the present version of what computes it, "
        "so this classifier may have another accuracy than its rows; run the cell again"
    )
    return cell, clf, note


def fitted(cell: Cell, settings: Settings, rows: Sequence[Mapping[str, Any]]) -> Imprinter:
    """The classifier of a cell, fitted.

    Args:
        cell: which.
        settings: where its embeddings are.
        rows: of the cell in the results table: the newest good one, of the present embeddings if there is one, says
            which k validation cells chose.
    """
    features = features_of(cell.model, cell.task, settings, cell.scheme.split)
    fingerprint = features.open(cell.task, READS[cell.scheme.split])
    clf = unfitted(_with_its_k(cell, fingerprint, rows)).fit(*samples_of_cell(features, cell)[0])
    clf.provenance_ = {
        "cell_id": cell.cell_id,
        "fingerprint": fingerprint,
        "model": asdict(cell.model),
        "task": {"name": cell.task.name, "classes": cell.task.classes, "limit": cell.task.limit},
    }
    return clf


def _with_its_k(cell: Cell, fingerprint: str, rows: Sequence[Mapping[str, Any]]) -> Cell:
    """The cell with the k that validation cells chose, as its rows have it."""
    if cell.scheme.select_rule != CV_1SE:
        return cell
    good = [row for row in rows if row["k_chosen"]]
    present = [row for row in good if is_present(row, cell, fingerprint)]
    if not good:
        raise StoreError(f"cell {cell.cell_id} has no good row, which would say what k was chosen; run it again")
    return replace(cell, scheme=cell.scheme.having_k(max([*present, *good][0]["k_chosen"])))


def unfitted(cell: Cell) -> Imprinter:
    """The estimator with the parameters of a cell; of those without meaning the defaults."""
    scheme = cell.scheme
    known: dict[str, Any] = {
        name: getattr(scheme, name)
        for name in ("k", "m", "weighting", "weight_decay")
        if getattr(scheme, name) is not None
    }
    if scheme.select_rule is not None:
        known |= {"k": None, "select": scheme.select_rule, "max_k": scheme.select_max_k}
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
