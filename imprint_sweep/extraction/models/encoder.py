"""The encoder of BERT, averaged over the tokens of a text."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn
from torch.nn import functional

_EPSILON = 1e-12
"""Added to variances in layer norms, as BERT's authors do."""


class TextEncoder(nn.Module):
    """Embeds texts of equally many tokens: the mean of BERT's last hidden states over all tokens of a text.

    Parameters have the names that published state dicts of BERT give them (Devlin et al., NAACL 2019).

    Args:
        dim: width of the hidden states and of the embeddings.
        heads: attention heads; divides `dim`.
        hidden: width between the two products of a feed-forward layer.
        layers: how many of them.
        vocabulary: kinds of tokens.
        positions: tokens of a text at most.
    """

    def __init__(self, *, dim: int, heads: int, hidden: int, layers: int, vocabulary: int, positions: int) -> None:
        super().__init__()
        self.embeddings = nn.ModuleDict(
            {
                "word_embeddings": nn.Embedding(vocabulary, dim),
                "position_embeddings": nn.Embedding(positions, dim),
                "token_type_embeddings": nn.Embedding(2, dim),
                "LayerNorm": nn.LayerNorm(dim, eps=_EPSILON),
            }
        )
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(_Layer(dim, heads, hidden) for _ in range(layers))})

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Embed texts.

        Args:
            tokens: (b, length) integers, `length` at most the number of positions; none is padding.

        Returns:
            (b, dim), not normalised.
        """
        of, layers = self.embeddings, cast(nn.ModuleList, self.encoder["layer"])
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        first_of_two_texts = torch.zeros_like(positions)
        states = of["word_embeddings"](tokens)
        states = states + of["position_embeddings"](positions) + of["token_type_embeddings"](first_of_two_texts)
        states = of["LayerNorm"](states)
        for layer in layers:
            states = layer(states)
        mean: torch.Tensor = states.mean(dim=1)
        return mean


class _Layer(nn.Module):
    """Self-attention and a feed-forward layer, each added to its input and normalised."""

    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention = nn.ModuleDict(
            {
                "self": nn.ModuleDict({name: nn.Linear(dim, dim) for name in ("query", "key", "value")}),
                "output": _added(dim, dim),
            }
        )
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(dim, hidden)})
        self.output = _added(hidden, dim)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """(b, length, dim) to the same."""
        own, after = (cast(nn.ModuleDict, self.attention[name]) for name in ("self", "output"))
        of_heads = (
            own[name](states).unflatten(-1, (self.heads, -1)).transpose(1, 2) for name in ("query", "key", "value")
        )
        attended = functional.scaled_dot_product_attention(*of_heads).transpose(1, 2).flatten(2)
        states = after["LayerNorm"](states + after["dense"](attended))
        wide = functional.gelu(self.intermediate["dense"](states))
        result: torch.Tensor = self.output["LayerNorm"](states + self.output["dense"](wide))
        return result


def _added(inputs: int, dim: int) -> nn.ModuleDict:
    return nn.ModuleDict({"dense": nn.Linear(inputs, dim), "LayerNorm": nn.LayerNorm(dim, eps=_EPSILON)})
