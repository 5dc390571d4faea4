"""The rules of what is equal by construction; that equal cells hold equal results is shown in ``test_exactness.py``."""

from __future__ import annotations

import random
from dataclasses import asdict

import pytest

from imprint_sweep.grid import equalities
from imprint_sweep.grid.equalities import RULES, Context, normal_form
from imprint_sweep.grid.scheme import Scheme
from tests.golden import record

SCHEMES = [golden.cell.scheme for golden in record.load(record.IDS)]


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
