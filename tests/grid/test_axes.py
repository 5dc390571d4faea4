"""Each axis is declared once, and everything that a cell is made of is an axis."""

from __future__ import annotations

from dataclasses import fields

import pytest

from imprint_sweep.analysis.data.results import MODEL, SCHEME, TASK
from imprint_sweep.analysis.report.listing import COLUMNS as LISTED
from imprint_sweep.config.experiments import WORDS
from imprint_sweep.config.overrides import NUMBERS, axis_names
from imprint_sweep.grid.axes import AXES, Part, of_part
from imprint_sweep.grid.cell import Model, Task
from imprint_sweep.grid.scheme import Scheme
from imprint_sweep.imprinting.components import GENS
from imprint_sweep.store import table_schema


def test_names_and_columns_are_unique() -> None:
    assert len({axis.name for axis in AXES}) == len({axis.column for axis in AXES}) == len(AXES)


@pytest.mark.parametrize(("part", "kind"), [("model", Model), ("task", Task), ("scheme", Scheme)])
def test_every_field_of_a_cell_is_an_axis(part: Part, kind: type) -> None:
    # A component's own parameters are declared by the component.
    held = {field.name for field in fields(kind)} - {"parameters"}
    assert {axis.field for axis in of_part(part)} == held


def test_the_table_has_a_column_for_each_axis() -> None:
    found = {field.name: (str(field.type), field.nullable) for field in table_schema()}
    for axis in AXES:
        stored = "list<item: string>" if axis.stored == "strings" else axis.stored
        assert found[axis.column] == (stored, axis.nullable), axis.name


def test_the_command_line_knows_each_axis() -> None:
    assert {axis.name for axis in AXES} <= set(axis_names())
    assert set(NUMBERS) == {"k", "n_shot", "seed", "limit"}


def test_what_an_axis_depends_on_is_an_axis_that_can_leave_it_null() -> None:
    names = {axis.name for axis in AXES}
    for axis in AXES:
        if axis.depends_on is not None:
            assert axis.depends_on in names, axis.name
            assert axis.nullable, axis.name


def test_the_words_of_conditions_are_those_of_the_registries() -> None:
    assert set(WORDS["gen.name"]) == set(GENS)
    assert set(WORDS["norm.post"]) == {"l2", "none", "quantile"}
    assert "seed" not in WORDS


def test_the_columns_of_the_analysis() -> None:
    """Literally: comparisons, instances and the lists of old reports are told apart by them."""
    assert MODEL == ("model", "weights", "image_size", "precision")
    assert TASK == ("task", "classes", "merge", "remap", "limit")
    assert SCHEME == (
        "n_shot", "norm_pre", "gen", "k", "norm_post", "norm_inf", "agg", "metric", "m", "weighting",
        "select_rule", "select_max_k",
    )  # fmt: skip
    assert [column.title for column in LISTED] == [
        "model", "model.weights", "model.image_size", "model.precision", "task", "task.merge", "limit", "accuracy",
        "kind", "n_shot", "norm.pre", "gen", "k", "norm.post", "norm.inf", "agg", "agg.metric", "agg.m",
        "agg.weighting", "select.rule", "select.max_k", "model.weight_decay", "task.classes", "remaps", "seeds",
    ]  # fmt: skip
