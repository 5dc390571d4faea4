"""The practical question: which configuration is best, by how much, and is that more than chance?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from imprint_sweep.analysis.data import names
from imprint_sweep.analysis.data.results import Results
from imprint_sweep.analysis.data.selection import FEW_SEEDS, MAIN_SEEDS
from imprint_sweep.analysis.stats.best import Best, best
from imprint_sweep.errors import ConfigError, UnknownOptionError
from tests.analysis.frames import product, results

SCORE = {"all": 900, "kmeans": 800, "kmedoids": 700, "mean": 600, "least_squares": 950}
"""Of 1,000; k-means gains with k."""


def table(n: int = 10, **axes: Any) -> Results:
    """Five GENs on so many tasks, k-means with two k."""
    rng = np.random.default_rng(0)
    configurations: list[dict[str, Any]] = [
        {"gen": "all", "n_proxies": 5000},
        {"gen": "kmeans", "k": 5, "n_proxies": 50},
        {"gen": "kmeans", "k": 20, "n_proxies": 200},
        {"gen": "kmedoids", "k": 20, "n_proxies": 200},
        {"gen": "mean", "n_proxies": 10},
        {"gen": "least_squares", "n_proxies": 10, "weight_decay": 0.1},
    ]

    def n_correct(**row: Any) -> int:
        configuration = row["configuration"]
        return SCORE[configuration["gen"]] + 2 * int(configuration.get("k", 0)) + int(rng.integers(0, 9))

    whole: dict[str, Any] = {
        "task": [f"task{number}" for number in range(n)],
        "configuration": configurations,
        "seed": MAIN_SEEDS,
        "n_test": [1000],
    }
    return results(product(n_correct, **{**whole, **axes}))


def name_of(found: Best) -> str:
    return names.configurations(found.matrix.configurations.iloc[[found.winner]])[0]


def test_the_winner_has_the_best_rank_and_its_rivals_are_the_best_of_every_other_gen() -> None:
    found = best(table())
    assert name_of(found) == "all · l2/l2/l2 · max"
    assert found.ranks[found.winner] == 1
    assert found.rivals["name"].tolist() == [
        "k-means, k = 20 · l2/l2/l2 · max",
        "k-medoids, k = 20 · l2/l2/l2 · max",
        "mean · l2/l2/l2 · max",
    ]
    assert found.rivals["gen"].tolist() == ["k-means", "k-medoids", "mean"]
    assert found.rivals["proxies"].tolist() == [200, 200, 10]
    assert found.rivals["rank"].is_monotonic_increasing


def test_the_lead_is_tested_against_every_rival() -> None:
    results_ = table()
    found = best(results_)
    counts = results_.frame.pivot_table("n_correct", "task", ["gen", "k"], "median", dropna=False, observed=True)
    winner = found.matrix.accuracy[:, found.winner]
    rival = counts["kmeans"][20].to_numpy() / 1000
    assert found.rivals["lead"][0] == pytest.approx(np.mean(winner - rival))
    assert found.rivals["p"][0] == stats.wilcoxon(winner - rival, method="exact").pvalue == 2 / 2**10
    assert found.rivals[["wins", "ties", "losses"]].iloc[0].tolist() == [10, 0, 0]
    assert found.rivals["adjusted"].tolist() == multipletests(found.rivals["p"], method="holm")[1].tolist()


def test_a_budget_is_kept_on_every_instance() -> None:
    found = best(table(), max_proxies=200)
    assert name_of(found) == "k-means, k = 20 · l2/l2/l2 · max"
    assert found.over_budget == 1
    assert best(table(), max_proxies=199).over_budget == 3
    assert name_of(best(table(), max_proxies=10)) == "mean · l2/l2/l2 · max"
    uneven = table()
    uneven.frame.loc[uneven.frame["gen"] == "kmeans", "n_proxies"] = np.arange(60) * 4
    assert name_of(best(uneven, max_proxies=200)) == "k-medoids, k = 20 · l2/l2/l2 · max"


def test_baselines_are_rivals_if_asked_for_and_never_win() -> None:
    assert not best(table()).rivals["baseline"].any()
    found = best(table(), with_baselines=True)
    assert name_of(found) == name_of(best(table())) == "all · l2/l2/l2 · max"
    assert found.rivals["name"][found.rivals["baseline"]].tolist() == ["least squares · l2/l2/l2 · max"]
    assert found.ranks[found.winner] == 2
    assert (found.rivals["lead"][found.rivals["baseline"]] < 0).all()


def test_only_the_tasks_in_question_count() -> None:
    found = best(table(), ["task3", "task5"])
    assert found.matrix.instances["task"].tolist() == ["task3", "task5"]


def test_of_equals_the_cheapest_is_named_and_the_others_are_said() -> None:
    rows = product(
        gen=["mean"],
        task=["a", "b"],
        configuration=[
            {"agg": "mnn", "metric": "euclidean", "m": 1, "weighting": "uniform"},
            {"agg": "mnn", "metric": "euclidean", "m": 1, "weighting": "inverse_distance"},
            {"agg": "max", "metric": "cosine"},
            {"agg": "max", "metric": "inner_product"},
        ],
    )
    found = best(results(rows))
    assert name_of(found) == "mean · l2/l2/l2 · max"
    same = names.configurations(found.matrix.configurations.iloc[list(found.same)])
    assert same == ["mean · l2/l2/l2 · max, cosine", "mean · l2/l2/l2 · 1-nn"]
    assert found.rivals.empty


def test_few_samples_are_another_question() -> None:
    both = results([*product(gen=["mean"], seed=MAIN_SEEDS), *product(gen=["all"], n_shot=[5], seed=FEW_SEEDS)])
    assert name_of(best(both)) == "mean · l2/l2/l2 · max"
    few = best(both, n_shot=5)
    assert name_of(few) == "all · l2/l2/l2 · max · n = 5"
    assert few.matrix.seeds == FEW_SEEDS
    with pytest.raises(ConfigError, match="no row of the results has n_shot = 7; there is n_shot = 5"):
        best(both, n_shot=7)


@pytest.mark.parametrize("part", [{"limit": 100}, {"merge": 2, "remap": 0}])
def test_a_part_of_a_task_counts_only_where_there_is_nothing_else(part: dict[str, Any]) -> None:
    rows: list[dict[str, Any]] = [{"gen": "mean", **part}, {"gen": "all"}]
    assert name_of(best(results(rows))).startswith("all")
    assert name_of(best(results(rows[:1]))).startswith("mean")


def test_what_cannot_be_answered_is_a_sentence() -> None:
    with pytest.raises(UnknownOptionError, match="unknown task 'task33'; did you mean task3"):
        best(table(), ["task33"])
    with pytest.raises(ConfigError, match="no configuration has at most 9 proxies; the fewest are 10, of mean"):
        best(table(), max_proxies=9)
    with pytest.raises(ConfigError, match=r"nothing but baselines \(least squares\), which are no imprinting"):
        best(results([{"gen": "least_squares"}]))
