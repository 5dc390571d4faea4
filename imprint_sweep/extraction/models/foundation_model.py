"""What a model's builder returns, and how weights get into it."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from imprint_sweep.errors import ConfigError, did_you_mean
from imprint_sweep.extraction.transforms import BatchTransform
from imprint_sweep.files.unreadable import unreadable
from imprint_sweep.grid.cell import Model

_WRAPPERS = ("module.", "_orig_mod.", "model.", "net.", "network.", "backbone.")
"""What the name of every tensor begins with where a wrapper was saved: DataParallel, torch.compile, or the attribute
under which a Lightning module keeps its network."""


@dataclass(frozen=True, eq=False)
class FoundationModel:
    """A frozen network that turns images or texts into embeddings.

    Args:
        module: images (b, 3, h, w) float32, or tokens (b, length) int32 -> (b, dim) float32: the penultimate layer, in
            eval mode.
        transform: from images to the module's input; if the network embeds texts, a
            :class:`~imprint_sweep.extraction.tokens.Tokenizer`.
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
    fit_weights(module, with_head_of(module, read_weights(module, path), heads), path)


def read_weights(module: torch.nn.Module, path: Path) -> dict[str, Any]:
    """Read the state dict in a file.

    A checkpoint may hold it beside an optimizer, an epoch and the like, and a wrapper's name may stand before those of
    the tensors.

    Args:
        module: the network that the tensors are for; only the names of its own are looked at.
        path: a file of torch's, or a ``.safetensors`` file.

    Raises:
        ConfigError: the file is missing or damaged, holds something else, or several sets of weights.
    """
    try:
        state: Any
        if path.is_dir():
            raise IsADirectoryError(path)
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            # The warning is of a scripted network, which is then refused; many scripts save their arguments, too.
            with warnings.catch_warnings(action="ignore"), torch.serialization.safe_globals([argparse.Namespace]):
                state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can raise anything
        reason = unreadable(path, error, objects="tensors (a whole network? save its state_dict())")
        raise ConfigError(f"cannot read the weights in {path}: {reason}") from error
    if not isinstance(state, dict):
        raise ConfigError(f"{path} holds a {type(state).__name__}, expected a state dict")
    return _without_wrappers(module, _only_weights(state, path))


def _only_weights(saved: dict[Any, Any], path: Path) -> dict[str, Any]:
    """The state dict in what was saved, which is one or has one among its values."""
    held = [name for name, value in saved.items() if _is_state_dict(value) and not str(name).endswith("_extra_state")]
    if len(held) > 1:
        names = ", ".join(map(str, held))
        raise ConfigError(
            f"{path} holds several sets of weights: {names}; save the one that is meant in a file of its own, such as "
            f"torch.save(checkpoint[{held[0]!r}], 'weights.pth')"
        )
    state = saved[held[0]] if held else saved
    if not any(isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in state.items()):
        names = ", ".join(map(str, list(state)[:5])) or "nothing"
        raise ConfigError(
            f"{path} holds no tensors by name; expected a state dict, or one beside other things; it has {names}"
        )
    return {str(name): value for name, value in state.items()}


def _is_state_dict(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(isinstance(name, str) for name in value)
        and any(isinstance(tensor, torch.Tensor) for tensor in value.values())
    )


def _without_wrappers(module: torch.nn.Module, state: dict[str, Any]) -> dict[str, Any]:
    """A state dict whose names do not begin with those of wrappers, of which one may hold another."""
    own = module.state_dict()
    for wrapper in _WRAPPERS * 2:
        if all(name.startswith(wrapper) for name in state) and not any(name.startswith(wrapper) for name in own):
            state = {name.removeprefix(wrapper): value for name, value in state.items()}
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
