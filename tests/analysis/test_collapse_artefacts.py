"""Figs 11a and 12 from small tables with known answers, NC1 given by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy import stats

from imprint_sweep.analysis.artefact import Chart, Options
from imprint_sweep.analysis.artefacts import make
from imprint_sweep.analysis.data.results import Results
from imprint_sweep.analysis.data.selection import MAIN_SEEDS
from imprint_sweep.analysis.stats import collapse_table
from imprint_sweep.analysis.stats.collapse import Collapse
from imprint_sweep.analysis.stats.collapse_table import Instance
from tests.analysis.filled import filled
from tests.analysis.shown import chart_of, rows, table_of
from tests.analysis.table import L2, LITE0, RESNET18, Score, same, scores, task, write

MNIST, CIFAR10, FASHION = task("mnist"), task("cifar10"), task("fashion_mnist")
D2 = [task("imagenet", merge=2, remap=remap) for remap in (0, 1)]
D3 = task("imagenet", merge=3, remap=0)

Give = Callable[[Results, dict[tuple[str, str, int | None, int | None], float]], None]


@pytest.fixture
def give(monkeypatch: pytest.MonkeyPatch) -> Give:
    """Stores NC1 of (model, dataset, d, remap); the published centring has 10 more."""

    def store(results: Results, values: dict[tuple[str, str, int | None, int | None], float]) -> None:
        def measured(instance: Instance, features: object) -> Collapse:
            of = instance.task
            value = values[instance.model.name, of.name, of.merge, of.remap]
            return Collapse(value, value + 10, 9, 500)

        monkeypatch.setattr(collapse_table, "_measured", measured)
        assert collapse_table.update(results) == ()

    return store


def means(*tasks: object) -> list[Score]:
    """A row for each task, so that the results hold it."""
    return [row for of in tasks for row in scores(RESNET18, of, same(1), gen="mean", **L2)]  # type: ignore[arg-type]


NC1 = {
    ("resnet18", "imagenet", 2, 0): 0.5,
    ("resnet18", "imagenet", 2, 1): 0.9,
    ("resnet18", "imagenet", 3, 0): 1.5,
    ("resnet18", "mnist", None, None): 2.0,
    ("resnet18", "fashion_mnist", None, None): 4.0,
}


# Fig. 11a


def test_fig11a_has_nc1_over_d_with_standard_errors_over_remaps(give: Give, tmp_path: Path) -> None:
    results = write(tmp_path, means(*D2, D3, MNIST, FASHION))
    give(results, NC1)
    artefact = make("fig11a", results)
    (line,) = chart_of(artefact).panels[0].series
    assert (line.label, line.colour) == ("resnet18", "model:resnet18")
    assert (line.x.tolist(), line.y.tolist()) == ([2, 3], [0.7, 1.5])
    assert line.low is not None
    # 1.96 sd / sqrt(remaps), with the standard error from SciPy; one remap has none.
    np.testing.assert_allclose(line.low, [0.7 - 1.96 * stats.sem([0.5, 0.9]), 1.5])
    assert [column.title for column in table_of(artefact).columns] == [
        "model", "dataset", "d", "remaps", "NC1", "±", "NC1, published centring", "paper",
    ]  # fmt: skip
    first, second = rows(table_of(artefact))
    assert first[:4] == ["resnet18", "imagenet", 2, 2]
    assert first[4:] == pytest.approx([0.7, 1.96 * 0.2, 10.7, 0.82])
    assert second[4:] == [1.5, None, 11.5, 1.2]
    assert "1 of 2 points stand on fewer remaps than others." in artefact.missing
    assert "± is 1.96 standard errors over the remaps" in table_of(artefact).note


def test_fig11a_has_nc1_of_datasets_on_a_symlog_axis(give: Give, tmp_path: Path) -> None:
    results = write(tmp_path, means(*D2, D3, MNIST, FASHION))
    give(results, NC1)
    artefact = make("fig11a", results)
    chart = chart_of(artefact, "fig11a_datasets")
    assert (chart.y_scale, chart.x_names) == ("symlog", ("fashion_mnist", "mnist"))
    (points,) = chart.panels[0].series
    assert (points.x.tolist(), points.y.tolist(), points.style) == ([0, 1], [4, 2], "points")
    assert rows(table_of(artefact, "fig11a_datasets")) == [
        ["resnet18", "fashion_mnist", 500, 4.0, 14.0, 4.58],
        ["resnet18", "mnist", 500, 2.0, 12.0, 1.89],
    ]


def test_the_line_at_1_and_the_split_belong_to_the_published_centring(give: Give, tmp_path: Path) -> None:
    """The paper's NC1 = 1 is of its own centring; ours at 1 is another quantity."""
    results = write(tmp_path, fig12_rows())
    give(results, {**NC1, ("resnet18", "imagenet", 3, 0): -8.5, ("resnet18", "mnist", None, None): -9.5})
    own, published = Options(), Options(nc_centering="published")
    assert chart_of(make("fig11a", results, own), "fig11a_datasets").panels[0].reference is None
    assert chart_of(make("fig11a", results, published), "fig11a_datasets").panels[0].reference == 1
    fit = table_of(make("fig12", results, own), "fig12_fit")
    assert [row[0] for row in rows(fit)] == ["all"]
    assert "so has their split at NC1 = 1 (--published)" in fit.note
    fit = table_of(make("fig12", results, published), "fig12_fit")
    assert [row[:2] for row in rows(fit)] == [
        ["all", 4], ["NC1 < 1", 1], ["NC1 > 1", 3], ['NC1 > 1, "d in 1"', 2]
    ]  # fmt: skip


def test_published_centring_of_an_older_version_is_not_shown(give: Give, tmp_path: Path) -> None:
    results = write(tmp_path, [*fig12_rows(), *means(*D2, D3, MNIST, FASHION)])
    give(results, NC1)
    at = collapse_table.path(tmp_path)
    pq.write_table(pq.read_table(at).drop_columns(["published_version"]), at)  # as 0.1.0 wrote it
    artefact = make("fig11a", results)
    assert rows(table_of(artefact, "fig11a_datasets")) == [
        ["resnet18", "fashion_mnist", 500, 4.0, None, 4.58],
        ["resnet18", "mnist", 500, 2.0, None, 1.89],
    ]
    assert artefact.missing[0].startswith(
        "NC1 with published centring is not known for 5 of 5, of which an older version"
    )
    assert str(artefact.command).endswith(f"python scripts/collapse.py --outputs {tmp_path}")
    # Fig. 12 does not need it, unless it is asked for.
    assert not any("published" in sentence for sentence in make("fig12", results).missing)
    asked_for = make("fig12", results, Options(nc_centering="published"))
    assert any("NC1 with published centring is not known for 5 of 5" in sentence for sentence in asked_for.missing)
    # The command computes it.
    give(results, NC1)
    assert not any("published" in sentence for sentence in make("fig11a", results).missing)


def test_published_centring_is_an_option(give: Give, tmp_path: Path) -> None:
    results = write(tmp_path, means(*D2, D3, MNIST, FASHION))
    give(results, NC1)
    artefact = make("fig11a", results, Options(nc_centering="published"))
    (line,) = chart_of(artefact).panels[0].series
    assert line.y.tolist() == [10.7, 11.5]
    assert chart_of(artefact).y_label == "NC1, published centring"
    titles = [column.title for column in table_of(artefact).columns]
    assert titles[-4:] == ["NC1", "NC1, published centring", "±", "paper"]


def test_fig11a_without_merged_classes_says_how_to_get_them(give: Give, tmp_path: Path) -> None:
    results = write(tmp_path, means(MNIST))
    give(results, NC1)
    artefact = make("fig11a", results)
    assert [figure.name for figure in artefact.figures] == ["fig11a_datasets"]
    assert artefact.missing == ('The results hold no "d in 1" tasks.',)
    assert artefact.command is not None
    assert artefact.command.startswith(
        "python -m imprint_sweep -m +experiment=collapse_imagenet 'task.merge=range(1,6)'"
    )
    assert artefact.command.endswith(f" && python scripts/collapse.py --outputs {tmp_path}")


@pytest.mark.parametrize("name", ["fig11a", "fig12"])
def test_without_nc1_there_is_the_command_that_computes_it(name: str, tmp_path: Path) -> None:
    found = [
        row for of in (*D2, MNIST) for k in (1, 5) for row in scores(RESNET18, of, same(k), k=k, gen="kmeans", **L2)
    ]
    artefact = make(name, write(tmp_path, found))
    assert artefact.figures == ()
    assert "NC1 is not known for 3 of 3: " in artefact.missing[-1]
    assert artefact.command == f"python scripts/collapse.py --outputs {tmp_path}"


@pytest.mark.parametrize("name", ["fig11a", "fig12"])
def test_the_commands_compute_what_is_missing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = make(name, write(tmp_path, scores(LITE0, task("digits"), {0: 1}, gen="cov_max", n_shot=5)))
    assert first.figures == ()
    assert str(first.command).endswith(f" && python scripts/collapse.py --outputs {tmp_path}")
    results = filled(tmp_path, first.command)
    monkeypatch.setattr(collapse_table, "_measured", lambda instance, features: Collapse(1.5, 2.0, 9, 500))
    assert collapse_table.update(results) == ()
    then = make(name, results)
    assert then.figures
    assert (then.missing, then.command) == ((), None)


# Fig. 12


def gains(of: object, one: int, five: int, seeds: dict[int, int] | None = None) -> list[Score]:
    """Scores with k = 1 and k = 5."""
    lower = seeds or same(one)
    found = scores(RESNET18, of, lower, gen="kmeans", k=1, **L2)  # type: ignore[arg-type]
    return [*found, *scores(RESNET18, of, same(five), gen="kmeans", k=5, **L2)]  # type: ignore[arg-type]


def fig12_rows() -> list[Score]:
    uneven = dict(zip(MAIN_SEEDS, (500, 500, 800), strict=True))
    return [
        *gains(D2[0], 0, 700, uneven),  # mean 600: gain 10
        *gains(D2[1], 600, 800),  # gain 20
        *gains(D3, 500, 800),  # gain 30
        *gains(MNIST, 900, 920),
        *gains(FASHION, 800, 830),
    ]


def test_fig12_is_the_mean_over_seeds_and_then_over_remaps(give: Give, tmp_path: Path) -> None:
    results = write(tmp_path, fig12_rows())
    give(results, NC1)
    artefact = make("fig12", results)
    chart = chart_of(artefact)
    assert chart.x_scale == "log"
    points = {series.marker: (series.x.tolist(), series.y.tolist()) for series in chart.panels[0].series}
    assert points == {
        "imagenet, d in 1": (pytest.approx([0.7, 1.5]), pytest.approx([15, 30])),
        "mnist": ([2], pytest.approx([2])),
        "fashion_mnist": ([4], pytest.approx([3])),
    }
    assert {series.label for series in chart.panels[0].series} == {"resnet18"}
    shown = rows(table_of(artefact))
    row = shown[1]
    assert row[:4] == ["resnet18", "imagenet", 2, 2]
    assert sorted((task, d, remaps) for _, task, d, remaps, *_ in shown if d is None) == [
        ("fashion_mnist", None, None),
        ("mnist", None, None),
    ]
    assert row[4:] == pytest.approx([0.7, 0.6, 0.75, 0.15])
    assert artefact.basis == ("4 points; 1 model and 3 datasets; 2 values of d with 2 remaps; 3 seeds.")


def test_fig12_correlates_ranks_and_fits_log10_nc1(give: Give, tmp_path: Path) -> None:
    results = write(tmp_path, fig12_rows())
    give(results, NC1)
    artefact = make("fig12", results)
    x, y = np.log10([0.7, 1.5, 2, 4]), [15, 30, 2, 3]
    line = stats.linregress(x, y)
    chart = chart_of(artefact)
    assert chart.fit == pytest.approx((line.slope, line.intercept))
    (all_of_them,) = rows(table_of(artefact, "fig12_fit"))
    assert all_of_them[:2] == ["all", 4]
    assert all_of_them[2] == pytest.approx(stats.spearmanr(x, y).statistic)
    assert all_of_them[4:6] == pytest.approx([line.slope, line.rvalue**2])
    assert all_of_them[6:] == pytest.approx([0.8179, 1.4240975922467733e-14, 6.8186, 0.3559])
    assert f"slope {line.slope:.2f}" in chart.note


def test_fig12_counts_a_dataset_once(give: Give, tmp_path: Path) -> None:
    # Ten classes, one in each label: that is the dataset itself.
    itself = task("mnist", merge=1, remap=0)
    results = write(tmp_path, [*fig12_rows(), *gains(itself, 900, 920)])
    give(results, {**NC1, ("resnet18", "mnist", 1, 0): 2.0})
    assert len(table_of(make("fig12", results)).frame) == 4


def test_fig12_names_what_it_lacks(give: Give, tmp_path: Path) -> None:
    results = write(tmp_path, fig12_rows())
    give(results, NC1)
    results = write(tmp_path, [*gains(CIFAR10, 100, 200), *scores(RESNET18, D3, {7: 1}, gen="kmeans", k=5, **L2)])
    artefact = make("fig12", results)
    assert artefact.missing == ("2 of 4 points stand on fewer remaps than others.",
                                "NC1 is not known for 1 of 6: resnet18 on cifar10, all.")  # fmt: skip
    assert len(table_of(artefact).frame) == 4
    assert str(artefact.command).endswith(f"python scripts/collapse.py --outputs {tmp_path}")


def test_an_nc1_of_zero_has_no_place_on_a_log_axis(give: Give, tmp_path: Path) -> None:
    results = write(tmp_path, fig12_rows())
    give(results, {**NC1, ("resnet18", "mnist", None, None): 0.0})
    artefact = make("fig12", results)
    assert "1 point with an NC1 of 0 have no place on a log axis." in artefact.missing
    assert len(table_of(artefact).frame) == 3
    assert all((series.x > 0).all() for series in chart_of(artefact).panels[0].series)


def test_one_point_is_drawn_without_a_fit(give: Give, tmp_path: Path) -> None:
    results = write(tmp_path, gains(MNIST, 900, 920))
    give(results, NC1)
    artefact = make("fig12", results)
    (chart,) = artefact.figures
    assert isinstance(chart, Chart)
    assert (chart.fit, chart.note) == (None, "")
    assert rows(table_of(artefact, "fig12_fit"))[0][:6] == ["all", 1, None, None, None, None]


def test_models_have_colours_and_datasets_have_shapes(give: Give, tmp_path: Path) -> None:
    lite0 = [row for k in (1, 5) for row in scores(LITE0, MNIST, same(500 + k), gen="kmeans", k=k, **L2)]
    results = write(tmp_path, [*fig12_rows(), *lite0])
    give(results, {**NC1, ("efficientnet_lite0", "mnist", None, None): 3.0})
    series = chart_of(make("fig12", results)).panels[0].series
    assert {(one.colour, one.marker) for one in series} == {
        ("model:resnet18", "imagenet, d in 1"), ("model:resnet18", "mnist"), ("model:resnet18", "fashion_mnist"),
        ("model:efficientnet_lite0", "mnist"),
    }  # fmt: skip
