"""The curves of the paper from small tables with known answers: what is drawn, what is tabulated, what is missing."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from imprint_sweep.analysis.artefact import Chart, Options
from imprint_sweep.analysis.artefacts import make
from imprint_sweep.analysis.data.results import Results, load
from imprint_sweep.analysis.data.selection import FEW_SEEDS, MAIN_SEEDS
from imprint_sweep.embeddings.cache import EmbeddingCache
from imprint_sweep.embeddings.features import Features
from imprint_sweep.grid.cell import Model
from imprint_sweep.grid.outcome import Outcome
from imprint_sweep.store import ResultStore
from tests import data
from tests.analysis.filled import filled
from tests.analysis.shown import chart_of, lines, rows, table_of
from tests.analysis.table import FINGERPRINT, HERE, L2, LITE0, N_TEST, RESNET18, Score, same, scores, task, write

MNIST, CIFAR10, FASHION = task("mnist"), task("cifar10"), task("fashion_mnist")
NONE_L2 = {**L2, "norm_pre": "none"}


# Fig. 6


def fig6_rows(model: Model = LITE0, of: str = "digits") -> list[Score]:
    """k-means with three k, k-fps with one, the mean, and all samples."""

    def scored(by_seed: dict[int, int], **axes: object) -> list[Score]:
        return scores(model, task(of), by_seed, **axes)

    return [
        *scored(same(600), gen="mean", **L2),
        *scored({MAIN_SEEDS[0]: 610, MAIN_SEEDS[1]: 700, MAIN_SEEDS[2]: 900}, gen="kmeans", k=5, **L2),
        *scored(same(800), gen="kmeans", k=100, **L2),
        *scored(same(400), gen="fps", k=20, **L2),
        *scored(same(850), gen="all", **L2),
    ]


def test_fig6_is_accuracy_over_k_a_line_per_gen(tmp_path: Path) -> None:
    artefact = make("fig6", write(tmp_path, fig6_rows()))
    chart = chart_of(artefact)
    assert [panel.title for panel in chart.panels] == ["efficientnet_lite0 on digits"]
    drawn = lines(chart)
    assert list(drawn) == ["k-means", "k-fps", "mean", "all"]
    # The line of k-means begins at the mean; of three seeds the median counts, not their mean.
    np.testing.assert_allclose(drawn["k-means"].x, [1, 5, 100])
    np.testing.assert_allclose(drawn["k-means"].y, [60, 70, 80])
    assert (drawn["k-means"].style, drawn["k-means"].colour) == ("solid", "gen:kmeans")
    assert (drawn["mean"].style, drawn["mean"].x.tolist(), drawn["mean"].y.tolist()) == ("hollow", [1], [60])
    assert (drawn["all"].style, drawn["all"].y.tolist()) == ("level", [85])
    assert rows(table_of(artefact)) == [
        ["efficientnet_lite0", "digits", "k-means", 0.6, None, None, 0.7, None, None, None, 0.8, None],
        ["efficientnet_lite0", "digits", "k-fps", None, None, None, None, None, 0.4, None, None, None],
        ["efficientnet_lite0", "digits", "all", *[None] * 8, 0.85],
    ]
    assert artefact.basis == "1 model and 1 dataset; 3 seeds."


def test_fig6_says_what_it_lacks_and_how_to_get_it(tmp_path: Path) -> None:
    artefact = make("fig6", write(tmp_path, fig6_rows()))
    (missing,) = artefact.missing
    assert missing.startswith(
        "Missing are 36 of 41 points: efficientnet_lite0 on digits, k-means (k = 2, 3, 10, 20, 50)"
    )
    assert artefact.command == (
        f"python -m imprint_sweep -m +experiment=fig6 model=efficientnet_lite0 task=digits paths.outputs={tmp_path}"
    )


def test_fig6_has_the_papers_line_below_ours_only_where_it_is_that_very_model_and_dataset(tmp_path: Path) -> None:
    results = write(tmp_path / "a", [*fig6_rows(RESNET18, "cifar10"), *fig6_rows(RESNET18, "mnist")])
    table = table_of(make("fig6", results))
    assert [column.title for column in table.columns][:4] == ["model", "dataset", "GEN", "by"]
    by_line = {tuple(row[1:4]): row[4:] for row in rows(table)}
    paper = [0.752, None, None, 0.7689, 0.7856, 0.796, 0.806, 0.813, None]
    assert by_line["cifar10", "k-means", "paper"] == [
        None if value is None else pytest.approx(value) for value in paper
    ]
    assert by_line["cifar10", "all", "paper"][-1] == pytest.approx(0.807)
    assert by_line["cifar10", "k-means", "ours"][0] == 0.6
    assert ("cifar10", "k-medoids", "paper") not in by_line  # nothing of ours to stand beside
    assert ("mnist", "k-means", "paper") not in by_line

    smaller = Model("resnet18", "IMAGENET1K_V1", 112)
    table = table_of(make("fig6", write(tmp_path / "b", fig6_rows(smaller, "cifar10"))))
    assert "by" not in [column.title for column in table.columns]


def test_fig6_leaves_out_what_has_a_few_of_its_points_from_elsewhere(tmp_path: Path) -> None:
    # As the joined digits of section 5.3, which have k-means alone.
    few = scores(LITE0, MNIST, same(1), gen="kmeans", k=5, **L2)
    artefact = make("fig6", write(tmp_path, [*fig6_rows(), *few]))
    assert artefact.basis.endswith("Not shown, lacking a third of it or more: efficientnet_lite0 on mnist.")
    assert [panel.title for panel in chart_of(artefact).panels] == ["efficientnet_lite0 on digits"]
    # Alone it is what there is to see.
    alone = make("fig6", write(tmp_path / "alone", few))
    assert [panel.title for panel in chart_of(alone).panels] == ["efficientnet_lite0 on mnist"]


# Panels


def test_panels_are_a_row_per_dataset_where_every_model_has_all(tmp_path: Path) -> None:
    pairs = [(LITE0, "mnist"), (LITE0, "digits"), (RESNET18, "mnist"), (RESNET18, "digits")]
    full = chart_of(make("fig6", write(tmp_path / "a", [s for pair in pairs for s in fig6_rows(*pair)])))
    assert [panel.title for panel in full.panels] == [
        "efficientnet_lite0 on digits", "resnet18 on digits", "efficientnet_lite0 on mnist", "resnet18 on mnist",
    ]  # fmt: skip
    assert (full.columns, full.share_y) == (2, "row")
    partial = chart_of(make("fig6", write(tmp_path / "b", [s for pair in pairs[:3] for s in fig6_rows(*pair)])))
    assert len(partial.panels) == 3
    assert (partial.columns, partial.share_y) == (3, "all")


# Figs 10, A.4


def shots_rows() -> list[Score]:
    """k = n, k = 1, 5 and 20 with n = 2, 10 and all; above n, k is n."""
    spread = {seed: 500 + 10 * place for place, seed in enumerate(FEW_SEEDS)}
    few = FEW_SEEDS
    return [
        *scores(LITE0, MNIST, spread, gen="all", n_shot=2, **L2),
        *scores(LITE0, MNIST, same(450, few), gen="kmeans", k=1, n_shot=2, **L2),
        *scores(LITE0, MNIST, spread, gen="kmeans", k=2, n_shot=2, **L2),
        *scores(LITE0, MNIST, same(700, few), gen="all", n_shot=10, **L2),
        *scores(LITE0, MNIST, same(600, few), gen="kmeans", k=1, n_shot=10, **L2),
        *scores(LITE0, MNIST, same(800, few), gen="kmeans", k=5, n_shot=10, **L2),
        *scores(LITE0, MNIST, same(700, few), gen="kmeans", k=10, n_shot=10, **L2),
        *scores(LITE0, MNIST, same(900, few), gen="all", **L2),
        *scores(LITE0, MNIST, same(910, few), gen="kmeans", k=20, **L2),
    ]


def test_fig10_is_the_median_over_seeds_with_standard_errors(tmp_path: Path) -> None:
    chart = chart_of(make("fig10", write(tmp_path, shots_rows())))
    assert chart.x_scale == "log"
    drawn = lines(chart)
    assert list(drawn) == ["k = n", "k = 1", "k = 5", "k = 20"]
    assert {label: line.y.tolist() for label, line in drawn.items()} == {
        "k = n": [52, 70], "k = 1": [45, 60], "k = 5": [52, 80], "k = 20": [52, 70],
    }  # fmt: skip
    assert drawn["k = 20"].x.tolist() == [2, 10]
    low, high = drawn["k = n"].low, drawn["k = n"].high
    assert low is not None
    assert high is not None
    # 1.96 sd / sqrt(5), with the standard error from SciPy.
    half = 1.96 * stats.sem([50, 51, 52, 53, 54])
    np.testing.assert_allclose([low[0], high[0]], [52 - half, 52 + half])
    np.testing.assert_allclose([low[1], high[1]], [70, 70])


def test_fig10_tabulates_also_what_has_no_place_on_a_log_axis(tmp_path: Path) -> None:
    artefact = make("fig10", write(tmp_path, shots_rows()))
    shown = rows(table_of(artefact))
    assert [row[2] for row in shown] == [2, 10, "all"]
    assert shown[2][3:] == [0.9, 0, None, None, None, None, 0.91, 0]
    crossings = table_of(artefact, "fig10_crossings")
    assert [column.title for column in crossings.columns][2:] == [
        "k = 5 above k = 1", "k = 5 above k = n", "k = 20 above k = 1", "k = 20 above k = n",
    ]  # fmt: skip
    assert rows(crossings) == [["efficientnet_lite0", "mnist", 2, 10, 2, None]]


def test_fig10_with_one_seed_has_no_standard_error(tmp_path: Path) -> None:
    artefact = make("fig10", write(tmp_path, shots_rows()), Options(seeds=FEW_SEEDS[:1]))
    line = lines(chart_of(artefact))["k = n"]
    assert (line.low, line.high) == (None, None)
    assert line.y.tolist() == [50, 70]
    assert artefact.basis == "1 model and 1 dataset; 1 seed of the paper's 5."


def test_other_k_than_those_of_the_figure_are_no_lines(tmp_path: Path) -> None:
    found = make("fig10", write(tmp_path, scores(LITE0, MNIST, {1: 500}, gen="kmeans", k=7, n_shot=10, **L2)))
    assert found.figures == ()


def test_fig_a4_is_a_part_of_it(tmp_path: Path) -> None:
    artefact = make("figA4", write(tmp_path, shots_rows()))
    assert lines(chart_of(artefact))["k = 5"].x.tolist() == [10]
    assert len(artefact.tables) == 1


def test_own_seeds_are_said_to_be_own(tmp_path: Path) -> None:
    found = make("fig10", write(tmp_path, scores(LITE0, MNIST, {1: 500, 2: 600}, gen="all", n_shot=2, **L2)))
    assert found.basis == "1 model and 1 dataset; 2 seeds (not the paper's)."


def test_k_above_n_is_every_sample_whatever_it_was_asked_for_as(tmp_path: Path) -> None:
    """k-means with k = 20 of two samples, or any other generator with as many proxies, is what gen=all is."""
    few = FEW_SEEDS
    found = [
        *scores(LITE0, MNIST, same(300, few), gen="mean", n_shot=1, **L2),
        *scores(LITE0, MNIST, same(500, few[:2]), gen="kmeans", k=20, n_shot=2, **L2),
        *scores(LITE0, MNIST, same(500, few[1:3]), gen="fps", k=2, n_shot=2, **L2),
        *scores(LITE0, MNIST, same(500, few[3:]), gen="all", n_shot=2, **L2),
        *scores(LITE0, MNIST, same(450, few), gen="kmeans", k=1, n_shot=2, **L2),
        *scores(LITE0, MNIST, same(700, few), gen="kmeans", k=20, n_shot=10, **L2),
        *scores(LITE0, MNIST, same(650, few), gen="k_least_squares", k=20, n_shot=5, **L2),  # sees all classes
    ]
    artefact = make("fig10", write(tmp_path, found))
    drawn = lines(chart_of(artefact))
    assert {label: (line.x.tolist(), line.y.tolist()) for label, line in drawn.items()} == {
        "k = n": ([1, 2, 10], [30, 50, 70]),
        "k = 1": ([1, 2], [30, 45]),
        "k = 5": ([1, 2], [30, 50]),
        "k = 20": ([1, 2, 10], [30, 50, 70]),
    }
    # Nothing that is there is called missing, and every point stands on five seeds.
    assert artefact.missing[0].startswith("Missing are 38 of 48 points: ")
    assert "fewer than 5 seeds" not in " ".join(artefact.missing)


def counted_shots(outputs: Path, drawn: dict[int | None, int], **axes: object) -> Results:
    """Rows of every sample a proxy, with how many were drawn under each n."""
    with ResultStore(outputs / "results").writer(HERE) as writer:
        for place, (n, n_proxies) in enumerate(drawn.items()):
            for of, n_correct in scores(
                LITE0, MNIST, same(500 + place, FEW_SEEDS), gen="all", n_shot=n, **{**L2, **axes}
            ):
                computation = of.computation_id()
                outcome = Outcome(of, computation, FINGERPRINT, n_correct=n_correct, n_test=N_TEST, n_proxies=n_proxies)
                writer.add(outcome)
    return load(outputs)


def test_n_above_the_size_of_every_class_does_not_repeat_all(tmp_path: Path) -> None:
    """Ten classes of up to 130 samples: 200 shots and more are all samples, n = 100 is not all of the larger ones."""
    results = counted_shots(tmp_path, {50: 500, 100: 990, 200: 1257, 400: 1257, 600: 1257, None: 1257})
    artefact = make("fig10", results)
    assert lines(chart_of(artefact))["k = n"].x.tolist() == [50, 100]
    assert [row[2] for row in rows(table_of(artefact))] == [50, 100, "all"]
    assert artefact.basis.endswith(
        " Not shown, as no class has so many samples and all are drawn: efficientnet_lite0 on mnist from n = 200."
    )
    # n = 800 would be all samples again, so it is not missing: 7 n and 4 lines, of which two are there.
    assert artefact.missing[0].startswith("Missing are 26 of 28 points: ")
    assert "800" not in artefact.missing[0]


def test_the_first_n_of_every_sample_stays_where_nothing_without_a_limit_was_run(tmp_path: Path) -> None:
    artefact = make("fig10", counted_shots(tmp_path, {100: 990, 200: 1257, 400: 1257}))
    assert lines(chart_of(artefact))["k = n"].x.tolist() == [100, 200]
    assert "from n = 400" in artefact.basis
    # One n alone may be less than all.
    assert "Not shown, as" not in make("fig10", counted_shots(tmp_path / "one", {100: 990, 200: 1257})).basis


def test_the_size_of_classes_is_read_from_the_embeddings_where_rows_do_not_tell(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path / "embeddings")
    dataset = data.uneven()  # the largest class has 30
    data.write(cache, dataset)
    task_ = data.task(dataset)
    fingerprint = Features(cache, data.MODEL, None).recorded(task_)
    found = [
        (data.cell(task_, gen="kmeans", k=1, n_shot=n, seed=seed, **L2), 500)
        for n in (2, 20, 50, 100, None)
        for seed in FEW_SEEDS
    ]
    results = write(tmp_path, found, fingerprint)
    artefact = make("fig10", results)
    assert lines(chart_of(artefact))["k = 1"].x.tolist() == [2, 20]
    assert "toy on uneven from n = 50" in artefact.basis
    # Embeddings that the results are not of tell nothing.
    for path in cache.root.rglob("uneven-*"):
        path.unlink()
    assert lines(chart_of(make("fig10", results)))["k = 1"].x.tolist() == [2, 20, 50, 100]


# Figs 11b, A.6a, A.6b


def modes_rows(model: Model, source: str, **axes: object) -> list[Score]:
    """k = 1 and 3 on d = 2 (two remaps) and d = 3 (one), and on MNIST as it is."""
    found: list[Score] = []
    for k in (1, 3):
        found += scores(model, task(source, merge=2, remap=0), {MAIN_SEEDS[0]: 100, MAIN_SEEDS[1]: 400}, k=k, **axes)
        found += scores(model, task(source, merge=2, remap=1), same(600 + k, MAIN_SEEDS[:2]), k=k, **axes)
        found += scores(model, task(source, merge=3, remap=0), same(300, MAIN_SEEDS[:2]), k=k, **axes)
        found += scores(model, MNIST, {MAIN_SEEDS[0]: 700, MAIN_SEEDS[1]: 800}, k=k, **axes)
    return found


@pytest.mark.parametrize(
    ("name", "axes"),
    [
        ("fig11b", {"gen": "kmeans", **L2}),
        ("figA6a", {"gen": "kmeans", **NONE_L2}),
        ("figA6b", {"gen": "k_least_squares"}),
    ],
)
def test_over_k_lines_are_medians_over_seeds_and_then_means_over_remaps(
    name: str, axes: dict[str, object], tmp_path: Path
) -> None:
    others = [
        row
        for gen in ({"gen": "kmeans", **L2}, {"gen": "kmeans", **NONE_L2}, {"gen": "k_least_squares"})
        if gen != axes
        for row in scores(LITE0, MNIST, same(1), k=5, **gen)
    ]
    artefact = make(name, write(tmp_path, [*modes_rows(LITE0, "digits", **axes), *others]))
    chart = chart_of(artefact)
    assert [panel.title for panel in chart.panels] == ["efficientnet_lite0"]
    drawn = lines(chart)
    assert {label: line.y.tolist() for label, line in drawn.items()} == {
        # (25 + 60.1) / 2 and (25 + 60.3) / 2
        "d = 2": pytest.approx([42.55, 42.65]), "d = 3": pytest.approx([30, 30]), "mnist": pytest.approx([75, 75]),
    }  # fmt: skip
    assert [line.style for line in drawn.values()] == ["solid", "solid", "dashed"]
    assert [line.colour for line in drawn.values()] == ["order:1/2", "order:2/2", "dataset:mnist"]
    assert artefact.basis == "1 model and 2 datasets; 2 values of d with 2 remaps; 2 seeds of the paper's 3."
    assert "2 of 4 points stand on fewer remaps than others." in artefact.missing
    shown = [row[:3] + row[3:6] for row in rows(table_of(artefact))]
    assert shown == [
        ["efficientnet_lite0", "digits", 2, pytest.approx(0.4255), None, pytest.approx(0.4265)],
        ["efficientnet_lite0", "digits", 3, 0.3, None, 0.3],
        ["efficientnet_lite0", "mnist", None, 0.75, None, 0.75],
    ]


def uneven(*scores: int) -> dict[int, int]:
    return dict(zip(MAIN_SEEDS, scores, strict=True))


@pytest.mark.parametrize(
    ("name", "axes"),
    [
        ("fig11b", {"gen": "kmeans", **L2}),
        ("figA6a", {"gen": "kmeans", **NONE_L2}),
        ("figA6b", {"gen": "k_least_squares"}),
    ],
)
def test_of_three_seeds_the_median_counts_and_not_their_mean(
    name: str, axes: dict[str, object], tmp_path: Path
) -> None:
    found = [
        *scores(RESNET18, task("imagenet", merge=2, remap=0), uneven(100, 200, 900), k=3, **axes),
        *scores(RESNET18, task("imagenet", merge=2, remap=1), uneven(800, 500, 600), k=3, **axes),
        *scores(RESNET18, MNIST, uneven(990, 980, 100), k=3, **axes),
    ]
    artefact = make(name, write(tmp_path, found))
    drawn = lines(chart_of(artefact))
    assert {label: line.y.tolist() for label, line in drawn.items()} == {"d = 2": [40], "mnist": [98]}
    assert "median over seeds" in artefact.caption
    assert "mean over seeds" not in artefact.caption


def test_classes_of_several_datasets_have_panels_of_their_own(tmp_path: Path) -> None:
    axes = {"gen": "kmeans", **L2}
    found = [*modes_rows(LITE0, "digits", **axes), *modes_rows(LITE0, "imagenet", **axes)]
    found += [row for k in (1, 3) for row in scores(RESNET18, MNIST, same(1), k=k, **axes)]
    chart = chart_of(make("fig11b", write(tmp_path, found)))
    assert [panel.title for panel in chart.panels] == [
        "efficientnet_lite0, classes of digits", "efficientnet_lite0, classes of imagenet", "resnet18",
    ]  # fmt: skip
    assert [line.label for line in chart.panels[1].series] == ["d = 2", "d = 3", "mnist"]
    assert [line.label for line in chart.panels[2].series] == ["mnist"]


def test_fig11b_has_the_papers_lines_below_ours(tmp_path: Path) -> None:
    results = write(tmp_path, modes_rows(RESNET18, "imagenet", gen="kmeans", **L2))
    shown = {tuple(row[1:4]): row[4:] for row in rows(table_of(make("fig11b", results)))}
    assert list(shown) == [
        ("imagenet", 2, "ours"), ("imagenet", 2, "paper"), ("imagenet", 3, "ours"), ("imagenet", 3, "paper"),
        ("mnist", None, "ours"), ("mnist", None, "paper"),
    ]  # fmt: skip
    assert shown["imagenet", 2, "paper"][:4] == pytest.approx([0.8521, 0.9106, 0.9012, 0.9049])
    assert len(shown["imagenet", 2, "paper"]) == 15


def test_without_merged_classes_the_command_merges_as_many_as_leave_two_labels(tmp_path: Path) -> None:
    artefact = make("fig11b", write(tmp_path, scores(LITE0, FASHION, same(1), gen="kmeans", k=5, **L2)))
    assert 'The results hold no "d in 1" tasks.' in artefact.missing
    assert artefact.command is not None
    assert "+experiment=collapse_imagenet 'task.merge=range(1,6)' model=efficientnet_lite0" in artefact.command
    hundred = write(tmp_path / "b", scores(LITE0, task("imagenet"), same(1), gen="kmeans", k=5, **L2))
    assert "'task.merge=range(1,11)'" in str(make("fig11b", hundred).command)


# Fig. A.7


def test_fig_a7_takes_the_k_that_is_best_over_all_remaps(tmp_path: Path) -> None:
    def of(gen: str, k: int, *by_remap: int, **axes: object) -> list[Score]:
        return [
            row
            for remap, score in enumerate(by_remap)
            for row in scores(RESNET18, task("imagenet", merge=2, remap=remap), same(score), gen=gen, k=k, **axes)
        ]

    found = [
        *of("kmeans", 1, 500, 500, **L2),
        *of("kmeans", 2, 800, 600, **L2),
        *of("kmeans", 3, 900, 100, **L2),  # best on the first remap only
        *of("k_least_squares", 1, 700, 900),
        *of("k_least_squares", 2, 600, 900),
    ]
    artefact = make("figA7", write(tmp_path, found))
    drawn = lines(chart_of(artefact))
    assert {label: (line.x.tolist(), line.y.tolist()) for label, line in drawn.items()} == {
        "mean": ([2], [50]),
        "k-means, best k": ([2], [70]),
        "least squares": ([2], [80]),
        "k-least-squares, best k": ([2], [80]),
    }
    table = table_of(artefact)
    assert [column.title for column in table.columns] == [
        "model", "dataset", "d", "mean", "k-means", "best k", "least squares", "k-least-squares", "best k",
        "paper: least squares",
    ]  # fmt: skip
    (row,) = rows(table)
    assert row[:2] == ["resnet18", "imagenet"]
    assert row[2:] == pytest.approx([2, 0.5, 0.7, 2, 0.8, 0.8, 1, 0.921])


def test_fig_a7_is_the_median_over_seeds_which_decides_the_best_k(tmp_path: Path) -> None:
    of = [task("imagenet", merge=2, remap=remap) for remap in (0, 1)]
    found = [
        *scores(RESNET18, of[0], uneven(600, 600, 0), gen="kmeans", k=1, **L2),  # mean 400, median 600
        *scores(RESNET18, of[0], uneven(700, 700, 100), gen="kmeans", k=2, **L2),  # mean 500, median 700
        *scores(RESNET18, of[0], uneven(690, 690, 690), gen="kmeans", k=3, **L2),
        *scores(RESNET18, of[1], uneven(690, 690, 690), gen="kmeans", k=2, **L2),
        *scores(RESNET18, of[1], uneven(690, 690, 690), gen="kmeans", k=3, **L2),
    ]
    artefact = make("figA7", write(tmp_path, found))
    drawn = lines(chart_of(artefact))
    assert drawn["mean"].y.tolist() == [60]
    assert drawn["k-means, best k"].y.tolist() == pytest.approx([69.5])
    (row,) = rows(table_of(artefact))
    assert row[5] == 2
    assert "Median over seeds, then mean over remaps." in artefact.caption


@pytest.mark.parametrize("name", ["fig10", "figA4"])
def test_standard_errors_are_not_called_an_interval_of_95_percent(name: str, tmp_path: Path) -> None:
    artefact = make(name, write(tmp_path, shots_rows()))
    note = table_of(artefact).note
    assert "1.96 standard errors" in artefact.caption
    assert "± is 1.96 standard errors over the seeds (sd / √seeds)" in note
    assert "95 % interval" not in note
    assert "less than 95 %" in note


# What all have in common


NAMES = ("fig6", "fig10", "figA4", "fig11b", "figA6a", "figA6b", "figA7")


@pytest.mark.parametrize("name", NAMES)
def test_results_of_something_else_give_a_sentence_and_a_command(name: str, tmp_path: Path) -> None:
    artefact = make(name, write(tmp_path, scores(LITE0, MNIST, {0: 1}, gen="mean", agg="mnn", m=1,
                                                 metric="euclidean", weighting="uniform")))  # fmt: skip
    assert (artefact.tables, artefact.figures, artefact.basis) == ((), (), "")
    assert artefact.missing[0].startswith("The results hold nothing for it; it needs ")
    assert str(artefact.command).startswith("python -m imprint_sweep -m +experiment=")


@pytest.mark.parametrize("name", ["fig6", "fig10", "fig11b", "figA6b", "figA7"])
def test_the_command_computes_what_is_missing(name: str, tmp_path: Path) -> None:
    first = make(name, write(tmp_path, scores(LITE0, task("digits"), {0: 1}, gen="cov_max", n_shot=5)))
    assert first.figures == ()
    then = make(name, filled(tmp_path, first.command))
    assert then.figures
    assert (then.missing, then.command) == ((), None)


@pytest.mark.parametrize("name", NAMES)
def test_quick_tries_do_not_count(name: str, tmp_path: Path) -> None:
    limited = [
        (replace(cell, task=replace(cell.task, limit=100)), score) for cell, score in [*fig6_rows(), *shots_rows()]
    ]
    assert make(name, write(tmp_path, limited)).figures == ()


def test_every_number_of_a_chart_is_finite(tmp_path: Path) -> None:
    results: Results = write(tmp_path, [*fig6_rows(), *shots_rows(), *modes_rows(LITE0, "digits", gen="kmeans", **L2)])
    for name in NAMES:
        for figure in make(name, results).figures:
            assert isinstance(figure, Chart)
            for panel in figure.panels:
                assert panel.series
                for series in panel.series:
                    assert len(series.x) == len(series.y) > 0
                    assert all(map(math.isfinite, series.y))
