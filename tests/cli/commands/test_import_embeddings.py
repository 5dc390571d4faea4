"""The command that imports embeddings."""

from __future__ import annotations

import shlex
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from imprint_sweep.cli.commands.import_embeddings import main
from imprint_sweep.embeddings.cache import SPLITS, EmbeddingCache, EntryKey, Split
from imprint_sweep.grid.cell import Model

RNG = np.random.default_rng(0)
TRAIN: NDArray[Any] = RNG.normal(size=(30, 4)).astype(np.float32)
TEST: NDArray[Any] = RNG.normal(size=(9, 4)).astype(np.float32)
TRAIN_LABELS: NDArray[Any] = np.arange(30) % 3 - 1
TEST_LABELS: NDArray[Any] = np.arange(9) % 3 - 1


def arguments(folder: Path, **changes: NDArray[Any]) -> list[str]:
    """The command line for files of train and test, with arrays replaced by name."""
    arrays: dict[str, NDArray[Any]] = {
        "train": TRAIN,
        "train_labels": TRAIN_LABELS,
        "test": TEST,
        "test_labels": TEST_LABELS,
    } | changes
    words = ["--model", "mynet", "--dataset", "mydata", "--outputs", str(folder / "outputs")]
    for split in SPLITS:
        path = folder / f"{split}.npz"
        np.savez(path, embeddings=arrays[split], labels=arrays[f"{split}_labels"])
        words += [f"--{split}", str(path)]
    return words


def key(split: Split) -> EntryKey:
    return EntryKey(Model("mynet", "imported"), "mydata", split)


def test_embeddings_are_cached_under_the_names_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(arguments(tmp_path))
    cache = EmbeddingCache(tmp_path / "outputs" / "embeddings")
    for split, features, labels in zip(SPLITS, (TRAIN, TEST), (TRAIN_LABELS, TEST_LABELS), strict=True):
        entry = cache.open(key(split))
        np.testing.assert_array_equal(entry.features, features)
        np.testing.assert_array_equal(entry.labels, labels)
        assert entry.metadata["source"] == str(tmp_path / f"{split}.npz")
    words = shlex.split(capsys.readouterr().out.splitlines()[-1].partition(": ")[2])
    assert words[:3] == ["python", "-m", "imprint_sweep"]
    assert words[3:] == [
        "model=imported",
        "model.name=mynet",
        "task=imported",
        "task.name=mydata",
        f"paths.outputs={tmp_path / 'outputs'}",
    ]


def test_they_may_be_those_of_a_network_that_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """So a task joined from embeddings of that network stands beside the tasks that it embedded itself."""
    main([*arguments(tmp_path), "--model", "efficientnet_lite0", "--weights", "IMAGENET1K", "--image-size", "112"])
    words = shlex.split(capsys.readouterr().out.splitlines()[-1].partition(": ")[2])
    assert words[3:6] == ["model=efficientnet_lite0", "task=imported", "task.name=mydata"]
    cache = EmbeddingCache(tmp_path / "outputs" / "embeddings")
    assert cache.header(EntryKey(Model("efficientnet_lite0", "IMAGENET1K", 112), "mydata", "train")) is not None


def test_a_size_of_images_is_positive(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main([*arguments(tmp_path), "--image-size", "0"])
    assert exit.value.code == 2
    assert "--image-size must be at least 1, got 0" in capsys.readouterr().err


def test_the_printed_command_reads_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As far as the configuration goes: it finds the classes of the imported embeddings."""
    from hydra import compose, initialize_config_dir

    from imprint_sweep.config.reading import cell_from_config
    from imprint_sweep.invocation import conf_folder

    main(arguments(tmp_path))
    overrides = shlex.split(capsys.readouterr().out.splitlines()[-1].partition(": ")[2])[3:]
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        cell = cell_from_config(compose("config", overrides))
    assert cell.model == Model("mynet", "imported")
    assert cell.task.labels == ((("mydata", -1),), (("mydata", 0),), (("mydata", 1),))


def test_what_exists_is_replaced_only_by_force(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache = EmbeddingCache(tmp_path / "outputs" / "embeddings")
    main(arguments(tmp_path))
    before = cache.open(key("train")).fingerprint
    with pytest.raises(SystemExit) as caught:
        main(arguments(tmp_path, train=TRAIN * 2))
    assert caught.value.code == 2
    assert "--force" in capsys.readouterr().err
    assert cache.open(key("train")).fingerprint == before
    main([*arguments(tmp_path, train=TRAIN * 2), "--force"])
    assert cache.open(key("train")).fingerprint != before


def test_an_import_does_not_replace_what_another_made_meanwhile(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = EmbeddingCache(tmp_path / "outputs" / "embeddings")
    cache.check_writable(key("train"))
    with ThreadPoolExecutor(1) as executor:
        with cache.making(key("train")):
            waits = executor.submit(main, arguments(tmp_path))
            time.sleep(0.3)
            assert not waits.done()
            cache.write(key("train"), TRAIN * 2, TRAIN_LABELS, metadata={})
        assert isinstance(waits.exception(60), SystemExit)
    assert "--force" in capsys.readouterr().err
    np.testing.assert_array_equal(cache.open(key("train")).features, TRAIN * 2)


def test_classes_may_have_names(tmp_path: Path) -> None:
    names = np.array(["wren", "robin", "Emu"])
    main(arguments(tmp_path, train_labels=names[TRAIN_LABELS], test_labels=names[TEST_LABELS]))
    entry = EmbeddingCache(tmp_path / "outputs" / "embeddings").open(key("test"))
    np.testing.assert_array_equal(entry.labels, np.array([2, 1, 0])[TEST_LABELS])
    assert entry.header.class_names == {0: "Emu", 1: "robin", 2: "wren"}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"test": TEST[:, :3]}, "unequal widths"),
        ({"train": np.where(TRAIN > 1, np.nan, TRAIN)}, "train.npz: embeddings must be finite, got nan at sample"),
        ({"train": TRAIN.astype(np.float64) * 1e60}, "must be finite, got"),
        ({"train_labels": TRAIN_LABELS[:-1]}, "(30, 4) and (29,)"),
        ({"test_labels": TEST_LABELS * 0}, "test.npz has no sample of class -1, 1, the other file has"),
        ({"train_labels": TRAIN_LABELS * 0}, "train.npz has no sample of class -1, 1, the other file has"),
        (
            {"test_labels": np.array([*"wrwrwrwrw"]), "train_labels": np.array([*"wrb"] * 10)},
            "has no sample of class b",
        ),
        ({"train": TRAIN[:0], "train_labels": TRAIN_LABELS[:0]}, "n and d at least 1"),
    ],
)
def test_unusable_embeddings_are_refused_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, NDArray[Any]], reason: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments(tmp_path, **changes))
    assert caught.value.code == 2
    assert reason in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.safetensors"))


def test_the_second_file_is_looked_at_before_the_first_is_stored(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        main(arguments(tmp_path, test=np.full_like(TEST, np.inf)))
    assert not list(tmp_path.rglob("*.safetensors"))


def test_labels_come_from_files_of_their_own(tmp_path: Path) -> None:
    words = ["--model", "m", "--dataset", "d", "--outputs", str(tmp_path / "outputs")]
    arrays = {"train": TRAIN, "train-labels": TRAIN_LABELS, "test": TEST, "test-labels": TEST_LABELS}
    array: NDArray[Any]
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
        words += [f"--{name}", str(tmp_path / f"{name}.npy")]
    main(words)
    entry = EmbeddingCache(tmp_path / "outputs" / "embeddings").open(EntryKey(Model("m", "imported"), "d", "test"))
    np.testing.assert_array_equal(entry.labels, TEST_LABELS)
    assert "test-labels.npy" in entry.metadata["source"]
