"""The command that draws sample images, as a user calls it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imprint_sweep.analysis.report.samples import samples
from imprint_sweep.cli.commands import contact_sheet
from imprint_sweep.extraction.contact_sheet import GAP, TILE
from tests.analysis.frames import results
from tests.drawing import Draw, drawing
from tests.published import write_digit_sets, write_idx


@pytest.fixture
def draw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Draw:
    """Runs the command line in this process, from the folder of its outputs."""
    return drawing(contact_sheet, tmp_path, monkeypatch, capsys)


def size(path: Path) -> tuple[int, int]:
    """Rows and columns of a sheet; columns up to the width of its labels."""
    with Image.open(path) as image:
        return (image.height - GAP) // (TILE + GAP), image.width // (TILE + GAP)


def test_fig_a5_has_a_row_for_each_digit_set(tmp_path: Path, draw: Draw) -> None:
    write_digit_sets(tmp_path / "data", per_class=3)
    words = ["task=combi_digits", "task.classes=[6]", f"paths.data={tmp_path / 'data'}"]
    finished = draw(*words)
    assert finished.returncode == 0, finished.stderr
    path = tmp_path / "report" / "figures" / "contact_sheet-combi_digits-6.png"
    assert finished.stdout == f"4 rows of at most 10 images: {path}\n"
    assert size(path) == (4, 3)
    (sheet,) = samples(results([{}]), tmp_path / "report").pictures  # the report finds it, and what it says of itself
    assert (sheet.file, sheet.caption) == (path, "combi_digits, classes 6: test split, seed 0")
    first = path.read_bytes()
    draw(*words)
    assert path.read_bytes() == first
    # Other images, and so on.
    for number, other in enumerate((["seed=1"], ["split=train"], ["images=2"])):
        finished = draw(*words, *other, f"file={tmp_path}/{number}/sheet.png")
        assert finished.returncode == 0, finished.stderr
        assert (tmp_path / str(number) / "sheet.png").read_bytes() != first
    assert size(tmp_path / "2" / "sheet.png") == (4, 2)


def test_every_class_of_any_task_has_its_row(tmp_path: Path, fashion_mnist: Path, draw: Draw) -> None:
    words = ["task=digits", "task.name=pair", "task.datasets=[digits,fashion_mnist]", "images=1"]
    finished = draw(*words, "task.merge=2", "task.remap=0")
    assert finished.returncode == 0, finished.stderr
    assert size(tmp_path / "report" / "figures" / "contact_sheet-pair-all-2in1-0.png")[0] == 20


def test_a_folder_of_images_has_the_classes_of_its_folders(tmp_path: Path, draw: Draw) -> None:
    for split in ("train", "test"):
        for label in ("ant", "bee", "cat"):
            folder = tmp_path / "data" / "pets" / split / label
            folder.mkdir(parents=True)
            Image.fromarray(np.zeros((40, 300, 3), np.uint8)).save(folder / "a.png")
    finished = draw("task=image_folder", "task.name=pets")
    assert finished.returncode == 0, finished.stderr
    assert size(tmp_path / "report" / "figures" / "contact_sheet-pets-all.png") == (3, 1)


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["task=combi_digits"], "put mnist_m_train.pt, mnist_m_test.pt into "),
        (["task=image_folder", "task.name=pets"], "no folder "),
        (["task.classes=[11]"], "digits has no class 11; it has 0, 1, 2"),
        (["task=digts"], "did you mean digits"),
        (["split=val"], "unknown split 'val'"),
        (["images=0"], "images must be at least 1, got 0"),
        (["image=3"], "did you mean images"),
        (["file=sheet.xyz"], "cannot write the picture to "),
        (["file=data/x/sheet.png"], "cannot write the picture to "),
        (["paths.data=/no/such/folder"], "paths.data: there is no folder /no/such/folder"),
        (["task=fashion_mnist"], "has no image of class 5"),
    ],
)
def test_bad_input_is_a_sentence(tmp_path: Path, draw: Draw, overrides: list[str], reason: str) -> None:
    images = np.zeros((5, 28, 28), np.uint8)
    for folder in ("FashionMNIST/raw", "mnist"):
        write_idx(tmp_path / "data" / folder, "test", images, range(5))
    (tmp_path / "data" / "x").touch()
    finished = draw(*overrides)
    assert finished.returncode == 2, finished.stdout
    (line,) = finished.stderr.splitlines()
    assert line.startswith("error: ")
    assert reason in line
    assert not list(tmp_path.rglob("*.png"))
