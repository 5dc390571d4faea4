"""The cache of embeddings: written once, read memory-mapped, verified against a content fingerprint.

An entry is one safetensors file with the tensors ``embeddings`` (n, d) float32 and ``labels`` (n,) int64, in the
dataset's own sample order, and string metadata: what the entry is (:data:`RESERVED`) and where it came from. Files are
written beside and renamed, so a reader never sees half of one, and since they are mapped rather than read, the
processes of a machine share one copy in memory.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast, get_args
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.errors import EmbeddingsError, InvalidEmbeddingsError, MissingEmbeddingsError, enumerated
from imprint_sweep.files.locking import exclusive
from imprint_sweep.files.replacing import replacing
from imprint_sweep.files.unreadable import pointer
from imprint_sweep.grid import commands
from imprint_sweep.grid.cell import Model, Task
from imprint_sweep.grid.hashing import canonical_json, digest
from imprint_sweep.grid.scheme import TEST, VALIDATION, EvalSplit

FORMAT_VERSION = 1
Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
READS: Mapping[EvalSplit, tuple[Split, ...]] = {TEST: SPLITS, VALIDATION: ("train",)}
"""The splits that a cell reads, by what it is tested on."""
SUFFIX = ".safetensors"
RESERVED = (
    *("format_version", "model", "weights", "image_size", "dataset", "split", "limit"),
    *("fingerprint", "class_counts", "created"),
)
"""Metadata that the cache writes itself."""

CLASSES = "classes"
"""Metadata of an entry that holds some of its dataset's classes only: which, as a JSON list."""

CLASS_NAMES = "class_names"
"""Metadata of an entry whose classes have names: a JSON object, the number of a class to its name."""

_CHUNK_BYTES = 1 << 24
_ALIGNMENT = 64
_MAX_HEADER_BYTES = 100_000_000  # the limit of the safetensors library


@dataclass(frozen=True)
class EntryKey:
    """What an entry holds.

    Args:
        model: the foundation model.
        dataset: the dataset's name.
        split: ``"train"`` or ``"test"``.
        limit: at most so many samples, taken evenly spaced through the split; None means all of it.
    """

    model: Model
    dataset: str
    split: Split
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise ValueError(f"split must be one of {SPLITS}, got {self.split!r}")
        if not (self.model.name and self.model.weights and self.dataset):
            raise EmbeddingsError(f"model, weights and dataset of embeddings need a name, got {self}")
        if self.limit is not None and self.limit < 1:
            raise EmbeddingsError(f"limit must be at least 1, got {self.limit}")

    def __str__(self) -> str:
        size = "" if self.model.image_size is None else f" at {self.model.image_size} px"
        limit = "" if self.limit is None else f", limit {self.limit}"
        return f"{self.model.name} ({self.model.spelled_weights}{size}) on {self.dataset} {self.split}{limit}"


@dataclass(frozen=True)
class EntryHeader:
    """What an entry says of itself, read without touching its data.

    Args:
        path: the file.
        key: what it holds.
        n: number of samples.
        d: width of the embeddings.
        fingerprint: content hash of embeddings and labels, as recorded.
        class_counts: samples per class, classes ascending.
        metadata: every string in the file's metadata.
        size: bytes of the file.
    """

    path: Path
    key: EntryKey
    n: int
    d: int
    fingerprint: str
    class_counts: Mapping[int, int]
    metadata: Mapping[str, str]
    size: int

    @property
    def embedded_classes(self) -> frozenset[int] | None:
        """The classes whose samples were embedded; None means all that the dataset has."""
        text = self.metadata.get(CLASSES)
        return None if text is None else frozenset(json.loads(text))

    @property
    def class_names(self) -> Mapping[int, str]:
        """What the classes are called, those that are called anything but their numbers."""
        named = json.loads(self.metadata.get(CLASS_NAMES, "{}"))
        return {int(number): name for number, name in named.items()}

    def covers(self, classes: frozenset[int] | None) -> bool:
        """Whether these classes were embedded (None: all that the dataset has), as far as the dataset has them."""
        embedded = self.embedded_classes
        return embedded is None or (classes is not None and classes <= embedded)


@dataclass(frozen=True, eq=False)
class Embeddings:
    """An entry, mapped and verified.

    Args:
        header: what the entry says of itself.
        features: (n, d) float32, read-only and memory-mapped.
        labels: (n,) int64, read-only.
    """

    header: EntryHeader
    features: NDArray[np.float32]
    labels: NDArray[np.int64]

    @property
    def key(self) -> EntryKey:
        """What the entry holds."""
        return self.header.key

    @property
    def fingerprint(self) -> str:
        """Content hash of features and labels."""
        return self.header.fingerprint

    @property
    def metadata(self) -> Mapping[str, str]:
        """Every string in the file's metadata."""
        return self.header.metadata

    @property
    def path(self) -> Path:
        """The file."""
        return self.header.path


Entry = EntryHeader | Embeddings


class EmbeddingCache:
    """The entries under one folder.

    Args:
        root: the folder; it need not exist before the first write.
        data: the folder of the datasets, for the commands in messages; None means the default.
    """

    def __init__(self, root: Path, data: Path | None = None) -> None:
        self.root, self._data = Path(root), data

    def path(self, key: EntryKey) -> Path:
        """Where an entry is: ``<model>/<weights>-<size>/<dataset>-<split>[-limit<n>].safetensors``.

        Names are percent-encoded where a file name cannot hold them, so different keys have different paths.
        """
        size = "native" if key.model.image_size is None else f"{key.model.image_size}px"
        limit = "" if key.limit is None else f"-limit{key.limit}"
        folder = self.root / file_name(key.model.name) / f"{file_name(key.model.spelled_weights)}-{size}"
        return folder / f"{file_name(key.dataset)}-{key.split}{limit}{SUFFIX}"

    def write(
        self, key: EntryKey, features: NDArray[np.float32], labels: NDArray[np.int64], *, metadata: Mapping[str, str]
    ) -> Path:
        """Validate and store an entry, replacing an earlier one in one step.

        Args:
            key: what the entry holds.
            features: (n, d) float32, finite, n and d at least 1.
            labels: (n,) int64.
            metadata: where the embeddings came from; none of :data:`RESERVED`.

        Returns:
            The file.

        Raises:
            InvalidEmbeddingsError: wrong shape or dtype, NaN or infinity, more samples than the key's limit.
            EmbeddingsError: the file cannot be written (folder not writable, disk full); nothing is left behind.
        """
        path = self.path(key)
        validate(str(key), features, labels)
        if key.limit is not None and len(labels) > key.limit:
            raise InvalidEmbeddingsError(f"{key}: {len(labels)} samples are more than the limit of {key.limit}")
        if taken := sorted(set(RESERVED) & set(metadata)):
            raise ValueError(f"metadata {taken} is written by the cache itself")
        strings = {
            "format_version": str(FORMAT_VERSION),
            **_key_metadata(key),
            "fingerprint": _content_hash(features, labels),
            "class_counts": json.dumps(_class_counts(labels)),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            **metadata,
        }
        self.check_writable(key)
        try:
            with replacing(path, durable=True) as file:
                file.write(_encode_header(features.shape[0], features.shape[1], strings))
                file.write(np.ascontiguousarray(labels).data)
                for chunk in _chunks(features):
                    file.write(chunk.data)
        except OSError as error:
            raise EmbeddingsError(f"cannot write {path}: {error}; nothing was stored") from error
        return path

    @contextlib.contextmanager
    def making(self, key: EntryKey, waiting: Callable[[], object] = lambda: None) -> Iterator[None]:
        """Hold the exclusive lock for making an entry: others that want to make the same one wait here.

        Where the file system cannot lock nobody waits. Entries are replaced whole, so only work is done twice then.

        Args:
            key: the entry; its folder exists.
            waiting: called if another is making it.
        """
        path = self.path(key)
        with exclusive(path.with_name(f".{path.name}.lock"), waiting):
            yield

    def check_writable(self, key: EntryKey) -> None:
        """Find out before the work is done whether an entry can be stored.

        Raises:
            EmbeddingsError: its folder cannot be made or written.
        """
        folder = self.path(key).parent
        probe = folder / f".{secrets.token_hex(8)}.tmp"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe.touch(exist_ok=False)
            probe.unlink()
        except OSError as error:
            raise EmbeddingsError(
                f"embeddings cannot be stored under {folder}: {error}; choose another place with paths.outputs=<folder>"
            ) from error

    def open(self, key: EntryKey) -> Embeddings:
        """Map an entry and verify its content against its fingerprint (once per process and version of the file).

        Raises:
            MissingEmbeddingsError: there is none; the message holds the command that makes it.
            InvalidEmbeddingsError: it is damaged or was altered; the message says how to mend it.
        """
        if not self.path(key).is_file():
            raise self.missing([key])
        entry = open_entry(self.path(key), self.remedy(key, force=True))
        self._check_key(entry.header, key)
        return entry

    def header(self, key: EntryKey) -> EntryHeader | None:
        """What an entry says of itself, without touching its data; None if there is no such entry.

        Raises:
            InvalidEmbeddingsError: the file is there and is not a whole entry, or not this one.
        """
        path = self.path(key)
        if not path.is_file():
            return None
        header = read_header(path, self.remedy(key, force=True))
        self._check_key(header, key)
        return header

    def remedy(self, key: EntryKey, *, force: bool = False) -> str:
        """The command that makes an entry of this cache, with ``force`` also where a damaged one is in its place."""
        return commands.embedding(
            key.model, key.dataset, key.limit, force=force, outputs=self.root.parent, data=self._data
        )

    def missing(self, keys: Sequence[EntryKey]) -> MissingEmbeddingsError:
        """The error for entries that are not there, at least one; it names the first, and what makes them all."""
        lines = list(dict.fromkeys(self.remedy(key) for key in keys))
        shown = "; ".join(lines[:3]) + (f"; and {len(lines) - 3} more" if len(lines) > 3 else "")
        return MissingEmbeddingsError(f"there are no embeddings of {keys[0]}; make them with: {shown}", lines)

    def classes(self, model: Model, datasets: Iterable[str], limit: int | None = None) -> tuple[int, ...] | None:
        """The classes of the training embeddings of all of some datasets; None where some lack, or they differ."""
        found = set()
        for dataset in datasets:
            try:
                header = self.header(EntryKey(model, dataset, "train", limit))
            except EmbeddingsError:
                return None
            found.add(None if header is None else tuple(sorted(header.class_counts)))
        return found.pop() if len(found) == 1 else None

    def verify(self, path: Path) -> EntryHeader:
        """Hash the content of an entry, also if that was done before.

        Args:
            path: its file, below the root.

        Raises:
            InvalidEmbeddingsError: damaged, not what was written, or in the place of another entry; the message says
                how to mend it, with the command if the file still tells which entry it is.
        """
        key = read_header(path).key
        mend = self.remedy(key, force=True)
        entry = open_entry(path, mend)
        with _explained(path, mend):
            _verify(entry)
        if self.path(key) != path:
            raise InvalidEmbeddingsError(f"{path} holds {key}, whose place is {self.path(key)}; delete or move it")
        return entry.header

    def paths(self) -> list[Path]:
        """The files of all entries, damaged ones included, sorted."""
        return sorted(path for path in self.root.rglob(f"*{SUFFIX}") if not path.name.startswith("."))

    def entries(self) -> list[EntryHeader]:
        """What all entries say of themselves, sorted by path.

        Raises:
            InvalidEmbeddingsError: at the first damaged one.
        """
        return [read_header(path) for path in self.paths()]

    def _check_key(self, header: EntryHeader, key: EntryKey) -> None:
        if header.key != key:
            mend = self.remedy(key, force=True)
            raise InvalidEmbeddingsError(f"{header.path} holds {header.key} instead of {key}; mend: {mend}")


def cell_fingerprint(entries: Iterable[Entry]) -> str:
    """The fingerprint of a cell's embeddings: over the (train and test) entries that its task reads, in any order.

    Returns:
        20 hex digits.
    """
    headers = [_header(entry) for entry in entries]
    content = sorted({(header.key.dataset, header.key.split, header.fingerprint) for header in headers})
    return digest(canonical_json(content))


def label_sizes(
    model: Model, task: Task, split: Split, header: Callable[[EntryKey], EntryHeader | None]
) -> list[int] | None:
    """How many samples each label of a task has, by headers alone; None if an entry is missing.

    Args:
        model, task, split: whose.
        header: finds the header of an entry, None if there is none.
    """
    headers = {name: header(EntryKey(model, name, split, task.limit)) for name in task.datasets}
    counts = {name: found.class_counts for name, found in headers.items() if found is not None}
    if len(counts) < len(headers):
        return None
    return [sum(counts[name].get(value, 0) for name, value in label) for label in task.labels]


def check_pair(one: Entry, other: Entry) -> None:
    """Check that two entries can serve one task.

    Raises:
        InvalidEmbeddingsError: their embeddings have unequal widths.
    """
    a, b = _header(one), _header(other)
    if a.d != b.d:
        raise InvalidEmbeddingsError(
            f"unequal widths: {a.path} holds {a.d} features a sample, {b.path} holds {b.d}; embed both with one model"
        )


def check_classes(entry: Entry, classes: Iterable[int]) -> None:
    """Check that every class has a sample.

    Raises:
        InvalidEmbeddingsError: one has none.
    """
    header = _header(entry)
    absent = [value for value in classes if value not in header.class_counts]
    if not absent:
        return
    key, present = header.key, sorted(header.class_counts)
    message = f"{header.path}: no {key.split} sample of class {enumerated(absent)}"
    if not header.covers(frozenset(absent)):
        mend = commands.embedding(key.model, key.dataset, key.limit, classes=absent, outputs=header.path.parents[3])
        raise InvalidEmbeddingsError(f"{message} was embedded; add them with: {mend}")
    limited = "" if key.limit is None else f" (limit={key.limit} may be too low)"
    raise InvalidEmbeddingsError(f"{message}{limited}; {key.dataset} has {enumerated(present)} there")


def limited_indices(n: int, limit: int | None) -> NDArray[np.int64]:
    """The samples that a limit keeps: evenly spaced, so that also a split sorted by class keeps all its classes.

    Args:
        n: samples of the whole split.
        limit: at most so many; None means all.

    Returns:
        Ascending int64 indices, floor(i n / limit).

    >>> limited_indices(10, 4).tolist()
    [0, 2, 5, 7]
    """
    if limit is None or limit >= n:
        return np.arange(n, dtype=np.int64)
    return np.arange(limit, dtype=np.int64) * n // limit


def read_header(path: Path, mend: str = "delete it and make it again") -> EntryHeader:
    """Read what an entry says of itself and check that the file is whole, without touching its data.

    Args:
        path: the file.
        mend: how to make the entry anew, for the message.

    Raises:
        InvalidEmbeddingsError: truncated, not safetensors, or not an entry of this cache.
    """
    with _explained(path, mend), path.open("rb") as file:
        return _parse_header(file, path)


def open_entry(path: Path, mend: str = "delete it and make it again") -> Embeddings:
    """Map an entry and verify it (once per process and version of the file).

    Raises:
        InvalidEmbeddingsError: damaged, or the content is not what was written.
    """
    with _explained(path, mend), path.open("rb") as file:
        # Header, stamp and map are of one open file: another process may be replacing the entry meanwhile.
        header = _parse_header(file, path)
        stat = os.fstat(file.fileno())
        # The map outlives the file object, which NumPy does not keep.
        data = np.memmap(file, dtype=np.uint8, mode="r")
        split = header.size - 4 * header.n * header.d
        features = np.frombuffer(data, dtype="<f4", offset=split).reshape(header.n, header.d)
        labels = np.frombuffer(data, dtype="<i8", offset=split - 8 * header.n, count=header.n)
        entry = Embeddings(header, features, labels)
        version = (str(path.resolve()), stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        if version not in _verified:
            _verify(entry)
            _verified.add(version)
        return entry


_verified: set[tuple[str, int, int, int, int]] = set()
"""Files whose content this process has hashed, each as (path, inode, size, mtime, ctime)."""


def _verify(entry: Embeddings) -> None:
    if (found := _content_hash(entry.features, entry.labels)) != entry.fingerprint:
        raise ValueError(f"its content has the fingerprint {found}, recorded is {entry.fingerprint}")
    if (counts := _class_counts(entry.labels)) != entry.header.class_counts:
        raise ValueError(f"its labels count {counts}, recorded is {entry.header.class_counts}")


@contextlib.contextmanager
def _explained(path: Path, mend: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InvalidEmbeddingsError(f"cannot read {path}: {error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, struct.error, EmbeddingsError) as error:
        if found := pointer(path):
            raise InvalidEmbeddingsError(f"cannot read {path}: {found}; or make it anew: {mend}") from error
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise InvalidEmbeddingsError(f"{path} is damaged or no entry of this cache ({reason}); mend: {mend}") from error


def _parse_header(file: BinaryIO, path: Path) -> EntryHeader:
    size = os.fstat(file.fileno()).st_size
    if size < 8:
        raise ValueError(f"{size} bytes")
    (length,) = struct.unpack("<Q", file.read(8))
    if length > min(size - 8, _MAX_HEADER_BYTES):
        raise ValueError(f"its {size} bytes are fewer than its header announces")
    header: dict[str, Any] = json.loads(file.read(length))
    metadata: dict[str, str] = header["__metadata__"]
    if metadata["format_version"] != str(FORMAT_VERSION):
        raise ValueError(f"format version {metadata['format_version']} instead of {FORMAT_VERSION}")
    n, d = header["embeddings"]["shape"]
    layout = {"embeddings": ("F32", [n, d], [8 * n, 8 * n + 4 * n * d]), "labels": ("I64", [n], [0, 8 * n])}
    for name, expected in layout.items():
        if (found := tuple(header[name][field] for field in ("dtype", "shape", "data_offsets"))) != expected:
            raise ValueError(f"{name} laid out as {found} instead of {expected}")
    if n < 1 or d < 1:
        raise ValueError(f"no data: embeddings of shape {n} x {d}")
    if size != (whole := 8 + length + 8 * n + 4 * n * d):
        raise ValueError(f"{size} bytes instead of {whole}")
    counts = {int(value): count for value, count in json.loads(metadata["class_counts"]).items()}
    key = _key_from_metadata(metadata)
    return EntryHeader(path, key, n, d, metadata["fingerprint"], counts, metadata, size)


def _encode_header(n: int, d: int, metadata: Mapping[str, str]) -> bytes:
    """The safetensors header: length (u64, little-endian) and JSON, padded with spaces as the format allows.

    Labels come first, so that both tensors lie at multiples of their item size, and the padding puts the embeddings on
    a cache line of the mapped file.
    """
    tensors = {
        "labels": {"dtype": "I64", "shape": [n], "data_offsets": [0, 8 * n]},
        "embeddings": {"dtype": "F32", "shape": [n, d], "data_offsets": [8 * n, 8 * n + 4 * n * d]},
    }
    text = json.dumps({"__metadata__": metadata, **tensors}).encode()
    text += b" " * (-(8 + len(text) + 8 * n) % _ALIGNMENT)
    return struct.pack("<Q", len(text)) + text


def _key_metadata(key: EntryKey) -> dict[str, str]:
    return {
        "model": key.model.name,
        "weights": key.model.spelled_weights,
        "image_size": json.dumps(key.model.image_size),
        "dataset": key.dataset,
        "split": key.split,
        "limit": json.dumps(key.limit),
    }


def _key_from_metadata(metadata: Mapping[str, str]) -> EntryKey:
    model = Model.recorded(metadata["model"], metadata["weights"], json.loads(metadata["image_size"]))
    return EntryKey(model, metadata["dataset"], cast(Split, metadata["split"]), json.loads(metadata["limit"]))


def validate(what: str, features: NDArray[Any], labels: NDArray[Any]) -> None:
    """Check that arrays can be an entry: (n, d) float32, finite, and (n,) int64, n and d at least 1.

    Args:
        what: what they are, for the message.
        features: the embeddings.
        labels: the labels.

    Raises:
        InvalidEmbeddingsError: they cannot; the message says why, and where a value is not finite.
    """
    if features.ndim != 2 or labels.shape != (len(features),) or features.size == 0:
        raise InvalidEmbeddingsError(
            f"{what}: expected embeddings (n, d) and labels (n,), n and d at least 1, "
            f"got {features.shape} and {labels.shape}"
        )
    if features.dtype != np.float32 or labels.dtype != np.int64:
        raise InvalidEmbeddingsError(
            f"{what}: expected float32 embeddings and int64 labels, got {features.dtype} and {labels.dtype}"
        )
    start = 0
    for chunk in _chunks(features):
        finite = np.isfinite(chunk)
        if not finite.all():
            row, column = np.argwhere(~finite)[0]
            raise InvalidEmbeddingsError(
                f"{what}: embeddings must be finite, got {chunk[row, column]} at sample {start + row}, feature {column}"
            )
        start += len(chunk)


def _class_counts(labels: NDArray[np.int64]) -> dict[int, int]:
    values, counts = np.unique(labels, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def _content_hash(features: NDArray[np.float32], labels: NDArray[np.int64]) -> str:
    """32 hex digits over dtypes, shapes and values of features and labels."""
    content = blake2b(f"float32 {features.shape} int64 {labels.shape}".encode(), digest_size=16)
    for chunk in _chunks(features):
        content.update(chunk.data)
    content.update(np.ascontiguousarray(labels).data)
    return content.hexdigest()


def _chunks(features: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Contiguous blocks of rows, small enough that no pass over a mapped entry copies it."""
    rows = max(1, _CHUNK_BYTES // (4 * features.shape[1]))
    for start in range(0, len(features), rows):
        yield np.ascontiguousarray(features[start : start + rows])


def _header(entry: Entry) -> EntryHeader:
    return entry.header if isinstance(entry, Embeddings) else entry


def file_name(name: str) -> str:
    """One folder or file name for any name: percent-encoded, and never one that starts with a dot."""
    encoded = quote(name, safe=" +=@,")
    return f"%2E{encoded[1:]}" if encoded.startswith(".") else encoded
