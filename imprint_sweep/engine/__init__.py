"""The engine: cells -> outcomes, every shared thing computed once."""

from imprint_sweep.engine.run import EngineSettings, predictions, run

__all__ = ["EngineSettings", "predictions", "run"]
