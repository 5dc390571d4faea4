"""The command that fills a gap asks for the models and tasks that the results have."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from imprint_sweep.analysis.data.filling import command
from imprint_sweep.config.composition import Tree
from tests.analysis.frames import product, results
from tests.sweeping import requested, tree_of


@pytest.fixture(scope="module")
def tree() -> Tree:
    return tree_of()


def asked_for(rows: list[dict[str, Any]], tree: Tree) -> tuple[set[tuple[Any, ...]], set[tuple[str, str]]]:
    """The models, and the tasks with their classes, that the command for some results asks for."""
    found = results(rows)
    models, tasks = set(), set()
    for line in command("gen=mean", found.frame, found, exactly=True).split(" && "):
        words = shlex.split(line)
        assert words[:4] == ["python", "-m", "imprint_sweep", "-m"]
        # Imported tasks name no labels: those of the embeddings, which nobody here has.
        labels = ["task.labels=[1,2]"] if "task=imported" in words else []
        request = requested(tree, *words[4:], *labels)
        assert request.invalid == {}
        models |= {(model.name, model.image_size) for model in request.models}
        tasks |= {(task.name, task.classes) for task in request.tasks}
    return models, tasks


@pytest.mark.parametrize(
    ("rows", "models"),
    [
        ({"model": ["efficientnet_lite0", "efficientnet_lite1"], "image_size": [112]},
         {("efficientnet_lite0", 112), ("efficientnet_lite1", 112)}),
        ({"model": ["resnet18", "vit_b_16"]}, {("resnet18", None), ("vit_b_16", None)}),
        ({"model": ["timm/resnet18.a1_in1k"], "weights": ["pretrained"]}, {("timm/resnet18.a1_in1k", None)}),
        ({"model": ["my net", "net-2"], "weights": ["imported"]}, {("my net", None), ("net-2", None)}),
    ],
)  # fmt: skip
def test_it_asks_for_the_models_and_tasks_of_the_results(
    rows: dict[str, Any], models: set[tuple[Any, ...]], tree: Tree
) -> None:
    table = product(**rows, task=["mnist", "digits"], classes=["all", "even"], seed=[0, 1])
    tasks = {(name, classes) for name in ("mnist", "digits") for classes in ("all", "even")}
    assert asked_for(table, tree) == (models, tasks)


def test_models_of_different_sizes_keep_theirs(tree: Tree) -> None:
    rows: list[dict[str, Any]] = [{"model": "efficientnet_lite0", "image_size": 96}, {"model": "resnet18"}]
    models, _ = asked_for(rows, tree)
    assert models == {("efficientnet_lite0", 96), ("resnet18", None)}


def test_it_asks_for_networks_and_for_imported_embeddings(tree: Tree) -> None:
    rows = [
        {"model": "resnet18", "task": "mnist", "classes": "all"},
        *product(model=["mine"], weights=["imported"], task=["a", "b"]),
    ]
    models, tasks = asked_for(rows, tree)
    assert models == {("mine", None), ("resnet18", None)}
    assert tasks == {("mnist", "all"), ("a", "all"), ("b", "all")}


def test_without_results_the_experiment_says_which() -> None:
    found = results([{}])
    line = "python -m imprint_sweep -m +experiment=fig2"
    assert command("+experiment=fig2", found.frame[:0], found) == line
