"""The files that docs/extending.md shows, and gens that a test registers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hydra.core.config_store import ConfigStore

from imprint_sweep.imprinting.components import GENS

PAGE = Path(__file__).resolve().parents[1] / "docs" / "extending.md"


def files() -> dict[str, str]:
    """Path -> text of each code block whose first line names a file."""
    blocks = re.findall(
        r"^```(?:python|yaml|toml)\n# (\S+)\n(.*?)^```$", PAGE.read_text(), flags=re.DOTALL | re.MULTILINE
    )
    return dict(blocks)


def forget_gens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what is registered be forgotten at the end of the test."""
    GENS.get("mean")
    monkeypatch.setitem(ConfigStore.instance().repo, "gen", dict(ConfigStore.instance().repo.get("gen", {})))
    for table in ("_found", "_names", "_places", "_broken"):
        monkeypatch.setattr(GENS, table, dict(getattr(GENS, table)))
