"""Draw the embeddings of a task in two dimensions: samples, class means and k-means proxies (Fig. 3)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from omegaconf import DictConfig
from threadpoolctl import threadpool_limits

from imprint_sweep.analysis import plots
from imprint_sweep.analysis.artefact import Projection
from imprint_sweep.analysis.stats.projection import project
from imprint_sweep.cli.app import launch, user_errors
from imprint_sweep.config.reading import absolute, check_choices, model_from, settings_from, task_from, typed
from imprint_sweep.config.schemas import ProjectionConfig
from imprint_sweep.config.settings import Settings
from imprint_sweep.embeddings.cache import SPLITS, EntryKey, file_name
from imprint_sweep.embeddings.features import Features
from imprint_sweep.errors import ConfigError, UnknownOptionError
from imprint_sweep.grid.cell import Label, Model, Task, stage_seed
from imprint_sweep.imprinting.components import NORMS, Position, norms_at
from imprint_sweep.imprinting.kmeans.batch import batch_kmeans
from imprint_sweep.imprinting.n_shot import draw
from imprint_sweep.running.bundled import make_bundled_entries
from imprint_sweep.wording import counted


def main() -> None:
    """The command line: the groups ``model`` and ``task``, and the keys of ``conf/projection.yaml``."""
    launch(run, config_name="projection")


def run(cfg: DictConfig) -> None:
    """The task function: draws the picture and says where it is."""
    with user_errors():
        check_choices("model", "task")
        _draw(typed(ProjectionConfig, cfg), settings_from(cfg))


def _draw(config: ProjectionConfig, settings: Settings) -> None:
    if config.norm.pre not in norms_at(Position.PRE):
        raise UnknownOptionError("norm.pre", config.norm.pre, norms_at(Position.PRE))
    for name, value in (("k", config.k), ("samples", config.samples)):
        if value < 1:
            raise ConfigError(f"{name} must be at least 1, got {value}")
    model = model_from(config.model)
    # Before the task, whose classes may be those of the embeddings.
    keys = [EntryKey(model, dataset, split, config.limit) for dataset in config.task.datasets for split in SPLITS]
    make_bundled_entries([key for key in keys if settings.cache.header(key) is None], settings)
    task = task_from(config.task, limit=config.limit, model=model, cache=settings.cache)
    path = _path(config, model, task, settings)
    projection = _projection(config, model, task, settings, path.stem)
    try:
        picture, data = plots.write(projection, path.parent, [path.suffix[1:]])
    except OSError as error:
        raise ConfigError(f"cannot write the picture to {path}: {error.strerror or error}") from error
    drawn = sum(map(len, projection.samples))
    print(f"{counted(drawn, 'sample')}, {counted(len(task.labels), 'label')}: {picture} (data: {data.name})")


def _path(config: ProjectionConfig, model: Model, task: Task, settings: Settings) -> Path:
    if config.file is not None:
        path = absolute("the picture (file)", config.file)
        if path.suffix[1:] not in plots.FORMATS:
            raise UnknownOptionError("suffix of file", path.suffix, [f".{suffix}" for suffix in plots.FORMATS])
        return path
    merged = "" if task.merge is None else f"-{task.merge}in1-{task.remap}"
    classes = task.classes.replace(",", "-")
    stem = f"projection-{file_name(model.name)}-{file_name(task.name)}-{classes}{merged}"
    return settings.outputs / "report" / "figures" / f"{stem}.png"


def _projection(config: ProjectionConfig, model: Model, task: Task, settings: Settings, stem: str) -> Projection:
    features = Features(settings.cache, model, task.limit)
    features.open(task)
    keys = {dataset: EntryKey(model, dataset, "train", task.limit) for dataset in task.datasets}
    headers = {dataset: settings.cache.header(key) for dataset, key in keys.items()}
    names = {dataset: header.class_names for dataset, header in headers.items() if header is not None}
    samples, means, proxies = [], [], []
    with threadpool_limits(limits=1):  # the bits of k-means depend on the number of threads
        for label in task.labels:
            rows = features.rows("train", label)
            rows = NORMS[config.norm.pre].rows(rows)
            chosen = draw(
                len(rows), config.samples, np.random.default_rng(stage_seed("projection", config.seed, label))
            )
            samples.append(rows[chosen].astype(np.float64))
            means.append(rows.mean(axis=0, dtype=np.float64)[None])
            proxies.append(batch_kmeans(rows, [(config.k, config.seed)])[0].centers.astype(np.float64))
    placed, shares = project(samples, means, proxies)
    merged = "" if task.merge is None else f", {task.merge} in 1, remap {task.remap}"
    title = (
        f"{model.name} on {task.name}, classes {task.classes}{merged}: training split, norm.pre = {config.norm.pre}, "
        f"k = {config.k}, seed {config.seed}"
    )
    return Projection(
        name=stem,
        title=title,
        labels=tuple(_shown(label, names) for label in task.labels),
        samples=tuple(placed[0]),
        means=np.concatenate(placed[1]),
        proxies=tuple(placed[2]),
        proxies_name=f"k-means proxy (k = {config.k})",
        shares=shares,
    )


def _shown(label: Label, names: Mapping[str, Mapping[int, str]]) -> str:
    """The classes that a label unites, each once, by their names where they have some.

    >>> _shown((("mnist", 6), ("svhn", 6)), {}), _shown((("news", 3), ("digits", 7)), {"news": {3: "sport"}})
    ('6', 'sport+7')
    """
    return "+".join(dict.fromkeys(names.get(dataset, {}).get(value, str(value)) for dataset, value in label))


if __name__ == "__main__":
    main()
