"""A fitted classifier as a torch module."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from imprint_sweep.imprinting.components import AGGREGATIONS, METRICS, NORMS, WEIGHTINGS, ClassScore, Rows, Setting


class Head(nn.Module):
    """Embeddings to the scores of classes, larger is better; nothing in it is trained.

    Proxies and the like are buffers: they follow the module to a device and are in its ``state_dict``.

    Args:
        norm_inf: of the embeddings.
        metric: how they are compared with proxies.
        proxies: (p, d) float32 after NORM_post, class after class.
        sizes: proxies of each class.
        biases: (p,) float32 of proxies that have some.
        agg: how classes are scored.
        m: how many vote, None where none do.
        weighting: of the votes, None where there are none.

    Raises:
        NotImplementedError: a component has no form for tensors.
    """

    labels: Tensor

    def __init__(
        self,
        *,
        norm_inf: Setting,
        metric: Setting,
        proxies: Rows,
        sizes: Sequence[int],
        agg: Setting,
        biases: NDArray[np.float32] | None = None,
        m: int | None = None,
        weighting: Setting | None = None,
    ) -> None:
        super().__init__()
        self.norm_inf, self.metric, self.agg, self.weighting = norm_inf, metric, agg, weighting
        self.sizes = list(sizes)
        self.m = None if m is None else min(m, len(proxies))
        of_proxies = METRICS[metric].tensors(proxies) | ({} if biases is None else {"biases": biases})
        self._names = tuple(of_proxies)
        for name, array in of_proxies.items():
            self.register_buffer(name, torch.from_numpy(np.array(array)))
        if m is not None:
            labels = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(self.sizes))
            self.register_buffer("labels", labels)
        with torch.no_grad():  # what has no form for tensors says so now
            self(torch.zeros(1, proxies.shape[1]))

    def forward(self, embeddings: Tensor) -> Tensor:
        """The scores of the classes.

        Args:
            embeddings: (b, d) of any type of numbers.

        Returns:
            (b, C): float32; float64 where the metric is computed so, or after ``double()``. What ``half()`` has
            rounded is compared in float32.

        Raises:
            ValueError: the embeddings have another shape.
        """
        if embeddings.ndim != 2:
            raise ValueError(f"expected embeddings (b, d), got {tuple(embeddings.shape)}")
        of_proxies = {name: _wide(getattr(self, name)) for name in self._names}
        queries = NORMS[self.norm_inf].on_tensors(_wide(embeddings)).to(of_proxies[self._names[0]].dtype)
        values: Tensor = METRICS[self.metric].on_tensors(queries, of_proxies)
        aggregation = AGGREGATIONS[self.agg]
        if isinstance(aggregation, ClassScore):
            of_class = torch.split(values, self.sizes, dim=1)
            return torch.stack([aggregation.on_tensors(part) for part in of_class], dim=1)
        assert self.m is not None
        assert self.weighting is not None
        nearest, position = values.topk(self.m, dim=1, largest=False)
        weights = WEIGHTINGS[self.weighting].on_tensors(nearest)
        votes = weights.new_zeros((weights.shape[0], len(self.sizes)))  # len() would fix b in an exported graph
        scores: Tensor = votes.scatter_add(1, self.labels[position], weights)
        return scores

    def extra_repr(self) -> str:
        """What the module is, for its representation."""
        agg = f"{self.agg}" if self.m is None else f"{self.agg}, m={self.m}, weighting={self.weighting}"
        return f"norm_inf={self.norm_inf}, metric={self.metric}, agg={agg}, proxies={sum(self.sizes)}"


def _wide(numbers: Tensor) -> Tensor:
    """Numbers in at least float32: half precision tells few proxies apart, and torch has no distances in it."""
    return numbers if numbers.dtype in (torch.float32, torch.float64) else numbers.float()
