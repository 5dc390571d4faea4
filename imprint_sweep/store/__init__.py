"""The results table: a folder of immutable Parquet files with one declared schema.

Rows are only ever added. A cell has several when it failed and was tried again, or was computed anew;
:func:`load_results` picks one.
"""

from imprint_sweep.store.compaction import Compaction, compact
from imprint_sweep.store.parts import DamagedPartWarning, schema_found
from imprint_sweep.store.reading import (
    Conflict,
    LookUp,
    Snapshot,
    errors_of,
    history,
    is_present,
    labels_of,
    load_results,
    newest_row,
)
from imprint_sweep.store.result_store import ResultStore
from imprint_sweep.store.rows import Provenance
from imprint_sweep.store.schema import SCHEMA_VERSION, column_docs, table_schema
from imprint_sweep.store.writing import ResultWriter

__all__ = [
    "SCHEMA_VERSION",
    "Compaction",
    "Conflict",
    "DamagedPartWarning",
    "LookUp",
    "Provenance",
    "ResultStore",
    "ResultWriter",
    "Snapshot",
    "column_docs",
    "compact",
    "errors_of",
    "history",
    "is_present",
    "labels_of",
    "load_results",
    "newest_row",
    "schema_found",
    "table_schema",
]
