"""The engine: cells -> outcomes, every shared thing computed once."""

from imprint_sweep.engine.ledger import Ledger
from imprint_sweep.engine.run import EngineSettings, predictions, run

__all__ = ["EngineSettings", "Ledger", "predictions", "run"]
