"""The demo shows the five methods of Figure 2 with the published numbers beside ours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from imprint_sweep.cli.commands.demo import FIG2, fig2, main, table
from imprint_sweep.config.overrides_of import compose
from imprint_sweep.embeddings.cache import SPLITS, EmbeddingCache, EntryKey
from imprint_sweep.grid.scheme import Scheme
from imprint_sweep.imprinting.components import GENS
from imprint_sweep.store import load_results
from imprint_sweep.store.parts import read_parts

SCHEMES = {
    "Qi et al. 2018": Scheme.create(gen="mean", norm_pre="l2", norm_post="l2", norm_inf="l2"),
    "Hosoda et al. 2024": Scheme.create(gen="mean", norm_post="quantile"),
    "Janson et al. 2022": Scheme.create(gen="mean", agg="mnn", metric="euclidean", m=1, weighting="inverse_distance"),
    "Ours (the paper's)": Scheme.create(gen="kmeans", k=20, norm_pre="l2", norm_post="l2", norm_inf="l2"),
    "Oracle (least squares)": Scheme.create(gen="least_squares", weight_decay=0.1),
}
PUBLISHED = {
    "Qi et al. 2018": (86.79, 3.667),
    "Hosoda et al. 2024": (82.90, 4.271),
    "Janson et al. 2022": (86.64, 3.917),
    "Ours (the paper's)": (91.06, 2.0),
    "Oracle (least squares)": (94.54, 1.0),
}


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """Outputs with embeddings in place of the network's: the pixels of the digits, with noise, under its name."""
    cell = compose(["gen=mean"])
    pixels, labels = load_digits(return_X_y=True)
    cache = EmbeddingCache(tmp_path / "embeddings")
    for split, rows in zip(SPLITS, (slice(0, 700), slice(700, 1000)), strict=True):
        key = EntryKey(cell.model, "digits", split)
        cache.write(key, pixels[rows].astype(np.float32), labels[rows].astype(np.int64), metadata={})
    return tmp_path


def test_the_methods_are_those_of_the_figure() -> None:
    figure = fig2()
    assert {method.name: compose(method.overrides).scheme for method in figure.methods} == SCHEMES
    assert {method.name: (method.accuracy, method.rank) for method in figure.methods} == PUBLISHED
    assert figure.seeds == [17121997, 123987, 12412312]
    assert {scheme.gen for scheme in SCHEMES.values()} <= GENS.keys()
    assert "TMLR 2025" in FIG2.read_text()


def test_the_demo_ends_with_the_five_methods_beside_the_papers(
    outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["--outputs", str(outputs)])
    text = capsys.readouterr().out
    results = load_results(outputs / "results")
    assert len(results) == 15
    for name, (accuracy, rank) in PUBLISHED.items():
        (line,) = (line for line in text.splitlines() if line.startswith(name))
        scheme = SCHEMES[name]
        ours = results[
            (results["gen"] == scheme.gen) & (results["norm_post"] == scheme.norm_post) & (results["agg"] == scheme.agg)
        ]
        assert len(ours) == 3
        assert line.split()[-5:] == [
            f"{100 * ours['accuracy'].median():.2f}",
            "%",
            f"{accuracy:.2f}",
            "%",
            f"{rank:.2f}",
        ]
    assert "paper: 4 FMs x 12 tasks" in text
    # The second time nothing is left to compute.
    main(["--outputs", str(outputs)])
    assert capsys.readouterr().out.splitlines()[1:9] == text.splitlines()[1:9]
    assert read_parts(outputs / "results").table.num_rows == 15


def test_the_table_is_sorted_and_aligned() -> None:
    figure = fig2()
    lines = table(figure, [0.5, 1.0, 0.25, 0.75, 0.125], "digits")
    assert [line.split("  ")[0] for line in lines[2:7]] == [figure.methods[i].name for i in (1, 3, 0, 2, 4)]
    assert len({len(line) for line in lines[1:7]}) == 1
    assert lines[2].split()[-5:] == ["100.00", "%", "91.06", "%", "2.00"]
