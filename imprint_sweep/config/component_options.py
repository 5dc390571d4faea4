"""Options for the gens and aggregations of other packages."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from imprint_sweep.errors import ConfigError
from imprint_sweep.imprinting.components import AGGREGATIONS, GENS, Aggregation, Registry


def offer() -> None:
    """Make an option of each gen and aggregation of another package that is known by now: ``gen=distribution:name``.

    One that an entry point names and that does not load is an option, too: choosing it tells why.
    """
    for name in GENS.of_others():
        _store("gen", name, GENS)
    for name in AGGREGATIONS.of_others():
        found = AGGREGATIONS[name] if name in AGGREGATIONS else Aggregation  # noqa: SIM401
        _store("agg", name, AGGREGATIONS, metric=found.usual_metric, m=None, weighting=None)


def _store(group: str, name: str, registry: Registry[Any], **keys: str | None) -> None:
    parameters = registry[name].parameters if name in registry else ()
    node = {"name": name, **keys, **{parameter.name: parameter.neutral for parameter in parameters}}
    ConfigStore.instance().store(group=group, name=name, node=node, provider="imprint_sweep")


def register_named(folders: Iterable[Path]) -> None:
    """Register the gens that option files name, so that their parameters can be overridden under every option.

    A file that cannot be read, or names what does not load, is passed over: choosing it tells why.

    Args:
        folders: of options, as ``--config-dir`` names them.
    """
    for path in sorted(path for folder in folders for path in (folder / "gen").rglob("*.yaml")):
        with suppress(ConfigError, OmegaConfBaseException, yaml.YAMLError, OSError, UnicodeError):
            file = OmegaConf.load(path)
            if isinstance(file, DictConfig) and file.get("component") is not None:
                GENS.register(str(file.component))
