"""A configuration tree as the sweeper gets it, without starting the application."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode

from imprint_sweep.config.composition import Parts, Tree
from imprint_sweep.config.experiments import Block, blocks
from imprint_sweep.config.overrides import read_command_line
from imprint_sweep.config.schemas import GROUPS
from imprint_sweep.embeddings.cache import EmbeddingCache
from imprint_sweep.grid.cell import Cell
from imprint_sweep.invocation import conf_folder
from imprint_sweep.planning.request import Request, build

NO_EMBEDDINGS = EmbeddingCache(Path("/no/such/folder"))


def tree_of(*arguments: str, config_dir: Path | None = None, primary: str = "config") -> Tree:
    """The tree under a command line.

    Args:
        arguments: its overrides.
        config_dir: a folder of options of a user.
        primary: the primary configuration; if it is none of the project's, it is the user's.
    """
    first, second = conf_folder(), config_dir
    if config_dir is not None and (config_dir / f"{primary}.yaml").exists():
        first, second = config_dir, first
    own = [] if second is None else [f"hydra.searchpath=[file://{second}]"]
    with hydra.initialize_config_dir(str(first), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        master = loader.load_configuration(primary, [*own, *arguments], RunMode.MULTIRUN)
    settings = [argument for argument in arguments if argument.startswith(("paths.", "sweep."))]
    return Tree(loader, master, settings)


@cache
def tree() -> Tree:
    """The tree of the project, without overrides."""
    return tree_of()


@cache
def parts() -> Parts:
    """The parts of all its options."""
    return Parts(tree(), {group: tree().options(group) for group in GROUPS})


def blocks_of(tree: Tree, *arguments: str) -> list[Block]:
    """The blocks of a command line."""
    return blocks(read_command_line(arguments, tree.options), None, tree)


def requested(tree: Tree, *arguments: str, warnings: list[str] | None = None) -> Request:
    """The rows that a command line asks for."""
    told = [] if warnings is None else warnings
    return build(blocks_of(tree, *arguments), tree, NO_EMBEDDINGS, warn=told.append)


def cells(request: Request) -> Sequence[Cell]:
    """The rows one by one."""
    columns = zip(request.model.tolist(), request.task.tolist(), request.scheme.tolist(), strict=True)
    return [Cell(request.models[m], request.tasks[t], request.schemes[s]) for m, t, s in columns]
