"""Extraction: what reaches the cache, from a tiny network and from a real one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from imprint_sweep.embeddings.cache import SPLITS, EmbeddingCache, EntryKey, limited_indices
from imprint_sweep.errors import ConfigError, DatasetError, EmbeddingsError, InvalidEmbeddingsError, UnknownOptionError
from imprint_sweep.extraction import extracting as extraction
from imprint_sweep.extraction.datasets import DATASETS, LabelledImages, read_split
from imprint_sweep.extraction.extracting import Extraction, checked_device, embed, ensure, extract
from imprint_sweep.extraction.models import MODELS, load_model
from imprint_sweep.extraction.models.foundation_model import FoundationModel
from imprint_sweep.extraction.transforms import Transform
from imprint_sweep.grid.cell import Model, Precision
from tests import published

TINY = Model("tiny", "random", 8)
CPU = torch.device("cpu")
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (23, 6, 6), np.uint8)
LABELS = np.arange(23) % 3


def tiny(dim: int = 5) -> FoundationModel:
    """A network whose embeddings depend on every pixel."""
    generator = torch.Generator().manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 5))
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    transform = Transform(8, 8, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    return FoundationModel(module.eval(), transform, dim, "random numbers", ("torch",))


@pytest.fixture
def cache(tmp_path: Path) -> EmbeddingCache:
    return EmbeddingCache(tmp_path / "embeddings")


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Registers the tiny network and data; the list counts how often the network was loaded."""
    loads: list[str] = []

    def build(model: Model, weights_path: Path | None) -> FoundationModel:
        loads.append(model.name)
        return tiny()

    monkeypatch.setitem(MODELS, "tiny", build)
    monkeypatch.setitem(DATASETS, "noise", lambda split, root: LabelledImages(IMAGES, LABELS, f"noise for {split}"))
    return loads


SETTINGS = Extraction(Path("unused"))


# The numbers


def plain(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """One image at a time."""
    model = tiny()
    with torch.inference_mode():
        return np.concatenate([model.module(model.transform(image[None])).numpy() for image in images])


@pytest.mark.parametrize("batch_size", [1, 7, 23, 64])
def test_the_batch_size_changes_embeddings_by_rounding_alone(batch_size: int) -> None:
    found = extract(tiny(), IMAGES, np.arange(23), device=CPU, batch_size=batch_size)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, plain(IMAGES), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(("side", "batches"), [(224, 16), (448, 4), (112, 64), (32, 64), (2000, 1)])
def test_batches_on_the_cpu_are_bounded_in_images_and_values(side: int, batches: int) -> None:
    sizes: list[int] = []

    class Recording(torch.nn.Module):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            sizes.append(len(batch))
            return batch.flatten(1)[:, :5]

    transform = Transform(side, side, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    model = FoundationModel(Recording(), transform, 5, "nothing", ("torch",))
    extract(model, IMAGES[:5], np.arange(5).repeat(batches)[: batches + 1], device=CPU)
    assert sorted(sizes) == [1, batches]


@pytest.mark.parametrize("threads", [1, 2, 3, 20])
def test_the_number_of_threads_changes_nothing(threads: int) -> None:
    """Batches run side by side, each on its own threads; afterwards torch has as many as before."""
    expected = extract(tiny(), IMAGES, np.arange(23), device=CPU, batch_size=4)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = extract(tiny(), IMAGES, np.arange(23), device=CPU, batch_size=4)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(found, expected)


def test_images_that_are_decoded_one_by_one_give_the_same() -> None:
    found = extract(tiny(), list(IMAGES), np.arange(23), device=CPU, batch_size=4)
    np.testing.assert_allclose(found, plain(IMAGES), rtol=1e-5, atol=1e-4)


def test_only_the_images_asked_for_are_read() -> None:
    class Recording(Sequence[NDArray[np.uint8]]):
        def __init__(self) -> None:
            self.read: list[int] = []

        def __len__(self) -> int:
            return len(IMAGES)

        def __getitem__(self, index: Any) -> Any:
            self.read.append(index)
            return IMAGES[index]

    images = Recording()
    found = extract(tiny(), images, np.array([20, 3, 4]), device=CPU, batch_size=2)
    assert sorted(images.read) == [3, 4, 20]
    np.testing.assert_allclose(found, plain(IMAGES[[20, 3, 4]]), rtol=1e-5, atol=1e-4)


def test_progress_counts_every_image() -> None:
    counts: list[int] = []
    extract(tiny(), IMAGES, np.arange(23), device=CPU, batch_size=10, advance=counts.append)
    assert counts == [10, 10, 3]


def test_another_width_than_announced_is_refused() -> None:
    with pytest.raises(EmbeddingsError, match="expected embeddings of width 6"):
        extract(tiny(dim=6), IMAGES, np.arange(23), device=CPU, batch_size=4)


def test_pixels_tell_their_width_and_need_one_size() -> None:
    model = load_model(Model("pixels", "raw"))
    found = extract(model, IMAGES, np.arange(23), device=CPU, batch_size=4)
    np.testing.assert_allclose(found, IMAGES.reshape(23, -1) / 255, rtol=1e-6)
    for batch_size in (1, 2):
        with pytest.raises(EmbeddingsError, match=r"images of several sizes.* need a model\.image_size"):
            extract(model, [IMAGES[0], IMAGES[1, :3]], np.arange(2), device=CPU, batch_size=batch_size)


def test_an_error_while_decoding_is_raised_and_nothing_hangs() -> None:
    class Broken(Sequence[NDArray[np.uint8]]):
        def __len__(self) -> int:
            return 9

        def __getitem__(self, index: Any) -> Any:
            if index == 5:
                raise EmbeddingsError("image 5 is broken")
            return IMAGES[index]

    with pytest.raises(EmbeddingsError, match="image 5 is broken"):
        extract(tiny(), Broken(), np.arange(9), device=CPU, batch_size=2)


# The entries


@pytest.mark.usefixtures("loaded")
def test_an_entry_says_where_it_came_from(cache: EmbeddingCache) -> None:
    key = EntryKey(TINY, "noise", "test")
    (header,) = ensure(cache, [key], SETTINGS)
    entry = cache.open(key)
    np.testing.assert_allclose(entry.features, plain(IMAGES), rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(entry.labels, LABELS)
    metadata = header.metadata
    assert metadata["source"] == "noise for test; weights: random numbers"
    assert metadata["transform"] == str(tiny().transform)
    assert metadata["packages"] == f"torch=={torch.__version__}"
    assert metadata["sample_order"] == "the dataset's own"
    assert metadata["device"].startswith("cpu")


def test_what_exists_is_kept_and_force_makes_it_anew(cache: EmbeddingCache, loaded: list[str]) -> None:
    keys = [EntryKey(TINY, "noise", split) for split in SPLITS]
    made = list(embed(keys, cache, SETTINGS))
    assert all(embedded.per_second is not None for embedded in made)
    assert len(loaded) == 1  # one network for both splits
    written = [header.path.stat().st_mtime_ns for header in ensure(cache, keys, SETTINGS)]
    assert [embedded.per_second for embedded in embed(keys, cache, SETTINGS)] == [None, None]
    assert len(loaded) == 1
    again = list(embed(keys, cache, SETTINGS, force=True))
    assert len(loaded) == 2
    assert all(new.header.path.stat().st_mtime_ns > old for new, old in zip(again, written, strict=True))
    assert [new.header.fingerprint for new in again] == [old.header.fingerprint for old in made]


def test_what_two_want_at_once_is_made_once(cache: EmbeddingCache, loaded: list[str]) -> None:
    """Two jobs of a launcher, say, of tasks that share a dataset."""
    key = EntryKey(TINY, "noise", "train")
    cache.check_writable(key)
    with ThreadPoolExecutor(2) as executor:
        with cache.making(key):
            both = [executor.submit(lambda: list(embed([key], cache, SETTINGS))) for _ in range(2)]
            time.sleep(0.2)
            assert not any(one.done() for one in both)
        (one,), (other,) = (future.result(60) for future in both)
    assert len(loaded) == 1
    assert [one.per_second, other.per_second].count(None) == 1


@pytest.mark.usefixtures("loaded")
def test_other_weights_under_the_name_of_an_entry_are_noticed(
    cache: EmbeddingCache, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    key = EntryKey(TINY, "noise", "train")
    ensure(cache, [key], SETTINGS)
    ensure(cache, [key], replace(SETTINGS, weights_path=tmp_path / "random numbers"))
    assert "note" not in capsys.readouterr().err
    ensure(cache, [key], replace(SETTINGS, weights_path=tmp_path / "other.pth"))
    assert "was made from random numbers, not from " in capsys.readouterr().err


@pytest.mark.usefixtures("loaded")
def test_other_images_under_the_name_of_an_entry_are_noticed(
    cache: EmbeddingCache, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A folder elsewhere, and the published files of a dataset in another place."""
    for root in ("one", "two"):
        for split in SPLITS:
            path = tmp_path / root / "pets" / split / "cat" / "a.png"
            path.parent.mkdir(parents=True)
            Image.fromarray(IMAGES[0]).save(path)
            published.write_idx(tmp_path / root / "mnist", split, IMAGES, LABELS.tolist(), zipped=True)
    (tmp_path / "linked").symlink_to(tmp_path / "one")
    keys = [EntryKey(TINY, dataset, "train") for dataset in ("pets", "mnist")]
    ensure(cache, keys, replace(SETTINGS, data_root=tmp_path / "one"))
    for root in ("one", "linked", "empty"):
        ensure(cache, keys, replace(SETTINGS, data_root=tmp_path / root))
        assert capsys.readouterr().err == ""
    ensure(cache, keys, replace(SETTINGS, data_root=tmp_path / "two"))
    first, second = capsys.readouterr().err.splitlines()
    assert f"on pets train was made from {tmp_path}/one/pets/train, not from {tmp_path}/two/pets/train: give" in first
    assert f"one/mnist/train-images-idx3-ubyte.gz, {tmp_path}/one/mnist/train-labels" in second
    assert f"not from {tmp_path}/two/mnist: give" in second


@pytest.mark.parametrize("dataset", ["pets", "mnist_m"])
def test_nothing_is_embedded_of_a_dataset_whose_other_split_cannot_be_read(
    cache: EmbeddingCache, loaded: list[str], tmp_path: Path, dataset: str
) -> None:
    for split in SPLITS:
        (tmp_path / "pets" / split / "cat").mkdir(parents=True)
    Image.fromarray(IMAGES[0]).save(tmp_path / "pets" / "train" / "cat" / "a.png")
    published.write_mnist_m(tmp_path / "mnist_m", "train", np.zeros((1, 28, 28, 3), np.uint8), [1])
    with pytest.raises(DatasetError, match=r"pets/test has no images|put mnist_m_train\.pt"):
        ensure(cache, [EntryKey(TINY, dataset, split) for split in SPLITS], replace(SETTINGS, data_root=tmp_path))
    assert (cache.paths(), loaded) == ([], [])


@pytest.mark.usefixtures("loaded")
def test_a_limited_entry_never_passes_for_a_whole_one(cache: EmbeddingCache) -> None:
    limited = EntryKey(TINY, "noise", "train", 10)
    ensure(cache, [limited], SETTINGS)
    assert cache.header(EntryKey(TINY, "noise", "train")) is None
    entry = cache.open(limited)
    np.testing.assert_allclose(entry.features, plain(IMAGES)[limited_indices(23, 10)], rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(entry.labels, LABELS[limited_indices(23, 10)])


@pytest.mark.usefixtures("loaded")
def test_interrupted_extraction_leaves_finished_entries_and_no_half_ones(
    cache: EmbeddingCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [EntryKey(TINY, "noise", split) for split in SPLITS]
    embedding = embed(keys, cache, SETTINGS)
    first = next(embedding)

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(torch.nn.Linear, "forward", interrupt)
    with pytest.raises(KeyboardInterrupt):
        next(embedding)
    files = [path for path in cache.root.rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert files == [first.header.path]


@pytest.mark.usefixtures("loaded")
def test_a_damaged_entry_is_named_and_force_mends_it(cache: EmbeddingCache) -> None:
    key = EntryKey(TINY, "noise", "train")
    path = cache.path(key)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"half")
    with pytest.raises(InvalidEmbeddingsError, match="force=true"):
        ensure(cache, [key], SETTINGS)
    list(embed([key], cache, SETTINGS, force=True))
    assert cache.open(key).header.n == 23


def test_a_folder_that_cannot_be_written_is_found_before_the_work(tmp_path: Path, loaded: list[str]) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddingsError, match="cannot be stored"):
        ensure(EmbeddingCache(tmp_path / "file" / "embeddings"), [EntryKey(TINY, "noise", "train")], SETTINGS)
    assert loaded == []


@pytest.mark.usefixtures("loaded")
def test_a_wrong_width_in_the_configuration_is_refused(cache: EmbeddingCache) -> None:
    with pytest.raises(ConfigError, match=r"model\.dim=7, but embeddings of tiny have width 5"):
        ensure(cache, [EntryKey(TINY, "noise", "train")], Extraction(Path("unused"), dim=7))


@pytest.mark.parametrize(
    ("key", "error", "reason"),
    [
        (EntryKey(Model("mynet", "imported"), "noise", "train"), EmbeddingsError, "import"),
        (EntryKey(Model("tini", "random"), "noise", "train"), UnknownOptionError, "did you mean tiny"),
        (EntryKey(TINY, "nois", "train"), DatasetError, "did you mean noise"),
    ],
)
@pytest.mark.usefixtures("loaded")
def test_what_cannot_be_embedded_is_refused(
    cache: EmbeddingCache, key: EntryKey, error: type[Exception], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        ensure(cache, [key], SETTINGS)


# Some classes of many


def few(*classes: int) -> frozenset[int]:
    return frozenset(classes)


def embedded_labels(cache: EmbeddingCache, key: EntryKey) -> list[int]:
    entry = cache.open(key)
    held = np.isin(LABELS, entry.labels)
    np.testing.assert_allclose(entry.features, plain(IMAGES)[held], rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(entry.labels, LABELS[held])
    return sorted(set(entry.labels.tolist()))


@pytest.mark.usefixtures("loaded")
def test_only_the_classes_that_are_wanted_are_embedded_in_the_datasets_order(cache: EmbeddingCache) -> None:
    key = EntryKey(TINY, "noise", "train")
    (embedded,) = embed([key], cache, SETTINGS, classes=few(2, 0))
    assert embedded.header.embedded_classes == few(0, 2)
    assert embedded_labels(cache, key) == [0, 2]


def test_an_entry_that_lacks_a_class_is_made_anew_and_keeps_what_it_had(
    cache: EmbeddingCache, loaded: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    key = EntryKey(TINY, "noise", "train")
    for classes, embedded, loads in (
        (few(2), {2}, 1),
        (few(2), {2}, 1),  # there is nothing to do
        (few(0), {0, 2}, 2),
        (few(0, 2), {0, 2}, 2),
        (None, None, 3),
        (few(1), None, 3),
    ):
        list(embed([key], cache, SETTINGS, classes=classes))
        header = cache.header(key)
        assert header is not None
        assert (header.embedded_classes, len(loaded)) == (embedded, loads)
        assert embedded_labels(cache, key) == sorted(embedded or {0, 1, 2})
    assert capsys.readouterr().err.count("made anew") == 2


@pytest.mark.usefixtures("loaded")
def test_three_jobs_that_add_classes_to_one_entry_lose_none(
    cache: EmbeddingCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second waits for the first, and the third comes when the first has left and the second works."""

    def slowly(split: str, root: Path) -> LabelledImages:
        time.sleep(0.6)
        return LabelledImages(IMAGES, LABELS, f"noise for {split}")

    monkeypatch.setitem(DATASETS, "noise", slowly)
    key = EntryKey(TINY, "noise", "train")

    def add(label: int) -> None:
        time.sleep(0.5 * label)
        list(embed([key], cache, SETTINGS, classes=few(label)))

    with ThreadPoolExecutor(3) as executor:
        list(executor.map(add, range(3)))
    assert embedded_labels(cache, key) == [0, 1, 2]


@pytest.mark.usefixtures("loaded")
def test_force_keeps_the_classes_that_other_tasks_read(cache: EmbeddingCache) -> None:
    key = EntryKey(TINY, "noise", "train")
    list(embed([key], cache, SETTINGS, classes=few(2)))
    list(embed([key], cache, SETTINGS, classes=few(0), force=True))
    assert embedded_labels(cache, key) == [0, 2]


@pytest.mark.usefixtures("loaded")
def test_all_the_classes_that_there_are_is_the_whole_dataset(cache: EmbeddingCache) -> None:
    """A class that the dataset does not have is no reason to embed it again and again."""
    key = EntryKey(TINY, "noise", "train")
    list(embed([key], cache, SETTINGS, classes=few(0, 1, 2, 3)))
    header = cache.header(key)
    assert header is not None
    assert header.embedded_classes is None
    assert header.covers(few(0, 1, 2, 3, 4))


@pytest.mark.usefixtures("loaded")
def test_a_limit_counts_the_images_of_the_classes_that_are_wanted(cache: EmbeddingCache) -> None:
    key = EntryKey(TINY, "noise", "train", 4)
    list(embed([key], cache, SETTINGS, classes=few(1, 2)))
    held = np.flatnonzero(np.isin(LABELS, [1, 2]))
    np.testing.assert_array_equal(cache.open(key).labels, LABELS[held[limited_indices(len(held), 4)]])


@pytest.mark.usefixtures("loaded")
def test_classes_without_an_image_are_refused(cache: EmbeddingCache) -> None:
    with pytest.raises(DatasetError, match="noise for train has no image of class 7, 8"):
        list(embed([EntryKey(TINY, "noise", "train")], cache, SETTINGS, classes=few(8, 7)))


# Half precision, if asked


@pytest.mark.parametrize(("precision", "digits"), [(Precision.BFLOAT16, 2e-2), (Precision.FLOAT16, 2e-3)])
def test_a_half_precision_is_another_model(
    cache: EmbeddingCache, loaded: list[str], precision: Precision, digits: float
) -> None:
    half = replace(TINY, precision=precision)
    (full_header, half_header) = ensure(cache, [EntryKey(model, "noise", "train") for model in (TINY, half)], SETTINGS)
    assert loaded == ["tiny", "tiny"]
    assert full_header.path != half_header.path
    assert (full_header.metadata["precision"], half_header.metadata["precision"]) == ("float32", precision)
    found, expected = (cache.open(header.key).features for header in (half_header, full_header))
    assert found.dtype == np.float32
    difference = np.abs(found - expected).max() / np.abs(expected).max()
    assert 0 < difference < digits


# Devices and progress


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "", "mps", "meta"])
def test_an_unknown_device_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="use cpu, cuda or cuda:<number>"):
        checked_device(name)


def test_an_absent_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert checked_device("cuda:0") == torch.device("cuda:0")
    with pytest.raises(ConfigError, match="sees 1 GPUs here; use device=cpu"):
        checked_device("cuda:1")


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("batch_size", [1, 4, 23, 64])
def test_the_way_over_a_gpu_gives_the_same(batch_size: int, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches made ahead by threads, results fetched one batch late: on the CPU, for want of a GPU."""
    monkeypatch.setattr(extraction, "_on_cores", extraction._on_gpu)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        counts: list[int] = []
        indices = np.arange(23)[::-1].copy()
        found = extract(tiny(), IMAGES, indices, device=CPU, batch_size=batch_size, advance=counts.append)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    np.testing.assert_allclose(found, plain(IMAGES[::-1]), rtol=1e-5, atol=1e-4)
    assert counts == [len(indices[start : start + batch_size]) for start in range(0, 23, batch_size)]


def test_on_a_gpu_float32_means_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction, "_on_cores", extraction._on_gpu)
    seen: list[bool] = []
    model = tiny()
    model.module.register_forward_hook(lambda *_: seen.append(torch.backends.cudnn.allow_tf32))
    before = torch.backends.cudnn.allow_tf32
    extract(model, IMAGES, np.arange(23), device=CPU)
    assert seen == [False]
    assert torch.backends.cudnn.allow_tf32 is before


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_gives_the_same_embeddings() -> None:
    found = extract(tiny(), IMAGES, np.arange(23), device=torch.device("cuda"), batch_size=8)
    np.testing.assert_allclose(found, plain(IMAGES), rtol=1e-2, atol=1e-1)


# The embedded default


@pytest.fixture(scope="module")
def digits() -> LabelledImages:
    return read_split("digits", "train", Path("unused"))


def test_a_real_network_tells_real_digits_apart(digits: LabelledImages) -> None:
    """32 digits, 1-nn by leave-one-out: chance is one in ten."""
    indices = np.arange(32)
    model = load_model(Model("efficientnet_lite0", "IMAGENET1K", 112))
    features = extract(model, digits.images, indices, device=CPU)
    assert features.shape == (32, 1280)
    distances = np.linalg.norm(features[:, None] - features[None], axis=2) + np.diag(np.full(32, np.inf))
    labels = digits.labels[indices]
    assert (labels[distances.argmin(axis=1)] == labels).mean() > 0.5
