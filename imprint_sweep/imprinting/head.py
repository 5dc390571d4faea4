"""A fitted classifier as a torch module."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from imprint_sweep.imprinting.components import (
    AGGREGATIONS,
    METRICS,
    NORMS,
    WEIGHTINGS,
    ClassMetric,
    ClassScore,
    QueryMap,
    Rows,
    Setting,
    Statistics,
)


class Head(nn.Module):
    """Embeddings to the scores of classes, larger is better; nothing in it is trained.

    Proxies and the like are buffers: they follow the module to a device and are in its ``state_dict``.

    Args:
        norm_inf: of the embeddings.
        query_map: applied after it; None leaves queries as they are.
        metric: how they are compared with proxies.
        proxies: (p, d) float32 after NORM_post, class after class.
        sizes: proxies of each class.
        biases: (p,) float32 of proxies that have some.
        of_classes: what a metric that depends on the class knows of each.
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
        query_map: QueryMap | None = None,
        m: int | None = None,
        weighting: Setting | None = None,
        of_classes: Sequence[Statistics] = (),
    ) -> None:
        super().__init__()
        self.norm_inf, self.query_map, self.metric = norm_inf, query_map, metric
        self.agg, self.weighting = agg, weighting
        self.sizes = list(sizes)
        self.m = None if m is None else min(m, len(proxies))
        of = METRICS[metric]
        if isinstance(of, ClassMetric):
            parts = np.split(proxies, np.cumsum(self.sizes)[:-1])
            compared = [of.class_tensors(rows, known) for rows, known in zip(parts, of_classes, strict=True)]
        else:
            compared = [of.tensors(proxies) | ({} if biases is None else {"biases": biases})]
        # The names of buffers, for each group of proxies that is compared by itself.
        self._names: list[dict[str, str]] = []
        for number, arrays in enumerate(compared):
            names = {name: name if len(compared) == 1 else f"{name}_{number}" for name in arrays}
            self._names.append(names)
            for name, array in arrays.items():
                self.register_buffer(names[name], torch.from_numpy(np.array(array)))
        of_map = {} if query_map is None else query_map.arrays()
        self._of_map = tuple(of_map)
        for name, array in of_map.items():
            self.register_buffer(name, torch.from_numpy(np.array(array)))
        if m is not None:
            labels = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(self.sizes))
            self.register_buffer("labels", labels)
        with torch.no_grad():  # what has no form for tensors says so now
            self(torch.zeros(1, proxies.shape[1] if query_map is None else query_map.d))

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
        metric, queries = METRICS[self.metric], NORMS[self.norm_inf].on_tensors(_wide(embeddings))
        if self.query_map is not None:
            queries = self.query_map.on_tensors(queries, {name: getattr(self, name) for name in self._of_map})
        compared = []
        for names in self._names:
            of_proxies = {name: _wide(getattr(self, buffer)) for name, buffer in names.items()}
            compared.append(metric.on_tensors(queries.to(next(iter(of_proxies.values())).dtype), of_proxies))
        values: Tensor = torch.cat(compared, dim=1)
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
