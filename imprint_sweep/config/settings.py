"""How to run: everything that changes no result."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from imprint_sweep.config.schemas import SweepConfig
from imprint_sweep.embeddings.cache import EmbeddingCache


@dataclass(frozen=True)
class Settings:
    """How to run: everything that changes no result, hence is outside every identity.

    Args:
        outputs: folder of all that runs write, absolute.
        data: folder of the datasets, absolute.
        device: where embeddings are extracted.
        force: compute again what is done.
        sweep: how a sweep runs.
    """

    outputs: Path
    data: Path
    device: str = "cpu"
    force: bool = False
    sweep: SweepConfig = field(default_factory=SweepConfig)

    @property
    def cache(self) -> EmbeddingCache:
        """The embedding cache."""
        data = None if self.data == self.outputs / "data" else self.data
        return EmbeddingCache(self.outputs / "embeddings", data)

    @property
    def proxies(self) -> Path:
        """Folder of the cache of proxies."""
        return self.outputs / "cache"

    @property
    def results(self) -> Path:
        """Folder of the results table."""
        return self.outputs / "results"

    @property
    def calibration(self) -> Path:
        """File of how fast the machines are that ran sweeps, for estimates."""
        return self.outputs / "calibration.json"

    @property
    def sweeps(self) -> Path:
        """Folder of the plans and logs of sweeps."""
        return self.outputs / "sweeps"
