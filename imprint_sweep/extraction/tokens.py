"""From texts to the input of a network: tokens, in batches that need no padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.errors import EmbeddingsError

Tokens = NDArray[np.int32]
"""The numbers of the tokens of one text, (length,)."""

_AT_ONCE = 1024
"""Texts that are tokenised together; the library keeps much more of each than its numbers."""


@dataclass(frozen=True)
class Tokenised:
    """Texts as tokens.

    Args:
        tokens: those of each text.
        truncated: texts of which not all tokens are there, as they are too long.
    """

    tokens: Sequence[Tokens]
    truncated: int


@dataclass(frozen=True)
class Tokenizer:
    """The transform of a network that embeds texts: a tokenizer of the library ``tokenizers``, without padding.

    Args:
        library: its ``Tokenizer``; padding and truncation are set here.
        longest: tokens at most, those at the beginning and the end included; the rest of a text is cut off.
        about: the kind of tokens, for the metadata of the embeddings.
    """

    library: Any
    longest: int
    about: str

    def __post_init__(self) -> None:
        self.library.no_padding()
        self.library.enable_truncation(self.longest)

    def __str__(self) -> str:
        return f"{self.about}, the first {self.longest} of a text, no padding"

    def __call__(self, images: NDArray[np.uint8]) -> NoReturn:
        """Refuse images: a network with a tokenizer in the place of its transform embeds texts.

        Raises:
            EmbeddingsError: always.
        """
        raise EmbeddingsError(f"a network that takes {self.about} embeds no images")

    def tokenise(self, texts: Sequence[str]) -> Tokenised:
        """Tokenise texts."""
        tokens: list[Tokens] = []
        truncated = 0
        for start in range(0, len(texts), _AT_ONCE):
            encoded = self.library.encode_batch(list(texts[start : start + _AT_ONCE]))
            tokens += [np.array(one.ids, np.int32) for one in encoded]
            truncated += sum(1 for one in encoded if one.overflowing)
        return Tokenised(tokens, truncated)


def of_equal_length(tokens: Sequence[Tokens], most: int) -> list[NDArray[np.int64]]:
    """Batches of texts that have equally many tokens, so that no text is padded and none sees another's length.

    Args:
        tokens: of each text.
        most: texts in a batch at most; batches of one keep the order of the texts.

    Returns:
        The positions of the texts of each batch, every text once. Long texts come first, so that what is left to do is
        not underestimated for long.

    >>> [batch.tolist() for batch in of_equal_length([np.zeros(n, np.int32) for n in (2, 5, 2, 2)], 2)]
    [[1], [0, 2], [3]]
    """
    if most == 1:
        return list(np.arange(len(tokens))[:, None])
    lengths = np.array([len(one) for one in tokens])
    order = np.argsort(-lengths, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(lengths[order])) + 1)
    return [group[start : start + most] for group in groups for start in range(0, len(group), most)]
