"""The networks, and the weight decay of their least-squares generators: Table A.1."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd

from imprint_sweep.analysis.artefact import Artefact, Column, Options, Table
from imprint_sweep.analysis.artefacts.about import About, sweep
from imprint_sweep.analysis.data import names, published
from imprint_sweep.analysis.data.results import MODEL, Results, records
from imprint_sweep.analysis.stats.curves import FM, paper_models, with_models
from imprint_sweep.embeddings.cache import EmbeddingCache, read_header
from imprint_sweep.errors import EmbeddingsError
from imprint_sweep.grid.cell import Model
from imprint_sweep.wording import counted

REQUEST = "+experiment=oracle"

TABLE_A1 = About(
    "tableA1",
    "Networks and their weight decay (Table A.1)",
    "networks",
    "λ, the weight decay of the least-squares generators, for each network: those with which its rows were computed, "
    "and the paper's.",
    "rows of a least-squares generator",
)


def table_a1(results: Results, options: Options) -> Artefact:
    """Each network of the results with every λ of its least-squares rows. No option matters."""
    frame = with_models(results.frame)
    decays = frame.groupby(FM, observed=True)["weight_decay"].agg(_listed)
    of_model = frame[FM].map(decays).astype(object)
    without = frame[of_model.isna()]
    absent = sorted(without[FM].astype(str).unique())
    commands = [sweep(REQUEST, without, results)] if absent else []
    if len(absent) == len(decays):
        return TABLE_A1.nothing([], commands)

    table = frame[[FM, *MODEL]].drop_duplicates().sort_values(FM, ignore_index=True)
    widths = _widths(results.outputs / "embeddings")
    table["d"] = pd.array([widths.get(Model.recorded(*row.values())) for row in records(table[list(MODEL)])], "Int64")
    stated = published.numbers(TABLE_A1.name)["weight_decay"]
    papers = paper_models(frame)
    table["weight_decay"] = table[FM].map(decays).astype(object)
    table["paper"] = [_listed(pd.Series([stated.get(papers.get(fm))], dtype="float64")) for fm in table[FM]]
    columns = (
        Column("model", "model"),
        Column("weights", "weights"),
        Column("image_size", "image size", "count"),
        Column("d", "d", "count"),
        Column("weight_decay", "λ"),
        Column("paper", "paper: λ"),
    )
    note = (
        "Without an image size it is that of the weights' own transform; d is read from the cached embeddings. The "
        "paper has λ for its own four networks; for any other, 0.1 is this project's choice."
    )
    return TABLE_A1.artefact(
        f"{counted(len(table), 'network')}, {len(table) - len(absent):,} with least-squares rows.",
        [f"No least-squares row of {names.some(absent)}."] if absent else [],
        commands,
        [Table(TABLE_A1.name, TABLE_A1.title, columns, table, note)],
        [],
    )


def _listed(decays: pd.Series) -> str | None:
    """Distinct values, ascending; None if there is none."""
    return ", ".join(f"{value:g}" for value in np.unique(decays.dropna())) or None


def _widths(folder: Path) -> dict[Model, int]:
    """The d of every network in a cache of embeddings, as far as its entries can be read."""
    found = {}
    for path in EmbeddingCache(folder).paths():
        with suppress(EmbeddingsError, OSError):
            header = read_header(path)
            found[header.key.model] = header.d
    return found
