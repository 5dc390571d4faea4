"""Hydra's compose API on the project's configuration, also within somebody else's Hydra application."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import hydra
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.version import VersionBase

from imprint_sweep.invocation import conf_folder


@contextmanager
def project_configuration() -> Iterator[ConfigLoader]:
    """Initialize Hydra with the project's configuration, and give its loader.

    A process has one Hydra, and whoever calls may be using it; it is as it was afterwards.
    """
    surrounding, version_base = GlobalHydra.instance().hydra, VersionBase.instance().version_base
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(str(conf_folder()), version_base="1.3"):
            yield GlobalHydra.instance().config_loader()
    finally:
        GlobalHydra.instance().hydra = surrounding
        VersionBase.instance().version_base = version_base
