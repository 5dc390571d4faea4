"""``docs/method.md``: the code refers to sections that exist, and the document's examples hold."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imprint_sweep.analysis.stats import collapse
from imprint_sweep.grid.cell import stage_seed
from imprint_sweep.grid.tasks import make_task
from imprint_sweep.imprinting import validation
from tests import oracle

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "method.md"
LAST = "What is equal by construction"

FOLDERS = ("imprint_sweep", "hydra_plugins", "conf", "scripts", "benchmarks", "tests")
"""Where the document is referred to, as in ``method, section 4``."""

REFERENCE = re.compile(r"\bmethod, (?:last )?sections? ?(?P<numbers>\d+(?:(?:, | and | to | or )\d+)*)?")


def sections() -> dict[int, str]:
    """The title of each numbered section."""
    return {int(number): title for number, title in re.findall(r"^## (\d+)\. (.+)$", text(), re.MULTILINE)}


def text() -> str:
    return DOCUMENT.read_text(encoding="utf-8")


def references(source: str) -> Iterator[int]:
    """The numbers of the sections that a source file refers to."""
    # A reference may be broken over two lines, of a docstring or of comments.
    for found in REFERENCE.finditer(re.sub(r"\s*\n\s*(#\s*)?", " ", source)):
        yield from map(int, re.findall(r"\d+", found["numbers"] or ""))


def all_references() -> dict[str, list[int]]:
    files = (path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".yaml"))
    found = {
        str(path.relative_to(ROOT)): list(references(path.read_text(encoding="utf-8")))
        for path in files
        if path != Path(__file__).resolve()  # whose examples refer to nothing
    }
    return {path: numbers for path, numbers in found.items() if numbers}


@cache
def examples() -> dict[str, Any]:
    """What the document's code blocks define, run one after the other."""
    names: dict[str, Any] = {}
    for block in re.finditer(r"^```python\n(.*?)^```$", text(), re.MULTILINE | re.DOTALL):
        before = text()[: block.start(1)].count("\n")
        exec(compile("\n" * before + block[1], str(DOCUMENT), "exec"), names)
    return names


@pytest.mark.parametrize(
    ("source", "numbers"),
    [
        ('"""Voting (method, section 7)."""', [7]),
        ('"""Voting (method,\n    section 12)."""', [12]),
        ("# One thread (method,\n# section 4).", [4]),
        ("(method, sections 2 to 4 and 6)", [2, 4, 6]),
        ("(method, last section), section 3.1 of the paper", []),
    ],
)
def test_references_are_found_however_they_are_broken(source: str, numbers: list[int]) -> None:
    assert list(references(source)) == numbers


def test_every_section_that_the_code_refers_to_exists() -> None:
    found = all_references()
    assert len(found) > 5
    unknown = {path: sorted(set(numbers) - sections().keys()) for path, numbers in found.items()}
    assert not {path: numbers for path, numbers in unknown.items() if numbers}


def test_sections_are_numbered_one_after_the_other_and_the_last_one_is_about_equality() -> None:
    headings = re.findall(r"^## (.+)$", text(), re.MULTILINE)
    assert headings == [f"{number}. {title}" for number, title in sections().items()]
    assert list(sections()) == list(range(len(headings)))
    assert sections()[len(headings) - 1] == LAST


def test_links_within_the_document_lead_to_a_section() -> None:
    # As GitHub makes anchors: lower case, no punctuation, hyphens for spaces.
    titles = (f"{number}. {title}" for number, title in sections().items())
    anchors = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}
    links = re.findall(r"\]\(#([^)]+)\)", text())
    assert links
    assert not set(links) - anchors
    assert all(link.startswith(number) for number, link in re.findall(r"\[section (\d+)\]\(#([^)]+)\)", text()))


def test_every_rule_of_equality_is_in_the_last_section() -> None:
    """The names of the rules in the code, wherever they are declared."""
    sources = (path.read_text(encoding="utf-8") for path in (ROOT / "imprint_sweep").rglob("*.py"))
    declared = {name for source in sources for name in re.findall(r"\bRule\(\s*\"(\w+)\"", source)}
    table = set(re.findall(r"^\| `(\w+)` \|", text()[text().index(f". {LAST}\n") :], re.MULTILINE))
    assert len(table) >= 10
    assert not declared or declared == table


def test_the_examples_hold() -> None:
    assert {"d_in_1", "stage_seed", "quantile", "nc1"} <= examples().keys()


def test_draws_are_keyed_as_the_document_says() -> None:
    for stage in ("n_shot", "validation", "random", "fps"):
        for seed in (-3, 0, 2**40):
            label = (("größe", -5), ("svhn", 3))
            assert examples()["stage_seed"](stage, seed, label) == stage_seed(stage, seed, label)


def test_the_samples_that_are_held_out_are_the_document_s() -> None:
    label = (("größe", -5),)
    for m in (5, 6, 9, 10, 125):
        rng = np.random.default_rng(stage_seed("validation", 3, label))
        trained, tested = validation.hold_out(m, rng)
        np.testing.assert_array_equal(tested, examples()["held_out"](m, 3, label))
        assert len(trained) == validation.trained(m)
        assert sorted([*trained, *tested]) == list(range(m))


@pytest.mark.parametrize(("n", "sample"), [(10, None), (1000, 100), (7, 5)])
def test_merged_tasks_have_the_document_s_classes(n: int, sample: int | None) -> None:
    for d in range(1, 6):
        for remap in (0, 3):
            task = make_task("t", ["t"], range(n), sample=sample, merge=d, remap=remap)
            classes = [[value for _, value in label] for label in task.labels]
            assert classes == examples()["d_in_1"](range(n), d, remap, sample=sample)


def test_quantile_is_the_document_s() -> None:
    rng = np.random.default_rng(0)
    by_label = [rng.normal(size=(k, 6)).astype(np.float32).round(1) for k in (3, 1, 4, 2)]
    for ours, other in zip(oracle.quantile(by_label), examples()["quantile"](by_label), strict=True):
        np.testing.assert_array_equal(ours, other)


def test_nc1_is_the_document_s() -> None:
    rng = np.random.default_rng(0)
    by_class = [rng.normal(3, 1, size=(n, 6)).astype(np.float32) for n in (5, 9, 30)]
    measured = collapse.measure([[x] for x in by_class])
    np.testing.assert_allclose(measured.nc1, examples()["nc1"]([x.astype(np.float64) for x in by_class]), rtol=1e-9)
