"""Imports torchvision also where its compiled operators do not load: import it from here.

A torchvision wheel built for another torch (the CUDA build beside a CPU torch, say) cannot load its C++ library, and
its import dies for want of two operators that models, transforms and datasets never call. Declaring them is enough.
A matching pair is left alone.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch

__all__ = ["torchvision"]


def _declare() -> torch.library.Library | None:
    """Declare what the import wants; None where the library loads or torchvision is not installed."""
    spec = find_spec("torchvision")
    if spec is None or spec.origin is None:
        return None
    try:
        for library in Path(spec.origin).parent.glob("_C.*"):
            torch.ops.load_library(library)  # type: ignore[no-untyped-call]
            return None
    except (ImportError, OSError):
        pass
    declared = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        declared.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
    return declared


DECLARED = _declare()  # kept: the operators live as long as this object

import torchvision  # noqa: E402  # only now can it be
