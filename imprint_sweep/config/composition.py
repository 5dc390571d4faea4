"""Configurations of a sweep's cells: each option composed once by Hydra, then put together without it.

Hydra takes 65 to 100 ms to compose one configuration, which is hours for a grid. The options of different groups write
to different places, so one composition of each option is enough: unless an option reaches out of its own group. What
may reach out is found in the files (:func:`obstacle`). tests/config/test_composition.py compares what is put together
with Hydra's own composition, over all pairs of options and over the grammar of overrides.
"""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, cast

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_loader import ConfigLoader
from hydra.core.default_element import ConfigDefault, GroupDefault, InputDefault
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from hydra.core.utils import env_override
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from imprint_sweep.config.overrides import NUMBERS, Value, for_hydra
from imprint_sweep.config.schemas import GROUPS, NODES, unlisted_key
from imprint_sweep.errors import ConfigError
from imprint_sweep.grid.scheme import known_parameters

Assignment = Mapping[str, Value]
"""Axis -> its value in one cell."""

Used = Mapping[str, Sequence[str]]
"""Group -> the options that a sweep uses, at least one for each of the groups of a cell."""

_BLIND = ("oc.env", "now", "python_version", "imprint_outputs", "imprint_baselines")
"""Resolvers that are known to read nothing of a configuration but their arguments."""

_MAY_READ_ANYTHING = re.compile(
    rf"\$\{{ (?! \s* (?: [^{{}}:]* \}} | (?:{'|'.join(map(re.escape, _BLIND))}) \s* : )) (?P<resolver> [^{{}}:]* : )?",
    re.VERBOSE,
)
"""An interpolation that is neither a plain path, which fails where nothing is, nor a resolver of :data:`_BLIND`."""


class CoupledError(Exception):
    """A value refers to another axis, so a group cannot be resolved alone."""


class Tree:
    """The configuration tree of an application: its files, and Hydra's composition of them.

    Args:
        loader: Hydra's, of the running application.
        master: the configuration that Hydra composed for the sweeper.
        settings: overrides that every cell gets and that are no axes.
    """

    def __init__(self, loader: ConfigLoader, master: DictConfig, settings: Sequence[str] = ()) -> None:
        self._loader, self._master, self._settings = loader, master, list(settings)
        # Nothing public gives files of hydra.searchpath; pyproject.toml bounds the version.
        self._repository = cast(ConfigLoaderImpl, loader)._parse_overrides_and_create_caching_repo(
            self.primary, cast(list[str], OmegaConf.to_container(master.hydra.overrides.hydra))
        )[1]
        self._options: dict[str, list[str]] = {}

    @property
    def primary(self) -> str:
        """Name of the primary configuration."""
        return str(self._master.hydra.job.config_name)

    def options(self, group: str) -> list[str]:
        """The options of a group, sorted, those of users and those in folders of it (``sub/mine``) included."""
        if group not in self._options:
            self._options[group] = sorted(self._options_below(group, ""))
        return self._options[group]

    def _options_below(self, group: str, folder: str) -> Iterator[str]:
        """The options in a folder of a group, and in the folders below it."""
        path = f"{group}/{folder}"
        for name in self._repository.get_group_options(path.rstrip("/")):
            yield f"{folder}{name}"
        for name in self._repository.get_group_options(path.rstrip("/"), ObjectType.GROUP):
            yield from self._options_below(group, f"{folder}{name}/")

    def file(self, path: str) -> ConfigResult | None:
        """A file of the tree as it stands there, defaults list and header apart; None if there is none."""
        return self._repository.load_config(path)

    def compose(self, axes: Assignment) -> DictConfig:
        """Hydra's own composition of one cell, as a job of Hydra's basic sweeper gets it."""
        overrides = [for_hydra(f"{axis}={value.text}") for axis, value in axes.items()]
        return self._loader.load_sweep_config(self._master, [*self._settings, *overrides])

    @cached_property
    def base(self) -> DictConfig:
        """The composition of the cell in which no axis is set."""
        return self.compose({})

    @property
    def environment(self) -> dict[str, str]:
        """Variables that Hydra sets in each job (``hydra.job.env_set``), interpolations unresolved."""
        return cast(dict[str, str], OmegaConf.to_container(self.base.hydra.job.env_set))

    @cached_property
    def _choices(self) -> dict[str, str]:
        return chosen(self.base)

    def option(self, group: str, axes: Assignment) -> str:
        """The option of a group in one cell."""
        return str(axes[group].value) if group in axes else self._choices[group]


def chosen(cfg: DictConfig) -> dict[str, str]:
    """The option of each group in what Hydra composed.

    Raises:
        ConfigError: there is not one.
    """
    choices = cfg.hydra.runtime.choices
    if unchosen := [group for group in GROUPS if choices.get(group) is None]:
        raise ConfigError(
            f"the defaults list of {cfg.hydra.job.config_name}, or of an option, chooses no option, or a list of them, "
            f"for {', '.join(unchosen)}; a sweep needs one of each"
        )
    return {group: str(choices[group]) for group in GROUPS}


@contextmanager
def as_job(cfg: DictConfig, number: int) -> Iterator[DictConfig]:
    """Give a composition the form in which a job sees it: without Hydra's node, which ``${hydra:...}`` reads.

    The variables of ``hydra.job.env_set`` are set while the block runs.

    Args:
        cfg: what Hydra composed; the number is written into it.
        number: of the job, from 0, as Hydra's own sweeper counts.
    """
    with open_dict(cfg.hydra):
        cfg.hydra.job.id = cfg.hydra.job.num = number
    hydra = HydraConfig.instance()
    outside = hydra.cfg
    hydra.set_config(cfg)
    try:
        # The whole is copied, as Hydra does it: what resolvers remember stays known.
        job = copy.deepcopy(cfg)
        with open_dict(job):
            del job["hydra"]
        with env_override(cfg.hydra.job.env_set):
            yield job
    finally:
        hydra.cfg = outside


def alone(key: str, value: Any, settings: Mapping[str, Any]) -> DictConfig:
    """A configuration that holds one value and the settings of a sweep, and in which the value can be resolved.

    Args:
        key: the name that the value gets.
        value: plain Python objects, interpolations unresolved.
        settings: what is the same in all cells.

    Raises:
        CoupledError: the value refers, or may refer, to something that other axes change.
    """
    if "${" not in str(value):
        return OmegaConf.create({key: value})
    # A path to what is absent is an error, but a resolver may have a default for it.
    reachable = [value, *(other for name, other in settings.items() if name != "hydra")]
    if found := _MAY_READ_ANYTHING.search(str(reachable)):
        raise CoupledError(f"{key} is resolved by ${{{found['resolver'] or ''}...}}, which may read other axes")
    root = OmegaConf.create({**settings, key: value})
    try:
        if OmegaConf.is_config(node := root[key]):
            OmegaConf.to_container(node, resolve=True)
    except OmegaConfBaseException as error:
        raise CoupledError(f"{key} refers to something outside of it: {str(error).splitlines()[0]}") from error
    return root


def settings_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a configuration that is the same in all cells of a sweep."""
    return {name: value for name, value in values.items() if name not in (*GROUPS, *NODES, *NUMBERS)}


def plain(cfg: DictConfig) -> dict[str, Any]:
    """A composition without Hydra's own node, as a dictionary with its interpolations unresolved."""
    values = OmegaConf.to_container(OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"]))
    assert isinstance(values, dict)
    return cast(dict[str, Any], values)


def own_node(tree: Tree, composed: Mapping[str, Any], group: str, name: str) -> Any:
    """What an option sets of its own group.

    Args:
        tree: where the option comes from.
        composed: a configuration with the option.
        group, name: of the option.

    Raises:
        ConfigError: it sets nothing, or no keys.
    """
    if isinstance(node := composed.get(group), dict | DictConfig):
        return node
    if node is not None:
        raise ConfigError(f"{group}={name}: expected keys and values in its file, got {node!r}")
    file = tree.file(f"{group}/{name}")
    package = file.header.get("package") if file is not None else None
    header = "" if package is None else f"; take away its header # @package {package}"
    raise ConfigError(f"{group}={name} sets nothing of {group}: expected keys such as name in its file{header}")


class Parts:
    """Configurations put together from options that were composed once each.

    Args:
        tree: where the options come from.
        used: the options to compose.

    Attributes:
        conflict: what an option was seen to change outside of its group; None if none did.
    """

    def __init__(self, tree: Tree, used: Used) -> None:
        self.conflict: str | None = None
        self._tree = tree
        self._base = plain(tree.base)
        self._settings = settings_of(self._base)
        defaults = {group: tree.option(group, {}) for group in GROUPS}
        self._nodes = {(group, name): own_node(tree, self._base, group, name) for group, name in defaults.items()}
        missing = [[name for name in used[group] if (group, name) not in self._nodes] for group in GROUPS]
        # One composition serves an option of every group.
        for names in itertools.zip_longest(*missing):
            chosen = {group: name for group, name in zip(GROUPS, names, strict=True) if name is not None}
            cell = {group: Value.of(name) for group, name in chosen.items()}
            composed = plain(tree.compose(cell))
            for group, name in chosen.items():
                self._nodes[group, name] = own_node(tree, composed, group, name)
            self.conflict = self.conflict or _difference(cell, self.cell(cell), composed)

    def option(self, group: str, axes: Assignment) -> str:
        """The option of a group in one cell."""
        return self._tree.option(group, axes)

    def cell(self, axes: Assignment) -> dict[str, Any]:
        """The configuration of one cell, interpolations unresolved; equal to that of :meth:`Tree.compose`.

        Raises:
            ConfigError: an axis that the chosen option does not list.
        """
        values = dict(self._base)
        for group in GROUPS:
            values[group] = self._node(group, axes)
        for node in NODES:
            if node in values:
                values[node] = self._plain_node(node, axes)
        for number in NUMBERS:
            if number in axes:
                _set(values, number, axes[number])
        return values

    def group(self, group: str, axes: Assignment) -> DictConfig:
        """The node of one group, which can be resolved as it is.

        Args:
            group: which.
            axes: what is set; only the group and the keys below it matter.

        Raises:
            CoupledError: it refers to something that other axes may change.
            ConfigError: an axis that the chosen option does not list.
        """
        node = alone(group, self._node(group, axes), self._settings)[group]
        assert isinstance(node, DictConfig)
        return node

    def node(self, node: str, axes: Assignment) -> Any:
        """A node without options, as :meth:`group` gives those that have some, or what was set in its place."""
        return alone(node, self._plain_node(node, axes), self._settings)[node]

    def number(self, number: str, axes: Assignment) -> int | DictConfig:
        """A number, or a configuration that holds it and can be resolved as it is.

        Raises:
            CoupledError: see :meth:`group`.
        """
        value = axes[number].value if number in axes else self._base.get(number)
        # Most values of most sweeps are whole numbers already.
        return value if type(value) is int else alone(number, value, self._settings)

    def _node(self, group: str, axes: Assignment) -> Any:
        name = self.option(group, axes)
        node = copy.deepcopy(self._nodes[group, name])
        for axis, value in axes.items():
            parent, _, key = axis.partition(".")
            if axis in known_parameters() and parent == group:
                node[key] = value.value
            elif parent == group and key:
                _set(node, key, value, where=f"{group}={name}")
        return node

    def _plain_node(self, node: str, axes: Assignment) -> Any:
        # The primary configuration of a user may be older than the node.
        values = copy.deepcopy(self._base.get(node, {}))
        for axis, value in axes.items():
            parent, _, key = axis.partition(".")
            if parent == node:
                _set(values, key, value, where=node)
        return values


def obstacle(tree: Tree, used: Used) -> str | None:
    """Why options cannot be composed each alone, read from the files; None if they can.

    An option that all cells have, and the configuration without axes too, may do as it likes: each option is composed
    together with it.
    """
    if "${" in str(tree.environment):
        return "hydra.job.env_set depends on other choices"
    for path in _primaries(tree, tree.primary):
        file = tree.file(path)
        for entry in file.defaults_list if file is not None and file.defaults_list else []:
            if isinstance(entry, GroupDefault) and entry.group in GROUPS and entry.package is not None:
                return f"{path} puts {entry.group} elsewhere with @{entry.package}"
            if _interpolated(entry):
                return f"the defaults list of {path} depends on other choices"
    for group, names in used.items():
        for name in names:
            for path, reason in _reaching_out(tree, f"{group}/{name}"):
                if reason == _INTERPOLATED or names != [tree.option(group, {})]:
                    return f"{path} {reason}"
    return None


def _primaries(tree: Tree, path: str) -> Iterator[str]:
    """A primary configuration and those that it builds on."""
    yield path
    file = tree.file(path)
    for entry in file.defaults_list if file is not None and file.defaults_list else []:
        if isinstance(entry, ConfigDefault) and not entry.is_self():
            yield from _primaries(tree, _target(entry).removeprefix("/"))


_INTERPOLATED = "has a defaults list that depends on other choices"


def _reaching_out(tree: Tree, path: str) -> Iterator[tuple[str, str]]:
    """What in a file, or in those that it builds on, reaches out of its group."""
    file = tree.file(path)
    if file is None:
        return
    folder = path.rpartition("/")[0]
    package = file.header.get("package")
    if package not in (None, "_group_") and f"{package}.".partition(".")[0] != path.partition("/")[0]:
        yield path, f"has the header @package {package}"
    for entry in file.defaults_list or []:
        if entry.is_self():
            continue
        if _interpolated(entry):
            yield path, _INTERPOLATED
        elif isinstance(entry, GroupDefault) and entry.override:
            yield path, f"overrides {entry.group}"
        elif entry.package is not None:
            yield path, f"puts something elsewhere with @{entry.package}"
        elif _target(entry).startswith("/"):
            yield path, f"builds on {_target(entry)}"
        else:
            yield from _reaching_out(tree, f"{folder}/{_target(entry)}")


def _target(entry: InputDefault) -> str:
    """The file that an entry of a defaults list names, as it is written there."""
    if isinstance(entry, GroupDefault):
        return f"{entry.group}/{entry.value}"
    return str(cast(ConfigDefault, entry).path)


def _interpolated(entry: InputDefault) -> bool:
    return not entry.is_self() and "${" in _target(entry)


def _difference(axes: Assignment, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str | None:
    """Which key of a cell's configuration Hydra composes differently, in words; None if there is none."""
    differing = [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)]
    shown = " ".join(f"{axis}={value.text}" for axis, value in axes.items())
    return f"Hydra composes {differing[0]} differently for {shown}" if differing else None


def _set(values: dict[str, Any], key: str, value: Value, where: str = "the configuration") -> None:
    if key not in values:
        raise unlisted_key(where, key)
    values[key] = value.value
