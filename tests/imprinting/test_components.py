"""The contract of components: what registries find, refuse and say; what a component may return."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from imprint_sweep.embeddings.cache import EmbeddingCache
from imprint_sweep.engine import EngineSettings, run
from imprint_sweep.errors import ConfigError, InvalidCellError, StageError, UnknownOptionError
from imprint_sweep.grid.cell import component_versions
from imprint_sweep.grid.outcome import OK
from imprint_sweep.grid.scheme import Scheme
from imprint_sweep.imprinting.components import (
    GENS,
    REGISTRIES,
    Component,
    Gen,
    Parameter,
    checked_rows,
)
from tests import data

OTHERS = """
import numpy as np
from imprint_sweep.imprinting.components import Gen, Parameter

class Whole(Gen):
    name = "median"
    version = 3
    parameters = (Parameter("shift", float, 0.0, "Added to each proxy.", least=-10.0, below=10.0),)
    def proxies(self, given, variant):
        return np.median(given.samples, axis=0, keepdims=True) + np.float32(variant["shift"])

class Flat(Whole):
    name = "flat"
    def proxies(self, given, variant):
        return given.samples.mean(axis=0)

class Wide(Whole):
    name = "wide"
    def proxies(self, given, variant):
        return given.samples[:1].astype(np.float64)

class Nan(Whole):
    name = "nan"
    def proxies(self, given, variant):
        return np.full_like(given.samples[:1], np.nan)

class Rude(Whole):
    name = "rude"
    def proxies(self, given, variant):
        given.samples[:] = 0
        return given.samples[:1]

class Unfinished(Gen):
    name = "unfinished"

class Nameless(Whole):
    name = "No Name"

NUMBER = 3
"""


@pytest.fixture(scope="module", autouse=True)
def others(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A module of somebody else on the path, for the tests of this module."""
    folder = tmp_path_factory.mktemp("others")
    (folder / "somebodys_gens.py").write_text(OTHERS)
    sys.path.insert(0, str(folder))
    before = dict(GENS)
    yield
    sys.path.remove(str(folder))
    GENS._found = before  # other tests count on the components of this project


def test_reading_the_registries_loads_nothing_heavy() -> None:
    program = (
        "import sys; from imprint_sweep.imprinting.components import REGISTRIES\n"
        "print(all(list(registry) for registry in REGISTRIES))\n"
        "print([name for name in ('numba', 'scipy', 'sklearn', 'pandas', 'torch') if name in sys.modules])"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert finished.stdout.split("\n")[:2] == ["True", "[]"]


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda registry: registry.key)
def test_every_component_goes_by_its_own_name(registry: dict[str, Component]) -> None:
    assert len(registry) >= 2
    for name, component in registry.items():
        assert component.name == name
        assert component.version >= 1
        assert (type(component).__doc__ or "").strip().endswith(".")


def test_a_name_that_is_not_there_is_told_with_the_nearest() -> None:
    with pytest.raises(UnknownOptionError, match="unknown gen 'kmeanz'; did you mean kmeans"):
        GENS["kmeanz"]


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("somebodys_gens", "is not of the form package.module:NAME"),
        ("no_such_module:Gen", "does not load: ModuleNotFoundError: No module named 'no_such_module'"),
        ("somebodys_gens:Missing", "does not load: AttributeError"),
        ("somebodys_gens:Unfinished", "does not load: TypeError: Can't instantiate abstract class"),
        ("somebodys_gens:NUMBER", "is no Gen, but int"),
        ("somebodys_gens:Nameless", "has the name 'No Name'; expected lower-case letters"),
    ],
)
def test_what_is_no_component_is_a_sentence(place: str, says: str) -> None:
    with pytest.raises(ConfigError, match="gen: the component") as caught:
        GENS.register(place)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_somebody_elses_gen_is_computed_and_carries_its_version(tmp_path: Path) -> None:
    name = GENS.register("somebodys_gens:Whole")
    assert name == "somebodys_gens:median"
    assert GENS.place(name) == "somebodys_gens:Whole"
    blobs = data.blobs(train_sizes=dict.fromkeys(range(3), 9))
    cache = EmbeddingCache(tmp_path)
    data.write(cache, blobs)
    cell = data.cell(data.task(blobs), gen=name)
    (outcome,) = run([cell], cache, EngineSettings())
    assert (outcome.status, outcome.error, outcome.n_proxies) == (OK, None, 3)
    assert component_versions(cell.scheme, 3).startswith("gen:somebodys_gens:median=3")


@pytest.mark.parametrize(
    ("attribute", "says"),
    [
        ("Flat", r"gen=somebodys_gens:flat returned an array of shape \(16,\); expected \(at least 1, 16\) float32"),
        ("Wide", "returned float64; expected"),
        ("Nan", "returned values that are not finite"),
        ("Rude", "assignment destination is read-only"),
    ],
)
def test_a_gen_that_breaks_its_contract_fails_its_own_cells(attribute: str, says: str, tmp_path: Path) -> None:
    name = GENS.register(f"somebodys_gens:{attribute}")
    blobs = data.blobs(train_sizes=dict.fromkeys(range(3), 9))
    cache = EmbeddingCache(tmp_path)
    data.write(cache, blobs)
    task = data.task(blobs)
    cells = [data.cell(task, gen=name), data.cell(task, gen="mean")]
    outcomes = {outcome.cell: outcome for outcome in run(cells, cache, EngineSettings())}
    assert outcomes[cells[1]].status == OK
    with pytest.raises(AssertionError, match=says):
        raise AssertionError(outcomes[cells[0]].error)


def test_a_parameter_enters_an_identity_where_it_is_not_neutral() -> None:
    name = GENS.register("somebodys_gens:Whole")

    def scheme(**parameters: object) -> Scheme:
        return Scheme.create(gen=name, parameters={f"gen.{key}": value for key, value in parameters.items()})

    assert scheme().fragment == scheme(shift=0).fragment
    assert "shift" not in scheme().fragment
    assert '"gen.shift":1.5' in scheme(shift=1.5).fragment
    # A gen without it drops it.
    assert Scheme.create(gen="mean", parameters={"gen.shift": 1.5}) == Scheme.create(gen="mean")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("a", "gen.shift: expected a number, got 'a'"),
        (True, "gen.shift: expected a number, got True"),
        (10, "gen.shift must be at least -10 and less than 10, got 10"),
        (float("nan"), "gen.shift must be at least -10 and less than 10, got nan"),
    ],
)
def test_a_value_out_of_range_is_a_sentence(value: object, says: str) -> None:
    with pytest.raises(InvalidCellError) as caught:
        Scheme.create(gen=GENS.register("somebodys_gens:Whole"), parameters={"gen.shift": value})
    assert says in str(caught.value)


def test_a_parameter_nobody_has_is_told_with_those_there_are() -> None:
    GENS.register("somebodys_gens:Whole")
    with pytest.raises(UnknownOptionError, match=r"unknown parameter 'gen.shiftt'; did you mean gen.shift"):
        Scheme.create(gen="mean", parameters={"gen.shiftt": 1})


def test_choices_of_words() -> None:
    parameter = Parameter("rule", str, "bic", "The rule.", choices=("bic", "cv"))
    assert parameter.checked("gen.rule", "cv") == "cv"
    with pytest.raises(UnknownOptionError):
        parameter.checked("gen.rule", "aic")


def test_checked_rows() -> None:
    good = np.ones((2, 3), np.float32)
    assert checked_rows(good, "x", 3) is good
    with pytest.raises(StageError, match=r"x returned list; expected an array, \(at least 1, 3\) float32"):
        checked_rows(good.tolist(), "x", 3)
    with pytest.raises(StageError, match=r"shape \(2, 3\); expected \(4, 3\)"):
        checked_rows(good, "x", 3, count=4)


def test_defaults_of_a_gen_say_the_least() -> None:
    assert (Gen.takes_k, Gen.seeded, Gen.joint, Gen.chooses_blindly) == (False, False, False, False)
