"""Embeddings that nobody has to ask for: of images and by networks that ship inside packages."""

from __future__ import annotations

from collections.abc import Iterable

from imprint_sweep.config.settings import Settings
from imprint_sweep.embeddings.cache import EntryKey
from imprint_sweep.extraction.process import prepare_process
from imprint_sweep.planning.plan import Plan, look_up

MODELS = ("efficientnet_lite0", "pixels")
DATASETS = ("digits",)


def is_bundled(key: EntryKey) -> bool:
    """Whether an entry can be made from what ships inside packages."""
    return key.model.name in MODELS and key.dataset in DATASETS


def make_bundled_embeddings(plan: Plan, settings: Settings) -> None:
    """Compute what cells of a plan would read, is missing, and ships inside packages."""
    make_bundled_entries(look_up(plan, settings.cache).missing, settings)


def make_bundled_entries(missing: Iterable[EntryKey], settings: Settings, *, prepare: bool = True) -> None:
    """Compute those of the missing entries that ship inside packages.

    Args:
        missing: entries that the cache lacks.
        settings: where everything is.
        prepare: set the process up for networks if there is anything to compute, as only commands may.
    """
    bundled = [key for key in missing if is_bundled(key)]
    if not bundled:
        return
    if prepare:
        prepare_process()
    from imprint_sweep.extraction.extracting import Extraction, ensure

    ensure(settings.cache, bundled, Extraction(data_root=settings.data, device=settings.device))
