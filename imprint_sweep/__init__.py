"""Weight imprinting as a config-driven sweep: one cell of the grid, or half a million.

The names in ``__all__`` are the public API; each is loaded when it is first used. Type checkers read
``__init__.pyi``.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.2.0"

__all__ = ["Imprinter", "__version__", "best", "imprinter_from_cell", "load_embeddings", "load_results", "sweep"]

_PLACES = {
    "Imprinter": "imprint_sweep.api.imprinter",
    "best": "imprint_sweep.api.choosing",
    "imprinter_from_cell": "imprint_sweep.api.cells",
    "load_embeddings": "imprint_sweep.api.samples",
    "load_results": "imprint_sweep.store",
    "sweep": "imprint_sweep.api.sweeping",
}


def __getattr__(name: str) -> Any:
    """A public name, loaded at its first use (PEP 562)."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_PLACES[name]), name)
    return value


def __dir__() -> list[str]:
    """The public names, loaded or not."""
    return sorted({*globals(), *__all__})
