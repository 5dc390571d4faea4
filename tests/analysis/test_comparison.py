"""From a slice to a comparison: which configuration a value stands with, its numbers, tests, bars and sentences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from imprint_sweep.analysis.artefact import Options
from imprint_sweep.analysis.data.published import Published
from imprint_sweep.analysis.data.selection import Matrix, matrix
from imprint_sweep.analysis.stats.comparison import Comparison, compare, diagram, pairs_table, results_table, verdict
from tests.analysis.frames import frame, product

Floats = NDArray[np.float64]
NOTHING = Published({}, {}, {}, {})
NAMES = ("a", "a", "b", "c")


def slice_of(n_correct: Floats, n_test: float = 100) -> Matrix:
    """A matrix of these numbers: k-means with k = 1, 2, ... on tasks 0, 1, ..."""
    n_i, n_c = n_correct.shape
    rows = product(
        lambda **row: n_correct[int(row["task"]), row["k"] - 1],
        task=[f"{i:03}" for i in range(n_i)],
        gen=["kmeans"],
        k=range(1, n_c + 1),
        n_test=[n_test],
        seed=[0],
    )
    return matrix(frame(rows), {}, [0])


def clear(n: int = 20) -> Floats:
    """Twenty instances on which 2 beats 3 beats 1 beats 4, with a bit between them."""
    noise = np.random.default_rng(0).integers(0, 5, (n, 4))
    return np.array([60, 80, 70, 50], np.float64) + noise


def compared(n_correct: Floats, names: tuple[str, ...] = NAMES, **options: Any) -> Comparison:
    return compare(slice_of(n_correct), names, Options(**options))


def test_a_value_stands_with_its_best_rank_and_not_with_its_best_accuracy() -> None:
    """Fig. 5 shows 91.04 and not 91.06."""
    n_correct = np.array([[50, 51, 40.0]] * 9 + [[99, 20, 40.0]])
    found = compared(n_correct, ("a", "a", "b"))
    assert n_correct[:, 0].mean() > n_correct[:, 1].mean()
    assert found.kept.tolist() == [1, 2]
    assert found.slice_ranks.tolist() == [1.9, 1.2, 2.9]
    assert found.names == ("a", "b")


def test_of_equal_ranks_the_more_accurate_stands_for_the_value() -> None:
    n_correct = np.array([[50, 60, 10.0], [60, 55, 10.0]])
    assert compared(n_correct, ("a", "a", "b")).kept.tolist() == [1, 2]
    equal = np.array([[50, 50, 10.0], [60, 60, 10.0]])
    assert compared(equal, ("a", "a", "b")).kept.tolist() == [0, 2]


def test_the_table_has_mean_and_std_over_instances_and_both_ranks() -> None:
    n_correct = clear()
    found = compared(n_correct)
    stated = Published({"b": 0.7, "z": 0.5}, {"b": 0.06}, {"b": 2.5}, {})
    table = results_table(found, "t", "T", "X", stated, ["k1", "k2", "k3", "k4"])
    assert table.frame["name"].tolist() == ["a", "b", "c", "z"]
    assert table.frame["configuration"].tolist()[:3] == ["k2", "k3", "k4"]
    shares = n_correct[:, [1, 2, 3]] / 100
    assert table.frame["accuracy"][:3].tolist() == pytest.approx(np.mean(shares, axis=0).tolist())
    assert table.frame["std"][:3].tolist() == pytest.approx(np.std(shares, axis=0, ddof=1).tolist())
    assert table.frame["rank"][:3].tolist() == [1, 2, 3]
    assert table.frame["slice_rank"][:3].tolist() == [1, 2, 4]
    # What the paper has and we do not is a row of its own, without ours.
    assert table.frame.iloc[3][["accuracy", "std", "rank", "configuration"]].isna().all()
    assert table.frame["paper_accuracy"].fillna(0).tolist() == [0, 0.7, 0, 0.5]
    heads = [column.title for column in table.columns]
    assert heads == [
        *("X", "best with", "accuracy, %", "± std", "rank", "rank among all 4"),
        *("paper: accuracy, %", "paper: ± std", "paper: rank (dense)"),
    ]


def test_columns_without_content_are_left_out() -> None:
    found = compared(clear(), ("a", "b", "c", "d"))
    heads = [column.name for column in results_table(found, "t", "T", "X", NOTHING).columns]
    assert heads == ["name", "accuracy", "std", "rank"]


def test_pairs_are_counted_and_tested() -> None:
    n_correct = clear()
    n_correct[0, [1, 2]] = 75
    found = compared(n_correct)
    table = pairs_table(found, "p", "P", Published({}, {}, {}, {frozenset({"b", "a"}): 0.5}))
    assert table is not None
    rows = table.frame.set_index(["first", "second"])
    assert [rows[count]["a", "b"] for count in ("wins", "ties", "losses")] == [19, 1, 0]
    assert rows["difference"]["a", "b"] == pytest.approx((n_correct[:, 1] - n_correct[:, 2]).mean() / 100)
    assert rows["paper_p"].dropna().tolist() == [0.5]
    assert rows["p"]["b", "c"] == 2 / 2**20
    assert rows["adjusted"]["b", "c"] == 6 / 2**20
    assert table.frame["p"].is_monotonic_increasing


def test_the_diagram_shows_the_compared_with_their_bars() -> None:
    n_correct = clear()
    n_correct[:, 2] = n_correct[::-1, 1]  # b like a, on other instances
    found = compared(n_correct)
    shown = diagram(found, "d", "D", ["gen:a", "gen:b", "gen:c"])
    assert shown is not None
    assert set(shown.labels) == {"a", "b", "c"}
    assert {frozenset(shown.labels[member] for member in group) for group in shown.cliques} == {frozenset("ab")}
    assert shown.ranks.tolist() == sorted(shown.ranks.tolist())
    assert shown.colours == ("gen:a", "gen:b", "gen:c")


def test_without_evidence_there_is_a_sentence_and_no_diagram() -> None:
    rng = np.random.default_rng(0)
    found = compared(rng.integers(40, 60, (20, 4)).astype(float))
    assert diagram(found, "d", "D") is None
    assert pairs_table(found, "p", "P", NOTHING) is None
    said = verdict(found, Options())
    assert said.startswith("Friedman's test does not reject that the 3 rank alike (p = 0.")
    assert "no diagram" in said


def test_identical_results_do_not_differ_unless_published() -> None:
    n_correct = clear()
    n_correct[:, 2] = n_correct[:, 1]
    ours, theirs = compared(n_correct), compared(n_correct, published=True)
    said = "Identical on every instance: a = b."
    assert verdict(ours, Options()).endswith(said)
    assert verdict(theirs, Options(published=True)).endswith(f"{said} They count as different (published).")
    assert len(ours.ranking.cliques) == 1
    assert theirs.ranking.cliques == ()
    assert ours.ranking.ranks.tolist() == [1.5, 1.5, 3]
    assert theirs.ranking.ranks.tolist() == [1, 1, 2]


@pytest.mark.parametrize(
    ("n_correct", "names", "sentence"),
    [
        (clear()[:, :1], ("a",), "Nothing to compare a with."),
        (clear()[:, :2], ("a", "a"), "Nothing to compare a with."),
        (clear(4), NAMES, "On 4 instances no pair could differ significantly at level 0.05: 3 pairs need 7 or more."),
        (clear(5)[:, :2], ("a", "b"), "Two are compared by the signed-rank test alone. On 5 instances no pair could "
         "differ significantly at level 0.05: a single pair needs 6 or more."),
        (np.array([[90.0, 80]] * 4 + [[70, 70]] * 44), ("a", "b"), "On 48 instances no pair could differ significantly "
         "at level 0.05: a single pair needs 6 or more with different results, and no pair has more than 4."),
        (clear(1), NAMES, "(p = 0.37, 1 instance), so there is no diagram"),
    ],
)  # fmt: skip
def test_too_little_to_tell_is_a_sentence(n_correct: Floats, names: tuple[str, ...], sentence: str) -> None:
    found = compared(n_correct, names)
    assert sentence in verdict(found, Options())
    table = results_table(found, "t", "T", "X", NOTHING)
    assert table.frame["accuracy"].notna().all()
    assert table.frame["std"].isna().all() == (len(n_correct) == 1)


def test_nothing_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="at least one instance"):
        compare(matrix(frame([{}]), {"gen": ["fps"]}, [0]), [], Options())


def test_the_level_is_an_option() -> None:
    n_correct = clear(8)
    n_correct[0] = n_correct[0, ::-1]
    assert not compared(n_correct, alpha=1e-9).ranking.tested
    assert compared(n_correct, alpha=0.05).ranking.tested
