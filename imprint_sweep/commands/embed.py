"""Compute the embeddings of a task's datasets and cache them."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from imprint_sweep.app import launch, user_errors
from imprint_sweep.config import EmbedConfig, classes_from, model_from, settings_from, typed
from imprint_sweep.embeddings import SPLITS, EmbeddingCache, EntryKey


def main() -> None:
    """The command line: the groups ``model`` and ``task``, and the keys of ``conf/embed.yaml``."""
    launch(run, config_name="embed")


def run(cfg: DictConfig) -> None:
    """The task function: both splits of every dataset that the task reads."""
    with user_errors():
        _embed(cfg)


def _embed(cfg: DictConfig) -> None:
    config = typed(EmbedConfig, cfg)
    settings = settings_from(cfg)
    model = model_from(config.model)
    if config.precision is not None:
        model = model.in_precision(config.precision)
    classes = classes_from(config.task)
    keys = [EntryKey(model, dataset, split, config.limit) for dataset in config.task.datasets for split in SPLITS]

    # Torch takes seconds to load, a mistyped option should not.
    from imprint_sweep.foundation.extraction import Extraction, embed

    extraction = Extraction(
        data_root=settings.data,
        device=settings.device,
        batch_size=config.batch_size,
        weights_path=None if config.model.weights_path is None else Path(config.model.weights_path).expanduser(),
        dim=config.model.dim,
    )
    cache = EmbeddingCache(settings.embeddings)
    for embedded in embed(keys, cache, extraction, classes=classes, force=settings.force):
        header, rate = embedded.header, embedded.images_per_second
        how = "exists (force=true makes it anew)" if rate is None else f"{rate:,.0f} images/s"
        print(f"{header.key}: {header.n:,} x {header.d:,}, {how}, {header.path}")


if __name__ == "__main__":
    main()
