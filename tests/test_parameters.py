"""Parameters of components, and gens of other packages, from the configuration to the results table."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from imprint_sweep.analysis.artefacts import ARTEFACTS, make
from imprint_sweep.analysis.data import names
from imprint_sweep.analysis.data.results import load, without_parameters
from imprint_sweep.analysis.data.subset import subset
from imprint_sweep.analysis.report.listing import listing
from imprint_sweep.analysis.stats.best import best
from imprint_sweep.cli.commands import best as best_of
from imprint_sweep.config.overrides import axis_names, for_hydra
from imprint_sweep.config.overrides_of import cell_of, overrides_of
from imprint_sweep.errors import ConfigError, InvalidCellError, UnknownOptionError
from imprint_sweep.grid.cell import Cell, Model
from imprint_sweep.grid.scheme import Scheme, known_parameters
from imprint_sweep.grid.tasks import make_task
from imprint_sweep.imprinting.components import GENS
from imprint_sweep.planning.plan import Plan
from imprint_sweep.store import compact, load_results, table_schema
from tests.extending import files, forget_gens
from tests.outputs import ROOT

TRIMMED = "mine.trimmed:TRIMMED_MEAN"
BROKEN = """
import numpy as np
from imprint_sweep.imprinting.components import Gen, Parameter, Piece

class Base(Gen):
    def proxies(self, given, variant):
        return given.samples[:1]

class Flat(Base):
    name = "flat"
    def proxies(self, given, variant):
        return given.samples[0]

class NotFinite(Base):
    name = "not_finite"
    def proxies(self, given, variant):
        return np.full_like(given.samples[:1], np.nan)

class Changing(Base):
    name = "changing"
    def proxies(self, given, variant):
        given.samples[:] = 0
        return given.samples[:1]

class Endless(Base):
    name = "endless"
    def work(self, of, d, variant):
        return [Piece(self.name, variant, of.n * float("nan"))]

class Costly(Base):
    name = "costly"
    def work(self, of, d, variant):
        raise KeyError("d")

class Lazy(Gen):
    name = "lazy"

class Shouting(Base):
    name = "LOUD"

class Taken(Base):
    name = "taken"
    parameters = (Parameter("seconds", float, 0.0, "Seconds."),)

class Another(Base):
    name = "another"
    parameters = (Parameter("trim", int, 0, "Samples left out."),)

class Namesake(Base):
    name = "trimmed_mean"

NUMBER = 3
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A folder on which the package ``mine`` lies, and ``options`` that name its gens."""
    folder = tmp_path / "path"
    (folder / "mine").mkdir(parents=True)
    (folder / "mine" / "__init__.py").touch()
    (folder / "mine" / "trimmed.py").write_text(files()["imprint_sweep/imprinting/gen/trimmed_mean.py"])
    (folder / "mine" / "broken.py").write_text(BROKEN)
    options = folder / "options" / "gen"
    options.mkdir(parents=True)
    (options / "trimmed.yaml").write_text(f"component: {TRIMMED}\n")
    for name in ("Flat", "NotFinite", "Changing", "Endless", "Costly", "Lazy", "Missing"):
        (options / f"{name.lower()}.yaml").write_text(f"component: mine.broken:{name}\n")
    (options / "contrary.yaml").write_text(f"name: kmeans\ncomponent: {TRIMMED}\n")
    return folder


@pytest.fixture
def trimmed(package: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name under which the trimmed mean of the page on extending is registered."""
    forget_gens(monkeypatch)
    monkeypatch.syspath_prepend(str(package))
    yield GENS.register(TRIMMED)
    for module in [name for name in sys.modules if name.partition(".")[0] == "mine"]:
        del sys.modules[module]


def run(package: Path, *words: str, code: int = 0) -> str:
    """Run the main command on the packaged digits with the package and its options; what it printed."""
    command = [sys.executable, "-m", "imprint_sweep", "--config-dir", str(package / "options"), *words]
    finished = subprocess.run(
        [*command, "model=pixels", f"paths.outputs={package.parent / 'out'}"],
        cwd=package,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(package)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == code, finished.stdout + finished.stderr
    assert "Traceback" not in finished.stderr
    return finished.stdout + finished.stderr


# ---- identity


def test_a_neutral_value_enters_no_identity(trimmed: str) -> None:
    neutral = Scheme.create(gen=trimmed, parameters={"gen.trim": 0})
    assert neutral == Scheme.create(gen=trimmed)
    assert "trim" not in neutral.fragment.replace(trimmed, "")
    assert Scheme.create(gen=trimmed, parameters={"gen.trim": -0.0}).fragment == neutral.fragment
    other = Scheme.create(gen=trimmed, parameters={"gen.trim": 0.1})
    assert '"gen.trim":0.1' in other.fragment
    assert other != neutral


def test_a_gen_without_the_parameter_drops_it(trimmed: str) -> None:
    assert Scheme.create(gen="mean", parameters={"gen.trim": 0.1}) == Scheme.create(gen="mean")


@pytest.mark.parametrize("value", [0.5, -0.1, float("nan"), float("inf")])
def test_a_value_out_of_range_is_a_sentence(trimmed: str, value: float) -> None:
    with pytest.raises(InvalidCellError, match=r"^gen\.trim must be at least 0 and less than 0\.5, got "):
        Scheme.create(gen=trimmed, parameters={"gen.trim": value})


def test_an_unknown_parameter_is_a_sentence(trimmed: str) -> None:
    with pytest.raises(UnknownOptionError, match=r"gen\.trimm'; did you mean gen\.trim or "):
        Scheme.create(gen=trimmed, parameters={"gen.trimm": 0.1})


def test_a_parameter_is_an_axis_and_a_column(trimmed: str) -> None:
    assert "gen.trim" in axis_names()
    assert "gen_trim" in table_schema().names
    assert for_hydra("gen.trim=0.1") == for_hydra("+gen.trim=0.1") == "++gen.trim=0.1"
    assert for_hydra("gen.name=mean") == "gen.name=mean"


def test_parameters_of_the_packages_own_components_have_columns_of_their_own() -> None:
    for component in GENS.values():
        for parameter in component.parameters:
            assert known_parameters()[f"gen.{parameter.name}"].type is parameter.type
            assert parameter.name not in {"name", "component", "parameters", "seconds"}


# ---- components of other packages


def test_a_component_is_registered_once(trimmed: str) -> None:
    assert trimmed == "mine:trimmed_mean"
    assert GENS.register(TRIMMED) == trimmed
    assert GENS.place(trimmed) == TRIMMED


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("nonsense", "not of the form package.module:NAME"),
        ("mine.nothing:X", "does not load: ModuleNotFoundError"),
        ("mine.broken:Missing", "does not load: AttributeError"),
        ("mine.broken:Lazy", "does not load: TypeError: Can't instantiate abstract class Lazy"),
        ("mine.broken:NUMBER", "is no Gen, but int"),
        ("mine.broken:Shouting", "has the name 'LOUD'"),
        ("mine.broken:Taken", "has the parameter 'seconds'"),
        (
            "mine.broken:Another",
            "trim of mine.broken:Another is a whole number, but that of mine:trimmed_mean is",
        ),
        ("mine.broken:Namesake", "goes by the name mine:trimmed_mean, which another component has already"),
    ],
)
def test_what_is_no_component_is_a_sentence(trimmed: str, place: str, message: str) -> None:
    before = dict(GENS)
    with pytest.raises(ConfigError) as raised:
        GENS.register(place)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
    assert dict(GENS) == before


# ---- the command line


def test_two_values_are_two_cells_and_those_of_another_gen_are_one(package: Path) -> None:
    out = run(package, "-m", "gen=mean,trimmed", "gen.trim=0.1,0.2", "k=1")
    assert "requested 4 -> 3 distinct" in out
    assert "gen.trim" in out
    rows = load_results(package.parent / "out" / "results", ["gen", "cell_id"])
    assert sorted(rows["gen"]) == ["mean", "mine:trimmed_mean", "mine:trimmed_mean"]
    assert "1 done, 0 to run" in run(package, "-m", "gen=mean", "gen.trim=0.1,0.2")
    assert "gen.trim has no meaning in any of these cells" in run(package, "-m", "gen=mean", "gen.trim=0.1,0.2")
    assert "note: gen.trim=0.2 has no meaning under gen=mean: dropped" in run(package, "gen=mean", "gen.trim=0.2")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("gen.trim=0.7",), "gen.trim must be at least 0 and less than 0.5, got 0.7"),
        (("-m", "gen.trim=0.7"), "gen.trim must be at least 0 and less than 0.5, got 0.7"),
        (("gen.trim=abc",), "gen.trim: expected a number, or null for its default; got 'abc'"),
        (("-m", "gen.trim=0.1,abc"), "gen.trim: expected a number, or null for its default; got 'abc'"),
        (("gen.trim=true",), "gen.trim: expected a number, or null for its default; got True"),
        (("-m", "gen.trim=[0.1]"), "gen.trim: expected a number, or null for its default; got [0.1]"),
        (("gen.trimm=0.1",), "unknown key 'gen.trimm'; did you mean gen.trim or "),
        (("-m", "gen.trimm=0.1"), "unknown key 'gen.trimm'; did you mean gen.trim or "),
        (("gen.parameters=0.1",), "unknown key 'gen.parameters'"),
        (("gen=contrary",), f"gen.name is kmeans, but gen.component={TRIMMED} is called trimmed_mean"),
        (("gen=missing",), "gen: the component mine.broken:Missing does not load: AttributeError"),
        (("-m", "gen=lazy"), "does not load: TypeError: Can't instantiate abstract class Lazy"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(package: Path, words: tuple[str, ...], message: str) -> None:
    gen = [] if any(word.startswith("gen=") for word in words) else ["gen=trimmed"]
    out = run(package, *words, *gen, code=2)
    assert message in out
    assert out.count("\n") == 1
    assert not (package.parent / "out" / "results").exists()


def test_several_values_need_a_sweep(package: Path) -> None:
    out = run(package, "gen=trimmed", "gen.trim=0.1,0.2", code=2)
    assert out == "error: gen.trim=0.1,0.2 lists several values: add -m to sweep over them\n"


def test_an_option_sets_a_parameter_and_the_command_line_comes_before_it(package: Path) -> None:
    (package / "options" / "gen" / "quarter.yaml").write_text(f"component: {TRIMMED}\ntrim: 0.25\n")
    run(package, "-m", "gen=quarter,trimmed")
    run(package, "gen=quarter", "gen.trim=0.1")
    rows = load_results(package.parent / "out" / "results", status=None)
    assert len(rows) == 3
    assert "1 done, 0 to run" in run(package, "-m", "gen=trimmed,mine:trimmed_mean", "gen.trim=0.25")


@pytest.mark.parametrize("name", ["costly", "endless"])
def test_a_gen_that_cannot_say_what_it_takes_is_a_sentence(package: Path, name: str) -> None:
    assert f"error: gen=mine:{name} " in run(package, "-m", f"gen=mean,{name}", code=2)


def test_a_gen_that_breaks_its_contract_fails_its_own_cells_alone(package: Path) -> None:
    out = run(package, "-m", "gen=mean,flat,notfinite,changing,trimmed", code=1)
    assert "3 failed" in out
    assert "gen=mine:flat returned an array of shape (64,); expected (at least 1, 64) float32" in out
    assert "gen=mine:not_finite returned values that are not finite" in out
    assert "ValueError: assignment destination is read-only (mine.broken, line " in out


def test_workers_of_other_processes_find_the_component(package: Path) -> None:
    out = run(
        package, "-m", "gen=trimmed", "gen.trim=0.1,0.2", "hydra/launcher=joblib", "sweep.shards=2", "n_shot=9,10"
    )
    assert "4/4 cells" in out


def test_an_experiment_names_parameters_in_axes_and_conditions(package: Path) -> None:
    (package / "options" / "experiment").mkdir()
    (package / "options" / "experiment" / "trims.yaml").write_text(
        'axes: {gen: "mean,trimmed", gen.trim: "0.1,0.2,0.3"}\nexclude: gen == trimmed and gen.trim > 0.2\n'
    )
    out = run(package, "-m", "+experiment=trims", "sweep.dry_run=true")
    assert "requested 6, 1 left out -> 3 distinct" in out
    assert "1 combination left out: excluded by a condition of the experiment" in out


def test_other_sweepers_take_parameters_under_every_gen(package: Path) -> None:
    run(package, "-m", "gen=mean,trimmed", "gen.trim=0,0.2", "hydra/sweeper=basic")
    assert len(load_results(package.parent / "out" / "results", ["cell_id"])) == 3


def test_a_saved_plan_finds_the_component_in_another_process(package: Path, trimmed: str, tmp_path: Path) -> None:
    task = make_task("digits", ["digits"], [0, 1])
    schemes = [Scheme.create(gen=trimmed, parameters={"gen.trim": trim}) for trim in (0, 0.1, 0.2)]
    plan = Plan.of_cells([Cell(Model("pixels", "none"), task, scheme) for scheme in schemes])
    plan.save(tmp_path / "plan.npz")
    program = (
        "import sys; from pathlib import Path; from imprint_sweep.planning.plan import Plan\n"
        "print([cell.cell_id for cell in Plan.load(Path(sys.argv[1]))[0].cells([0, 1, 2])])"
    )
    finished = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "plan.npz")],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(package)])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert finished.stdout.strip() == str([plan.cell(position).cell_id for position in range(3)])


# ---- the results


@pytest.fixture
def computed(package: Path) -> Path:
    """The outputs of a sweep over two values, a neutral one and the mean."""
    run(package, "-m", "gen=mean,trimmed", "gen.trim=0,0.1,0.2")
    return package.parent / "out"


def test_the_analysis_tells_values_apart(computed: Path, trimmed: str) -> None:
    frame = load(computed).frame
    shown = names.configurations(frame)
    assert len(set(shown)) == 4
    assert any(name.startswith("trimmed mean, trim = 0.1 ·") for name in shown)
    assert not any("trim = 0 " in name for name in shown)
    table = listing(load(computed))
    assert "gen.trim" in [column.title for column in table.columns]
    assert sorted(table.frame["gen_trim"].dropna()) == [0.0, 0.1, 0.2]
    assert len(subset(load(computed), "gen.trim > 0.15").frame) == 1


def test_best_ranks_values_apart(computed: Path, trimmed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(best(load(computed)).ranks) == 4
    best_of.main(["--outputs", str(computed), "--where", "gen.trim > 0"])
    said = capsys.readouterr().out
    assert "trimmed mean, trim = 0.1 ·" in said
    assert "gen.trim=0.1 " in said


def test_figures_of_the_paper_are_about_neutral_values(computed: Path, trimmed: str) -> None:
    results = load(computed)
    kept = without_parameters(results.frame)
    assert sorted(kept["gen"]) == ["mean", trimmed]
    assert kept["gen_trim"].dropna().tolist() == [0.0]
    # As if the parameter had been added to a component of the paper: its points are one each all the same.
    kmeans = results.frame["gen"].cat.rename_categories({"mean": "kmeans", trimmed: "fps"})
    renamed = replace(results, frame=results.frame.assign(gen=kmeans, k=5, gen_trim=[0.1, 0.2, 0.3, float("nan")]))
    for name in ARTEFACTS:
        make(name, renamed)


def test_a_row_leads_back_to_its_command(computed: Path, trimmed: str) -> None:
    table = load_results(computed / "results").astype(object)
    rows: list[dict[str, Any]] = [
        {str(name): value for name, value in row.items()} for row in table.where(table.notna(), None).to_dict("records")
    ]
    cells = {(row["gen"], row["gen_trim"]): cell_of(row) for row in rows}
    assert cells[trimmed, 0.2].scheme.parameter("gen.trim") == 0.2
    assert "gen=mean" in overrides_of(cells["mean", None])
    assert {f'gen="{trimmed}"', "gen.trim=0.2"} <= set(overrides_of(cells[trimmed, 0.2]))


def test_a_row_is_shown_where_its_component_is_not_here(computed: Path, trimmed: str) -> None:
    rows = load_results(computed / "results", ["cell_id", "gen"])
    (cell, *_) = rows["cell_id"][rows["gen"] == trimmed]
    words = [sys.executable, "-m", "imprint_sweep.cli.commands.cell", cell, "--outputs", str(computed)]
    shown = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert f"gen                 {trimmed}" in shown
    assert f"note: unknown gen '{trimmed}'" in shown
    assert subprocess.run([*words, "--check"], capture_output=True, check=False, cwd=ROOT).returncode == 2


def test_rows_of_the_time_before_a_parameter_was_there_hold_its_neutral_value(computed: Path, trimmed: str) -> None:
    table = computed / "results"
    rows = pd.concat(pd.read_parquet(part) for part in table.iterdir())
    for part in table.iterdir():
        part.unlink()
    old = rows[rows["gen_trim"] == 0].drop(columns="gen_trim")
    assert len(old) == 1
    old.to_parquet(table / "part-old.parquet", index=False)
    assert load(computed).frame["gen_trim"].tolist() == [0.0]


def test_values_stay_apart_where_the_component_is_not_here(computed: Path) -> None:
    assert "gen.trim" not in axis_names()
    frame = load(computed).frame
    assert sorted(frame["gen_trim"].dropna()) == [0.0, 0.1, 0.2]
    assert len(set(names.configurations(frame))) == 4
    parts = sorted((computed / "results").iterdir())
    assert compact(computed / "results").newer == tuple(parts)
    assert sorted((computed / "results").iterdir()) == parts
