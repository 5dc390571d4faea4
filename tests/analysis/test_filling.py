"""The command that fills a gap asks for the models and tasks that the results have."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from imprint_sweep.analysis.data.filling import command
from imprint_sweep.config.composition import Tree
from tests.analysis.frames import frame, product
from tests.sweeping import requested, tree_of


@pytest.fixture(scope="module")
def tree() -> Tree:
    return tree_of()


@pytest.fixture(autouse=True)
def _without_the_comparison_with_hydra(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes seconds per experiment, and tests/config/test_composition.py makes it for every option."""
    monkeypatch.setattr("imprint_sweep.config.composition.CHECK_SECONDS", 0.0)


def asked_for(line: str, tree: Tree) -> tuple[set[tuple[Any, ...]], set[str]]:
    """The models and the tasks of a command line."""
    words = shlex.split(line)
    assert words[:4] == ["python", "-m", "imprint_sweep", "-m"]
    # Imported tasks name no labels: those of the embeddings, which nobody here has.
    labels = ["task.labels=[1,2]"] if "task=imported" in words else []
    request = requested(tree, *words[4:], *labels)
    assert request.invalid == {}
    return {(model.name, model.image_size) for model in request.models}, {task.name for task in request.tasks}


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
    table = frame(product(**rows, task=["mnist", "digits"], classes=["all", "even"], seed=[0, 1]))
    assert asked_for(command("gen=mean", table), tree) == (models, {"mnist", "digits"})


def test_models_of_different_sizes_keep_those_of_their_options(tree: Tree) -> None:
    rows: list[dict[str, Any]] = [{"model": "efficientnet_lite0", "image_size": 112}, {"model": "resnet18"}]
    models, _ = asked_for(command("gen=mean", frame(rows)), tree)
    assert models == {("efficientnet_lite0", 112), ("resnet18", None)}


def test_of_networks_and_imported_embeddings_it_asks_for_what_there_is_more_of(tree: Tree) -> None:
    rows = [
        {"model": "resnet18", "task": "mnist"},
        *product(model=["mine"], weights=["imported"], task=["a", "b"]),
    ]
    assert asked_for(command("gen=mean", frame(rows)), tree) == ({("mine", None)}, {"a", "b"})
    assert asked_for(command("gen=mean", frame(rows[:2])), tree) == ({("resnet18", None)}, {"mnist"})


def test_without_results_the_experiment_says_which() -> None:
    assert command("+experiment=fig2", frame([{}])[:0]) == "python -m imprint_sweep -m +experiment=fig2"
