"""What rules for k gain: the numbers of made-up rows by hand, SciPy's tests, and what is told where something lacks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr, wilcoxon

from imprint_sweep.analysis.artefact import Artefact, Chart, Options
from imprint_sweep.analysis.artefacts import make
from imprint_sweep.analysis.data.results import Results
from imprint_sweep.analysis.stats import collapse_table
from tests.analysis.frames import frame

SELECTIONS = ("all", "even", "odd", "short", "0,1", "0,2", "0,3")
SEEDS = (17121997, 123987, 12412312)
SHOTS = (3, 10, None)


def rows(rng: np.random.Generator) -> list[dict[str, Any]]:
    """Rows of every way under three seeds; k = 1 once as the mean and once as k-means."""
    found = []
    for place, classes in enumerate(SELECTIONS):
        for n_shot in SHOTS:
            for seed in SEEDS:
                same = {"classes": classes, "n_shot": n_shot, "seed": seed, "n_labels": 10, "n_test": 1000}
                for k in (1, 2, 5, 20):
                    own = {"gen": "mean"} if k == 1 and place % 2 else {"gen": "kmeans", "k": k}
                    proxies = 10 * (k if n_shot is None else min(k, n_shot))
                    found.append({**same, **own, "n_correct": int(rng.integers(500, 900)), "n_proxies": proxies})
                for rule in ("bic", "cv_1se"):
                    own = {"gen": "kmeans", "select_rule": rule, "select_max_k": 20}
                    proxies = int(rng.integers(10, 100)) if n_shot != 3 else 10
                    found.append({**same, **own, "n_correct": int(rng.integers(600, 950)), "n_proxies": proxies})
    return found


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Artefact, pd.DataFrame, dict[str, float]]:
    table = frame(rows(np.random.default_rng(0)))
    nc1 = {classes: 0.5 + place * 1.5 for place, classes in enumerate(SELECTIONS)}
    read = collapse_table.read

    def measured(results: Results) -> pd.DataFrame:
        found = read(results)
        return found.assign(nc1=found["classes"].astype(str).map(nc1))

    monkeypatch.setattr(collapse_table, "read", measured)
    return make("k_selection", Results(table, tmp_path), Options()), table, nc1


def median(table: pd.DataFrame, classes: str, n_shot: int | None, way: str, of: str = "n_correct") -> float:
    same = (table["classes"] == classes) & (table["n_shot"].isna() if n_shot is None else table["n_shot"] == n_shot)
    if way in ("bic", "cv_1se"):
        same &= table["select_rule"] == way
    else:
        same &= ((table["k"] == int(way)) | ((table["gen"] == "mean") & (way == "1"))).fillna(False)
    chosen = table[same.fillna(False)][of]
    assert len(chosen) == 3
    return float(chosen.median() if of == "n_correct" else chosen.mean())


def test_gains_are_those_of_medians_over_seeds(made: tuple[Artefact, pd.DataFrame, dict[str, float]]) -> None:
    artefact, table, _ = made
    assert artefact.missing == ()
    assert artefact.command is None
    shown = artefact.tables[0].frame
    assert shown["n"].tolist() == ["3", "3", "10", "10", "all", "all"]
    for n_shot, name in ((10, "10"), (None, "all")):
        row = shown[(shown["n"] == name) & (shown["rule"] == "BIC")].iloc[0]
        for way in ("1", "5", "20"):
            gains = [median(table, c, n_shot, "bic") - median(table, c, n_shot, way) for c in SELECTIONS]
            assert row[f"over {way}"] == pytest.approx(np.mean(gains) / 1000)
        best = [max(median(table, c, n_shot, way) for way in ("1", "2", "5", "20")) for c in SELECTIONS]
        lost = [median(table, c, n_shot, "bic") - most for c, most in zip(SELECTIONS, best, strict=True)]
        assert row["over best"] == pytest.approx(np.mean(lost) / 1000)
        proxies = [median(table, c, n_shot, "bic", "n_proxies") / 10 for c in SELECTIONS]
        assert row["k"] == pytest.approx(np.mean(proxies))


def test_tests_are_scipys_over_what_can_be_chosen(made: tuple[Artefact, pd.DataFrame, dict[str, float]]) -> None:
    artefact, table, nc1 = made
    tests = artefact.tables[1].frame
    assert len(tests) == 6
    for row in tests.to_dict("records"):
        rule = {"BIC": "bic", "validation": "cv_1se"}[row["rule"]]
        gain = np.array(
            [median(table, c, n, rule) - median(table, c, n, row["against"]) for c in SELECTIONS for n in (10, None)]
        )
        assert (row["better"], row["worse"], row["equal"]) == ((gain > 0).sum(), (gain < 0).sum(), (gain == 0).sum())
        if len(set(np.abs(gain))) == len(gain):  # SciPy is exact without ties
            assert row["p"] == pytest.approx(wilcoxon(gain, method="exact").pvalue)
    assert (tests["adjusted"] >= tests["p"]).all()
    correlations = artefact.tables[2].frame
    assert correlations["n"].tolist() == ["10"] * 3 + ["all"] * 3
    chosen = [median(table, c, 10, "bic", "n_proxies") for c in SELECTIONS]
    assert correlations["spearman"].iloc[0] == pytest.approx(spearmanr([nc1[c] for c in SELECTIONS], chosen).statistic)


def test_the_finding_and_the_figure_say_the_same(made: tuple[Artefact, pd.DataFrame, dict[str, float]]) -> None:
    artefact, table, _ = made
    gain = artefact.tables[1].frame["gain"].iloc[0]
    assert artefact.finding.startswith(f"k by BIC: {100 * gain:+.2f} points against k = 1 (p")
    assert "NC1 predicts the k of BIC at " in artefact.finding
    assert artefact.tables[0].note == artefact.finding
    (chart,) = artefact.figures
    assert isinstance(chart, Chart)
    line = next(series for series in chart.panels[0].series if series.label == "BIC")
    assert (chart.x_names, line.x.tolist()) == (("3", "10", "all"), [0, 1, 2])
    for y, n_shot in zip(line.y, SHOTS, strict=True):
        gains = [median(table, c, n_shot, "bic") - median(table, c, n_shot, "1") for c in SELECTIONS]
        assert y == pytest.approx(np.mean(gains) / 10)


def test_what_lacks_is_counted_and_the_commands_fill_it(tmp_path: Path) -> None:
    everything = rows(np.random.default_rng(0))
    few = [row for row in everything if not (row["classes"] == "odd" and row.get("k") == 20)]
    found = make("k_selection", Results(frame(few), tmp_path), Options())
    assert found.missing == (
        "Left out are 3 instances and n that lack a rule, or one of k = 1, 5, 20.",
        "NC1 is not known for 18 of 18 instances and n.",
    )
    assert found.command is not None
    assert "+experiment=k_selection" in found.command
    assert "collapse.py" in found.command
    assert len(found.tables[0].frame) == 6


def test_without_rules_there_is_nothing_but_the_command(tmp_path: Path) -> None:
    plain = [row for row in rows(np.random.default_rng(0)) if "select_rule" not in row]
    found = make("k_selection", Results(frame(plain), tmp_path), Options())
    assert found.tables == ()
    assert "+experiment=k_selection" in str(found.command)
