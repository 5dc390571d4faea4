"""Weight imprinting as a config-driven sweep: one cell of the grid, or half a million."""

__version__ = "0.2.0"
