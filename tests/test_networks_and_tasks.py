"""The paper's networks and tasks, from images to accuracies, through the commands that users type."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from imprint_sweep.config.overrides_of import cell_of
from imprint_sweep.embeddings.cache import SPLITS, EmbeddingCache, EntryKey, limited_indices
from imprint_sweep.extraction.datasets import read_split
from imprint_sweep.extraction.models.torchvision_models import DIMS, HEADS
from imprint_sweep.extraction.torchvision_operators import torchvision
from imprint_sweep.grid.cell import Model
from imprint_sweep.store.parts import read_parts
from tests import oracle
from tests.outputs import EMBED, IMPRINT, python
from tests.published import write_digit_sets

pytestmark = pytest.mark.slow

LITE0 = ("model=efficientnet_lite0", "model.image_size=32")
SMALL = Model("efficientnet_lite0", "IMAGENET1K", 32)
WEIGHT_DECAY = {"resnet18": 1e-4, "resnet50": 1e-4, "vit_b_16": 0.1, "swin_b": 0.05}
"""Table A.1."""


def rows(outputs: Path) -> list[dict[str, Any]]:
    """The results, in the order in which they came."""
    table = read_parts(outputs / "results").table.to_pylist()
    return sorted(table, key=lambda row: row["finished_at"])


def entries(outputs: Path) -> list[str]:
    return sorted(path.name for path in EmbeddingCache(outputs / "embeddings").paths())


def check_against_the_plain_oracle(outputs: Path, row: Mapping[str, Any]) -> None:
    cell = cell_of(row)
    cache = EmbeddingCache(outputs / "embeddings")
    train, test = (
        {name: cache.open(EntryKey(cell.model, name, split, cell.task.limit)) for name in cell.task.datasets}
        for split in SPLITS
    )
    found = oracle.run(cell, train, test)
    assert row["n_correct"] == found.n_correct


@pytest.mark.parametrize("name", HEADS)
def test_the_papers_networks_embed_real_images(name: str, tmp_path: Path, fashion_mnist: Path) -> None:
    """Random weights from a file, as nothing is downloaded here; oracle: the untouched network, fed by torchvision."""
    torch.manual_seed(0)
    network = torchvision.models.get_model(name, weights=None).eval()
    path, limit = tmp_path / "weights.pth", 6
    torch.save(network.state_dict(), path)
    model = [f"model={name}", "model.weights=random"]
    data = ["task=fashion_mnist", f"limit={limit}", f"paths.data={fashion_mnist}"]
    printed = python(tmp_path, EMBED, *model, f"model.weights_path={path}", *data)
    assert [f"{limit} x {DIMS[name]:,}, " in line for line in printed.splitlines()] == [True, True]

    split = read_split("fashion_mnist", "train", fashion_mnist)
    chosen = limited_indices(len(split.labels), limit)
    entry = EmbeddingCache(tmp_path / "embeddings").open(
        EntryKey(Model(name, "random"), "fashion_mnist", "train", limit)
    )
    np.testing.assert_array_equal(entry.labels, split.labels[chosen])
    given: list[torch.Tensor] = []
    getattr(network, HEADS[name]).register_forward_hook(lambda module, inputs, output: given.append(inputs[0]))
    preset = torchvision.models.get_model_weights(name).IMAGENET1K_V1.transforms()
    images = [preset(Image.fromarray(split.images[int(index)]).convert("RGB")) for index in chosen[:2]]
    with torch.inference_mode():
        network(torch.stack(images))
    expected = given[0].numpy()
    np.testing.assert_allclose(entry.features[:2], expected, rtol=0, atol=0.02 * np.abs(expected).max())

    # Classes that six images of either split have; the cell needs no weights any more.
    cell = [*model, *data, "task.classes=[9,7,3]", "gen=least_squares", "norm=none"]
    python(tmp_path, *IMPRINT, *cell)
    (row,) = rows(tmp_path)
    assert (row["weight_decay"], row["status"]) == (WEIGHT_DECAY[name], "ok")


def test_two_and_five_in_one_on_digits_through_the_default_cell(tmp_path: Path) -> None:
    for merge, n_labels in ((2, 5), (5, 2)):
        python(tmp_path, *IMPRINT, f"task.merge={merge}", "task.remap=0")
        (row,) = (row for row in rows(tmp_path) if row["merge"] == merge)
        assert (row["gen"], row["k"], row["n_labels"], row["n_test"]) == ("kmeans", 20, n_labels, 540)
        assert row["accuracy"] > 0.8
        check_against_the_plain_oracle(tmp_path, row)
    assert entries(tmp_path) == ["digits-test.safetensors", "digits-train.safetensors"]


PAIR = ("task=digits", "task.name=pair", "task.datasets=[digits,fashion_mnist]")


def test_a_task_that_joins_digits_and_fashion_mnist(tmp_path: Path, fashion_mnist: Path) -> None:
    quick = [*LITE0, "limit=300", f"paths.data={fashion_mnist}"]
    joined = [*quick, *PAIR]
    error = python(tmp_path, *IMPRINT, *joined, code=2)
    assert "task=fashion_mnist limit=300" in error
    printed = python(tmp_path, EMBED, *joined)
    files = entries(tmp_path)
    assert files == [
        f"{name}-{split}-limit300.safetensors" for name in ("digits", "fashion_mnist") for split in SPLITS[::-1]
    ]
    assert [": 300 x 1,280, " in line for line in printed.splitlines()] == [True] * 4

    python(tmp_path, *IMPRINT, "-m", *joined, "gen=mean,kmeans", "k=3", "task.classes=all,even")
    python(tmp_path, *IMPRINT, *quick, "task=digits", "gen=mean")
    python(tmp_path, *IMPRINT, *quick, "task=fashion_mnist", "gen=mean")
    found = rows(tmp_path)
    n_test = {(row["task"], row["classes"]): row["n_test"] for row in found}
    assert n_test["pair", "all"] == n_test["digits", "all"] + n_test["fashion_mnist", "all"] == 600
    for row in found:
        check_against_the_plain_oracle(tmp_path, row)
    assert entries(tmp_path) == files


def test_combi_digits_of_pixels(tmp_path: Path) -> None:
    """Sets of several sizes, grey and in colour."""
    write_digit_sets(tmp_path / "data", per_class=2)
    words = ["model=pixels", "model.image_size=8", "task=combi_digits"]
    python(tmp_path, EMBED, *words)
    python(tmp_path, *IMPRINT, *words, "gen=mean")
    (row,) = rows(tmp_path)
    assert (row["status"], row["n_test"]) == ("ok", 80)


def test_combi_digits_embeds_no_image_twice(tmp_path: Path) -> None:
    """Neither the joined task nor its 'd in 1' tasks: four small sets in their published formats."""
    labels = write_digit_sets(tmp_path / "data", per_class=4)
    python(tmp_path, EMBED, *LITE0, "task=mnist")
    printed = python(tmp_path, EMBED, *LITE0, "task=combi_digits")
    assert ["exists" in line for line in printed.splitlines()] == [True] * 2 + [False] * 6
    printed = python(
        tmp_path, EMBED, "-m", *LITE0, "task=svhn,usps,mnist_m,combi_digits", "task.merge=2", "task.remap=0"
    )
    assert ["exists" in line for line in printed.splitlines()] == [True] * (2 * 3 + 8)
    files = entries(tmp_path)
    assert files == sorted(f"{name}-{split}.safetensors" for name in labels for split in SPLITS)
    cache = EmbeddingCache(tmp_path / "embeddings")
    for name, expected in labels.items():
        for split in SPLITS:
            assert cache.open(EntryKey(SMALL, name, split)).labels.tolist() == expected

    python(tmp_path, *IMPRINT, "-m", *LITE0, "task=combi_digits", "gen=mean", "task.merge=null,2,5", "task.remap=0")
    python(tmp_path, *IMPRINT, *LITE0, "task=svhn", "gen=mean")
    found = rows(tmp_path)
    assert {(row["task"], row["merge"]): (row["n_labels"], row["n_test"]) for row in found} == {
        ("combi_digits", None): (10, 160),
        ("combi_digits", 2): (5, 160),
        ("combi_digits", 5): (2, 160),
        ("svhn", None): (10, 40),
    }
    for row in found:
        check_against_the_plain_oracle(tmp_path, row)
    assert entries(tmp_path) == files


def test_many_models_and_tasks_are_embedded_in_one_go_and_what_exists_is_skipped(tmp_path: Path) -> None:
    grid = ["-m", "model.image_size=8,16", "limit=30", "task=digits,mnist_m"]
    (tmp_path / "data").mkdir()
    error = python(tmp_path, EMBED, *grid, code=2)
    # What cannot be made keeps nothing else from being made.
    assert error.count("error: MNIST-M is not under ") == 2
    assert error.splitlines()[-1].startswith("error: not all embeddings were made, the same command makes the others: ")
    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    assert {path.parent.name for path in made} == {"IMAGENET1K-8px", "IMAGENET1K-16px"}
    write_digit_sets(tmp_path / "data", per_class=3)
    printed = python(tmp_path, EMBED, *grid)
    assert ["exists" in line for line in printed.splitlines()] == [True, True, False, False] * 2
    assert made == {path: path.stat().st_mtime_ns for path in made}
    assert len(entries(tmp_path)) == 8


def test_half_precision_never_passes_for_float32(tmp_path: Path) -> None:
    words = [*LITE0, "limit=200"]
    python(tmp_path, EMBED, *words, "precision=bfloat16")
    half = [*words, "model.precision=bfloat16", "gen=mean"]
    python(tmp_path, *IMPRINT, *half)
    python(tmp_path, *IMPRINT, *words, "gen=mean")  # made now: nothing of this kind was there
    first, second = rows(tmp_path)
    assert first["fingerprint"] != second["fingerprint"]
    assert {first["weights"], second["weights"]} == {"IMAGENET1K"}
    assert {first["precision"], second["precision"]} == {"float32", "bfloat16"}
    folders = [path.name for path in (tmp_path / "embeddings" / "efficientnet_lite0").iterdir()]
    assert sorted(folders) == ["IMAGENET1K-32px", "IMAGENET1K-bfloat16-32px"]
