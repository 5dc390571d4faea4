"""Which rows count, what a complete matrix holds, and that nothing is left out without a word."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from imprint_sweep.analysis.data import names
from imprint_sweep.analysis.data.results import SCHEME
from imprint_sweep.analysis.data.selection import (
    FEW_SEEDS,
    MAIN_SEEDS,
    basis,
    complete,
    matrix,
    medians,
    seeds_of,
    select,
    under_one_name,
    universe,
)
from imprint_sweep.errors import UnknownOptionError
from imprint_sweep.grid.equalities import normal_form
from imprint_sweep.grid.scheme import Scheme
from tests.analysis.frames import frame, product, shuffled

KS = (1, 5, 20)
CLASSES = ("all", "even", "odd", "short")


def grid(**axes: Any) -> list[dict[str, Any]]:
    """k-means with three k on four instances under three seeds, with results that tell the rows apart."""
    numbers = itertools.count()

    def n_correct(**row: Any) -> int:
        return (next(numbers) * 37) % 101

    return product(n_correct, **{"classes": CLASSES, "gen": ["kmeans"], "k": KS, "seed": MAIN_SEEDS, **axes})


# --- rows -------------------------------------------------------------------------------------------------------------


def test_selecting_is_what_a_query_says() -> None:
    table = frame([*grid(), *product(gen=["mean", "all"], classes=CLASSES, seed=MAIN_SEEDS)])
    found = select(table, {"gen": ["kmeans", "mean"], "k": [None, 5]})
    expected = table[(table["gen"] == "mean") | ((table["gen"] == "kmeans") & (table["k"] == 5))]
    pd.testing.assert_frame_equal(found, expected)
    assert len(select(table, {"k": range(2, 10)})) == len(CLASSES) * len(MAIN_SEEDS)
    assert len(select(table, {})) == len(table)
    assert select(table, {"k": [7]}).empty


def test_one_of_several_blocks_must_fit() -> None:
    table = frame([*grid(), *product(gen=["mean", "all"])])
    found = select(table, [{"gen": ["mean"]}, {"k": [20], "classes": ["odd"]}, {"k": [20], "gen": ["kmeans"]}])
    assert found["gen"].tolist() == ["kmeans"] * 12 + ["mean"]
    assert set(found["k"].dropna()) == {20}
    assert select(table, []).empty


def test_a_column_that_does_not_exist_is_refused_by_name() -> None:
    with pytest.raises(UnknownOptionError, match="unknown column 'gene'; did you mean gen"):
        select(frame(grid()), {"gene": ["kmeans"]})


def test_seeds_are_the_papers_else_those_there_are_else_what_was_asked_for() -> None:
    def seeds(*numbers: int, **options: Any) -> tuple[int, ...]:
        return seeds_of(frame(product(seed=numbers)), **options)

    assert seeds(*MAIN_SEEDS[::-1], 0) == MAIN_SEEDS
    assert seeds(MAIN_SEEDS[1], 0, 1) == MAIN_SEEDS[1:2]
    assert seeds(3, 0, 1) == (0, 1, 3)
    assert seeds(*FEW_SEEDS, preferred=FEW_SEEDS) == FEW_SEEDS
    assert seeds(*MAIN_SEEDS, 7, given=[7, 8, 7]) == (7,)
    assert seeds(*MAIN_SEEDS, given=[8]) == ()


def test_what_goes_by_one_name_is_equal_by_construction() -> None:
    axes: dict[str, list[Any]] = {
        "gen": ["mean", "kmeans", "least_squares", "k_least_squares", "kmedoids"],
        "k": [1, 2],
        "agg": ["max", "mnn"],
        "m": [1, 2],
        "weighting": ["uniform", "inverse_distance"],
    }
    schemes = [
        Scheme.create(**dict(zip(axes, values, strict=True)), metric="euclidean", weight_decay=0.1)
        for values in itertools.product(*axes.values())
    ]
    named = under_one_name(frame([{axis: getattr(scheme, axis) for axis in SCHEME} for scheme in schemes]))
    name = named.groupby(list(SCHEME), observed=True, dropna=False).ngroup()
    of_name: dict[int, set[Scheme]] = {}
    for number, scheme in zip(name, schemes, strict=True):
        of_name.setdefault(number, set()).add(normal_form(scheme, 10))
    assert all(len(forms) == 1 for forms in of_name.values())
    assert len(of_name) < len(set(schemes))


def test_one_name_for_what_the_paper_calls_by_several() -> None:
    rows = product(gen=["kmeans", "k_least_squares", "kmedoids"], k=[1, 2])
    rows += product(agg=["mnn"], m=[1, 3], weighting=["uniform", "inverse_distance"])
    table = frame(rows)
    named = under_one_name(table)
    assert named["gen"].tolist()[:6] == ["mean", "kmeans", "least_squares", "k_least_squares", "kmedoids", "kmedoids"]
    assert named["k"].isna().tolist()[:6] == [True, False, True, False, False, False]
    assert named["weighting"].isna().tolist()[6:] == [True, True, False, False]
    assert table["gen"].tolist()[:2] == ["kmeans", "kmeans"]  # the frame that came in stays as it is


def test_a_few_cells_under_the_papers_seeds_do_not_hide_a_sweep_under_others() -> None:
    demo, sweep = product(seed=MAIN_SEEDS), product(seed=[0, 1], k=range(1, 4), gen=["kmeans"])
    assert seeds_of(frame([*demo, *sweep])) == (0, 1)
    assert seeds_of(frame([*demo, *sweep[:2], *sweep[3:5]])) == MAIN_SEEDS


# --- complete matrices ------------------------------------------------------------------------------------------------


def test_a_matrix_holds_medians_over_the_seeds() -> None:
    table = frame(grid())
    found = matrix(table, {}, MAIN_SEEDS)
    expected = table.pivot_table("n_correct", "classes", "k", aggfunc="median", observed=True)
    assert found.n_correct.tolist() == expected.to_numpy().tolist()
    assert found.accuracy == pytest.approx(expected.to_numpy() / 100)
    assert found.instances["classes"].tolist() == list(CLASSES)
    assert found.configurations["k"].tolist() == list(KS)
    assert found.missing == ()
    assert found.elsewhere.empty
    assert found.complete


def test_a_median_of_two_seeds_may_be_a_half() -> None:
    rows = [{"seed": 0, "n_correct": 10}, {"seed": 1, "n_correct": 13}]
    assert matrix(frame(rows), {}, [0, 1]).n_correct.tolist() == [[11.5]]


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_rows_does_not_matter(seed: int) -> None:
    table = frame(grid())[:-5]
    one, other = matrix(table, {}, MAIN_SEEDS), matrix(shuffled(table, seed), {}, MAIN_SEEDS)
    assert one.n_correct.tolist() == other.n_correct.tolist()
    pd.testing.assert_frame_equal(one.instances, other.instances)
    pd.testing.assert_frame_equal(one.configurations, other.configurations)
    assert one.missing == other.missing


def test_an_instance_that_lacks_one_cell_is_dropped_and_named() -> None:
    table = frame(grid())
    gone = (table["classes"] == "odd") & (table["k"] == 5) & (table["seed"] == MAIN_SEEDS[2])
    found = matrix(table[~gone], {}, MAIN_SEEDS)
    assert found.instances["classes"].tolist() == ["all", "even", "short"]
    assert found.configurations["k"].tolist() == list(KS)
    # One of three is a third: as far as anyone can tell the instance belongs elsewhere.
    assert names.instances(found.elsewhere) == ["net on digits, odd"]
    more = matrix(frame(grid(k=range(1, 11)))[~gone.reindex(range(120), fill_value=False)], {}, MAIN_SEEDS)
    assert more.missing == ("1 of 4 instances left out: net on digits, all (lacks 1 configuration).",)
    assert not more.complete


def test_a_configuration_that_half_of_the_instances_lack_is_left_out_and_named() -> None:
    table = frame(grid())
    found = matrix(table[~((table["k"] == 20) & table["classes"].isin(["odd", "short"]))], {}, MAIN_SEEDS)
    assert found.instances["classes"].tolist() == list(CLASSES)
    assert found.configurations["k"].tolist() == [1, 5]
    (sentence,) = found.missing
    assert sentence == (
        "1 of 3 configurations left out, lacking on half of the instances or more: k-means, k = 20 · l2/l2/l2 · max."
    )
    assert not found.complete


def test_a_sweep_that_has_just_begun_shows_the_instance_that_is_done() -> None:
    table = frame(grid(k=range(1, 21)))
    begun = (table["classes"] == "all") | (table["k"] == 1)
    found = matrix(table[begun], {}, MAIN_SEEDS)
    assert found.instances["classes"].tolist() == ["all"]
    assert len(found.configurations) == 20
    assert found.elsewhere["classes"].tolist() == ["even", "odd", "short"]
    assert basis(found).endswith(" Not compared here: 3 instances lacking a third of it or more (digits).")


def test_a_seed_that_has_just_begun_is_left_out_and_named() -> None:
    table = frame(grid())
    begun = (table["seed"] != MAIN_SEEDS[2]) | (table["classes"] == "all")
    found = matrix(table[begun], {}, MAIN_SEEDS)
    assert found.seeds == MAIN_SEEDS[:2]
    assert found.n_correct.shape == (4, 3)
    assert found.missing == (f"Seed {MAIN_SEEDS[2]} left out: less than half of what another seed covers.",)


def test_instances_without_any_row_of_the_slice_are_elsewhere_unless_the_slice_rules_them_out() -> None:
    rows = [*grid(), {"task": "joined"}, {"task": "merged", "merge": 2, "remap": 0}]
    found = matrix(frame(rows), {"gen": ["kmeans"], "merge": [None]}, MAIN_SEEDS)
    assert names.instances(found.elsewhere) == ["net on joined, all"]
    assert found.missing == ()
    assert found.complete
    assert set(universe(frame(rows), {"gen": ["kmeans"], "merge": [None]})["task"]) == {"digits", "joined"}


def test_nothing_is_an_empty_matrix() -> None:
    found = matrix(frame(grid()), {"gen": ["fps"]}, MAIN_SEEDS)
    assert found.n_correct.shape == (0, 0)
    assert len(found.instances) == len(found.configurations) == 0
    assert not found.complete
    assert matrix(frame(grid()), {}, [99]).n_correct.shape == (0, 0)


def test_of_cells_that_differ_in_no_axis_the_newest_counts_and_that_is_said() -> None:
    rows = [{"gen": "least_squares", "weight_decay": decay, "n_correct": n} for decay, n in ((0.1, 70), (0.5, 60))]
    found = matrix(frame(rows), {}, MAIN_SEEDS[:1])
    assert found.n_correct.tolist() == [[60]]
    assert found.missing == (
        "Set aside are cells that a newer one differs from in weight decay or class lists alone: 1.",
    )
    equal = matrix(frame([rows[0], {**rows[1], "n_correct": 70}]), {}, MAIN_SEEDS[:1])
    assert equal.missing == ()


@given(arrays.arrays(np.bool_, st.tuples(st.integers(1, 8), st.integers(1, 8))))
@example(np.array([[0, 1, 0], [0, 1, 1], [1, 1, 0], [1, 1, 0], [0, 1, 1], [0, 1, 1]], np.bool_))
def test_what_is_kept_lacks_nothing_and_what_lacks_nothing_is_kept(lacking: NDArray[np.bool_]) -> None:
    rows, columns = complete(lacking)
    assert not lacking[np.ix_(rows, columns)].any()
    assert rows.any() == columns.any()
    if not lacking.any():
        assert rows.all()
        assert columns.all()
    if rows.any():
        # Nothing left out could come back without lacking something.
        assert all(lacking[row][columns].any() for row in np.flatnonzero(~rows))


@given(arrays.arrays(np.bool_, st.tuples(st.integers(1, 8), st.integers(1, 8))))
def test_a_configuration_goes_only_where_half_lack_it(lacking: NDArray[np.bool_]) -> None:
    if (lacking.mean(axis=0) < 0.5).all() and lacking.sum() == lacking.any(axis=1).sum() == 1:
        assert complete(lacking)[1].all()


# --- medians for curves -----------------------------------------------------------------------------------------------


def test_medians_in_long_form_are_what_numpy_says() -> None:
    table = frame(grid())
    found, said = medians(table, ["classes", "k"], MAIN_SEEDS)
    assert said == ()
    assert len(found) == 12
    for row in found.itertuples():
        accuracy = table[(table["classes"] == row.classes) & (table["k"] == row.k)]["accuracy"].to_numpy()
        assert row.accuracy_median == np.median(accuracy)
        assert row.accuracy_mean == pytest.approx(np.mean(accuracy))
        assert row.accuracy_std == pytest.approx(np.std(accuracy, ddof=1))
        assert row.seeds == 3


def test_a_point_on_fewer_seeds_is_shown_and_said() -> None:
    table = frame(grid())
    found, said = medians(table[~((table["seed"] != MAIN_SEEDS[0]) & (table["k"] == 5))], ["classes", "k"], MAIN_SEEDS)
    assert found["seeds"].tolist() == [3, 1, 3] * 4
    assert found["accuracy_std"].isna().tolist() == [False, True, False] * 4
    assert said == ("4 of 12 points stand on fewer than 3 seeds.",)


def test_groups_that_mix_cells_are_refused() -> None:
    with pytest.raises(ValueError, match="groups by k mix rows that differ in classes"):
        medians(frame(grid()), ["k"], MAIN_SEEDS)


# --- sentences --------------------------------------------------------------------------------------------------------


def test_the_basis_counts_and_names() -> None:
    found = matrix(frame(grid(model=["b", "a"])), {}, MAIN_SEEDS)
    assert basis(found) == (
        "8 instances (a and b on digits), 3 configurations; the median over the seeds 17121997, 123987 and 12412312."
    )
    other = matrix(frame(grid(seed=[0], k=[1], classes=["all"])), {}, [0])
    assert basis(other) == "1 instance (net on digits), 1 configuration; the one seed 0 (not the paper's)."
    two = matrix(frame(grid(seed=MAIN_SEEDS[:2])), {}, MAIN_SEEDS[:2])
    assert basis(two).endswith("the median over the seeds 17121997 and 123987, of the paper's 3.")


def test_instances_are_named_by_what_tells_them_apart() -> None:
    found = matrix(frame(grid(image_size=[112, None], classes=["all"])), {}, MAIN_SEEDS)
    assert names.instances(found.instances) == ["net on digits, all, image size 112", "net on digits, all"]
    merged = matrix(frame(grid(merge=[2], remap=[0], classes=["all"])), {}, MAIN_SEEDS)
    assert names.instances(merged.instances) == ["net on digits, all, merge 2, remap 0"]
