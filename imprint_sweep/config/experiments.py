"""What a sweep is made of: blocks of axes and exclusions, from the command line and from experiment files.

A file ``conf/experiment/NAME.yaml``::

    include: [oracle]                # other experiments, whose blocks come first
    axes:                            # axes of every block of this file; in what is included they replace the same axes
      seed: [1, 2, 3]
    exclude:                         # combinations that are left out of every block
      - norm.pre == l2 and norm.inf == none
    blocks:                          # each block is a product of axes; the sweep is all of them, one after the other
      - axes: {gen: kmeans, k: "1,5,20", agg: max}
      - axes: {gen: all, agg: mnn, agg.m: "range(1,6)"}
        exclude: agg.m > 3 and agg.metric == cosine

Values are written as on the command line, or as lists. Conditions: :mod:`imprint_sweep.grid.conditions`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import OmegaConf

from imprint_sweep.config.composition import Tree
from imprint_sweep.config.overrides import EXPERIMENT, Axes, CommandLine, axis_names, check_option, part_of, read_axis
from imprint_sweep.config.schemas import GROUPS
from imprint_sweep.errors import ConfigError, UnknownOptionError
from imprint_sweep.grid.axes import AXES
from imprint_sweep.grid.conditions import Condition
from imprint_sweep.grid.scheme import words_of_parameters

WORDS: dict[str, Collection[str]] = {
    f"{axis.name}.name" if axis.name in GROUPS else axis.name: axis.words for axis in AXES if axis.words is not None
}
"""What axes can be compared with in a condition, where that is known."""

SELECTIONS_OF_ANY = ("task.classes", "task.order", "task.seen", "task.merge", "task.remap")
"""Keys that mean the same in every option of their group, and that no option decides."""

_FILE_KEYS = ("include", "axes", "exclude", "blocks")
_BLOCK_KEYS = ("axes", "exclude")


@dataclass(frozen=True)
class Block:
    """A product of axes, less what its conditions exclude.

    Args:
        axes: in the order of the product, the last varies fastest. What is not set has the application's default.
        exclude: a combination for which one of them holds is left out.
    """

    axes: Axes
    exclude: tuple[Condition, ...] = ()


def blocks(command_line: CommandLine, params: Mapping[str, Any] | None, tree: Tree) -> list[Block]:
    """The blocks of a sweep: those of its experiments and of ``hydra.sweeper.params``, else the command line alone.

    An axis of the command line replaces that axis in every block; see :func:`overridden`.

    Raises:
        ConfigError: a file that cannot be read as an experiment, a name that does not exist.
    """
    found = [block for name in command_line.experiments for block in _experiment(name, tree, ())]
    if params:
        found.append(Block({str(axis): read_axis(str(axis), given, tree.options) for axis, given in params.items()}))
    return [Block(overridden(block.axes, command_line.axes), block.exclude) for block in found or [Block({})]]


def overridden(axes: Axes, by: Axes) -> Axes:
    """Axes with others in their place.

    An option says what the keys below its group are, so a group takes the place of these, too: ``norm=l2`` that of
    ``norm.pre``. All but :data:`SELECTIONS_OF_ANY`: which classes of a dataset is a question of its own.
    """
    replaced = {axis for axis in axes if part_of(axis) in by and axis not in SELECTIONS_OF_ANY}
    return {**{axis: values for axis, values in axes.items() if axis in by or axis not in replaced}, **by}


def _experiment(name: str, tree: Tree, including: Sequence[str]) -> list[Block]:
    """The blocks of one experiment, those of the experiments that it includes first."""
    check_option(EXPERIMENT, name, tree.options)
    if name in including:
        raise ConfigError(f"experiment {name} includes itself: {' -> '.join([*including, name])}")
    file = tree.file(f"{EXPERIMENT}/{name}")
    assert file is not None
    try:
        if file.defaults_list:
            raise ConfigError("an experiment has no defaults list; other experiments go under include")
        return _read(OmegaConf.to_container(file.config), tree, (*including, name))
    except ConfigError as error:
        raise ConfigError(f"experiment {name}: {error}") from error


def _read(content: Any, tree: Tree, including: Sequence[str]) -> list[Block]:
    file = _mapping(content, _FILE_KEYS, "a file")
    common = _block(file, tree)
    included = [block for name in _listed(file.get("include")) for block in _experiment(str(name), tree, including)]
    found = [Block(overridden(block.axes, common.axes), (*common.exclude, *block.exclude)) for block in included]
    own = _listed(file.get("blocks", [] if included else [{}]))
    for given in own:
        block = _block(_mapping(given, _BLOCK_KEYS, "a block"), tree)
        found.append(Block(overridden(common.axes, block.axes), (*common.exclude, *block.exclude)))
    if not any(block.axes for block in found):
        raise ConfigError("it describes no sweep: expected axes, blocks or include")
    return found


def _block(given: Mapping[str, Any], tree: Tree) -> Block:
    axes = _mapping(given.get("axes") or {}, None, "axes")
    return Block(
        {axis: read_axis(axis, values, tree.options) for axis, values in axes.items()},
        tuple(_condition(text, tree) for text in _listed(given.get("exclude"))),
    )


def _condition(text: Any, tree: Tree) -> Condition:
    def vocabulary(axis: str) -> Collection[str] | None:
        return tree.options(axis) if axis in GROUPS else WORDS.get(axis, words.get(axis))

    words = words_of_parameters()
    return Condition.read(str(text), axis_names(), vocabulary, mixed=words)


def _listed(value: Any) -> list[Any]:
    """A list, or the one item that stands for a list of it."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _mapping(value: Any, known: Collection[str] | None, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{what} holds {value!r}, expected {' or '.join(known or ['axis: values'])}")
    for key in value:
        if known is not None and key not in known:
            raise UnknownOptionError(f"key of {what}", str(key), known)
    return {str(key): item for key, item in value.items()}
