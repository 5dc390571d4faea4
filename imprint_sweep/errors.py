"""The exceptions of imprint_sweep.

Every error that a user can cause derives from :class:`ImprintError`; the command line prints its message without a
traceback and exits with code 2. Anything else is a bug and keeps its traceback.

::

    ImprintError
    ├── ConfigError              the configuration cannot be turned into cells
    │   ├── UnknownOptionError   a name that does not exist: says the nearest and lists them all
    │   └── InvalidCellError     a combination without meaning (mnn with inner_product, quantile before GEN)
    ├── EmbeddingsError          something about a cache entry
    │   ├── MissingEmbeddingsError   not computed yet: carries the command that makes it
    │   └── InvalidEmbeddingsError   NaN, wrong shapes, truncated, tampered, an empty class
    ├── DatasetError             a dataset's files are missing or damaged
    ├── StoreError               the results table cannot be written or read
    ├── StageError               a stage cannot be computed on this data (it becomes a row with status "failed")
    ├── ImprinterError           the estimator cannot use what it was given (a ValueError, too)
    ├── CellFailedError          the one cell that was to run became such a row: exit code 1
    ├── SweepError               a sweep cannot be planned, submitted or finished
    └── SweepFailedError         some of its cells or shards failed: exit code 1
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

_SIMILAR = 0.6
"""Names are similar from this ratio of :class:`difflib.SequenceMatcher` on."""


class ImprintError(Exception):
    """Base of every error that a user can cause and mend."""


class ConfigError(ImprintError):
    """The configuration cannot be turned into cells."""


class UnknownOptionError(ConfigError):
    """A name that does not exist.

    Args:
        kind: what the name should have been, for example ``"gen"``.
        name: what came.
        available: every name that would have been understood.
    """

    def __init__(self, kind: str, name: str, available: Iterable[str]) -> None:
        self.kind, self.name, self.available = kind, name, sorted(available)
        super().__init__(f"unknown {kind} {name!r}{did_you_mean(name, self.available)}")

    def __reduce__(self) -> tuple[type[UnknownOptionError], tuple[str, str, list[str]]]:
        # Launchers bring errors from other processes; by default they would be made from the message alone.
        return type(self), (self.kind, self.name, self.available)


class InvalidCellError(ConfigError):
    """A combination of valid values that means nothing."""


class EmbeddingsError(ImprintError):
    """Something is wrong with an entry of the embedding cache."""


class MissingEmbeddingsError(EmbeddingsError):
    """The embeddings have not been computed yet.

    Args:
        message: which, and what makes them.
        commands: the commands that make them, as one types them, where they are known.
    """

    def __init__(self, message: str, commands: Sequence[str] = ()) -> None:
        self.commands = list(commands)
        super().__init__(message)

    def __reduce__(self) -> tuple[type[MissingEmbeddingsError], tuple[str, list[str]]]:
        return type(self), (str(self), self.commands)


class InvalidEmbeddingsError(EmbeddingsError):
    """The embeddings are there and cannot be used: damaged file, NaN, wrong shape, a class without samples."""


class DatasetError(ImprintError):
    """A dataset's files are missing or damaged."""


class StoreError(ImprintError):
    """The results table cannot be written or read."""


class StageError(ImprintError):
    """A stage cannot be computed on this data."""


class ImprinterError(ImprintError, ValueError):
    """The estimator cannot use a parameter, a label or a file that it was given."""


class CellFailedError(ImprintError):
    """The one cell that was to run failed; the table holds its row."""


class SweepFailedError(ImprintError):
    """Something of a sweep failed that was to run; what was finished is in the table.

    Args:
        problems: a sentence each.
        reasons: why cells failed, a line each.
    """

    def __init__(self, problems: Sequence[str], reasons: Sequence[str] = ()) -> None:
        self.problems, self.reasons = list(problems), list(reasons)
        super().__init__("\n".join(["\nerror: ".join(self.problems), *self.reasons]))

    def __reduce__(self) -> tuple[type[SweepFailedError], tuple[list[str], list[str]]]:
        return type(self), (self.problems, self.reasons)


class SweepError(ImprintError):
    """A sweep cannot be planned, submitted or finished."""


def did_you_mean(name: str, available: Iterable[str]) -> str:
    """The tail of a message about an unknown name: the nearest names, then the full list.

    >>> did_you_mean("kmeanz", ["kmeans", "mean", "all"])
    '; did you mean kmeans or mean? Available: all, kmeans, mean'
    """
    names = sorted(available)
    near = nearest(str(name), names)
    hint = f"; did you mean {' or '.join(near)}?" if near else "."
    return f"{hint} Available: {', '.join(names) or '(none)'}"


def nearest(name: str, available: Iterable[str]) -> list[str]:
    """The names that may have been meant, three at most, the likeliest first.

    First come those that begin with what was written, or have it for their last part; then similar ones. Capital
    letters do not matter.

    >>> nearest("agg.temp", ["agg.m", "agg.name", "agg.temperature"])
    ['agg.temperature', 'agg.m', 'agg.name']
    >>> nearest("features", ["force", "gen.features"]), nearest("MNIST", ["mnist", "svhn"])
    (['gen.features'], ['mnist'])
    """
    written = name.casefold()
    matcher = difflib.SequenceMatcher(b=written)
    found = []
    for other in available:
        folded = other.casefold()
        matcher.set_seq1(folded)
        holds = bool(written) and (folded.startswith(written) or folded.endswith(f".{written}"))
        if holds or matcher.ratio() >= _SIMILAR:
            found.append((not holds, -matcher.ratio(), other))
    return [other for *_, other in sorted(found)[:3]]


def one_line(error: object) -> str:
    """What an error says, on one line; one without a word says what it is.

    >>> one_line(ValueError("first\\n  second")), one_line(TimeoutError())
    ('first second', 'TimeoutError')
    """
    return " ".join(str(error).split()) or type(error).__name__


def enumerated(classes: Sequence[int | str]) -> str:
    """Classes for a message: all of them, or the ends of a long list.

    >>> enumerated([3, 1, 7])
    '3, 1, 7'
    >>> enumerated(range(1000))
    '0, 1, 2, 3, 4, ..., 998, 999 (1000 classes)'
    """
    if len(classes) <= 20:
        return ", ".join(map(str, classes))
    head, tail = (", ".join(map(str, part)) for part in (classes[:5], classes[-2:]))
    return f"{head}, ..., {tail} ({len(classes)} classes)"
