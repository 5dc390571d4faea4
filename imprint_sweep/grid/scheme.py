"""A scheme: how weights are imprinted and used, every axis of the grid but the model and the task."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Literal, get_args

from imprint_sweep.errors import InvalidCellError, UnknownOptionError
from imprint_sweep.grid.hashing import canonical_json
from imprint_sweep.imprinting import validation
from imprint_sweep.imprinting.choosing_k import CV_1SE, LEAST_SAMPLES, MAX_K, RULES
from imprint_sweep.imprinting.components import (
    AGGREGATIONS,
    GENS,
    METRICS,
    NORMS,
    REGISTRIES,
    WEIGHTINGS,
    ClassMetric,
    ClassScore,
    Parameter,
    Position,
    Registry,
    Setting,
    Value,
    Voting,
    alternatives,
    norms_at,
)

COMPONENTS: Mapping[str, Registry[Any]] = {
    "gen": GENS,
    **{f"norm_{position}": NORMS for position in Position},
    "agg": AGGREGATIONS,
    "metric": METRICS,
    "weighting": WEIGHTINGS,
}
"""The fields of a scheme that name components, and where these are."""

EvalSplit = Literal["test", "validation"]
TESTED_ON: tuple[EvalSplit, ...] = get_args(EvalSplit)
TEST, VALIDATION = TESTED_ON
"""What a cell is tested on: the test split, or training samples that it is not trained on."""

NEUTRAL: Mapping[str, str | None] = {"split": TEST, "select_rule": None, "select_max_k": None}
"""Fields that enter an identity only where their value is another one, and that older rows do not have."""


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
    split: EvalSplit = TEST
    select_rule: str | None = None
    select_max_k: int | None = None
    parameters: tuple[tuple[str, Value], ...] = ()
    """(key, value) of each parameter of the components' own, in the order of the keys, as in ``("gen.trim", 0.1)``."""

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
        split: str = TEST,
        select_rule: str | None = None,
        select_max_k: int | None = None,
        parameters: Mapping[str, object] | Iterable[tuple[str, object]] = (),
    ) -> Scheme:
        """Validate the axes and drop those without meaning (see :func:`meaningless`).

        Parameters of components that do not take part are dropped, too; those that are not given have their neutral
        value. Without `select_max_k` a rule tries up to :data:`~imprint_sweep.imprinting.choosing_k.MAX_K`.

        Raises:
            UnknownOptionError: a name that does not exist.
            InvalidCellError: a number below 1, a number missing, or a combination that means nothing.
        """
        for registry, name in ((AGGREGATIONS, agg), (GENS, gen), (METRICS, metric)):
            if name not in registry:
                raise registry.unknown(name)
        for position, name in ((Position.PRE, norm_pre), (Position.POST, norm_post), (Position.INF, norm_inf)):
            _check_norm(position, name)
        if AGGREGATIONS[agg].needs_distance and not METRICS[metric].is_distance:
            distances = [name for name, other in METRICS.items() if other.is_distance]
            others = [name for name, other in AGGREGATIONS.items() if not other.needs_distance]
            raise InvalidCellError(
                f"agg={agg} needs a distance and {metric} is none; use agg.metric={alternatives(distances)}, or "
                f"agg={alternatives(others)}"
            )
        if GENS[gen].biased:
            _check_biased(gen, norm_post=norm_post, agg=agg, metric=metric)
        if isinstance(METRICS[metric], ClassMetric) and GENS[gen].joint:
            others = [name for name, other in METRICS.items() if not isinstance(other, ClassMetric)]
            raise InvalidCellError(
                f"agg.metric={metric} measures by the samples of each class, and gen={gen} makes its proxies from "
                f"those of all classes; use agg.metric={alternatives(others)}, or a gen that sees one class at a time"
            )
        dropped = meaningless(gen=gen, agg=agg)
        rule = None if "select_rule" in dropped else select_rule
        if rule is not None:
            _check_rule(rule, gen=gen, k=k, split=split)
            dropped |= {"k"}
        if "weighting" not in dropped and weighting not in WEIGHTINGS:
            raise WEIGHTINGS.unknown(str(weighting))
        for field, value in (("k", k), ("agg.m", m), ("n_shot", n_shot), ("select.max_k", select_max_k)):
            required = field in ("k", "agg.m") and field.removeprefix("agg.") not in dropped
            if value is None and required:
                raise InvalidCellError(f"{field} is missing: {_needed(field, gen=gen, agg=agg)}")
            if value is not None:
                check_count(field, value)
        if split not in TESTED_ON:
            raise UnknownOptionError("eval.split", split, TESTED_ON)
        if split == VALIDATION and n_shot is not None and n_shot < validation.PARTS:
            raise InvalidCellError(
                f"eval.split={VALIDATION} holds out a fifth of the samples of each label, so n_shot must be at least "
                f"{validation.PARTS} or null, got {n_shot}"
            )
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
            split=split,
            select_rule=rule,
            select_max_k=None if rule is None else select_max_k or MAX_K,
        )._with_parameters(dict(parameters))

    def _with_parameters(self, given: Mapping[str, object]) -> Scheme:
        """The scheme with parameters of its components; those that are not given have their neutral value."""
        if unknown := [key for key in given if key not in known_parameters()]:
            raise UnknownOptionError("parameter", unknown[0], known_parameters())
        own = parameters_of(vars(self))
        if not own:
            return self
        values = {key: own[key].checked(key, given[key]) if key in given else own[key].neutral for key in sorted(own)}
        scheme = replace(self, parameters=tuple(values.items()))
        GENS[self.gen].check(dict(scheme.setting("gen").parameters), self.max_samples)
        return scheme

    def having_k(self, k: int, split: EvalSplit | None = None) -> Scheme:
        """The scheme with a given k in the place of the rule that chooses it.

        Args:
            k: which.
            split: what is tested on; None leaves it as it is.
        """
        return replace(self, k=k, select_rule=None, select_max_k=None, split=split or self.split)

    @property
    def nothing_to_choose(self) -> bool:
        """Whether a rule can only choose k = 1: no class has more than a few samples, or 1 is the most."""
        few = self.max_samples is not None and self.max_samples < LEAST_SAMPLES
        return self.select_rule is not None and (few or self.select_max_k == 1)

    def changed(self, **fields: Any) -> Scheme:
        """The scheme with other fields: parameters that its components still have keep their values, others go."""
        other = replace(self, **fields)
        if not self.parameters:
            return other
        old = dict(self.parameters)
        own = parameters_of(vars(other))
        return replace(other, parameters=tuple((key, old.get(key, own[key].neutral)) for key in sorted(own)))

    def setting(self, field: str) -> Setting:
        """A component with the values of its parameters.

        Args:
            field: one of :data:`COMPONENTS`, which is not None.
        """
        name, registry = getattr(self, field), COMPONENTS[field]
        if not self.parameters:
            return Setting(name)
        values = dict(self.parameters)
        own = ((parameter.name, values[key]) for key, parameter in registry.parameters(name).items())
        return Setting(name, tuple(sorted(own)))

    @cached_property
    def fragment(self) -> str:
        """This scheme's share of an identity: canonical JSON.

        Parameters and the fields of :data:`NEUTRAL` enter it where their value is not neutral.
        """
        values = {field: getattr(self, field) for field in FIELDS}
        values |= {field: value for field, neutral in NEUTRAL.items() if (value := getattr(self, field)) != neutral}
        if self.parameters:
            own = parameters_of(vars(self))
            values |= {key: value for key, value in self.parameters if value != own[key].neutral}
        return canonical_json(values)

    def parameter(self, key: str) -> Value | None:
        """The value of a component's parameter, as in ``"gen.trim"``; None where the component has none such."""
        return dict(self.parameters).get(key)

    @property
    def draws_samples(self) -> bool:
        """Whether the seed decides which training samples GEN sees, or by which of them k is chosen."""
        return self.n_shot is not None or self.split == VALIDATION or self.select_rule == CV_1SE

    @property
    def max_samples(self) -> int | None:
        """The most samples of a label that GEN sees, None if only the data can tell."""
        return validation.trained(self.n_shot) if self.n_shot and self.split == VALIDATION else self.n_shot

    def max_proxies(self, n_labels: int) -> int | None:
        """The largest number of proxies that this scheme can have, None if only the data can tell."""
        bounds = (GENS[self.gen].per_class(self.k or self.select_max_k), self.max_samples)
        per_label = min((bound for bound in bounds if bound is not None), default=None)
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


FIELDS = tuple(field.name for field in fields(Scheme) if field.name not in ("parameters", *NEUTRAL))
"""The fields that every identity holds."""


def parameters_of(fields: Mapping[str, Any]) -> dict[str, Parameter]:
    """The parameters of the components of a scheme, by their names on the command line.

    Args:
        fields: some of a scheme, as ``vars`` gives them, or the same columns of a row; components that are not here
            have none.
    """
    own: dict[str, Parameter] = {}
    for field, registry in COMPONENTS.items():
        own |= registry.parameters(fields.get(field))
    return own


def known_parameters() -> dict[str, Parameter]:
    """The parameters of all components, by their names on the command line."""
    return {key: parameter for key, parameter, _, _ in declared_parameters()}


def words_of_parameters() -> dict[str, set[str]]:
    """The words that may stand in the place of numbers, by the names of the parameters on the command line."""
    found: dict[str, set[str]] = {}
    for key, parameter, _, _ in declared_parameters():
        if parameter.words:
            found.setdefault(key, set()).update(parameter.words)
    return found


def declared_parameters() -> Iterator[tuple[str, Parameter, str, str]]:
    """Each parameter of each component with its name on the command line, and the field and name of the component.

    Yields:
        (name on the command line, parameter, field, name of the component).
    """
    for field, registry in COMPONENTS.items():
        for name in registry:
            for key, parameter in registry.parameters(name).items():
                yield key, parameter, field, name


def baselines(registries: Iterable[Registry[Any]] = REGISTRIES) -> list[str]:
    """The components that are no imprinting but what it is compared with, as the command line chooses them.

    Args:
        registries: of which kinds.
    """
    return [
        f"{registry.key}={name}"
        for registry in registries
        for name, component in registry.items()
        if component.baseline
    ]


def meaningless(*, gen: str, agg: str) -> frozenset[str]:
    """The fields of a scheme that mean nothing under this gen and agg, hence are None in its identity."""
    generator = GENS[gen]
    fields = set() if generator.takes_k else {"k", "select_rule", "select_max_k"}
    if not generator.uses_weight_decay:
        fields.add("weight_decay")
    if not isinstance(AGGREGATIONS[agg], Voting):
        fields |= {"m", "weighting"}
    return frozenset(fields)


def _needed(field: str, *, gen: str, agg: str) -> str:
    """What needs a number that is missing, and what to write."""
    if field != "k":
        return f"agg={agg} needs it; write {field}=5"
    return (
        f"gen={gen} needs it; write k=20, or have it chosen by a rule with select.rule="
        f"{alternatives([*GENS[gen].rules, CV_1SE])}"
    )


def _check_rule(rule: str, *, gen: str, k: int | None, split: str) -> None:
    """Raise an error unless a rule can choose the k of a gen."""
    if rule not in RULES:
        raise UnknownOptionError("select.rule", rule, RULES)
    if k is not None:
        raise InvalidCellError(
            f"select.rule={rule} chooses k, and k has a value, be it the default; use k=null, or select.rule=null to "
            "keep that value"
        )
    if rule == CV_1SE and split == VALIDATION:
        raise InvalidCellError(
            f"select.rule={rule} chooses k by the accuracy on held-out samples, so the accuracy on these same samples "
            f"(eval.split={VALIDATION}) says nothing; use eval.split={TEST}"
        )
    if rule != CV_1SE and rule not in GENS[gen].rules:
        others = [name for name, other in GENS.items() if rule in other.rules]
        raise InvalidCellError(
            f"select.rule={rule} compares clusterings of a class, and gen={gen} makes none to compare; use "
            f"gen={alternatives(others)}, or select.rule={CV_1SE}"
        )


def _check_biased(gen: str, *, norm_post: str, agg: str, metric: str) -> None:
    """Raise an error unless the proxies of a gen stay as they are, and are read with their biases."""
    metrics = [name for name, other in METRICS.items() if other.takes_biases]
    aggregations = [name for name, other in AGGREGATIONS.items() if isinstance(other, ClassScore)]
    mends = {
        f"norm.post={norm_post}": None if norm_post == "none" else "norm=none (or norm.post=none alone)",
        f"agg={agg}": None if agg in aggregations else f"agg={alternatives(aggregations)}",
        f"agg.metric={metric}": None if metric in metrics else f"agg.metric={alternatives(metrics)}",
    }
    if lacking := {given: mend for given, mend in mends.items() if mend is not None}:
        raise InvalidCellError(
            f"gen={gen} has a bias for each proxy, which means nothing with {' '.join(lacking)}; use "
            f"{', '.join(lacking.values())}"
        )


def _check_norm(position: Position, name: str) -> None:
    key = f"norm.{position}"
    if name in NORMS and position in NORMS[name].not_here:
        raise InvalidCellError(f"{key}={name} means nothing: {NORMS[name].not_here[position]}; use norm.post={name}")
    if name not in norms_at(position):
        raise NORMS.unknown(name, key, norms_at(position))
