"""The keys of the stages: what a piece of shared work depends on, and nothing more.

Two cells share the work whose keys are equal. Keys are made from the normal form of a scheme.
"""

from __future__ import annotations

from dataclasses import dataclass

from imprint_sweep.grid.scheme import VALIDATION, Scheme
from imprint_sweep.imprinting.components import GENS, Setting, Variant


@dataclass(frozen=True, order=True)
class Draw:
    """Which training samples, and how they are normalised: everything that GEN's input depends on but the label.

    Args:
        n_shot: samples per label, 0 for all of them.
        seed: the seed of the draws, 0 where all samples are taken.
        norm_pre: of :data:`imprint_sweep.imprinting.components.NORMS`.
        validation: whether a fifth of the samples is held out, and the queries are these.
    """

    n_shot: int
    seed: int
    norm_pre: Setting
    validation: bool = False


@dataclass(frozen=True, order=True)
class GenSpec:
    """One proxy generator with its parameters.

    Args:
        draw: its input.
        gen: a name of :data:`imprint_sweep.imprinting.components.GENS`.
        variant: its parameters.
    """

    draw: Draw
    gen: str
    variant: Variant

    @classmethod
    def of(cls, normal_form: Scheme) -> GenSpec:
        """What a scheme's normal form asks GEN for; the largest k that is tried where cells choose it."""
        draw = Draw(
            n_shot=normal_form.n_shot or 0,
            seed=normal_form.seed if normal_form.draws_samples else 0,
            norm_pre=normal_form.setting("norm_pre"),
            validation=normal_form.split == VALIDATION,
        )
        variant = Variant(
            k=normal_form.k or normal_form.select_max_k or 0,
            seed=normal_form.seed if GENS[normal_form.gen].draws(normal_form.k) else 0,
            weight_decay=normal_form.weight_decay or 0.0,
            parameters=normal_form.setting("gen").parameters,
            rule=rule if (rule := normal_form.select_rule) in GENS[normal_form.gen].rules else "",
        )
        return cls(draw, normal_form.gen, variant)

    @property
    def joint(self) -> bool:
        """Whether it sees all classes of the task at once."""
        return GENS[self.gen].joint

    @property
    def unit(self) -> tuple[object, ...]:
        """Specs for which this is equal share so much that a shard keeps them together."""
        return self.draw, GENS[self.gen].stays_with(self.variant)

    @property
    def round(self) -> tuple[object, ...]:
        """Specs for which this is equal are made in one round: they share what is forgotten after it."""
        return self.draw, GENS[self.gen].shares(self.variant)


@dataclass(frozen=True)
class Readout:
    """Everything after GEN.

    Args:
        norm_post, norm_inf: of :data:`imprint_sweep.imprinting.components.NORMS`.
        metric: of :data:`imprint_sweep.imprinting.components.METRICS`.
        agg: of :data:`imprint_sweep.imprinting.components.AGGREGATIONS`.
        m: neighbours that vote, 0 where none do.
        weighting: of :data:`imprint_sweep.imprinting.components.WEIGHTINGS`; None where a single vote has no weight.
    """

    norm_post: Setting
    norm_inf: Setting
    metric: Setting
    agg: Setting
    m: int
    weighting: Setting | None

    @classmethod
    def of(cls, normal_form: Scheme) -> Readout:
        """What a scheme's normal form asks AGG for."""
        return cls(
            norm_post=normal_form.setting("norm_post"),
            norm_inf=normal_form.setting("norm_inf"),
            metric=normal_form.setting("metric"),
            agg=normal_form.setting("agg"),
            m=normal_form.m or 0,
            weighting=normal_form.setting("weighting") if normal_form.weighting else None,
        )

    @property
    def view(self) -> View:
        """What is compared and how: the same for every aggregation, m and weighting."""
        return View(self.norm_post, self.norm_inf, self.metric)


@dataclass(frozen=True, order=True)
class View:
    """One geometry in which proxies are compared: a single search for the largest m serves all votes of a view."""

    norm_post: Setting
    norm_inf: Setting
    metric: Setting
