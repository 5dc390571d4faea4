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
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, lru_cache

from imprint_sweep.errors import InvalidCellError, UnknownOptionError
from imprint_sweep.grid.equalities import normal_form
from imprint_sweep.grid.hashing import canonical_json, digest
from imprint_sweep.grid.scheme import Scheme
from imprint_sweep.imprinting.components import AGGREGATIONS, GENS, METRICS, NORMS, WEIGHTINGS, Component
from imprint_sweep.wording import visible

METHOD_VERSION = 1
"""Version of what all cells compute in common. What a component computes has a version of its own."""

Part = tuple[str, int]
"""(dataset, class): the samples of one class of one dataset."""

Label = tuple[Part, ...]
"""One label of a task: the ordered parts whose samples it unites (one part, unless classes were merged or joined)."""


_LABEL_PART = re.compile(r"(.+?):(-?\d+)(?:\+|$)", re.DOTALL)


def spelled(label: Label) -> str:
    """A label as tables and messages show it.

    >>> spelled((("mnist", 6), ("svhn", 6)))
    'mnist:6+svhn:6'
    """
    return "+".join(f"{dataset}:{number}" for dataset, number in label)


def parsed(text: str) -> Label:
    """The label that the table shows so; another one if a dataset's name looks like two parts, as ``a:1+b`` does.

    >>> parsed("mnist:6+svhn:6")
    (('mnist', 6), ('svhn', 6))
    """
    return tuple((dataset, int(number)) for dataset, number in _LABEL_PART.findall(text))


MAX_LABELS = 2**15 - 1
"""Labels of a task; the results table counts them in 16 bits."""


class Precision(StrEnum):
    """In which a network computes embeddings; they are kept as float32."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


def precision_named(name: str) -> Precision:
    """The precision of a name.

    Raises:
        UnknownOptionError: no such precision.
    """
    try:
        return Precision(name)
    except ValueError:
        raise UnknownOptionError("precision", name, Precision) from None


_HALF = re.compile(rf"(?P<weights>.+)-(?P<precision>{Precision.BFLOAT16}|{Precision.FLOAT16})", re.DOTALL)
"""How ids, caches, and tables of former versions spell weights with a precision other than float32."""


def split_weights(spelled: str) -> tuple[str, Precision]:
    """The name of weights and the precision behind it.

    >>> split_weights("IMAGENET1K-bfloat16"), split_weights("raw")
    (('IMAGENET1K', <Precision.BFLOAT16: 'bfloat16'>), ('raw', <Precision.FLOAT32: 'float32'>))
    """
    if found := _HALF.fullmatch(spelled):
        return found["weights"], Precision(found["precision"])
    return spelled, Precision.FLOAT32


def check_name(kind: str, name: str) -> None:
    """Check that a name of a model, of weights, a task or a dataset can be shown wherever results are.

    To be called where names come in; what is in an old table or cache keeps the name that it has.

    Args:
        kind: what the name is of, as the user gave it, for example ``"model.name"``.
        name: which.

    Raises:
        InvalidCellError: the name is empty, or holds control characters or others that have no shape, or ``${``.
    """
    if not name.strip():
        raise InvalidCellError(f"{kind}: expected a name, got {name!r}")
    unshown = dict.fromkeys(character for character in name if character == "\n" or visible(character) != character)
    if unshown:
        listed = ", ".join(repr(character)[1:-1] for character in unshown)
        them = "it" if len(unshown) == 1 else "them"
        raise InvalidCellError(f"{kind}: {name!r} holds {listed}, which cannot be shown; choose a name without {them}")
    if "${" in name:
        raise InvalidCellError(
            f"{kind}: {name!r} holds ${{, which stands for another value on a command line; choose a name without it"
        )


@dataclass(frozen=True)
class Model:
    """A frozen foundation model, as far as it decides the embeddings.

    Args:
        name: for example ``"resnet18"``, or the name under which embeddings were imported.
        weights: which weights, for example ``"IMAGENET1K_V1"``.
        image_size: side in pixels of the network's input; None means the weights' own transform.
        precision: in which the network computes. Another one gives other embeddings, hence is another model.

    Raises:
        UnknownOptionError: no such precision.
        InvalidCellError: the name of the weights ends in one, as it does in the id of a model of that precision.
    """

    name: str
    weights: str
    image_size: int | None = None
    precision: Precision = Precision.FLOAT32

    def __post_init__(self) -> None:
        object.__setattr__(self, "precision", precision_named(self.precision))
        weights, precision = split_weights(self.weights)
        if precision != Precision.FLOAT32:
            raise InvalidCellError(
                f"the name of weights {self.weights!r} ends in a precision, which is a setting of its own: the weights "
                f"{weights!r} in {precision} (model.weights, model.precision), or choose another name"
            )

    @classmethod
    def recorded(cls, name: str, weights: str, image_size: int | None = None, precision: str | None = None) -> Model:
        """The model that a file names; without a precision it is the one that the weights end in, as in an id."""
        if precision is None:
            weights, precision = split_weights(weights)
        return cls(name, weights, image_size, precision_named(precision))

    @property
    def spelled_weights(self) -> str:
        """The weights as ids and the cache of embeddings spell them, a half precision behind a hyphen.

        >>> Model("resnet18", "IMAGENET1K_V1", precision=Precision.BFLOAT16).spelled_weights
        'IMAGENET1K_V1-bfloat16'
        """
        return self.weights if self.precision == Precision.FLOAT32 else f"{self.weights}-{self.precision}"

    @cached_property
    def fragment(self) -> str:
        """This model's share of an identity: canonical JSON."""
        return canonical_json({"name": self.name, "weights": self.spelled_weights, "image_size": self.image_size})


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

    def __hash__(self) -> int:
        """That of :attr:`fragment`, which keeps it: labels by the hundred would be hashed at every look-up."""
        return hash(self.fragment)

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
        form = normal_form(self.scheme, len(self.task.labels), zero_proxies=zero_proxies)
        return computation_id(self.model, self.task, form)


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


def stage_seed(stage: str, seed: int, label: Label | str) -> int:
    """The seed of a stage's own random stream for one label.

    Keyed by nothing but the stage, the seed and the label's parts: not by the task, the other labels, k, or anything
    that ran before (method, section 2). A label that is of no dataset is a text.
    """
    return int(digest(canonical_json([stage, seed, label])), 16)


@lru_cache(maxsize=200_000)
def component_versions(scheme: Scheme, n_labels: int) -> str:
    """The versions of the components that compute a scheme, as the results table keeps them.

    Those of the normal form: k-means with k = 1 is computed by the mean, so a new k-means leaves such rows done.

    Args:
        scheme: any scheme.
        n_labels: number of labels of the task.

    Returns:
        ``kind:name=version`` of each component whose version is not 1, joined by commas; empty where all are 1.
    """
    # Whether a proxy is zero is known only when it is computed, so what either case uses counts.
    # The first is written as its other callers write it: a cache takes f(x) and f(x, flag=False) for two calls.
    forms = {normal_form(scheme, n_labels), normal_form(scheme, n_labels, zero_proxies=True)}
    used: dict[str, Component] = {}
    for form in forms:
        used[f"gen:{form.gen}"] = GENS[form.gen]
        used[f"agg:{form.agg}"] = AGGREGATIONS[form.agg]
        used[f"metric:{form.metric}"] = METRICS[form.metric]
        used |= {f"norm:{name}": NORMS[name] for name in (form.norm_pre, form.norm_post, form.norm_inf)}
        if form.weighting is not None:
            used[f"weighting:{form.weighting}"] = WEIGHTINGS[form.weighting]
    return ",".join(f"{name}={component.version}" for name, component in sorted(used.items()) if component.version > 1)
