"""From images or texts to cached embeddings with a frozen foundation model (method, section 0)."""

from __future__ import annotations

import json
import platform
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from imprint_sweep import telling
from imprint_sweep.embeddings.cache import CLASSES, EmbeddingCache, EntryHeader, EntryKey, limited_indices
from imprint_sweep.embeddings.class_names import names_metadata
from imprint_sweep.errors import ConfigError, DatasetError, EmbeddingsError, InvalidEmbeddingsError, enumerated
from imprint_sweep.extraction.allocation import kept_memory
from imprint_sweep.extraction.datasets import (
    USUAL_COLUMNS,
    Columns,
    LabelledImages,
    LabelledTexts,
    check_splits,
    place_of,
    read_samples,
)
from imprint_sweep.extraction.models import load_model
from imprint_sweep.extraction.models.foundation_model import FoundationModel
from imprint_sweep.extraction.tokens import Tokenised, Tokenizer, of_equal_length
from imprint_sweep.extraction.transforms import BatchTransform
from imprint_sweep.grid.cell import Model
from imprint_sweep.grid.choosing import IMPORTED, TEXT_MODELS
from imprint_sweep.telling import note

CPU_BATCH, CPU_VALUES = 64, 16 * 3 * 224 * 224
"""Most images and most values in a batch on the CPU: what measured best at 48 px and at 224 px. Larger ones leave the
cache; to smaller ones, on one thread, torch gives slower kernels where filters are 1 x 1."""

MOST_AT_ONCE = 8
"""Batches on the CPU at once, each with the activations of a whole network in memory."""

GPU_BATCH = 256

IMAGE, TEXT = "image", "text"
"""What networks embed."""

SEVERAL_SIZES = "images of several sizes, or grey and in colour, need a model.image_size, such as model.image_size=32"

Images = NDArray[np.uint8] | Sequence[NDArray[np.uint8]]
Output = NDArray[np.float32]
Rows = NDArray[np.int64]
"""The places of samples among those that are embedded."""


class Batches(NamedTuple):
    """What a network is given, batch by batch.

    Args:
        rows: the samples of each batch; every sample is in one.
        make: the network's input for such samples; called from several threads.
        small: they leave most of the memory free. On the CPU each has one thread then, however many there are, so that
            their number does not decide the rounding.
    """

    rows: Sequence[Rows]
    make: Callable[[Rows], torch.Tensor]
    small: bool = False


@dataclass(frozen=True)
class Extraction:
    """How embeddings are made; none of it decides which.

    Args:
        data_root: the folder in which the user keeps datasets.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ...
        batch_size: images or texts per forward pass; None means what suits the device.
        weights_path: a state dict to load instead of the model's own weights.
        dim: the width that the embeddings must have; None means whatever the model gives.
        columns: of a table of texts.
    """

    data_root: Path
    device: str = "cpu"
    batch_size: int | None = None
    weights_path: Path | None = None
    dim: int | None = None
    columns: Columns = USUAL_COLUMNS


@dataclass(frozen=True)
class Embedded:
    """One entry of the cache, and what it took.

    Args:
        header: the entry.
        per_second: images or texts per second of the extraction; None where the entry existed already.
        of: what was embedded, in the singular.
    """

    header: EntryHeader
    per_second: float | None
    of: str = IMAGE


def embed(
    keys: Iterable[EntryKey],
    cache: EmbeddingCache,
    extraction: Extraction,
    *,
    classes: frozenset[int] | None = None,
    force: bool = False,
) -> Iterator[Embedded]:
    """Make the entries that do not exist yet, one at a time.

    Each is written whole at its end, so whatever interrupts this leaves finished entries and no half ones. An entry
    that exists and lacks one of the classes is made anew, with the classes that it had and these.

    Args:
        keys: what to embed.
        cache: where to.
        extraction: how.
        classes: the classes whose samples are wanted; None means all that a dataset has.
        force: make entries anew that exist.

    Raises:
        ConfigError: an unknown model or dataset, weights that do not load, a device that is not there.
        DatasetError: images or texts cannot be read, or the model embeds the other ones.
        EmbeddingsError: an entry exists and is damaged, is one that only an import can make, or cannot be written.
    """
    load = lru_cache(maxsize=1)(partial(_load, extraction=extraction))
    for key in keys:
        embedded = _found(key, cache, extraction, classes, force)
        if embedded is None:
            if key.model.weights == IMPORTED:
                raise EmbeddingsError(f"{key}: imported embeddings cannot be computed; bring them: {cache.remedy(key)}")
            device = checked_device(extraction.device)
            cache.check_writable(key)
            with cache.making(key, partial(note, f"waiting for another process, which makes {key}")):
                embedded = _found(key, cache, extraction, classes, force)
                if embedded is None:
                    embedded = _make(key, cache, extraction, classes, force, device, load)
        yield embedded


def ensure(cache: EmbeddingCache, keys: Iterable[EntryKey], extraction: Extraction) -> list[EntryHeader]:
    """Make the entries that do not exist yet and return the headers of all, in order. Errors: see :func:`embed`."""
    return [embedded.header for embedded in embed(keys, cache, extraction)]


class Network:
    """A frozen network on a device, in eval mode.

    Args:
        model: the network; it is moved to the device.
        device: where it runs.
        dtype: float32, or a half precision in which it computes where torch's autocast holds that safe.
    """

    def __init__(self, model: FoundationModel, device: torch.device, dtype: torch.dtype = torch.float32) -> None:
        self.model, self.device, self.dtype = model, device, dtype
        # Convolutions are up to twice as fast so; to other layers it makes no difference.
        module: Any = model.module.to(device)
        self._module: torch.nn.Module = module.to(memory_format=torch.channels_last)

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        """The embeddings of a batch, (b, dim); on a GPU they may still be under way."""
        # Both modes hold for one thread.
        half = torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)
        with torch.inference_mode(), half:
            output: torch.Tensor = self._module(batch.to(self.device, non_blocking=True))
        return output


def extract(
    model: FoundationModel,
    images: Images,
    indices: NDArray[np.int64],
    *,
    device: torch.device,
    batch_size: int | None = None,
    dtype: torch.dtype = torch.float32,
    advance: Callable[[int], object] = lambda n: None,
) -> NDArray[np.float32]:
    """Embed images.

    Args:
        model: the network and its transform.
        images: as in :class:`~imprint_sweep.extraction.datasets.LabelledImages`.
        indices: (n,) which of them, in which order.
        device: where the network runs.
        batch_size: images per forward pass; changes the result by rounding alone. None means what suits the device.
        dtype: a half precision lets the network compute in it where torch's autocast holds that safe.
        advance: called with the number of images after each batch.

    Returns:
        (n, dim) float32.

    Raises:
        EmbeddingsError: the network returns another width than the model's ``dim``.
    """
    if batch_size is None and device.type == "cpu":
        values = _batch(model.transform, images, indices[:1]).numel()
        batch_size = min(CPU_BATCH, max(1, CPU_VALUES // values))
    batch_size = batch_size or GPU_BATCH
    rows = [np.arange(len(indices))[start : start + batch_size] for start in range(0, len(indices), batch_size)]
    batches = Batches(rows, lambda part: _batch(model.transform, images, indices[part]))
    return _outputs(model, batches, device, dtype, advance)


def extract_texts(
    model: FoundationModel,
    texts: Tokenised,
    *,
    device: torch.device,
    batch_size: int | None = None,
    dtype: torch.dtype = torch.float32,
    advance: Callable[[int], object] = lambda n: None,
) -> NDArray[np.float32]:
    """Embed texts, of which none is ever padded: a batch holds texts of equally many tokens.

    So other texts change the embedding of a text by the rounding of larger products alone. On the CPU a text is a batch
    of its own by default, on one thread, which is as fast as larger ones: there its embedding depends on nothing else.

    Args:
        model: the network.
        texts: what its tokenizer makes of them.
        device: where the network runs.
        batch_size: texts per forward pass at most. None means what suits the device.
        dtype, advance: as in :func:`extract`.

    Returns:
        (n, dim) float32, in the order of the texts.
    """
    tokens = texts.tokens
    rows = of_equal_length(tokens, batch_size or (1 if device.type == "cpu" else GPU_BATCH))
    batches = Batches(rows, lambda part: torch.from_numpy(np.stack([tokens[row] for row in part])), small=True)
    return _outputs(model, batches, device, dtype, advance)


def _outputs(
    model: FoundationModel,
    batches: Batches,
    device: torch.device,
    dtype: torch.dtype,
    advance: Callable[[int], object],
) -> NDArray[np.float32]:
    """The embeddings of all samples, (n, dim), in their order."""
    network = Network(model, device, dtype)
    outputs = (_on_cores if device.type == "cpu" else _on_gpu)(network, batches)
    n = sum(map(len, batches.rows))
    features = np.empty((n, model.dim or 0), np.float32)
    first = True
    with closing(outputs):
        for rows, output in zip(batches.rows, outputs, strict=True):
            if first and model.dim is None:
                features = np.empty((n, output.shape[1]), np.float32)
            first = False
            if output.shape[1:] != features.shape[1:]:
                raise EmbeddingsError(
                    f"expected embeddings of width {features.shape[1]}, the network returns {output.shape[1:]}; "
                    f"{SEVERAL_SIZES}"
                )
            features[rows] = output
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


def _found(
    key: EntryKey, cache: EmbeddingCache, extraction: Extraction, classes: frozenset[int] | None, force: bool
) -> Embedded | None:
    """An entry that exists and holds the classes; None if it is to be made."""
    existing = _existing(key, cache, force)
    if existing is None or force or not existing.covers(classes):
        return None
    _check_source(existing, extraction)
    return Embedded(existing, None)


def _make(
    key: EntryKey,
    cache: EmbeddingCache,
    extraction: Extraction,
    classes: frozenset[int] | None,
    force: bool,
    device: torch.device,
    load: Callable[[Model], FoundationModel],
) -> Embedded:
    existing = _existing(key, cache, force)
    if existing is not None and not force:
        note(f"{key} has not all classes that are wanted; it is made anew with them")
    wanted = _united(existing, classes)
    if key.split == "train":
        check_splits(key.dataset, extraction.data_root)
    split = read_samples(key.dataset, key.split, extraction.data_root, wanted, extraction.columns)
    model = load(key.model)
    _check_kind(key, split, model)
    return _embed_split(key, split, wanted, model, cache, device, extraction.batch_size)


def _check_kind(key: EntryKey, split: LabelledImages | LabelledTexts, model: FoundationModel) -> None:
    """Check that a network embeds what a dataset has."""
    of_model = isinstance(model.transform, Tokenizer)
    if of_model == isinstance(split, LabelledTexts):
        return
    if of_model:
        raise DatasetError(
            f"model {key.model.name} embeds texts, and {key.dataset} has images; choose another model, such as "
            "model=efficientnet_lite0"
        )
    models = " or ".join(f"model={name}" for name in TEXT_MODELS)
    raise DatasetError(f"model {key.model.name} embeds images, and {key.dataset} has texts; choose {models}")


def _existing(key: EntryKey, cache: EmbeddingCache, force: bool) -> EntryHeader | None:
    """What is in the place of an entry; a damaged one is nothing where a new one is forced."""
    try:
        return cache.header(key)
    except InvalidEmbeddingsError:
        if not force:
            raise
        return None


def _check_source(header: EntryHeader, extraction: Extraction) -> None:
    """Say so if an entry that exists was made from other images or weights than those that are named now."""
    key = header.key
    images, _, weights = header.metadata.get("source", "").rpartition("; weights: ")
    place = place_of(key.dataset, key.split, extraction.data_root)
    if images and place is not None and place.resolve() not in (path := Path(images).resolve(), *path.parents):
        note(
            f"{key} was made from {images}, not from {place}: give other images another name, or make it anew with "
            "force=true"
        )
    named = extraction.weights_path
    if named is not None and Path(weights).name != named.name:
        note(
            f"{key} was made from {weights}, not from {named}: give other weights another name in model.weights, or "
            "make it anew with force=true"
        )


def _united(existing: EntryHeader | None, classes: frozenset[int] | None) -> frozenset[int] | None:
    """The classes that an entry has and those that it is to have: none that another task reads gets lost."""
    if existing is None:
        return classes
    had = existing.embedded_classes
    return None if had is None or classes is None else had | classes


def _load(model: Model, extraction: Extraction) -> FoundationModel:
    loaded = load_model(model, extraction.weights_path)
    if None not in (extraction.dim, loaded.dim) and extraction.dim != loaded.dim:
        raise ConfigError(f"model.dim={extraction.dim}, but embeddings of {model.name} have width {loaded.dim}")
    return loaded


def _embed_split(
    key: EntryKey,
    split: LabelledImages | LabelledTexts,
    classes: frozenset[int] | None,
    model: FoundationModel,
    cache: EmbeddingCache,
    device: torch.device,
    batch_size: int | None,
) -> Embedded:
    of = TEXT if isinstance(split, LabelledTexts) else IMAGE
    held = np.arange(len(split.labels)) if classes is None else np.flatnonzero(np.isin(split.labels, list(classes)))
    if not len(held):
        raise DatasetError(f"{split.source} has no {of} of class {enumerated(sorted(classes or ()))}")
    indices = held[limited_indices(len(held), key.limit)]
    dtype: torch.dtype = getattr(torch, key.model.precision)
    metadata = {
        "transform": str(model.transform),
        "source": f"{split.source}; weights: {model.source}",
        "sample_order": "the dataset's own" if key.limit is None else "the dataset's own, evenly thinned to the limit",
        "packages": " ".join(f"{package}=={version(package)}" for package in model.packages),
        "precision": key.model.precision,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu ({platform.machine()})",
    }
    if classes is not None and not (split.complete and len(held) == len(split.labels)):
        metadata[CLASSES] = json.dumps(sorted(classes))
    start = time.perf_counter()
    done = 0
    with telling.counting(len(indices), of, str(key), brief=True) as count:

        def advance(n: int) -> None:
            nonlocal done
            done += n
            count.update(done)

        how: Any = {"device": device, "batch_size": batch_size, "dtype": dtype, "advance": advance}
        if isinstance(split, LabelledTexts):
            assert isinstance(model.transform, Tokenizer)
            tokenised = model.transform.tokenise([split.texts[index] for index in indices])
            metadata |= _about_texts(key, split, tokenised, model.transform.longest)
            features = extract_texts(model, tokenised, **how)
        else:
            features = extract(model, split.images, indices, **how)
    seconds = time.perf_counter() - start
    cache.write(key, features, split.labels[indices], metadata=metadata)
    header = cache.header(key)
    assert header is not None
    return Embedded(header, len(indices) / seconds, of)


def _about_texts(key: EntryKey, split: LabelledTexts, tokenised: Tokenised, longest: int) -> dict[str, str]:
    """What else to say of an entry of texts; what the user may want to know is told, too."""
    n = len(tokenised.tokens)
    truncated = f"{tokenised.truncated:,} of {n:,} texts"
    if tokenised.truncated:
        note(f"{key}: {truncated} have more than {longest} tokens; what comes after these is cut off")
    about = {"truncated": truncated}
    return {**about, **names_metadata(split.names)}


def _on_cores(network: Network, batches: Batches) -> Generator[Output]:
    """The network's output for each batch, in order: several batches at once, each on a thread or few of its own.

    All threads on one batch would meet after every layer. On small images that costs half the speed, and where
    something else runs on one of the cores, nearly all of it. One thread's transforms fill the pauses of another's
    network, so nothing has to be made ahead.
    """
    threads = torch.get_num_threads()
    at_once = min(threads, threads if batches.small else MOST_AT_ONCE, len(batches.rows))

    def embed_rows(rows: Rows) -> Output:
        return _array(network(batches.make(rows)))

    with kept_memory(), _threads(at_once, 1 if batches.small else threads // at_once) as executor:
        yield from executor.map(embed_rows, batches.rows)


def _on_gpu(network: Network, batches: Batches) -> Generator[Output]:
    """The network's output for each batch, in order; the CPU's threads decode and transform batches ahead of it."""
    at_once = min(torch.get_num_threads(), MOST_AT_ONCE, len(batches.rows))

    def make(rows: Rows) -> torch.Tensor:
        batch = batches.make(rows)
        return batch.pin_memory() if network.device.type == "cuda" else batch

    with _threads(at_once, 1) as executor, _without_tf32():
        rest = iter(batches.rows)
        coming = deque(executor.submit(make, rows) for rows in islice(rest, at_once + 1))
        running: torch.Tensor | None = None
        while coming:
            batch = coming.popleft().result()
            coming.extend(executor.submit(make, rows) for rows in islice(rest, 1))
            # Waiting for the result of one batch only when the next is under way keeps the GPU busy.
            before, running = running, network(batch)
            if before is not None:
                yield _array(before)
        if running is not None:
            yield _array(running)


@contextmanager
def _threads(count: int, each: int) -> Iterator[ThreadPoolExecutor]:
    """Threads whose operations of torch use so many threads each; afterwards torch has as many as before."""
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(count, "extraction", lambda: torch.set_num_threads(each)) as executor:
            yield executor
    finally:
        torch.set_num_threads(before)


@contextmanager
def _without_tf32() -> Iterator[None]:
    """Let convolutions compute in float32: on newer GPUs torch rounds their inputs to 10 bits by default."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def _batch(transform: BatchTransform, images: Images, part: NDArray[np.int64]) -> torch.Tensor:
    if isinstance(images, np.ndarray):
        return transform(images[part])
    transformed = [transform(images[int(index)][None]) for index in part]
    if len({tuple(one.shape) for one in transformed}) > 1:
        raise EmbeddingsError(SEVERAL_SIZES)
    return torch.cat(transformed)


def _array(output: torch.Tensor) -> Output:
    array: Output = output.float().cpu().numpy()
    return array
