"""A cell of the grid: what it is, what its id hashes, and which other cells it equals by construction.

A cell is (model, task, scheme). Identity is configuration only, so a grid of half a million cells can be planned before
one embedding exists:

* ``cell_id`` says *what was asked for*. Parameters without meaning are null in it; parameters with meaning stay as
  requested even where the result must be equal.
* ``computation_id`` says *what is computed*: the id of the normal form, in which everything that is equal by
  construction (method, last section) has one representative. Cells that share it hold equal results.

Nothing here touches arrays or files.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

from imprint_sweep.errors import InvalidCellError, UnknownOptionError
from imprint_sweep.wording import visible

METHOD_VERSION = 1
"""Version of what a cell computes. Raised when any number may change: older rows then no longer count as done."""

Part = tuple[str, int]
"""(dataset, class): the samples of one class of one dataset."""

Label = tuple[Part, ...]
"""One label of a task: the ordered parts whose samples it unites (one part, unless classes were merged or joined)."""


def spelled(label: Label) -> str:
    """A label as tables and messages show it.

    >>> spelled((("mnist", 6), ("svhn", 6)))
    'mnist:6+svhn:6'
    """
    return "+".join(f"{dataset}:{number}" for dataset, number in label)


def parsed(text: str) -> Label:
    """The label that the table shows so; another one if a dataset has ``+`` in its name.

    >>> parsed("mnist:6+svhn:6")
    (('mnist', 6), ('svhn', 6))
    """
    parts = (part.rpartition(":") for part in text.split("+"))
    return tuple((dataset, int(number)) for dataset, _, number in parts)


@dataclass(frozen=True, slots=True)
class Generator:
    """What a proxy generator depends on (method, section 4)."""

    takes_k: bool
    seeded: bool
    joint: bool = False
    """Sees the samples of all classes of the task at once (the two least-squares gens)."""


GENERATORS: dict[str, Generator] = {
    "all": Generator(takes_k=False, seeded=False),
    "random": Generator(takes_k=True, seeded=True),
    "mean": Generator(takes_k=False, seeded=False),
    "kmeans": Generator(takes_k=True, seeded=True),
    "kmedoids": Generator(takes_k=True, seeded=False),
    "cov_max": Generator(takes_k=True, seeded=False),
    "fps": Generator(takes_k=True, seeded=True),
    "least_squares": Generator(takes_k=False, seeded=False, joint=True),
    "k_least_squares": Generator(takes_k=True, seeded=True, joint=True),
}
NORM_PRE = ("none", "l2")
NORM_POST = ("none", "l2", "quantile")
NORM_INF = ("none", "l2")
AGGREGATIONS = ("max", "mnn")
METRICS = ("inner_product", "euclidean", "cosine", "manhattan", "mahalanobis")
WEIGHTINGS = ("inverse_distance", "uniform")
MAX_LABELS = 2**15 - 1
"""Labels of a task; the results table counts them in 16 bits."""

FULL_PRECISION, *HALF_PRECISIONS = PRECISIONS = ("float32", "bfloat16", "float16")
"""In which a network may compute embeddings; they are kept as float32."""


def check_name(kind: str, name: str) -> None:
    """Check that a name of a model, of weights, a task or a dataset can be shown wherever results are.

    To be called where names come in; what is in an old table or cache keeps the name that it has.

    Args:
        kind: what the name is of, as the user gave it, for example ``"model.name"``.
        name: which.

    Raises:
        InvalidCellError: the name is empty, or holds control characters or others that have no shape.
    """
    if not name.strip():
        raise InvalidCellError(f"{kind}: expected a name, got {name!r}")
    unshown = dict.fromkeys(character for character in name if character == "\n" or visible(character) != character)
    if unshown:
        listed = ", ".join(repr(character)[1:-1] for character in unshown)
        them = "it" if len(unshown) == 1 else "them"
        raise InvalidCellError(f"{kind}: {name!r} holds {listed}, which cannot be shown; choose a name without {them}")


@dataclass(frozen=True)
class Model:
    """A frozen foundation model, as far as it decides the embeddings.

    Args:
        name: for example ``"resnet18"``, or the name under which embeddings were imported.
        weights: which weights, for example ``"IMAGENET1K_V1"``; ``"IMAGENET1K_V1-bfloat16"`` where the network computes
            in another precision than float32.
        image_size: side in pixels of the network's input; None means the weights' own transform.
    """

    name: str
    weights: str
    image_size: int | None = None

    @property
    def precision(self) -> str:
        """The half precision that the name of the weights ends in, else float32."""
        suffix = self.weights.rpartition("-")[2]
        return suffix if suffix in HALF_PRECISIONS else FULL_PRECISION

    @property
    def weights_alone(self) -> str:
        """The name of the weights without a precision."""
        return self.weights if self.precision == FULL_PRECISION else self.weights.removesuffix(f"-{self.precision}")

    def in_precision(self, precision: str) -> Model:
        """The same network computing in another precision: other embeddings, hence another model.

        Raises:
            UnknownOptionError: no such precision.
        """
        if precision not in PRECISIONS:
            raise UnknownOptionError("precision", precision, PRECISIONS)
        suffix = f"-{precision}" if precision in HALF_PRECISIONS else ""
        return replace(self, weights=f"{self.weights_alone}{suffix}")

    @cached_property
    def fragment(self) -> str:
        """This model's share of an identity: canonical JSON."""
        return canonical_json(asdict(self))


@dataclass(frozen=True)
class Task:
    """A classification task over one or several datasets (method, section 1).

    Args:
        name: the option's name, for example ``"combi_digits"``. Not part of the identity.
        classes: the selection as tables show it, for example ``"even"``. Not part of the identity.
        labels: the ordered labels. Their order is part of the identity (quantile and ties depend on it).
        merge: d of "d in 1", or None where classes were not merged.
        remap: which of the random remaps, None where classes were not merged.
        limit: at most so many samples of each split were embedded (a quick try); None means all.
    """

    name: str
    classes: str
    labels: tuple[Label, ...]
    merge: int | None = None
    remap: int | None = None
    limit: int | None = None

    def __post_init__(self) -> None:
        if not self.labels:
            raise InvalidCellError(f"task {self.name!r} with classes {self.classes!r} has no label")
        if len(self.labels) > MAX_LABELS:
            raise InvalidCellError(
                f"task {self.name!r} has {len(self.labels):,} labels; at most {MAX_LABELS:,} will do"
            )
        parts = [part for label in self.labels for part in label]
        repeated = sorted({part for part in parts if parts.count(part) > 1}) if len(set(parts)) < len(parts) else []
        if repeated:
            raise InvalidCellError(f"task {self.name!r}: class listed twice: {repeated}")

    @property
    def datasets(self) -> tuple[str, ...]:
        """The datasets whose embeddings the task reads, in order of first use."""
        return tuple(dict.fromkeys(dataset for label in self.labels for dataset, _ in label))

    def classes_in(self, dataset: str) -> tuple[int, ...]:
        """The classes of one dataset whose samples the task reads, in the order of its labels."""
        return tuple(value for label in self.labels for name, value in label if name == dataset)

    @cached_property
    def fragment(self) -> str:
        """This task's share of a cell's identity: canonical JSON."""
        return canonical_json({"labels": self.labels, "merge": self.merge, "remap": self.remap, "limit": self.limit})

    @cached_property
    def computation_fragment(self) -> str:
        """This task's share of a computation's identity: how its labels came about does not matter."""
        return canonical_json({"labels": self.labels, "limit": self.limit})


@dataclass(frozen=True)
class Scheme:
    """How weights are imprinted and used: every axis of the grid but the model and the task.

    Build one with :meth:`create`, which validates and sets what has no meaning to None.
    """

    n_shot: int | None
    norm_pre: str
    gen: str
    k: int | None
    norm_post: str
    norm_inf: str
    agg: str
    metric: str
    m: int | None
    weighting: str | None
    seed: int
    weight_decay: float | None

    @classmethod
    def create(
        cls,
        *,
        gen: str,
        k: int | None = None,
        n_shot: int | None = None,
        norm_pre: str = "none",
        norm_post: str = "none",
        norm_inf: str = "none",
        agg: str = "max",
        metric: str = "inner_product",
        m: int | None = None,
        weighting: str | None = None,
        seed: int = 0,
        weight_decay: float | None = None,
    ) -> Scheme:
        """Validate the axes and drop those without meaning (see :func:`meaningless`).

        Raises:
            UnknownOptionError: a name that does not exist.
            InvalidCellError: a number below 1, a number missing, or a combination that means nothing.
        """
        for kind, name, available in (
            ("gen", gen, GENERATORS),
            ("norm.post", norm_post, NORM_POST),
            ("norm.inf", norm_inf, NORM_INF),
            ("agg", agg, AGGREGATIONS),
            ("agg.metric", metric, METRICS),
        ):
            if name not in available:
                raise UnknownOptionError(kind, name, available)
        if norm_pre == "quantile":
            raise InvalidCellError(
                "norm.pre=quantile means nothing: quantile maps proxies onto those imprinted before, and there are "
                "none before GEN; use norm.post=quantile"
            )
        if norm_pre not in NORM_PRE:
            raise UnknownOptionError("norm.pre", norm_pre, NORM_PRE)
        if agg == "mnn" and metric == "inner_product":
            raise InvalidCellError(
                "agg=mnn needs a distance and inner_product is none; use agg.metric=euclidean, cosine, manhattan or "
                "mahalanobis, or agg=max"
            )
        dropped = meaningless(gen=gen, agg=agg)
        if "weighting" not in dropped and weighting not in WEIGHTINGS:
            raise UnknownOptionError("agg.weighting", str(weighting), WEIGHTINGS)
        for field, value in (("k", k), ("agg.m", m), ("n_shot", n_shot)):
            required = field != "n_shot" and field.removeprefix("agg.") not in dropped
            if value is None and required:
                raise InvalidCellError(f"{field} is missing: gen={gen} agg={agg} needs it")
            if value is not None:
                check_count(field, value)
        if not -(2**63) <= seed < 2**63:
            raise InvalidCellError(f"seed must fit into 64 bits, got {seed}")
        if "weight_decay" not in dropped and (weight_decay is None or not 0 < weight_decay < math.inf):
            raise InvalidCellError(f"model.weight_decay must be positive for gen={gen}, got {weight_decay}")
        return cls(
            n_shot=n_shot,
            norm_pre=norm_pre,
            gen=gen,
            k=None if "k" in dropped else k,
            norm_post=norm_post,
            norm_inf=norm_inf,
            agg=agg,
            metric=metric,
            m=None if "m" in dropped else m,
            weighting=None if "weighting" in dropped else weighting,
            seed=seed,
            # 1 and 1.0 are equal but spelled differently in an identity.
            weight_decay=None if "weight_decay" in dropped or weight_decay is None else float(weight_decay),
        )

    @cached_property
    def fragment(self) -> str:
        """This scheme's share of an identity: canonical JSON."""
        return canonical_json(asdict(self))

    def normal_form(self, n_labels: int, *, zero_proxies: bool = False) -> Scheme:
        """The representative of all schemes that are equal to this one by construction.

        Not always a scheme that a user could ask for: 1-nn stands for ``max``, also with inner products.

        Args:
            n_labels: number of labels of the task, which bounds the number of proxies.
            zero_proxies: whether a proxy has length zero. Such a proxy stays zero under L2, so its Euclidean distance
                is no function of its cosine, and that one equality does not hold. Known only once the proxies are.
        """
        return _normal_form(self, n_labels, zero_proxies)

    def max_proxies(self, n_labels: int) -> int | None:
        """The largest number of proxies that this scheme can have, None if only the data can tell."""
        per_label = 1 if self.gen in ("mean", "least_squares") else self.k
        if self.n_shot is not None:
            per_label = self.n_shot if per_label is None else min(per_label, self.n_shot)
        return None if per_label is None else per_label * n_labels


def check_count(field: str, value: int, *, bits: int = 64) -> None:
    """Raise an error unless a number is at least 1 and the results table can hold it.

    Args:
        field: what it is the number of, as the command line names it.
        value: the number.
        bits: the width of its column.

    Raises:
        InvalidCellError: it is smaller or larger.
    """
    if value < 1:
        raise InvalidCellError(f"{field} must be at least 1, got {value}")
    if value >= 2 ** (bits - 1):
        raise InvalidCellError(f"{field} must fit into {bits} bits, got {value}")


def meaningless(*, gen: str, agg: str) -> frozenset[str]:
    """The fields of a scheme that mean nothing under this gen and agg, hence are None in its identity."""
    generator = GENERATORS[gen]
    fields = set() if generator.takes_k else {"k"}
    if not generator.joint:
        fields.add("weight_decay")
    if agg == "max":
        fields |= {"m", "weighting"}
    return frozenset(fields)


@lru_cache(maxsize=200_000)
def _normal_form(s: Scheme, n_labels: int, zero_proxies: bool) -> Scheme:
    # GEN. A per-class gen returns all samples where there are no more than k of them.
    one_per_label = 1 if s.gen == "mean" else s.k
    if not GENERATORS[s.gen].joint and s.n_shot is not None and one_per_label is not None and s.n_shot <= one_per_label:
        s = replace(s, gen="all", k=None)
    if s.k == 1 and s.gen in ("kmeans", "k_least_squares"):
        s = replace(s, gen={"kmeans": "mean", "k_least_squares": "least_squares"}[s.gen], k=None)
    if s.n_shot is None and not GENERATORS[s.gen].seeded:
        s = replace(s, seed=0)

    # AGG. max is the nearest proxy; no more proxies can vote than there are; a single vote has no weight.
    m = 1 if s.agg == "max" else s.m
    most = s.max_proxies(n_labels)
    m = m if most is None or m is None else min(m, most)
    s = replace(s, agg="mnn", m=m, weighting=None if m == 1 else s.weighting)

    # Gens that choose samples by a rule blind to length: normalising before or after the choice is the same.
    if s.gen in ("all", "random") and s.norm_pre == "l2" and s.norm_post in ("none", "l2"):
        s = replace(s, norm_pre="none", norm_post="l2")

    # Metrics. The length of a query cannot change which inner product is largest, and no length a cosine.
    nearest_is_an_angle = s.metric == "euclidean" and m == 1 and not zero_proxies
    if s.norm_post == "l2" and (s.metric == "inner_product" or nearest_is_an_angle):
        s = replace(s, metric="cosine")
    if s.metric in ("inner_product", "cosine"):
        s = replace(s, norm_inf="none")
    if s.metric == "cosine" and s.norm_post == "l2":
        s = replace(s, norm_post="none")
    return s


@dataclass(frozen=True)
class Cell:
    """One point of the grid."""

    model: Model
    task: Task
    scheme: Scheme

    @cached_property
    def cell_id(self) -> str:
        """Hex id of what was asked for."""
        return cell_id(self.model, self.task, self.scheme)

    def computation_id(self, *, zero_proxies: bool = False) -> str:
        """Hex id of what is computed: shared by all cells that are equal by construction."""
        normal_form = self.scheme.normal_form(len(self.task.labels), zero_proxies=zero_proxies)
        return computation_id(self.model, self.task, normal_form)


def cell_id(model: Model, task: Task, scheme: Scheme) -> str:
    """The id of (model, task, scheme), 20 hex digits."""
    return cell_ids(model, task, [scheme])[0]


def cell_ids(model: Model, task: Task, schemes: Iterable[Scheme]) -> list[str]:
    """The ids of many schemes on one model and task: what they have in common is hashed once."""
    common = hashlib.blake2b(f"{model.fragment}\n{task.fragment}\n".encode(), digest_size=10)
    ids = []
    for scheme in schemes:
        state = common.copy()
        state.update(scheme.fragment.encode())
        ids.append(state.hexdigest())
    return ids


def computation_id(model: Model, task: Task, normal_form: Scheme) -> str:
    """The id of the computation of (model, task, normal form), 20 hex digits."""
    return digest(model.fragment, task.computation_fragment, normal_form.fragment)


def stage_seed(stage: str, seed: int, label: Label) -> int:
    """The seed of a stage's own random stream for one label.

    Keyed by nothing but the stage, the seed and the label's parts: not by the task, the other labels, k, or anything
    that ran before (method, section 2).
    """
    return int(digest(canonical_json([stage, seed, label])), 16)


def canonical_json(value: Any) -> str:
    """JSON with one spelling per value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(*fragments: str) -> str:
    """20 hex digits (80 bits: half a million cells collide with a chance of 1e-13)."""
    return hashlib.blake2b("\n".join(fragments).encode(), digest_size=10).hexdigest()
