"""What a component of the framework declares: GEN, NORM, AGG, metric or weighting (section 3.1 of the paper).

A component is one file: its mathematics, its parameters, what it depends on, its version, and which equalities hold for
it. Planner, engine and cost model ask the component; none of them knows a name. Reading the registries loads neither
numba nor SciPy nor scikit-learn: what is heavy is imported inside the functions that compute.
"""

from __future__ import annotations

import copy
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum
from importlib import import_module
from importlib.metadata import entry_points, packages_distributions
from pkgutil import iter_modules
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.errors import ConfigError, InvalidCellError, StageError, UnknownOptionError, one_line
from imprint_sweep.imprinting.vectors import Filter, Vectors

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)
Rows = NDArray[np.float32]
"""(n, d) float32."""


class Position(StrEnum):
    """Where a norm is applied."""

    PRE = "pre"
    POST = "post"
    INF = "inf"


class Keep(Enum):
    """How long the engine keeps a shared result."""

    JOB = "until the variants of one class that one thread makes are made"
    ROUND = "until the variants that share it are made, for all classes"
    DRAW = "until all variants of the same samples are made"


Value = int | float | str
"""A value of a parameter."""

_ValueType = type[int] | type[float] | type[str]
_KINDS: Mapping[type, str] = {int: "a whole number", float: "a number", str: "a word"}


@dataclass(frozen=True)
class Parameter:
    """A parameter of a component's own: an axis of the grid, and a column of the results table.

    Args:
        name: after the group on the command line: ``trim`` of a GEN is ``gen.trim``, and the column ``gen_trim``;
            ``power`` of a NORM is ``norm.power``, and ``scale`` of an AGG, a metric or a weighting ``agg.scale``.
            Components of one group that have a parameter of the same name have the same value of it.
        type: int, float or str.
        neutral: the value where nothing is said. It enters no identity, so a parameter that is added later leaves the
            ids of all cells that do not use it.
        doc: what it means, one sentence.
        least: numbers must be at least this,
        above: more than this,
        below: less than this,
        most: and at most this.
        choices: values of type str must be one of these, if any are given.
        words: may stand in the place of a number, such as the name of a rule that finds one. The column of such a
            parameter holds texts, see :meth:`recorded`.
    """

    name: str
    type: _ValueType
    neutral: Value
    doc: str
    least: float = -math.inf
    above: float = -math.inf
    below: float = math.inf
    most: float = math.inf
    choices: tuple[str, ...] = ()
    words: tuple[str, ...] = ()

    @property
    def stored(self) -> _ValueType:
        """The type of the column's values."""
        return str if self.words else self.type

    @property
    def kind(self) -> str:
        """The type in words, for messages."""
        return _KINDS[self.type]

    def recorded(self, value: Value) -> Value:
        """A value as the column holds it: a text where words are possible, numbers as they are typed.

        >>> shrinkage = Parameter("shrinkage", float, "oas", "How much.", words=("oas",))
        >>> shrinkage.recorded(0.1), shrinkage.recorded(1.0), shrinkage.recorded("oas")
        ('0.1', '1', 'oas')
        """
        return repr(value).removesuffix(".0") if self.words and isinstance(value, int | float) else value

    def read(self, recorded: Value) -> Value:
        """The value that a column holds, the inverse of :meth:`recorded`; a text that is no number stays one."""
        if self.type is str or not isinstance(recorded, str):
            return recorded
        try:
            return self.type(recorded)
        except ValueError:
            return recorded

    def checked(self, key: str, value: object) -> Value:
        """The value as the parameter's type; whole numbers pass for float.

        Args:
            key: what the parameter is called on the command line, for messages.
            value: what was given.

        Raises:
            InvalidCellError: another type, or out of range.
            UnknownOptionError: none of the choices or words.
        """
        if isinstance(value, str) and self.words:
            if value not in self.words:
                raise UnknownOptionError(key, value, [self.kind, *self.words])
            return value
        if self.type is float and isinstance(value, int | float) and not isinstance(value, bool):
            value = float(value) + 0.0  # -0.0 and 0.0 are equal but spelled differently in an identity
        if not isinstance(value, self.type) or isinstance(value, bool):
            raise InvalidCellError(f"{key}: expected {alternatives([self.kind, *self.words])}, got {value!r}")
        if isinstance(value, str):
            if self.choices and value not in self.choices:
                raise UnknownOptionError(key, value, self.choices)
        elif not (self.least <= value <= self.most and self.above < value < self.below):
            shown = "," if self.type is int else "g"
            bounds = [f"at least {self.least:{shown}}"] * (self.least > -math.inf)
            bounds += [f"more than {self.above:{shown}}"] * (self.above > -math.inf)
            bounds += [f"less than {self.below:{shown}}"] * (self.below < math.inf)
            bounds += [f"at most {self.most:{shown}}"] * (self.most < math.inf)
            raise InvalidCellError(f"{key} must be {' and '.join(bounds) or 'finite'}, got {value}")
        return value


class Making(Enum):
    """How the engine has the variants of a gen made that share stages."""

    ONE_BY_ONE = "each by itself, several threads at once"
    IN_ONE_JOB = "all of a class by one thread, so that what they share is made and held once"
    IN_BATCHES = "as many at once as memory allows; fewer where threads would be idle"


class Component:
    """What all components declare.

    Attributes:
        name: as it is written on the command line and stands in the table.
        version: raised when any number may change; rows of another version no longer count as done.
        label: what a reader calls it in tables and figures; the name where nothing else is said.
        baseline: whether it is no imprinting, but what imprinting is compared with. So is every cell that it takes part
            in: tables say so, and it is never chosen as the best.
        parameters: parameters of its own.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    label: ClassVar[str] = ""
    baseline: ClassVar[bool] = False
    parameters: ClassVar[tuple[Parameter, ...]] = ()


class _Ordered:
    """What has an order that is always the same, also where a parameter is here a number and there a word."""

    parameters: tuple[tuple[str, Value], ...]

    def __lt__(self, other: Self) -> bool:
        return self._rank() < other._rank()

    def _rank(self) -> tuple[Any, ...]:
        values = [(name, isinstance(value, str), value) for name, value in self.parameters]
        return *(value for field, value in vars(self).items() if field != "parameters"), values


@dataclass(frozen=True)
class Setting(_Ordered):
    """A component, with values of its parameters.

    Args:
        name: of the component.
        parameters: (name, value) of each parameter of its own.
    """

    name: str
    parameters: tuple[tuple[str, Value], ...] = ()

    def __str__(self) -> str:
        return self.name


class Adjustable(Component):
    """A component that has the values of its parameters: ``self["power"]``.

    That of a registry has the neutral ones; where a :class:`Setting` is looked up, the component has those of the
    setting.
    """

    _values: Mapping[str, Value] = {}

    def having(self, values: Iterable[tuple[str, Value]]) -> Self:
        """The same component with values of its parameters."""
        other = copy.copy(self)
        other._values = dict(values)
        return other

    def __getitem__(self, name: str) -> Any:
        """The value of a parameter of its own."""
        if name in self._values:
            return self._values[name]
        return next(parameter.neutral for parameter in self.parameters if parameter.name == name)


def _no_tensors(component: Component) -> NotImplementedError:
    return NotImplementedError(f"{component.name} has no form for tensors: it does not define on_tensors")


# --- GEN --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Variant(_Ordered):
    """One setting of a gen.

    Args:
        k: proxies per class, 0 where the gen has no k; the largest that is tried where a rule chooses it.
        seed: 0 where the gen is deterministic.
        weight_decay: lambda of the model, 0 where the gen does not use it.
        parameters: (name, value) of each parameter of the gen's own.
        rule: one of :attr:`Gen.rules` that chooses k within each class; empty where k is given.
    """

    k: int = 0
    seed: int = 0
    weight_decay: float = 0.0
    parameters: tuple[tuple[str, Value], ...] = ()
    rule: str = ""

    def __getitem__(self, name: str) -> Any:
        """The value of a parameter of the gen's own."""
        return dict(self.parameters)[name]


class QueryMap(ABC):
    """A map of queries into the space in which a gen's proxies lie.

    Equal maps are computed once for all cells that read the same queries, so a map is hashable and says by its equality
    what it depends on.
    """

    @property
    @abstractmethod
    def d(self) -> int:
        """Features of what is mapped."""

    @property
    @abstractmethod
    def width(self) -> int:
        """Features of mapped rows."""

    @abstractmethod
    def transform(self, x: Rows) -> Rows:
        """Map rows, (n, d) float32, to (n, width) float32. A row's result depends on that row alone, to the last bit.

        Raises:
            StageError: a row cannot be mapped.
        """

    @abstractmethod
    def arrays(self) -> dict[str, NDArray[Any]]:
        """What the map is made of: the buffers of a module, and what a file holds; see :meth:`Gen.stored_map`."""

    def seconds(self, queries: float) -> float:
        """Core-seconds for so many rows, for estimates; by default those of a product with a (d, width) matrix."""
        return queries * self.d * self.width * 2 / 50e9

    def on_tensors(self, x: Any, arrays: Mapping[str, Any]) -> Any:
        """:meth:`transform` of a torch tensor, to rounding.

        Args:
            x: (b, d) torch tensor.
            arrays: :meth:`arrays` as tensors.
        """
        raise NotImplementedError(f"{type(self).__name__} has no form for tensors: it does not define on_tensors")


Seconds = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Sizes:
    """How large several classes are.

    Args:
        n: (classes,) float64, samples of each.
        parts: (classes,) float64, how many classes of datasets each unites; samples of several settle sooner.
    """

    n: NDArray[np.float64]
    parts: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Piece:
    """A piece of work that is done once for all who need it, with what it takes.

    Pieces of a stage with equal keys are the same piece. Where they differ in size the largest holds the others, as a
    longer k-means++ begins like a shorter one.

    Args:
        stage: the name under which the engine counts and times it.
        key: what it depends on beyond the samples.
        seconds: core-seconds for each class, on the machine of the benchmarks; how fast another machine is, is learned.
        calls: how often it is counted; 0 for a part of what another piece of the stage counts.
    """

    stage: str
    key: Hashable
    seconds: Seconds
    calls: int = 1


class Shared(Protocol):
    """Results that several variants, gens or tasks have in common: each is computed once."""

    def once(self, stage: str, key: Hashable, compute: Callable[[], T], keep: Keep = Keep.ROUND) -> T:
        """The result of a stage, computed by whoever asks first.

        Args:
            stage: its name, the same for all who share it.
            key: what the result depends on beyond the samples.
            compute: the computation. It may ask for other shared results.
            keep: how long it is kept.
        """

    def once_together(
        self,
        stage: str,
        keys: Sequence[K],
        compute: Callable[[Sequence[K]], Sequence[T]],
        *,
        counted_as: str,
        share: Callable[[T], float],
    ) -> None:
        """Make several results of a stage at once, for :meth:`once` to find; what is there already is not made again.

        Args:
            stage: its name, as for :meth:`once`.
            keys: as for :meth:`once`, of each result.
            compute: from the keys that are missing to their results.
            counted_as: the name under which the computations are counted and timed.
            share: how much of the time each result took, relative to the others.
        """

    def run(self, stage: str, compute: Callable[[], T]) -> T:
        """Compute what nobody else needs; like everything shared it is counted and timed under its stage."""


class ClassSamples(Shared, Protocol):
    """What a gen is given of one class: the training samples after the n-shot draw and NORM_pre."""

    @property
    def samples(self) -> Rows:
        """(n, d) float32, n at least 1; never to be changed."""

    @property
    def room_for_moments(self) -> bool:
        """Whether d x d matrices of all classes fit into memory, so that making them ahead is no waste."""

    def rng(self, stage: str, seed: int) -> np.random.Generator:
        """The random stream of a stage for this class: keyed by stage, seed and class, and by nothing else."""

    def stored(
        self, stage: str, key: tuple[int, ...], compute: Callable[[], Mapping[str, NDArray[Any]]], version: int
    ) -> Mapping[str, NDArray[Any]]:
        """Arrays that are also kept on disk between runs; otherwise as :meth:`once`.

        Args:
            stage: its name.
            key: what the arrays depend on beyond the samples.
            compute: the computation.
            version: of the stage's component; arrays of another version are not read.
        """

    def reserve(self, n_bytes: int, what: str, *, of_task: bool = False, instead: str = "") -> None:
        """Take memory for as long as this job runs; wait while others would not leave enough.

        Args:
            n_bytes: how much.
            what: needs it, for the message.
            of_task: whether all classes of the task need it, and not this one by itself.
            instead: what would need less, for the message, as in "draw fewer samples with n_shot".

        Raises:
            StageError: so much is more than the stages may use.
        """


class Gen(Component, ABC):
    """A proxy generator that sees one class at a time.

    Attributes:
        takes_k: whether it has the parameter k.
        usual_k: the k of what goes by its name elsewhere; a cell that was not told k says so if it has another.
        rules: those of :data:`imprint_sweep.imprinting.choosing_k.RULES` by which it can choose k within each class.
        seeded: whether its result depends on the seed beyond the n-shot draw; see :meth:`draws`.
        joint: whether it sees the samples of all classes of the task at once; see :class:`JointGen`.
        biased: whether each proxy has a bias, which is added to its inner products: the last of d + 1 columns. Such
            proxies are read by inner products alone, as they are, and the length of a query matters.
        uses_weight_decay: whether it depends on the model's weight decay.
        chooses_blindly: whether it returns samples chosen by a rule that no length enters. Then it does not matter
            whether they are normalised before or after the choice.
        with_one_proxy: the gen that computes the same with k = 1, None where there is none.
        map_scales: whether its :meth:`query_map` takes a query times a positive number to its image times that number;
            so it is where there is no map.
        cheap: whether making its proxies takes so little that several jobs may each do it.
        making: how variants that share stages are made.
    """

    takes_k: ClassVar[bool] = False
    usual_k: ClassVar[int | None] = None
    rules: ClassVar[tuple[str, ...]] = ()
    seeded: ClassVar[bool] = False
    joint: ClassVar[bool] = False
    biased: ClassVar[bool] = False
    uses_weight_decay: ClassVar[bool] = False
    chooses_blindly: ClassVar[bool] = False
    with_one_proxy: ClassVar[str | None] = None
    map_scales: ClassVar[bool] = True
    cheap: ClassVar[bool] = False
    making: ClassVar[Making] = Making.ONE_BY_ONE

    @abstractmethod
    def proxies(self, given: ClassSamples, variant: Variant) -> Rows:
        """The proxies of one class.

        Args:
            given: its samples, and what can be shared.
            variant: k, seed and the like.

        Returns:
            (number of proxies, d) float32; of a biased gen d + 1 columns. Where queries are mapped, d is the width of
            the map.
        """

    def chosen_k(self, given: ClassSamples, variant: Variant) -> int:
        """The k that the rule of a variant chooses for a class; a gen that has :attr:`rules` defines it."""
        raise NotImplementedError(f"{self.name} chooses no k")

    def together(self, given: ClassSamples, variants: Sequence[Variant]) -> None:
        """Compute what several variants of a class need, where that is faster at once; see :attr:`making`."""

    def batch_bytes(self, n: int, d: int, variant: Variant) -> int:
        """What a variant adds to the memory of a batch, and what is kept of it, at most.

        Args:
            n: samples of the class.
            d: features.
            variant: which.
        """
        return 0

    def check(self, parameters: Mapping[str, Value], max_samples: int | None) -> None:
        """Refuse parameters that mean nothing together, or with so few samples.

        Args:
            parameters: the value of each of its own.
            max_samples: the most samples of a class that it can be given; None if only the data can tell.

        Raises:
            InvalidCellError: why, and what to give instead.
        """

    def draws(self, k: int | None) -> bool:
        """Whether its result depends on the seed, with this k, beyond the n-shot draw."""
        return self.seeded

    def query_map(self, d: int, variant: Variant) -> QueryMap | None:
        """The map of queries into the space of the proxies; None where queries are compared as they are.

        It is applied after NORM_inf, and asked for more often than it is used, so it costs nothing to make.

        Args:
            d: features of a query.
            variant: which.
        """
        return None

    def stored_map(self, arrays: Mapping[str, NDArray[Any]]) -> QueryMap:
        """The map that a file holds, as :meth:`QueryMap.arrays` gave it."""
        raise NotImplementedError(f"{self.name} maps no queries")

    def keeps_whole(self, k: int | None) -> int:
        """Up to how many samples are all returned as they are, each a proxy."""
        return k or 0

    def per_class(self, k: int | None) -> int | None:
        """The largest number of proxies of a class; None where only the number of samples bounds it."""
        return k if self.takes_k else 1

    def shares(self, variant: Variant) -> Hashable:
        """Variants, of any gen, for which this is equal share stages and are made in one round."""
        return type(self), variant

    def stays_with(self, variant: Variant) -> Hashable:
        """Variants, of any gen, for which this is equal share so much that one job should make them."""
        return type(self), variant

    def work(self, of: Sizes, d: int, variant: Variant) -> Sequence[Piece]:
        """What making the proxies of a class takes, for estimates; by default two passes over its samples.

        Args:
            of: several classes.
            d: features.
            variant: which.

        Returns:
            Pieces whose seconds are one number for each class.
        """
        return [Piece(self.name, variant, of.n * d / 5e8)]


class JointGen(Gen):
    """A generator that sees the samples of all classes of a task at once, which imprinting does not."""

    joint = True
    baseline = True

    def proxies(self, given: ClassSamples, variant: Variant) -> Rows:
        """Not defined for a class alone."""
        raise NotImplementedError(f"{self.name} sees all classes at once")

    def keeps_whole(self, k: int | None) -> int:
        """None: its proxies are no samples."""
        return 0

    @abstractmethod
    def prepare(self, given: ClassSamples, variant: Variant) -> None:
        """Compute what depends on one class alone, ahead of :meth:`solve` and in parallel over classes."""

    def task_work(self, n: Seconds, d: int, proxies: Seconds, variant: Variant) -> Sequence[Piece]:
        """What :meth:`solve` takes beside :meth:`work`.

        Args:
            n: (tasks,) float64, samples of all classes of each of several tasks.
            d: features.
            proxies: (tasks,) float64, of all classes of each of several tasks.
            variant: which.

        Returns:
            Pieces whose seconds are one number for each task, or one for all.
        """
        return []

    @abstractmethod
    def solve(self, classes: Sequence[ClassSamples], task: Shared, variant: Variant) -> list[Rows]:
        """The proxies of every class of a task, in its order; each as :meth:`Gen.proxies` returns them."""

    def solver(self, variant: Variant) -> Hashable:
        """The matrix that :meth:`solve` keeps: variants of any gen for which this is equal have the same."""
        return type(self), variant

    def class_bytes(self, n: int, d: int, variant: Variant) -> int:
        """What is kept of a class for the variants that stay together, at most; see :meth:`Gen.stays_with`.

        Args:
            n: samples of the class.
            d: features.
            variant: which.
        """
        return 8 * d**2

    def task_bytes(self, d: int, variant: Variant) -> int:
        """What is kept of a task for the variants of one :meth:`solver`; arguments as for :meth:`class_bytes`."""
        return 8 * d**2


@dataclass(frozen=True, eq=False)
class Share:
    """What a class contributes to the sums from which the proxies of an additive gen follow.

    Args:
        total: float64, what is added up over the classes in the order of imprinting; without elements where nothing is.
        own: what is kept of the class beside it, much smaller than its samples.
    """

    total: NDArray[np.float64]
    own: Any


class Additive(ABC):
    """A gen whose proxies follow from sums, so that classes are added without the samples of the others."""

    @abstractmethod
    def share(self, given: ClassSamples, variant: Variant) -> Share:
        """What a class contributes."""

    @abstractmethod
    def from_sums(self, total: NDArray[np.float64], own: Sequence[Any], variant: Variant) -> list[Rows]:
        """The proxies of every class, bit for bit those that the gen makes of all samples in this order.

        Args:
            total: the totals of all classes, added up one after the other.
            own: what is kept of each class.
            variant: as for :meth:`share`.
        """

    @abstractmethod
    def joined(self, own: Any, more: Any, variant: Variant) -> Any:
        """What is kept of a class and of more samples of it, to rounding as of all of them together.

        Raises:
            StageError: that does not follow from both, and why.
        """

    def reduced(
        self, total: NDArray[np.float64], own: Sequence[Any], variant: Variant
    ) -> tuple[NDArray[np.float64], Sequence[Any]]:
        """The total and what is kept of each class, with less to keep after a class or samples were added.

        Arguments as for :meth:`from_sums`; they stay as they are.
        """
        return total, own

    def settled(self, total: NDArray[np.float64], own: Sequence[Any], variant: Variant) -> Variant:
        """The variant with a value for each parameter that samples choose; classes that are added later keep it.

        Arguments as for :meth:`from_sums`.
        """
        return variant


# --- NORM -------------------------------------------------------------------------------------------------------------


class Norm(Adjustable, ABC):
    """A normalisation of single vectors: the result of a row depends on that row alone, to the last bit.

    Attributes:
        positions: where it may be applied.
        not_here: for a position where it means nothing, the reason, for whoever asks for it there.
        scales: whether it multiplies each row by a positive number of its own (or leaves zero as it is).
        unit: whether the results have length one.
    """

    positions: ClassVar[frozenset[Position]] = frozenset(Position)
    not_here: ClassVar[Mapping[Position, str]] = {}
    scales: ClassVar[bool] = False
    unit: ClassVar[bool] = False

    @abstractmethod
    def rows(self, x: Rows) -> Rows:
        """Normalise rows, (n, d) float32; the argument stays as it is."""

    def on_tensors(self, x: Any) -> Any:
        """:meth:`rows` of a torch tensor, to rounding."""
        raise _no_tensors(self)


class SequentialNorm(Norm):
    """A normalisation of the proxies of a class that depends on those imprinted before it.

    Attributes:
        rate: values per second and core of :meth:`imprint`, for estimates.
    """

    positions = frozenset({Position.POST})
    rate: ClassVar[float] = 3.4e7

    def rows(self, x: Rows) -> Rows:
        """Not defined for rows alone."""
        raise NotImplementedError(f"{self.name} depends on the classes imprinted before")

    @abstractmethod
    def imprint(self, by_label: Sequence[Rows]) -> list[Rows]:
        """Normalise the proxies of each class, in the order in which the classes are imprinted."""


# --- Metrics ----------------------------------------------------------------------------------------------------------


class Metric(Adjustable, ABC):
    """How a query and a proxy are compared: exact values in float64, and bounds for fast float32 scores.

    Attributes:
        is_distance: whether it is one; what is none cannot weight votes.
        ignores_length: whether no length enters, neither of the query nor of the proxy.
        ignores_query_length: whether the length of the query cannot change which proxy is nearest, as long as none has
            a bias.
        takes_biases: whether it adds the biases of proxies, which :attr:`Vectors.biases` are then.
        nearest_on_unit_proxies: the metric with the same nearest proxy where all proxies have length one.
        zero_proxies: whether that holds for proxies of length zero, too.
    """

    is_distance: ClassVar[bool] = True
    ignores_length: ClassVar[bool] = False
    ignores_query_length: ClassVar[bool] = False
    takes_biases: ClassVar[bool] = False
    nearest_on_unit_proxies: ClassVar[str | None] = None
    zero_proxies: ClassVar[bool] = False

    @abstractmethod
    def exact(
        self, queries: Vectors, proxies: Vectors, query: NDArray[np.int64], proxy: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """The values that decide: the dissimilarity of pairs, smaller is nearer.

        Args:
            queries: (b, d).
            proxies: (p, d).
            query: (n,) row numbers of queries.
            proxy: (n,) row numbers of proxies.

        Returns:
            (n,) float64, each in one fixed order of summation.
        """

    def tensors(self, proxies: Rows) -> dict[str, NDArray[Any]]:
        """What :meth:`on_tensors` needs of the proxies after NORM_post, (p, d) float32: the buffers of a module.

        ``biases``, (p,) float32, are added to it where proxies have some.
        """
        return {"proxies": proxies}

    def on_tensors(self, queries: Any, of_proxies: Any) -> Any:
        """The values of all pairs, to rounding.

        Args:
            queries: (b, d) torch tensor after NORM_inf, of the type of the first of `of_proxies`.
            of_proxies: tensors by the names of :meth:`tensors`.

        Returns:
            (b, p) torch tensor.
        """
        raise _no_tensors(self)


class ProductMetric(Metric):
    """A metric whose fast scores are inner products, of the vectors in any scaling."""

    @abstractmethod
    def bounds(self, raw_queries: Vectors, raw_proxies: Vectors, queries: Vectors, proxies: Vectors) -> Filter:
        """How inner products bound the exact values.

        Args:
            raw_queries: (b, d), what the products are of.
            raw_proxies: (p, d), the same.
            queries: (b, d), what is compared: the same rows, each multiplied by a positive number.
            proxies: (p, d), the same.
        """


class DenseMetric(Metric):
    """A metric with fast scores of its own.

    Attributes:
        rate: element operations per second and core of :meth:`fast`, for estimates.
    """

    rate: ClassVar[float] = 5e9

    @abstractmethod
    def fast(self, queries: Rows, proxies: Rows) -> NDArray[np.float32]:
        """Fast scores of all pairs, (b, p) float32."""

    @abstractmethod
    def bounds(self, queries: Vectors, proxies: Vectors) -> Filter:
        """How the fast scores bound the exact values."""


class Map(Protocol):
    """A map of rows under which a metric is the Euclidean distance."""

    @property
    def width(self) -> int:
        """Features of mapped rows."""

    def transform(self, x: Rows) -> Vectors:
        """Map rows: (n, width) float64. A row's result depends on that row alone, to the last bit."""


class MappedMetric(Metric):
    """A metric that is the Euclidean distance of mapped rows: a :class:`FittedMetric` or a :class:`ClassMetric`."""

    @abstractmethod
    def bounds(self, raw_queries: Vectors, raw_proxies: Vectors, queries: Vectors, proxies: Vectors) -> Filter:
        """As :meth:`ProductMetric.bounds`, for mapped rows."""


class FittedMetric(MappedMetric):
    """A metric that depends on the proxies of the task: the Euclidean distance under a map fitted to them."""

    @abstractmethod
    def fit(self, proxies: Rows) -> Map:
        """Fit the map to the proxies of a task, (p, d)."""


Statistics = Mapping[str, NDArray[np.float64]]
"""What a metric knows of the samples of a class: arrays by name, of shapes that depend on d alone."""


class ClassMetric(MappedMetric):
    """A metric that depends on the training samples of each class: the Euclidean distance under a map of the class.

    It needs proxies that are made from the samples of their class alone.
    """

    @abstractmethod
    def statistics(self, given: ClassSamples) -> Statistics:
        """What the map of a class is made of: computed once for all who compare with its proxies, and saved."""

    @abstractmethod
    def map(self, of_class: Statistics) -> Map:
        """The map that :meth:`statistics` describe; made again wherever they are read."""

    def nbytes(self, d: int) -> int:
        """What :meth:`statistics` holds of a class while it computes, and keeps of it at most."""
        return 3 * 8 * d**2

    def work(self, of: Sizes, d: int) -> Sequence[Piece]:
        """What :meth:`statistics` take, for estimates; as :meth:`Gen.work`."""
        return [Piece(self.name, None, of.n * d**2 * 2 / 8e10)]

    def class_tensors(self, proxies: Rows, of_class: Statistics) -> dict[str, NDArray[Any]]:
        """What :meth:`on_tensors` needs to compare queries with the proxies of one class; see :meth:`tensors`."""
        raise _no_tensors(self)


# --- Weightings -------------------------------------------------------------------------------------------------------


class Weighting(Adjustable, ABC):
    """How the votes of the nearest proxies are weighted.

    Attributes:
        of_all: the aggregation with the same predictions where all proxies vote; None where there is none.
    """

    of_all: ClassVar[str | None] = None

    @abstractmethod
    def weights(self, distances: NDArray[np.float64]) -> NDArray[np.float64]:
        """The weight of each vote.

        Args:
            distances: (b, M) float64, nearest first.

        Returns:
            (b, M) float64; the first m columns are those of the m nearest, whatever M.
        """

    def on_tensors(self, distances: Any) -> Any:
        """:meth:`weights` of a torch tensor, to rounding."""
        raise _no_tensors(self)


# --- AGG --------------------------------------------------------------------------------------------------------------


class Aggregation(Adjustable, ABC):
    """How the proxies of a task, compared with a query, become a label: a :class:`Voting` or a :class:`ClassScore`.

    Attributes:
        needs_distance: whether the metric must be a distance.
        usual_metric: where no metric is named.
        same_as: the aggregation that votes, and its m, with the same predictions; None where there is none.
        with_one_proxy: the aggregation with the same predictions where no class has more than one proxy.
    """

    needs_distance: ClassVar[bool] = False
    usual_metric: ClassVar[str] = "inner_product"
    same_as: ClassVar[tuple[str, int] | None] = None
    with_one_proxy: ClassVar[str | None] = None

    def shown(self, m: int | None) -> str:
        """What a reader calls it in tables and figures.

        Args:
            m: proxies that vote, None where nothing votes.
        """
        return self.label or self.name.replace("_", " ")


class Voting(Aggregation):
    """The ``agg.m`` nearest proxies of all classes vote, weighted by ``agg.weighting``."""

    needs_distance = True
    usual_metric = "euclidean"

    def shown(self, m: int | None) -> str:
        """As in 5-nn."""
        return f"{m}-nn"


class ClassScore(Aggregation):
    """Each class has a score made from the values of its own proxies; the largest wins, the first of equal ones.

    Attributes:
        reads: how many of the nearest proxies of a class its score depends on; None for all of them.
        rate: values per second and core of :meth:`scores`, for estimates.
    """

    reads: ClassVar[int | None] = None
    rate: ClassVar[float] = 2e8

    @abstractmethod
    def scores(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The score of a class for each query, larger is better; that of a query depends on its own row alone.

        Args:
            values: (b, n) float64, the metric's values of the proxies of the class in their order, smaller is nearer;
                if it :attr:`reads` fewer than all, those, nearest first.

        Returns:
            (b,) float64. If every value of a row changes by at most e, its score does.
        """

    def on_tensors(self, values: Any) -> Any:
        """:meth:`scores` of a torch tensor, (b, n) to (b,), to rounding; always of all proxies of the class."""
        raise _no_tensors(self)


# --- Registries -------------------------------------------------------------------------------------------------------

C = TypeVar("C", bound=Component)
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_TAKEN: Mapping[str, frozenset[str]] = {
    "gen": frozenset({"name", "component", "parameters", "seconds"}),
    "norm": frozenset({"pre", "post", "inf", "parameters"}),
    "agg": frozenset({"name", "metric", "m", "weighting", "parameters"}),
}
"""Group -> names that keys of its options have, or columns of the results table (``gen_seconds``)."""


class Registry(Mapping[str, C], Generic[C]):
    """The components of one kind by name.

    Those of this package go by their own names, one for each file of a folder. Those of other packages are found
    through entry points, or registered by the options that name them, and go by ``distribution:name``.

    Args:
        key: what the kind is called on the command line, for messages.
        package: dotted name of the folder.
        kind: the base class.
        group: of the entry points.
    """

    def __init__(self, key: str, package: str, kind: type[C], group: str) -> None:
        self.key, self.group = key, group
        self.prefix = key.partition(".")[0]
        self._package, self._kind = package, kind
        self._found: dict[str, C] | None = None
        self._names: dict[str, str] = {}
        self._places: dict[str, str] = {}
        self._broken: dict[str, str] = {}
        self._having: dict[Setting, C] = {}

    def register(self, place: str) -> str:
        """Add a component of another package.

        Args:
            place: where it is, as ``package.module:NAME``.

        Returns:
            Its name here, ``distribution:name``; a module that belongs to no distribution stands for one.

        Raises:
            ConfigError: it cannot be imported, or is no component of this kind.
        """
        found = self._components()
        if place not in self._names:
            component = self._load(place)
            top = place.partition(":")[0].partition(".")[0]
            distribution = next(iter(packages_distributions().get(top, [])), top)
            name = f"{distribution}:{component.name}"
            if type(found.get(name, component)) is not type(component):
                raise ConfigError(f"{self.key}: {place} goes by the name {name}, which another component has already")
            self._check_parameters(place, component)
            found.setdefault(name, component)
            self._names[place] = name
            self._places.setdefault(name, place)
        return self._names[place]

    def place(self, name: str) -> str | None:
        """Where a component was registered from; None for those that every process finds by itself."""
        return self._places.get(name)

    def of_others(self) -> tuple[str, ...]:
        """The names of the components of other packages, those of entry points that do not load included."""
        return (*(name for name in self._components() if name in self._names.values()), *self._broken)

    def __getitem__(self, name: str | Setting) -> C:
        """The component of a name, or of a setting: equal settings give the same object.

        Raises:
            UnknownOptionError: there is none; the message lists the nearest names.
            ConfigError: an entry point has this name and does not load.
        """
        if isinstance(name, Setting):
            return self._set(name) if name.parameters else self[name.name]
        found = self._components()
        if name not in found:
            raise self.unknown(name)
        return found[name]

    def _set(self, setting: Setting) -> C:
        if setting not in self._having:
            component = self[setting.name]
            if isinstance(component, Adjustable):
                component = component.having(setting.parameters)
            self._having.setdefault(setting, component)
        return self._having[setting]

    def unknown(self, name: str, key: str | None = None, available: Iterable[str] | None = None) -> ConfigError:
        """The error for a name that is not there, or whose entry point does not load.

        Args:
            name: the name.
            key: what the kind is called in this place; its usual name by default.
            available: the names that make sense in this place; all by default.
        """
        if name in self._broken:
            return ConfigError(self._broken[name])
        return UnknownOptionError(key or self.key, name, self if available is None else available)

    def __iter__(self) -> Iterator[str]:
        return iter(self._components())

    def __len__(self) -> int:
        return len(self._components())

    def __contains__(self, name: object) -> bool:
        return name in self._components()

    def _components(self) -> dict[str, C]:
        if self._found is None:
            self._found = self._own()
            for entry in entry_points(group=self.group):
                name = f"{entry.dist.name}:{entry.name}" if entry.dist else entry.name
                try:
                    component = self._load(entry.value)
                    if component.name != entry.name:
                        raise ConfigError(
                            f"{self.key}: the entry point {entry.name} = {entry.value} is a component of the name "
                            f"{component.name}; give both one name"
                        )
                    self._check_parameters(entry.value, component)
                except ConfigError as error:
                    self._broken[name] = str(error)
                else:
                    self._found[name] = component
                    self._names[entry.value] = name
        return self._found

    def parameters(self, name: object) -> dict[str, Parameter]:
        """The parameters of a component by their names on the command line; none of one that is not there.

        Args:
            name: of the component.
        """
        found = self._components()
        own = found[name].parameters if isinstance(name, str) and name in found else ()
        return {f"{self.prefix}.{parameter.name}": parameter for parameter in own}

    def _check_parameters(self, place: str, component: C) -> None:
        """Refuse parameters that cannot share a column with those of the same names that are there.

        Raises:
            ConfigError: which, and why.
        """
        of_group = (registry for registry in (*REGISTRIES, self) if registry.prefix == self.prefix)
        others = {
            own.name: (own, name)
            for registry in of_group
            for name, other in registry._components().items()
            for own in other.parameters
        }
        for own in component.parameters:
            other, name = others.get(own.name, (own, ""))
            if (other.type, other.stored) != (own.type, own.stored):
                mine, theirs = (f"{one.kind}{' or a name' * bool(one.words)}" for one in (own, other))
                raise ConfigError(
                    f"{self.key}: the parameter {own.name} of {place} is {mine}, but that of {name} is {theirs}; give "
                    "it another name"
                )

    def _own(self) -> dict[str, C]:
        package = import_module(self._package)
        found = {}
        for module in sorted(name for _, name, is_package in iter_modules(package.__path__) if not is_package):
            own = import_module(f"{self._package}.{module}")
            for value in vars(own).values():
                if isinstance(value, self._kind) and type(value).__module__ == own.__name__:
                    found[value.name] = value
        return found

    def _load(self, place: str) -> C:
        what = f"{self.key}: the component {place}"
        module, separator, attribute = place.partition(":")
        if not (separator and module and attribute):
            raise ConfigError(f"{what} is not of the form package.module:NAME")
        try:
            value = getattr(import_module(module), attribute)
            component = value() if isinstance(value, type) else value
        except Exception as error:  # whatever somebody else's module does when it is imported
            raise ConfigError(f"{what} does not load: {type(error).__name__}: {one_line(error)}") from error
        if not isinstance(component, self._kind):
            raise ConfigError(f"{what} is no {self._kind.__name__}, but {type(component).__name__}")
        name = getattr(component, "name", None)
        if not (isinstance(name, str) and _NAME.fullmatch(name)):
            raise ConfigError(f"{what} has the name {name!r}; expected lower-case letters, digits and underscores")
        if not (isinstance(component.version, int) and component.version >= 1):
            raise ConfigError(f"{what} has the version {component.version!r}; expected 1, 2, ...")
        taken_names = _TAKEN[self.prefix]
        for own in component.parameters:
            if not (isinstance(own, Parameter) and _NAME.fullmatch(own.name)) or own.name in taken_names:
                taken = f" but {', '.join(sorted(taken_names))}"
                raise ConfigError(
                    f"{what} has the parameter {getattr(own, 'name', own)!r}; expected a Parameter whose name has "
                    f"lower-case letters, digits and underscores, any{taken}"
                )
        return component


GENS: Registry[Gen] = Registry("gen", f"{__package__}.gen", Gen, "imprint_sweep.gens")  # type: ignore[type-abstract]
NORMS: Registry[Norm] = Registry(
    "norm",
    f"{__package__}.norm",
    Norm,  # type: ignore[type-abstract]
    "imprint_sweep.norms",
)
METRICS: Registry[Metric] = Registry(
    "agg.metric",
    f"{__package__}.agg.metrics",
    Metric,  # type: ignore[type-abstract]
    "imprint_sweep.metrics",
)
WEIGHTINGS: Registry[Weighting] = Registry(
    "agg.weighting",
    f"{__package__}.agg.weighting",
    Weighting,  # type: ignore[type-abstract]
    "imprint_sweep.weightings",
)
AGGREGATIONS: Registry[Aggregation] = Registry(
    "agg",
    f"{__package__}.agg.aggregations",
    Aggregation,
    "imprint_sweep.aggregations",
)
REGISTRIES: tuple[Registry[Any], ...] = (GENS, NORMS, METRICS, WEIGHTINGS, AGGREGATIONS)


def alternatives(names: Sequence[str]) -> str:
    """Names for a message.

    >>> alternatives(["a", "b", "c"])
    'a, b or c'
    """
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def norms_at(position: Position) -> tuple[str, ...]:
    """The names of the norms that may be applied somewhere."""
    return tuple(name for name, norm in NORMS.items() if position in norm.positions)


def work_of(option: str, work: Callable[[], Sequence[Piece]], classes: int) -> Sequence[Piece]:
    """What a component says that it does, if it keeps its contract.

    Args:
        option: that names it, for messages.
        work: its :meth:`Gen.work`, :meth:`JointGen.task_work` or :meth:`ClassMetric.work`, with its arguments.
        classes: or tasks, how many seconds each piece has to have.

    Raises:
        ConfigError: it fails, or says anything but numbers of at least 0.
    """
    try:
        pieces = work()
        seconds = [np.broadcast_to(np.asarray(piece.seconds, np.float64), (classes,)) for piece in pieces]
    except Exception as error:  # whatever somebody else's method does
        what = f"{type(error).__name__}: {one_line(error)}"
        raise ConfigError(f"{option} cannot say how long it takes: {what}") from error
    for taken in seconds:
        if not 0 <= taken.min(initial=0) <= taken.max(initial=0) < np.inf:
            raise ConfigError(f"{option} says that a class takes {taken.min()} s; expected a number of at least 0")
    return pieces


def checked_rows(rows: object, name: str, features: int, count: int | None = None) -> Rows:
    """What a component returned, if it keeps its contract.

    Args:
        rows: what it returned.
        name: of the component, with its kind, for messages.
        features: d.
        count: how many rows are expected; None means at least one.

    Raises:
        StageError: anything but finite float32 rows of d features.
    """
    expected = f"({'at least 1' if count is None else count}, {features}) float32"
    if not isinstance(rows, np.ndarray):
        raise StageError(f"{name} returned {type(rows).__name__}; expected an array, {expected}")
    if rows.ndim != 2 or rows.shape[1] != features or len(rows) != (count or max(len(rows), 1)):
        raise StageError(f"{name} returned an array of shape {rows.shape}; expected {expected}")
    if rows.dtype != np.float32:
        raise StageError(f"{name} returned {rows.dtype}; expected {expected}")
    if not np.isfinite(rows).all():
        raise StageError(f"{name} returned values that are not finite")
    return rows
