"""The rows of a label: parts in their order, each in its dataset's order, at once or in blocks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from imprint_sweep.embeddings import features
from imprint_sweep.embeddings.cache import EmbeddingCache
from imprint_sweep.embeddings.features import Features
from tests import data


def test_rows_of_a_label_follow_its_parts_and_then_the_dataset(tmp_path: Path) -> None:
    left, right = data.joined()
    cache = EmbeddingCache(tmp_path)
    data.write(cache, left, right)
    of_one = left.train.features[left.train.labels == 1]
    of_other = right.train.features[right.train.labels == 0]
    rows = Features(cache, data.MODEL, None).rows("train", (("right", 0), ("left", 1)))
    np.testing.assert_array_equal(rows, np.concatenate([of_other, of_one]))


@pytest.mark.parametrize("rows_per_block", [1, 7, 1000])
def test_blocks_are_the_rows_as_often_as_they_are_read(
    rows_per_block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, right = data.joined()
    cache = EmbeddingCache(tmp_path)
    data.write(cache, left, right)
    opened = Features(cache, data.MODEL, None)
    label = (("left", 0), ("right", 1))
    monkeypatch.setattr(features, "BLOCK_BYTES", rows_per_block * 4 * 16)
    blocks = opened.blocks("train", label)
    for _ in range(2):
        read = list(blocks)
        assert max(map(len, read)) == min(rows_per_block, 30)
        np.testing.assert_array_equal(np.concatenate(read), opened.rows("train", label))
