"""The public names: there, typed, and loaded no sooner than they are used."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest

import imprint_sweep
from tests.outputs import ROOT


def test_every_public_name_is_there() -> None:
    for name in imprint_sweep.__all__:
        assert getattr(imprint_sweep, name) is not None
        assert name in dir(imprint_sweep)
    assert callable(imprint_sweep.Imprinter)


def test_a_star_import_brings_the_public_names_alone() -> None:
    names: dict[str, object] = {}
    exec("from imprint_sweep import *", names)
    assert names.keys() - {"__builtins__"} == set(imprint_sweep.__all__)


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'imprint_sweep' has no attribute 'Imprintr'"):
        getattr(imprint_sweep, "Imprintr")  # noqa: B009 (mypy would see it)


def test_type_checkers_see_what_is_there() -> None:
    stub = ast.parse((Path(imprint_sweep.__file__).with_suffix(".pyi")).read_text())
    imported = {alias.name for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert imported | {"__version__"} == set(imprint_sweep.__all__)
    assert Path(imprint_sweep.__file__).with_name("py.typed").is_file()


def test_importing_the_package_loads_nothing_of_it() -> None:
    program = (
        "import sys, time; start = time.perf_counter(); import imprint_sweep; took = time.perf_counter() - start\n"
        "print(took, *(name for name in sys.modules if name.startswith('imprint_sweep')), 'numpy' in sys.modules)"
    )
    start = time.perf_counter()
    finished = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    took, *loaded = finished.stdout.split()
    assert loaded == ["imprint_sweep", "False"]
    assert float(took) < max(0.1, (time.perf_counter() - start) / 2)
