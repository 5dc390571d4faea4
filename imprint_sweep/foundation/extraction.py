"""From images to cached embeddings with a frozen foundation model (method, section 0)."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from imprint_sweep.cell import Model
from imprint_sweep.embeddings import IMPORTED, EmbeddingCache, EntryHeader, EntryKey, limited_indices
from imprint_sweep.errors import ConfigError, EmbeddingsError
from imprint_sweep.foundation.datasets import Split, read_split
from imprint_sweep.foundation.models import load_model
from imprint_sweep.foundation.models.foundation_model import FoundationModel
from imprint_sweep.foundation.progress import progress_bar

CPU_BATCH = 16
"""Images per batch on the CPU: what a layer writes then still is in the cache when the next one reads it."""

MOST_AT_ONCE = 8
"""Batches on the CPU at once, each with the activations of a whole network in memory."""

GPU_BATCH = 256

Images = NDArray[np.uint8] | Sequence[NDArray[np.uint8]]
Output = NDArray[np.float32]


@dataclass(frozen=True)
class Extraction:
    """How embeddings are made; none of it decides which.

    Args:
        data_root: the folder in which the user keeps datasets.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ...
        batch_size: images per forward pass; None means what suits the device.
        weights_path: a state dict to load instead of the model's own weights.
        dim: the width that the embeddings must have; None means whatever the model gives.
    """

    data_root: Path
    device: str = "cpu"
    batch_size: int | None = None
    weights_path: Path | None = None
    dim: int | None = None


@dataclass(frozen=True)
class Embedded:
    """One entry of the cache, and what it took.

    Args:
        header: the entry.
        images_per_second: of the extraction; None where the entry existed already.
    """

    header: EntryHeader
    images_per_second: float | None


def embed(
    keys: Iterable[EntryKey], cache: EmbeddingCache, extraction: Extraction, *, force: bool = False
) -> Iterator[Embedded]:
    """Make the entries that do not exist yet, one at a time.

    Each is written whole at its end, so whatever interrupts this leaves finished entries and no half ones.

    Args:
        keys: what to embed.
        cache: where to.
        extraction: how.
        force: make entries anew that exist.

    Raises:
        ConfigError: an unknown model or dataset, weights that do not load, a device that is not there.
        DatasetError: images cannot be read.
        EmbeddingsError: an entry exists and is damaged, is one that only an import can make, or cannot be written.
    """
    loaded: dict[Model, FoundationModel] = {}
    for key in keys:
        existing = None if force else cache.header(key)
        if existing is not None:
            yield Embedded(existing, None)
            continue
        if key.model.weights == IMPORTED:
            raise EmbeddingsError(f"{key}: imported embeddings cannot be computed; bring them: {cache.remedy(key)}")
        device = checked_device(extraction.device)
        cache.check_writable(key)
        split = read_split(key.dataset, key.split, extraction.data_root)
        if key.model not in loaded:
            loaded = {key.model: _load(key.model, extraction)}
        yield _embed_split(key, split, loaded[key.model], cache, device, extraction.batch_size)


def ensure(cache: EmbeddingCache, keys: Iterable[EntryKey], extraction: Extraction) -> list[EntryHeader]:
    """Make the entries that do not exist yet and return the headers of all, in order. Errors: see :func:`embed`."""
    return [embedded.header for embedded in embed(keys, cache, extraction)]


def extract(
    model: FoundationModel,
    images: Images,
    indices: NDArray[np.int64],
    *,
    device: torch.device,
    batch_size: int,
    advance: Callable[[int], object] = lambda n: None,
) -> NDArray[np.float32]:
    """Embed images.

    Args:
        model: the network and its transform.
        images: as in :class:`~imprint_sweep.foundation.datasets.Split`.
        indices: (n,) which of them, in which order.
        device: where the network runs.
        batch_size: images per forward pass; changes the result by rounding alone.
        advance: called with the number of images after each batch.

    Returns:
        (n, dim) float32.

    Raises:
        EmbeddingsError: the network returns another width than the model's ``dim``.
    """
    module = model.module.to(device)
    module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    parts = [indices[start : start + batch_size] for start in range(0, len(indices), batch_size)]
    outputs = _on_cores(model, images, parts) if device.type == "cpu" else _on_gpu(model, images, parts, device)
    features = np.empty((len(indices), model.dim or 0), np.float32)
    done = 0
    with closing(outputs):
        for output in outputs:
            if done == 0 and model.dim is None:
                features = np.empty((len(indices), output.shape[1]), np.float32)
            if output.shape[1:] != features.shape[1:]:
                raise EmbeddingsError(
                    f"expected embeddings of width {features.shape[1]}, the network returns {output.shape[1:]}; "
                    "images of several sizes need a model.image_size"
                )
            features[done : done + len(output)] = output
            done += len(output)
            advance(len(output))
    return features


def checked_device(name: str) -> torch.device:
    """The device of that name.

    Raises:
        ConfigError: no device has this name, or it is not there.
    """
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"device={name} is no device; use cpu, cuda or cuda:<number>") from error
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"device={name} is not supported; use cpu, cuda or cuda:<number>")
    if device.type == "cuda" and (device.index or 0) >= (count := torch.cuda.device_count()):
        raise ConfigError(f"device={name}, but torch {torch.__version__} sees {count} GPUs here; use device=cpu")
    return device


def _load(model: Model, extraction: Extraction) -> FoundationModel:
    loaded = load_model(model, extraction.weights_path)
    if None not in (extraction.dim, loaded.dim) and extraction.dim != loaded.dim:
        raise ConfigError(f"model.dim={extraction.dim}, but embeddings of {model.name} have width {loaded.dim}")
    return loaded


def _embed_split(
    key: EntryKey,
    split: Split,
    model: FoundationModel,
    cache: EmbeddingCache,
    device: torch.device,
    batch_size: int | None,
) -> Embedded:
    indices = limited_indices(len(split.labels), key.limit)
    batch_size = batch_size or (CPU_BATCH if device.type == "cpu" else GPU_BATCH)
    start = time.perf_counter()
    with progress_bar(str(key), len(indices)) as advance:
        features = extract(model, split.images, indices, device=device, batch_size=batch_size, advance=advance)
    seconds = time.perf_counter() - start
    metadata = {
        "transform": str(model.transform),
        "source": f"{split.source}; weights: {model.source}",
        "sample_order": "the dataset's own" if key.limit is None else "the dataset's own, evenly thinned to the limit",
        "packages": " ".join(f"{package}=={version(package)}" for package in model.packages),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu ({platform.machine()})",
    }
    cache.write(key, features, split.labels[indices], metadata=metadata)
    header = cache.header(key)
    assert header is not None
    return Embedded(header, len(indices) / seconds)


def _on_cores(model: FoundationModel, images: Images, parts: Sequence[NDArray[np.int64]]) -> Generator[Output]:
    """The network's output for each part, in order: several batches at once, each on a thread or few of its own.

    All threads on one batch would meet after every layer. On small images that costs half the speed, and where
    something else runs on one of the cores, nearly all of it.
    """
    threads = torch.get_num_threads()
    at_once = min(threads, MOST_AT_ONCE, len(parts))

    def embed_part(part: NDArray[np.int64]) -> Output:
        with torch.inference_mode():  # which holds for one thread
            return _forward(model, _batch(model, images, part))

    try:
        with ThreadPoolExecutor(at_once, "extraction", lambda: torch.set_num_threads(threads // at_once)) as executor:
            yield from executor.map(embed_part, parts)
    finally:
        torch.set_num_threads(threads)


def _on_gpu(
    model: FoundationModel, images: Images, parts: Sequence[NDArray[np.int64]], device: torch.device
) -> Generator[Output]:
    """The network's output for each part, in order; the next batch is made while the present one is in use."""
    with torch.inference_mode(), ThreadPoolExecutor(1, "transform") as executor:
        coming = executor.submit(_batch, model, images, parts[0])
        for part in parts[1:]:
            ready, coming = coming, executor.submit(_batch, model, images, part)
            yield _forward(model, ready.result().to(device))
        yield _forward(model, coming.result().to(device))


def _batch(model: FoundationModel, images: Images, part: NDArray[np.int64]) -> torch.Tensor:
    if isinstance(images, np.ndarray):
        return model.transform(images[part])
    return torch.cat([model.transform(images[int(index)][None]) for index in part])


def _forward(model: FoundationModel, batch: torch.Tensor) -> Output:
    output: Output = model.module(batch).float().cpu().numpy()
    return output
