"""Torch tensors: as arrays, and their distances, also where torch is asked for a graph that other runtimes run."""

from __future__ import annotations

import sys
from typing import Any

from imprint_sweep.errors import StageError

PART = 32
"""Proxies that an exported graph subtracts at a time."""

MOST = 256 * PART
"""Proxies of an exported graph."""


def to_array(x: Any) -> Any:
    """A torch tensor as a NumPy array, from any device and graph; anything else as it is.

    NumPy knows no bfloat16: such numbers become float32, which holds them exactly.
    """
    torch = sys.modules.get("torch")  # without it, nothing is a tensor
    if torch is None or not isinstance(x, torch.Tensor):
        return x
    x = x.detach().cpu()
    return (x.float() if x.dtype == torch.bfloat16 else x).numpy()


def distances(queries: Any, proxies: Any, p: float) -> Any:
    """The distances of all pairs, in the norm of order 1 or 2.

    Never by way of products, whose rounding would drown the distances of what is near. ONNX knows no pairwise
    distances, so in a graph for it they are differences, a few proxies at a time.

    Args:
        queries: (b, d) torch tensor.
        proxies: (p, d) torch tensor.
        p: the order.

    Returns:
        (b, p) torch tensor.

    Raises:
        StageError: a graph of too many proxies.
    """
    import torch

    if not torch.compiler.is_exporting():
        return torch.cdist(queries, proxies, p=p, compute_mode="donot_use_mm_for_euclid_dist")
    if len(proxies) > MOST:
        raise StageError(
            f"{len(proxies):,} proxies are too many for an exported graph of distances, which takes {MOST:,}; use "
            "agg.metric=inner_product or cosine, or a smaller k"
        )
    parts = [queries[:, None, :] - proxies[start : start + PART] for start in range(0, len(proxies), PART)]
    found = [part.abs().sum(dim=2) if p == 1 else (part * part).sum(dim=2).sqrt() for part in parts]
    return torch.cat(found, dim=1)
