"""Class-incremental streams: which there are, their numbers, and what is told where some are missing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score

from imprint_sweep.analysis.artefact import Artefact, Chart, Options
from imprint_sweep.analysis.artefacts import make
from imprint_sweep.analysis.data import results
from imprint_sweep.analysis.data.results import Results
from imprint_sweep.analysis.data.streams import is_list, streams
from imprint_sweep.analysis.data.subset import subset
from imprint_sweep.analysis.stats.incremental import average, forgetting
from imprint_sweep.embeddings.cache import EmbeddingCache
from imprint_sweep.engine import EngineSettings, predictions, run
from imprint_sweep.grid.cell import Cell, Task
from imprint_sweep.grid.tasks import arrival, make_task
from imprint_sweep.store import Provenance, ResultStore
from tests import data
from tests.analysis.filled import filled
from tests.analysis.table import L2, LITE0, scores, task, write

ORDERS = range(5)


def steps(orders: Iterable[int], sizes: Iterable[int], classes: int = 10, name: str = "digits") -> list[Task]:
    """The tasks of streams."""
    return [make_task(name, [name], range(classes), order=r, seen=s) for r in orders for s in sizes]


# --- which streams there are -----------------------------------------------------------------------------------------


@given(st.integers(5, 30), st.integers(1, 4), st.lists(st.integers(0, 999), max_size=2))
def test_the_tasks_tell_the_streams(classes: int, increment: int, others: list[int]) -> None:
    sizes = [*range(increment, classes, increment), classes]
    found = streams(steps([*ORDERS, *others], sizes, classes))
    assert [stream.order for stream in found][:5] == [*ORDERS]
    for stream in found:
        assert stream.lacking == ()
        assert [len(step.seen) for step in stream.steps] == sizes
        arrived = [label for step in stream.steps for label in step.arrived]
        assert arrived == arrival(stream.steps[-1].seen, stream.order)


def test_selections_by_name_and_a_list_are_no_streams() -> None:
    named = [make_task("toy", ["toy"], range(n), name) for n in (2, 10) for name in ("even", "odd", "short", "all")]
    assert streams(named[:4]) == streams(named[4:]) == []
    assert streams([*named[4:], *steps([0], [4])]) == []
    assert streams([*named[4:], make_task("toy", ["toy"], range(10), [8, 7]), *steps([0], [4])]) == []


def test_a_stream_says_which_steps_it_lacks() -> None:
    some = [of for of in steps(ORDERS, range(2, 11, 2)) if of not in steps([3], [4, 6])]
    lacking = {stream.order: stream.lacking for stream in streams(some)}
    assert lacking == {0: (), 1: (), 2: (), 3: (4, 6), 4: ()}
    assert {stream.order for stream in streams(steps([0, 2], range(1, 11)))} == {0, 2}


def test_more_orders_count_as_far_as_they_are_complete() -> None:
    found = streams([*steps(range(8), range(2, 11, 2)), *steps([8], [2, 4, 10]), *steps([9], range(2, 11, 2))])
    assert [stream.order for stream in found] == [*range(8)]


def test_the_steps_of_other_sizes_that_few_orders_have_do_not_count() -> None:
    (first, *_) = streams([*steps(ORDERS, range(2, 11, 2)), *steps([0], range(1, 11))])
    assert [len(step.seen) for step in first.steps] == [2, 4, 6, 8, 10]


# --- their numbers ---------------------------------------------------------------------------------------------------


def test_forgetting_by_hand() -> None:
    correct = np.array([[8, 0, 0], [9, 5, 0], [6, 7, 10]])
    n_test = np.array([10.0, 20.0, 30.0])
    # 0.9 - 0.6 and 0.5 - 0.7.
    assert forgetting(correct, n_test) == pytest.approx((0.3 - 0.2) / 2)
    assert average(np.array([8.0, 14.0, 23.0]), n_test) == pytest.approx((0.8 + 0.7 + 23 / 30) / 3)
    assert np.isnan(forgetting(correct[:1, :1], n_test[:1]))


@given(st.lists(st.integers(1, 50), min_size=2, max_size=6), st.integers(0, 2**32))
def test_forgetting_is_bounded_and_vanishes_where_nothing_changes(sizes: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    correct = rng.integers(0, np.array(sizes) + 1, size=(len(sizes), len(sizes)))
    n_test = np.cumsum(sizes).astype(np.float64)
    assert -1 <= forgetting(correct, n_test) <= 1
    assert forgetting(np.broadcast_to(correct[:1], correct.shape), n_test) == 0
    worse = correct.copy()
    worse[-1] = 0
    assert forgetting(worse, n_test) >= forgetting(correct, n_test)
    above = correct + np.triu(np.full(correct.shape, 1000), 1)
    assert forgetting(above, n_test) == forgetting(correct, n_test)


BLOBS = data.blobs("stream", train_sizes=dict.fromkeys(range(7), 30), spread=0.5)
SIZES = (3, 5, 7)


@pytest.fixture(scope="module")
def cells() -> list[Cell]:
    """Streams of two methods."""
    tasks = list(dict.fromkeys(steps(ORDERS, SIZES, 7, "stream")))
    return [data.cell(of, gen="mean", **L2) for of in tasks] + [data.cell(of, gen="kmeans", k=5, **L2) for of in tasks]


def test_numbers_are_those_of_plain_predictions(cells: list[Cell], tmp_path: Path) -> None:
    test = data.Split(BLOBS.test.features, BLOBS.test.labels)
    keep = np.flatnonzero((test.labels != 4) | (np.cumsum(test.labels == 4) < 6))  # classes of several sizes
    uneven = data.Dataset("stream", BLOBS.train, data.Split(test.features[keep], test.labels[keep]))
    cache = EmbeddingCache(tmp_path / "embeddings")
    data.write(cache, uneven)
    settings = EngineSettings(proxy_cache=None)
    with ResultStore(tmp_path / "results").writer(Provenance("1.0.0", None, "host")) as writer:
        for outcome in run(cells, cache, settings):
            writer.add(outcome)
    artefact = make("incremental", results.load(tmp_path))
    shown = artefact.tables[0].frame.set_index("method")
    spread = artefact.tables[1].frame.set_index("method")
    for method, gen in (("Mean", "mean"), ("k-means, k = 5", "kmeans")):
        mine = {cell.task: cell for cell in cells if cell.scheme.gen == gen}
        by_order = [
            by_hand([mine[of] for of in steps([r], SIZES, 7, "stream")], arrival(range(7), r), uneven, cache)
            for r in ORDERS
        ]
        averages, last, forgot = np.array(by_order).T
        assert len(set(last)) == 1
        expected = averages.mean(), last[0], forgot.mean()
        of_method = shown.loc[method, ["stream average", "stream last", "stream forgetting"]]
        assert list(of_method) == pytest.approx(expected)
        assert spread.loc[method, "average ±"] == pytest.approx(averages.std(ddof=1))
        assert spread.loc[method, "forgetting ±"] == pytest.approx(forgot.std(ddof=1))
        assert list(spread.loc[method, ["orders", "steps", "classes"]]) == [5, 3, 7]


def by_hand(
    stream: Sequence[Cell], arrived: list[int], dataset: data.Dataset, cache: EmbeddingCache
) -> tuple[float, float, float]:
    """Average and last accuracy and forgetting of a stream, from predictions."""
    groups = [arrived[before:size] for before, size in pairwise((0, *SIZES))]
    accuracies, of_groups = [], []
    for cell in stream:
        classes = [label[0][1] for label in cell.task.labels]
        true = np.concatenate([np.full(int((dataset.test.labels == number).sum()), number) for number in classes])
        predicted = np.array(classes)[predictions(cell, cache, EngineSettings(proxy_cache=None))]
        accuracies.append(accuracy_score(true, predicted))
        of_groups.append(
            [
                accuracy_score(true[np.isin(true, group)], predicted[np.isin(true, group)])
                for group in groups
                if set(group) <= set(classes)
            ]
        )
    fell = [max(of[j] for of in of_groups[j:-1]) - of_groups[-1][j] for j in range(len(groups) - 1)]
    return float(np.mean(accuracies)), accuracies[-1], float(np.mean(fell))


# --- what is shown ---------------------------------------------------------------------------------------------------


def made_up(tmp_path: Path, tasks: Iterable[Task], seeds: Sequence[int] = (17121997,)) -> Results:
    """Two methods on some tasks."""
    found = []
    for of in dict.fromkeys(tasks):
        score = 990 - 20 * len(of.labels)
        found += scores(LITE0, of, {seed: score + place for place, seed in enumerate(seeds)}, gen="mean", **L2)
        found += scores(LITE0, of, dict.fromkeys(seeds, score + 30), gen="kmeans", k=20, **L2)
    return write(tmp_path, found)


def made(found: Results) -> Artefact:
    return make("incremental", found, Options())


def test_lines_are_means_over_orders_of_medians_over_seeds(tmp_path: Path) -> None:
    artefact = made(made_up(tmp_path, steps(ORDERS, range(2, 11, 2)), seeds=(17121997, 123987, 12412312)))
    (chart,) = artefact.figures
    assert isinstance(chart, Chart)
    (panel,) = chart.panels
    assert panel.title == "efficientnet_lite0 on digits"
    lines = {series.label: (series.x.tolist(), series.y.tolist()) for series in panel.series}
    x = [2, 4, 6, 8, 10]
    assert lines["Mean"] == (x, pytest.approx([95.1, 91.1, 87.1, 83.1, 79.1]))
    assert lines["k-means, k = 20"] == (x, pytest.approx([98, 94, 90, 86, 82]))
    assert artefact.basis == "1 model and 1 dataset; 5 orders of 5 steps; 3 seeds."
    assert artefact.command == (
        "python -m imprint_sweep -m +experiment=incremental model=efficientnet_lite0 task=digits "
        f"paths.outputs={tmp_path}"
    )


def test_other_steps_are_asked_for_as_they_are(tmp_path: Path) -> None:
    artefact = made(made_up(tmp_path, steps(ORDERS, (5, 7, 10))))
    assert "+experiment=incremental task.seen=5,7,10 " in str(artefact.command)


def test_incomplete_orders_are_named_and_left_out(tmp_path: Path) -> None:
    some = [of for of in steps(ORDERS, range(2, 11, 2)) if of not in steps([3], [4, 6])]
    artefact = made(made_up(tmp_path, some))
    assert artefact.missing[0] == (
        "efficientnet_lite0 on digits: no results of steps, by classes seen: order 3 (4, 6)."
    )
    assert artefact.tables[1].frame["orders"].tolist() == [4, 4]


def test_a_method_that_lacks_steps_is_named(tmp_path: Path) -> None:
    found = scores(LITE0, steps([2], [4])[0], {17121997: 900}, gen="mean", **L2)
    rows = [*found]
    for of in dict.fromkeys(steps(ORDERS, range(2, 11, 2))):
        rows += scores(LITE0, of, {17121997: 900}, gen="kmeans", k=20, **L2)
        rows += scores(LITE0, of, {17121997: 900}, gen="kmeans", k=5, **L2) if of not in steps([1], [4]) else []
    artefact = made(write(tmp_path, rows))
    assert "some methods have fewer: k-means, k = 5 (4)." in artefact.missing[1]
    assert "no complete stream of Mean; k-NN" in artefact.missing[0]
    assert artefact.tables[1].frame["method"].tolist() == ["k-means, k = 5", "k-means, k = 20"]


def test_methods_of_ones_own_are_shown_beside_the_others(tmp_path: Path) -> None:
    rows = []
    for of in dict.fromkeys(steps(ORDERS, range(2, 11, 2))):
        rows += scores(LITE0, of, {17121997: 900}, gen="fps", k=5, **L2)
    artefact = made(write(tmp_path, rows))
    assert artefact.tables[0].frame["method"].tolist() == ["k-fps, k = 5 · l2/l2/l2 · max"]


def test_nothing_becomes_everything_by_its_command(tmp_path: Path) -> None:
    nothing = made(write(tmp_path, scores(LITE0, task("digits"), {0: 1}, gen="cov_max")))
    assert (nothing.tables, nothing.figures, nothing.basis) == ((), (), "")
    assert nothing.missing[0].startswith("The results hold nothing for it; it needs streams")
    then = made(filled(tmp_path, nothing.command))
    assert then.command is None
    assert len(then.tables[0].frame) == 8
    (unknown,) = then.missing  # these rows know of no label
    assert unknown.startswith("Forgetting is unknown where rows lack the correct predictions of each label")


def test_steps_are_no_tasks_of_other_comparisons(tmp_path: Path) -> None:
    whole = made_up(tmp_path, [task("digits"), task("digits", "even")])
    before = make("fig2", whole, Options())
    found = made_up(tmp_path, steps(ORDERS, range(2, 11, 2)))
    assert len(found.frame) == len(whole.frame)
    assert found.steps["classes"].map(is_list).all()
    assert found.notes[-1].startswith("Steps of class-incremental streams are no tasks of other comparisons: ")
    after = make("fig2", found, Options())
    assert after.basis == before.basis
    pd.testing.assert_frame_equal(after.tables[0].frame, before.tables[0].frame)


def test_a_condition_chooses_steps_as_well(tmp_path: Path) -> None:
    found = made_up(tmp_path, steps(ORDERS, range(2, 11, 2)))
    chosen = made(subset(found, "gen == kmeans"))
    assert chosen.tables[0].frame["method"].tolist() == ["k-means, k = 20"]


def test_quick_tries_and_merged_classes_are_no_streams(tmp_path: Path) -> None:
    found = made_up(tmp_path, [task("digits"), *(task("digits", merge=2, remap=remap) for remap in range(3))])
    assert found.streams == {}
    assert found.steps.empty
    assert made(found).figures == ()
