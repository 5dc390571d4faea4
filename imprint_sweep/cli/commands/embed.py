"""Compute the embeddings of a task's datasets and cache them."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from imprint_sweep.cli.app import launch, user_errors
from imprint_sweep.config.reading import (
    absolute,
    check_choices,
    classes_from,
    data_folder,
    model_from,
    settings_from,
    typed,
)
from imprint_sweep.config.schemas import EmbedConfig
from imprint_sweep.embeddings.cache import SPLITS, EntryKey
from imprint_sweep.errors import ConfigError, EmbeddingsError, ImprintError
from imprint_sweep.extraction.process import prepare_process
from imprint_sweep.grid.cell import precision_named
from imprint_sweep.grid.scheme import check_count
from imprint_sweep.running.interruption import ending_with_launcher, mark_launcher
from imprint_sweep.running.launch import JOBLIB, LOCAL, SLURM, kind_of
from imprint_sweep.running.slurm import leftovers


def main() -> None:
    """The command line: the groups ``model`` and ``task``, and the keys of ``conf/embed.yaml``."""
    launch(run, config_name="embed")


class Launching(Callback):
    """Prepares the launch of several jobs; Hydra calls it (``hydra.callbacks``)."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Keep what surrounds this process from SLURM's jobs; let jobs on this machine end when it is gone."""
        kind = kind_of(config.hydra.launcher)
        if kind == SLURM:
            for name in leftovers():
                del os.environ[name]
        elif kind in (JOBLIB, LOCAL):
            mark_launcher()


def run(cfg: DictConfig) -> None:
    """The task function: both splits of every dataset that the task reads.

    Raises:
        EmbeddingsError: with ``-m``, which makes what it can of the other models and tasks before it ends.
    """
    if HydraConfig.get().mode is not RunMode.MULTIRUN:
        with user_errors():
            _embed(cfg)
        return
    try:
        with ending_with_launcher():
            _embed(cfg)
    except ImprintError as error:
        # Now, and where this runs. Hydra keeps it to itself until the last job has ended, and raises only the first.
        print(f"error: {error}", file=sys.stderr, flush=True)
        raise EmbeddingsError(f"not all embeddings were made, the same command makes the others: {error}") from None


def _embed(cfg: DictConfig) -> None:
    check_choices("model", "task")
    config = typed(EmbedConfig, cfg)
    settings = settings_from(cfg)
    model = model_from(config.model)
    if config.precision is not None:
        model = replace(model, precision=precision_named(config.precision))
    if config.batch_size is not None and config.batch_size < 1:
        raise ConfigError(f"batch_size must be at least 1, got {config.batch_size}")
    if config.limit is not None:
        check_count("limit", config.limit)
    classes = classes_from(config.task)
    keys = [EntryKey(model, dataset, split, config.limit) for dataset in config.task.datasets for split in SPLITS]

    prepare_process()
    # Torch takes seconds to load, a mistyped option should not.
    from imprint_sweep.extraction.datasets import Columns
    from imprint_sweep.extraction.extracting import Extraction, embed

    weights = config.model.weights_path
    extraction = Extraction(
        data_root=data_folder(settings, config.paths),
        device=settings.device,
        batch_size=config.batch_size,
        weights_path=None if weights is None else absolute("the file of weights (model.weights_path)", weights),
        dim=config.model.dim,
        columns=Columns(**vars(config.columns)),
    )
    cache = settings.cache
    for embedded in embed(keys, cache, extraction, classes=classes, force=settings.force):
        header, rate = embedded.header, embedded.per_second
        how = "exists (force=true makes it anew)"
        if rate is not None:
            how = f"{rate:,.{1 if rate < 10 else 0}f} {embedded.of}s/s"
        print(f"{header.key}: {header.n:,} x {header.d:,}, {how}, {header.path}", flush=True)


if __name__ == "__main__":
    main()
