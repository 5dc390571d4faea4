"""Start-up stays light: what a command needs before it knows its task loads no heavy package."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

HEAVY = ("numba", "pandas", "pyarrow", "scipy", "sklearn", "sklearn_extra", "torch", "torchvision")


def loaded_by(module: str) -> set[str]:
    """The top-level packages that are loaded in a fresh interpreter after ``import module``."""
    program = f"import sys; import {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return set(finished.stdout.split())


def require(module: str) -> None:
    """Fail clearly where the module is missing: otherwise the check below would not check anything."""
    assert importlib.util.find_spec(module) is not None, f"{module} does not exist"


@pytest.mark.parametrize(
    "module", ["imprint_sweep", "imprint_sweep.errors", "imprint_sweep.cell", "imprint_sweep.__main__"]
)
def test_start_up_loads_nothing_heavy(module: str) -> None:
    require(module)
    assert not loaded_by(module) & set(HEAVY)


def test_a_heavy_import_would_be_seen() -> None:
    assert "scipy" in loaded_by("scipy")


def test_the_analysis_reads_a_table_without_torch() -> None:
    require("imprint_sweep.store")
    assert "torch" not in loaded_by("imprint_sweep.store")
