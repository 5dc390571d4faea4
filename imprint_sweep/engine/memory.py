"""Compute once, share: the memory of stages within a run, and the proxies kept on disk between runs."""

from __future__ import annotations

import hashlib
import itertools
import platform
import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from imprint_sweep.engine.ledger import Ledger
from imprint_sweep.files.replacing import replacing
from imprint_sweep.grid.hashing import canonical_json, digest

T = TypeVar("T")
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Timed(Generic[T]):
    """A stage's result and the CPU seconds that computing it took, however often it is used."""

    value: T
    seconds: float


class _Meter(threading.local):
    """What the stage that a thread is computing owes to the shared results it reads."""

    def __init__(self) -> None:
        self.open: list[list[float]] = []

    def charge(self, elapsed: float, seconds: float) -> None:
        """Replace the time that getting a result took here by the time that computing it takes."""
        if self.open:
            self.open[-1][0] += elapsed
            self.open[-1][1] += seconds


_METER = _Meter()


def metered(compute: Callable[[], T]) -> tuple[Timed[T], float]:
    """Run a computation; its seconds include those of all shared results that it reads, whoever computed them.

    The clock is that of the thread, which computes alone: other processes, and threads it waits for, add nothing.

    Returns:
        The timed result, and the seconds that were spent here and now on nothing shared.
    """
    _METER.open.append([0.0, 0.0])
    start = time.thread_time()
    try:
        value = compute()
    finally:
        elapsed = time.thread_time() - start
        inner, shared = _METER.open.pop()
        own = elapsed - inner
        _METER.charge(elapsed, own + shared)
    return Timed(value, own + shared), own


def uncharged(compute: Callable[[], T]) -> T:
    """Run a computation whose time belongs to no stage."""
    _METER.open.append([0.0, 0.0])
    start = time.thread_time()
    try:
        return compute()
    finally:
        _METER.open.pop()
        _METER.charge(time.thread_time() - start, 0.0)


class StageMemory:
    """Results of shared stages: each key is computed by whoever asks first, everyone else waits for that result.

    Args:
        ledger: told of every computation, under the stage's name (the key's first element).
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._futures: dict[tuple[Hashable, ...], Future[Timed[Any]]] = {}
        self._lock = threading.Lock()

    def get(self, key: tuple[str, *tuple[Hashable, ...]], compute: Callable[[], T]) -> Timed[T]:
        """The result of `compute`, run at most once per key. A failure is kept, too, and raised for all who ask."""
        with self._lock:
            future = self._futures.get(key)
            mine = future is None
            if future is None:
                future = self._futures[key] = Future()
        if mine:
            try:
                future.set_result(self.time(key[0], compute))
            except BaseException as error:
                future.set_exception(error)
            return future.result()
        start = time.thread_time()
        timed: Timed[T] = future.result()
        _METER.charge(time.thread_time() - start, timed.seconds)
        return timed

    def claim(self, key: tuple[str, *tuple[Hashable, ...]]) -> bool:
        """Take it upon oneself to :meth:`fulfil` a key; False if somebody else has."""
        with self._lock:
            mine = key not in self._futures
            if mine:
                self._futures[key] = Future()
        return mine

    def fulfil(self, key: tuple[str, *tuple[Hashable, ...]], result: Timed[Any] | BaseException) -> None:
        """Set the result, or the failure, of a key that was claimed."""
        future = self._futures[key]
        if isinstance(result, BaseException):
            future.set_exception(result)
        else:
            future.set_result(result)

    def time(self, stage: str, compute: Callable[[], T]) -> Timed[T]:
        """Run, count and time a computation without keeping its result."""
        own = 0.0
        try:
            timed, own = metered(compute)
        finally:
            self._ledger.add(stage, calls=1, seconds=own)
        return timed

    def forget(self) -> None:
        """Drop all results: whoever asks again computes again."""
        with self._lock:
            self._futures = {}


class ProxyCache:
    """Clusterings and medoids on disk, shared by shards and sweeps.

    A file is named after everything that the result depends on: the content of the embeddings, the stage's own
    parameters, and what may change bits (the versions of the packages, the type of CPU). So a stale file is never read:
    it is merely never asked for. Only what takes longer to compute than to read is kept.

    Args:
        root: folder, created when first needed; None keeps nothing.
        max_gb: the oldest files go when all together exceed this; looked at by :meth:`prune`, and whenever a sixteenth
            of it has been written.
    """

    WORTH_SECONDS = 0.05

    def __init__(self, root: Path | None, max_gb: float = 2.0) -> None:
        self._root = root
        self._max_bytes = int(max_gb * 1e9)
        self._unseen_bytes = 0  # written since the last look at the folder
        self._lock = threading.Lock()

    def get(self, key: tuple[Any, ...], compute: Callable[[], Timed[Arrays]], version: int = 1) -> Timed[Arrays]:
        """Read the arrays of `key`, or compute and keep them. A full or read-only disk costs time, never a result.

        Args:
            key: what the arrays depend on.
            compute: makes them.
            version: of the component that does.
        """
        if self._root is None:
            return compute()
        name = digest(canonical_json(key), canonical_json([version, *_bits_depend_on()]))
        path = self._root / name[:2] / f"{name}.safetensors"
        with suppress(OSError, SafetensorError, KeyError, ValueError):  # not there, or damaged: computing mends both
            start = time.thread_time()
            timed = _read(path)
            _METER.charge(time.thread_time() - start, timed.seconds)
            return timed
        timed = compute()
        if timed.seconds >= self.WORTH_SECONDS:
            with suppress(OSError):
                _write(path, timed)
                self._count(path.stat().st_size)
        return timed

    def _count(self, written: int) -> None:
        """Keep the folder within its size as it grows; a look at it costs more than a file, so not at every one."""
        with self._lock:
            self._unseen_bytes += written
            due = self._unseen_bytes > self._max_bytes / 16
            if due:
                self._unseen_bytes = 0
        if due:
            self.prune()

    def prune(self) -> None:
        """Delete the least recently written files until the folder is within its size."""
        if self._root is None or not self._root.is_dir():
            return
        files = []
        for path in self._root.glob("*/*.safetensors"):
            try:
                stat = path.stat()
            except OSError:
                continue  # another process pruned it
            files.append((stat.st_mtime, stat.st_size, path))
        excess = sum(size for _, size, _ in files) - self._max_bytes
        for _, size, path in sorted(files):
            if excess <= 0:
                break
            path.unlink(missing_ok=True)
            excess -= size


_SECONDS = "cpu_seconds"
"""Files of older versions have wall time under another name: they count as damaged and are replaced."""


def _read(path: Path) -> Timed[Arrays]:
    arrays = load_file(path)
    seconds = float(arrays.pop(_SECONDS)[0])
    checksum = arrays.pop("checksum").tobytes()
    if checksum != _checksum(arrays):
        raise ValueError(f"{path} is damaged")
    return Timed(arrays, seconds)


def _write(path: Path, timed: Timed[Arrays]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {name: np.ascontiguousarray(array) for name, array in timed.value.items()}
    extra = {
        _SECONDS: np.array([timed.seconds]),
        "checksum": np.frombuffer(_checksum(content), np.uint8),
    }
    with replacing(path) as file:
        file.write(save({**content, **extra}))


def _checksum(arrays: Arrays) -> bytes:
    state = hashlib.blake2b(digest_size=16)
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        state.update(f"{name}{array.dtype.str}{array.shape}".encode())
        state.update(array.data)
    return state.digest()


@lru_cache(maxsize=1)
def _bits_depend_on() -> tuple[str, ...]:
    packages = ("numpy", "scipy", "scikit-learn")
    return (*(f"{name}={_version(name)}" for name in packages), cpu_type())


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


@lru_cache(maxsize=1)
def cpu_type() -> str:
    """The CPU's model and instruction sets, as far as the system tells."""
    fields: dict[str, str] = {}
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            fields.setdefault(name.strip(), value.strip())
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    return " ".join(fields.get(name, "") for name in ("vendor_id", "cpu family", "model", "model name", "flags"))


class Once(Generic[T]):
    """A value that the first thread that asks computes.

    It comes with the call and is not kept: what an object computes once from itself would otherwise be a cycle, and
    gigabytes would wait for the garbage collector.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._value: list[T] = []

    def __call__(self, compute: Callable[[], T]) -> T:
        """The value; `compute` is the same at every call."""
        with self._lock:
            if not self._value:
                self._value.append(compute())
            return self._value[0]


class Together:
    """Work in parts, done by the threads that wait for it: each takes parts that nobody has begun.

    Args:
        parts: how many there are.
    """

    def __init__(self, parts: int) -> None:
        self._parts = parts
        self._begun = itertools.count()
        self._done: list[Future[None]] = [Future() for _ in range(parts)]

    def __call__(self, compute: Callable[[int], None]) -> None:
        """Return when all parts are done; `compute` does one, and is the same at every call (see :class:`Once`).

        A failure is raised for all who wait.
        """
        while (part := next(self._begun)) < self._parts:
            try:
                compute(part)
                self._done[part].set_result(None)
            except BaseException as error:
                self._done[part].set_exception(error)
        for done in self._done:
            done.result()
