"""Tasks: selections, joined datasets, "d in 1"."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imprint_sweep.errors import InvalidCellError, UnknownOptionError
from imprint_sweep.grid.cell import Task
from imprint_sweep.grid.tasks import arrival, make_task

PUBLISHED_FIRST_CLASSES = [214, 47, 528, 496, 723, 97, 532, 782, 412, 992]

class_sets = st.lists(st.integers(-1000, 1000), min_size=1, max_size=60, unique=True)


def first_classes(task: Task) -> list[int]:
    return [label[0][1] for label in task.labels]


def imagenet(merge: int, remap: int) -> Task:
    return make_task("imagenet", ["imagenet"], range(1000), sample=100, merge=merge, remap=remap)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("all", [1, 3, 5, 7, 8]), ("even", [1, 5, 8]), ("odd", [3, 7]), ("short", [1, 3, 5])],
)
def test_a_name_selects_by_position_in_the_sorted_classes(name: str, expected: list[int]) -> None:
    task = make_task("toy", ["toy"], [8, 1, 7, 3, 5], name)
    assert first_classes(task) == expected
    assert task.classes == name


@given(class_sets, st.sampled_from(["all", "even", "odd", "short"]))
def test_a_name_and_the_list_it_stands_for_are_the_same_task(classes: list[int], name: str) -> None:
    if name == "odd" and len(classes) == 1:
        classes = [*classes, classes[0] + 1]
    named = make_task("toy", ["toy"], classes, name)
    assert make_task("toy", ["toy"], classes, first_classes(named)) == named


def test_of_two_names_for_one_list_the_first_is_shown() -> None:
    assert make_task("toy", ["toy"], [4, 5, 6], "short").classes == "all"
    assert make_task("toy", ["toy"], [4], "even").classes == "all"


def test_a_list_keeps_its_order_and_is_shown() -> None:
    task = make_task("digits", ["digits"], range(10), [3, 1, 7])
    assert first_classes(task) == [3, 1, 7]
    assert task.classes == "3,1,7"
    assert task.fragment != make_task("digits", ["digits"], range(10), [1, 3, 7]).fragment


def test_a_label_of_joined_datasets_unites_the_class_of_each_in_order() -> None:
    task = make_task("combi_digits", ["mnist", "mnist_m", "usps", "svhn"], range(10), [6])
    assert task.labels == ((("mnist", 6), ("mnist_m", 6), ("usps", 6), ("svhn", 6)),)


def test_the_published_remap() -> None:
    assert first_classes(imagenet(1, 0)) == PUBLISHED_FIRST_CLASSES
    assert len(imagenet(1, 0).labels) == 10


def test_the_imagenet_task_is_about_the_sampled_classes_in_ascending_order() -> None:
    task = make_task("imagenet", ["imagenet"], range(1000), sample=100)
    assert len(task.labels) == 100
    assert first_classes(task) == sorted(first_classes(task))
    assert set(PUBLISHED_FIRST_CLASSES) < set(first_classes(task))
    # All remaps are about these classes and no others.
    assert {part[1] for label in imagenet(10, 7).labels for part in label} == set(first_classes(task))


def test_the_sample_by_name_and_as_a_list_is_remapped_alike() -> None:
    every = first_classes(make_task("imagenet", ["imagenet"], range(1000), sample=100))
    listed = make_task("imagenet", ["imagenet"], range(1000), every, sample=100, merge=2, remap=1)
    assert listed == imagenet(2, 1)


@pytest.mark.parametrize("remap", range(10))
def test_the_tasks_of_one_remap_are_nested(remap: int) -> None:
    for d in range(1, 10):
        for fewer, more in zip(imagenet(d, remap).labels, imagenet(d + 1, remap).labels, strict=True):
            assert more[:d] == fewer


def test_remaps_differ() -> None:
    assert len({imagenet(10, remap).fragment for remap in range(10)}) == 10


@given(class_sets, st.data())
def test_merging_on_any_dataset(classes: list[int], data: st.DataObject) -> None:
    d = data.draw(st.integers(1, len(classes)))
    task = make_task("toy", ["toy"], classes, merge=d, remap=data.draw(st.integers(0, 5)))
    assert len(task.labels) == min(10, len(classes) // d)
    parts = [part for label in task.labels for part in label]
    assert all(len(label) == d for label in task.labels)
    assert len(set(parts)) == len(parts)
    assert {value for _, value in parts} <= set(classes)


def test_two_in_one_and_five_in_one_on_ten_classes() -> None:
    # By hand: N = 10, so 5 labels with stride 2 and 2 labels with stride 5 cut up the same shuffled list.
    two, five = (make_task("digits", ["digits"], range(10), merge=d, remap=0) for d in (2, 5))
    assert [part for label in two.labels for part in label] == [part for label in five.labels for part in label]
    # Three in one: 3 labels with stride 3; the tenth class of the list is left out.
    three = make_task("digits", ["digits"], range(10), merge=3, remap=0)
    assert [len(label) for label in three.labels] == [3, 3, 3]
    assert [part for label in three.labels for part in label] == [part for label in two.labels for part in label][:9]


def test_merged_and_joined() -> None:
    task = make_task("pair", ["a", "b"], range(4), merge=2, remap=0)
    assert len(task.labels) == 2
    for label in task.labels:
        (_, first), _, (_, second), _ = label
        assert label == (("a", first), ("b", first), ("a", second), ("b", second))


def test_how_labels_came_about_is_identity_but_not_computation() -> None:
    merged = make_task("digits", ["digits"], range(10), merge=1, remap=0)
    listed = make_task("digits", ["digits"], range(10), first_classes(merged))
    assert merged.fragment != listed.fragment
    assert merged.computation_fragment == listed.computation_fragment


def test_a_remap_of_nothing_is_dropped() -> None:
    assert make_task("digits", ["digits"], range(10), remap=3) == make_task("digits", ["digits"], range(10))


def test_an_unknown_name_names_the_nearest() -> None:
    with pytest.raises(UnknownOptionError, match=r"did you mean even\?"):
        make_task("digits", ["digits"], range(10), "evn")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": [3, 99]}, "digits has no class 99; it has 0, 1, 2, 3, 4, 5, 6, 7, 8, 9"),
        ({"classes": []}, "task.classes is empty"),
        ({"classes": [3, 3]}, "listed twice"),
        ({"merge": 3}, "task.merge=3 needs task.remap"),
        ({"merge": 0, "remap": 0}, "task.merge must be 1 to 10"),
        ({"merge": 11, "remap": 0}, "task.merge must be 1 to 10"),
        ({"merge": 2, "remap": -1}, "task.remap must be 0 to 999"),
        ({"sample": 11}, "task.sample must be 1 to 10"),
        ({"limit": 0}, "limit must be at least 1, got 0"),
    ],
)
def test_what_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidCellError, match=message):
        make_task("digits", ["digits"], range(10), **arguments)  # type: ignore[arg-type]


def test_a_message_about_many_classes_stays_short() -> None:
    with pytest.raises(InvalidCellError) as caught:
        make_task("imagenet", ["imagenet"], range(1000), [1000])
    assert str(caught.value).endswith("it has 0, 1, 2, 3, 4, ..., 998, 999 (1000 classes)")


def steps(order: int | None, *seen: int, classes: str | list[int] = "all") -> list[Task]:
    return [make_task("toy", ["toy"], range(10), classes, order=order, seen=number) for number in seen]


@given(class_sets, st.integers(0, 999))
def test_each_step_of_a_stream_adds_the_next_class_of_its_order(classes: list[int], order: int) -> None:
    arrived = arrival(classes, order)
    assert sorted(arrived) == sorted(classes)
    for seen in range(1, len(classes) + 1):
        task = make_task("toy", ["toy"], classes, order=order, seen=seen)
        assert first_classes(task) == sorted(arrived[:seen])


def test_the_orders_of_ten_classes_stay_what_they_are() -> None:
    assert arrival(range(10), 0) == [7, 8, 1, 5, 3, 4, 2, 0, 9, 6]
    assert arrival(range(10), 1) == [6, 8, 9, 7, 5, 3, 0, 4, 1, 2]


def test_orders_that_have_seen_the_same_classes_share_the_task_and_the_last_step_is_no_stream() -> None:
    by_classes: dict[str, set[Task]] = {}
    for order in range(20):
        for task in steps(order, *range(1, 13)):
            by_classes.setdefault(task.classes, set()).add(task)
    assert max(map(len, by_classes.values())) == 1
    (last,) = by_classes["all"]
    assert last == make_task("toy", ["toy"], range(10))


def test_without_an_order_classes_arrive_as_they_are_listed() -> None:
    assert [task.classes for task in steps(None, 1, 2, 3, classes=[9, 3, 5])] == ["9", "3,9", "3,5,9"]
    assert [task.classes for task in steps(None, 2, 5, classes="even")] == ["0,2", "even"]


def test_an_order_without_a_stream_has_no_meaning() -> None:
    listed = make_task("toy", ["toy"], range(10), [3, 1, 7])
    assert make_task("toy", ["toy"], range(10), [3, 1, 7], order=4) == listed


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seen": 0}, "task.seen must be at least 1, got 0"),
        ({"seen": 2, "order": -1}, "task.order must be 0 to 999, got -1"),
        ({"seen": 2, "merge": 2, "remap": 0}, r"task.seen=2 .* task.merge=2 .* one or the other"),
    ],
)
def test_a_step_that_cannot_be(settings: dict[str, int], message: str) -> None:
    with pytest.raises(InvalidCellError, match=message):
        make_task("toy", ["toy"], range(10), **settings)  # type: ignore[arg-type]
