"""Draw sample images of a task: one labelled row for each dataset and class (Fig. A.5)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig
from PIL.PngImagePlugin import PngInfo

from imprint_sweep.cli.app import launch, user_errors
from imprint_sweep.config.reading import (
    absolute,
    check_choices,
    classes_from,
    data_folder,
    settings_from,
    task_from,
    typed,
)
from imprint_sweep.config.schemas import ContactSheetConfig, TaskConfig
from imprint_sweep.config.settings import Settings
from imprint_sweep.embeddings.cache import SPLITS
from imprint_sweep.errors import ConfigError, DatasetError, UnknownOptionError
from imprint_sweep.extraction.contact_sheet import contact_sheet
from imprint_sweep.extraction.datasets import LabelledImages, read_split
from imprint_sweep.grid.cell import Part, Task, stage_seed
from imprint_sweep.wording import counted

Images = list[NDArray[np.uint8]]


def main() -> None:
    """The command line: the group ``task``, and the keys of ``conf/contact_sheet.yaml``."""
    launch(run, config_name="contact_sheet")


def run(cfg: DictConfig) -> None:
    """The task function: draws the picture and says where it is."""
    with user_errors():
        check_choices("task")
        _draw(typed(ContactSheetConfig, cfg), settings_from(cfg))


def _draw(config: ContactSheetConfig, settings: Settings) -> None:
    if config.split not in SPLITS:
        raise UnknownOptionError("split", config.split, SPLITS)
    if config.images < 1:
        raise ConfigError(f"images must be at least 1, got {config.images}")
    classes = classes_from(config.task)
    folder = data_folder(settings, config.paths)
    splits = {name: read_split(name, config.split, folder, classes) for name in config.task.datasets}
    task = _task(config.task, splits)
    path = _path(config, task, settings)
    rows = list(_rows(task, splits, config.images, config.seed))
    sheet = contact_sheet(rows)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(path, pnginfo=_title(config, task))  # other kinds of pictures have no use for it
    except (OSError, ValueError) as error:  # ValueError: a suffix that is no kind of picture
        raise ConfigError(f"cannot write the picture to {path}: {error}") from error
    print(f"{counted(len(rows), 'row')} of at most {config.images} images: {path}")


def _task(option: TaskConfig, splits: dict[str, LabelledImages]) -> Task:
    """The task; an option that lists no classes has those of the images."""
    if option.labels is not None:
        return task_from(option)
    present = [set(split.labels.tolist()) for split in splits.values()]
    return task_from(replace(option, labels=sorted(set.intersection(*present))))


def _path(config: ContactSheetConfig, task: Task, settings: Settings) -> Path:
    if config.file is not None:
        return absolute("the picture (file)", config.file)
    merged = "" if task.merge is None else f"-{task.merge}in1-{task.remap}"
    name = f"contact_sheet-{task.name}-{task.classes.replace(',', '-')}{merged}.png"
    return settings.outputs / "report" / "figures" / name


def _title(config: ContactSheetConfig, task: Task) -> PngInfo:
    """What is on the sheet, in the picture's own words: the report shows them below it."""
    merged = "" if task.merge is None else f", {task.merge} in 1, remap {task.remap}"
    title = PngInfo()
    title.add_text("Title", f"{task.name}, classes {task.classes}{merged}: {config.split} split, seed {config.seed}")
    return title


def _rows(task: Task, splits: dict[str, LabelledImages], n: int, seed: int) -> Iterator[tuple[str, Images]]:
    """Label and images of each row, in the task's order."""
    one_class = len({value for label in task.labels for _, value in label}) == 1
    for label in task.labels:
        for dataset, value in label:
            yield dataset if one_class else f"{dataset} {value}", _samples((dataset, value), splits[dataset], n, seed)


def _samples(part: Part, split: LabelledImages, n: int, seed: int) -> Images:
    rows = np.flatnonzero(split.labels == part[1])
    if not len(rows):
        raise DatasetError(f"{split.source} has no image of class {part[1]}")
    drawn = np.random.default_rng(stage_seed("contact_sheet", seed, (part,))).permutation(rows)[:n]
    return [np.asarray(split.images[int(row)]) for row in drawn]


if __name__ == "__main__":
    main()
