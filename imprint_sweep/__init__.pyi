from imprint_sweep.api.cells import imprinter_from_cell
from imprint_sweep.api.choosing import best
from imprint_sweep.api.imprinter import Imprinter
from imprint_sweep.api.samples import load_embeddings
from imprint_sweep.api.sweeping import sweep
from imprint_sweep.store import load_results

__version__: str

__all__ = ["Imprinter", "__version__", "best", "imprinter_from_cell", "load_embeddings", "load_results", "sweep"]
