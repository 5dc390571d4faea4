"""What a model's builder returns, and how weights get into it."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from imprint_sweep.errors import ConfigError, did_you_mean
from imprint_sweep.extraction.transforms import BatchTransform
from imprint_sweep.files.unreadable import unreadable
from imprint_sweep.grid.cell import Model


@dataclass(frozen=True, eq=False)
class FoundationModel:
    """A frozen network that turns images into embeddings.

    Args:
        module: (b, 3, h, w) float32 -> (b, dim) float32: the penultimate layer, in eval mode.
        transform: from images to the module's input.
        dim: width of the embeddings; None if only they can tell.
        source: where the weights came from, for the metadata of the embeddings.
        packages: the packages whose versions decide the numbers.
    """

    module: torch.nn.Module
    transform: BatchTransform
    dim: int | None
    source: str
    packages: tuple[str, ...]


def check_weights(model: Model, available: Iterable[str]) -> None:
    """Check that there are weights of this name, where no file is named that holds them.

    Raises:
        ConfigError: there are none. Embeddings of others would be kept under a name that is not theirs.
    """
    available = list(available)
    if model.weights not in available:
        raise ConfigError(
            f"there are no weights {model.weights!r} of {model.name}{did_you_mean(model.weights, available)}; "
            "model.weights_path names a file of others"
        )


def load_weights(module: torch.nn.Module, path: Path, heads: Sequence[str] = ()) -> None:
    """Load a file of weights into a module that it fits exactly. Arguments and errors: see :func:`fit_weights`."""
    fit_weights(module, with_head_of(module, read_weights(path), heads), path)


def read_weights(path: Path) -> dict[str, Any]:
    """The state dict in a file.

    Args:
        path: a file of torch's, or a ``.safetensors`` file.

    Raises:
        ConfigError: the file is missing or damaged, or holds something else.
    """
    try:
        state: Any
        if path.is_dir():
            raise IsADirectoryError(path)
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            with warnings.catch_warnings(action="ignore"):  # of a scripted network, which is then refused
                state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can raise anything
        reason = unreadable(path, error, objects="tensors (a whole network? save its state_dict())")
        raise ConfigError(f"cannot read the weights in {path}: {reason}") from error
    if not isinstance(state, dict):
        raise ConfigError(f"{path} holds a {type(state).__name__}, expected a state dict")
    return state


def with_head_of(module: torch.nn.Module, state: dict[str, Any], heads: Sequence[str]) -> dict[str, Any]:
    """A state dict with the module's own head instead of what it holds for it, if anything.

    The head is removed from the module once it is loaded, so weights fit whatever their head is: one for another number
    of classes, a larger one, none.

    Args:
        module: the whole network.
        state: the weights.
        heads: names of the layers that make the head.
    """

    def is_head(name: str) -> bool:
        return any(name == head or name.startswith(f"{head}.") for head in heads)

    own = {name: value for name, value in module.state_dict().items() if is_head(name)}
    return {name: value for name, value in state.items() if not is_head(name)} | own


def fit_weights(module: torch.nn.Module, state: dict[str, Any], path: Path) -> None:
    """Load a state dict into a module that it fits exactly.

    Args:
        module: the whole network, its head included.
        state: the weights.
        path: where they were read, for the message.

    Raises:
        ConfigError: they belong to another architecture; mismatches are named.
    """
    if mismatches := _mismatches(module.state_dict(), state):
        shown = "; ".join(mismatches[:3])
        raise ConfigError(f"{path} does not fit the model in {len(mismatches)} places: {shown}")
    module.load_state_dict(state, strict=False)


def _mismatches(expected: dict[str, torch.Tensor], state: dict[str, Any]) -> list[str]:
    # Files older than this counter, which only training uses, lack it.
    absent = [name for name in expected if name not in state and not name.endswith("num_batches_tracked")]
    found = [f"it lacks {name}" for name in absent]
    found += [f"it has {name}, which the model lacks" for name in state if name not in expected]
    for name in expected.keys() & state:
        want, have = tuple(expected[name].shape), tuple(getattr(state[name], "shape", ()))
        found += [f"{name} is {have} instead of {want}"] if want != have else []
    return sorted(found)
