"""The rules of what is equal by construction; that equal cells hold equal results is shown in ``test_exactness.py``."""

from __future__ import annotations

import random
from dataclasses import asdict
from typing import Any

import pytest

from imprint_sweep.grid import equalities
from imprint_sweep.grid.equalities import RULES, Context, normal_form
from imprint_sweep.grid.scheme import Scheme
from tests.golden import record

SCHEMES = [golden.cell.scheme for golden in record.load(record.IDS)]
VOTES: list[dict[str, Any]] = [{"agg": "mnn", "m": m, "weighting": "softmax"} for m in (1, 10, 20, 500)]
SCHEMES += [
    Scheme.create(gen=gen, k=2, n_shot=n_shot, norm_inf=norm, metric=metric, parameters={"agg.temperature": t}, **agg)
    for gen in ("mean", "kmeans")
    for n_shot in (None, 1)
    for norm in ("none", "l2")
    for metric in ("cosine", "euclidean")
    for t in (0.07, 0.5)
    for agg in ({"agg": "lse"}, *VOTES)
]
SCHEMES += [
    Scheme.create(gen=gen, n_shot=n_shot, select_rule=rule, select_max_k=most)
    for gen, rule in (("kmeans", "bic"), ("kmeans", "cv_1se"), ("fps", "cv_1se"))
    for n_shot in (None, 4, 10)
    for most in (1, 20)
]


def test_every_rule_has_a_name_of_its_own_a_sentence_and_a_source() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule.sentence.endswith(".")
        assert rule.source


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_every_rule_says_something_and_says_it_once(rule: equalities.Rule) -> None:
    context = Context(n_labels=10)
    forms = [form for scheme in SCHEMES for form in _steps(scheme, context)]
    changed = [form for form in forms if rule.apply(form, context) is not form]
    assert changed
    for form in changed:
        once = rule.apply(form, context)
        assert once != form
        assert rule.apply(once, context) is once


@pytest.mark.parametrize("zero_proxies", [False, True])
def test_the_order_of_the_rules_does_not_matter(zero_proxies: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [normal_form(scheme, 10, zero_proxies=zero_proxies) for scheme in SCHEMES]
    rng = random.Random(0)
    for _ in range(20):
        monkeypatch.setattr(equalities, "RULES", rng.sample(RULES, len(RULES)))
        normal_form.cache_clear()
        shuffled = [normal_form(scheme, 10, zero_proxies=zero_proxies) for scheme in SCHEMES]
        assert [asdict(form) for form in shuffled] == [asdict(form) for form in found]
    normal_form.cache_clear()


def _steps(scheme: Scheme, context: Context) -> list[Scheme]:
    """The scheme and all that the rules make of it on the way to its normal form."""
    found = [scheme]
    for form in found:
        found += [made for rule in RULES if (made := rule.apply(form, context)) not in found]
    return found


def test_lengths_of_queries_matter_to_all_that_reads_more_than_the_nearest() -> None:
    for agg, equal in (("max", True), ("lse", False)):
        unit, raw = (
            normal_form(Scheme.create(gen="kmeans", k=2, agg=agg, norm_inf=norm), 10) for norm in ("l2", "none")
        )
        assert (unit == raw) is equal
        unit, raw = (
            normal_form(Scheme.create(gen="kmeans", k=2, agg=agg, norm_inf=norm, metric="cosine"), 10)
            for norm in ("l2", "none")
        )
        assert unit == raw
