"""Commands that are printed do what they say when they are typed: in a shell, from another folder, with odd names."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, QuotedString, RangeSweep
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from imprint_sweep.analysis.data import filling, results
from imprint_sweep.analysis.data.results import Results
from imprint_sweep.cli.commands import best, cell, import_embeddings
from imprint_sweep.config.overrides_of import compose
from imprint_sweep.embeddings.cache import EmbeddingCache, EntryKey
from imprint_sweep.errors import MissingEmbeddingsError
from imprint_sweep.grid.cell import Cell, Model, Task
from imprint_sweep.grid.outcome import Outcome
from imprint_sweep.grid.scheme import Scheme
from imprint_sweep.grid.tasks import make_task
from imprint_sweep.invocation import choices, override, shell_line
from imprint_sweep.planning.request import build
from imprint_sweep.store import Provenance, ResultStore, load_results
from tests.sweeping import blocks_of, cells, tree_of

ODD = "[b=1], $x {y}: 'it''s' \"#2\"; ~(é)\\"
"""A name with everything that a shell or Hydra's grammar reads as something else."""

NAMES = (
    *("a=b", "a,b", "f(x)", "it's", 'say "x"', "a;b", "#1", "naïve", "模型", "a[0]", "a{b}", "$HOME", "back\\", "a:b"),
    *("~x", "-x", "+x", "a b", "*", "`x`", "a&b", "true", "NULL", "1e3", "67e15", "1_000", "007", "inf", "nan"),
    *("a 1e3", "null x", "!x", "%s", "@x", "<b>", "a\\'b", "a\\\\", ODD),
)
PARSER = OverridesParser.create()


# --- for Hydra --------------------------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    if isinstance(value, QuotedString):
        return value.text
    return [plain(item) for item in value] if isinstance(value, list) else value


def read(word: str) -> Any:
    """What Hydra's grammar makes of an override."""
    value: Any = PARSER.parse_override(word).value()
    return [plain(item) for item in value.list] if isinstance(value, ChoiceSweep) else plain(value)


def with_examples(test: Callable[[str], None]) -> Callable[[str], None]:
    for name in NAMES:
        test = example(name)(test)
    return test


SPECIAL = st.text("\\'\"ab =,$[]{}():#;\n\t~-+1e_.é*")


@with_examples
@given(text=st.text() | SPECIAL)
def test_hydra_reads_back_the_very_text(text: str) -> None:
    found = read(override("task.name", text))
    assert (found, type(found)) == (text, str)
    assert read(override("task.datasets", [text, "b"])) == [text, "b"]
    assert read(choices("task.name", [text, "b", text])) == [text, "b", text]


@given(value=st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False))
def test_hydra_reads_back_the_very_value(value: float | None) -> None:
    found = read(override("k", value))
    assert (found, type(found)) == (value, type(value))


@given(values=st.lists(st.integers(-5, 5), min_size=1, unique=True))
def test_several_numbers_are_those_numbers(values: list[int]) -> None:
    value: Any = PARSER.parse_override(choices("k", values)).value()
    if isinstance(value, RangeSweep):
        assert sorted(value.range()) == sorted(values)
    else:
        assert (value.list if isinstance(value, ChoiceSweep) else [value]) == values


@given(texts=st.lists(st.text().filter(lambda text: "\0" not in text)))
def test_a_shell_reads_back_the_very_words(texts: list[str]) -> None:
    assert shlex.split(shell_line("imprint_sweep", texts))[3:] == texts


# --- what runs them ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("else where")


def typed(line: str, folder: Path, code: int = 0) -> str:
    """Run a line as a shell does that stands in a folder and finds this Python first; returns what it printed."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path}
    finished = subprocess.run(
        ["sh", "-c", line], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert finished.returncode == code, f"{line}\n{finished.stdout}\n{finished.stderr}"
    return finished.stdout + finished.stderr


def asked_for(line: str) -> list[Cell]:
    """The cells of sweeps, in order: what typing them would compute."""
    found: list[Cell] = []
    for part in line.split(" && "):
        words = shlex.split(part)
        assert words[:4] == ["python", "-m", "imprint_sweep", "-m"]
        place = words.pop()
        assert place.startswith("paths.outputs=")
        tree = tree_of()
        request = build(blocks_of(tree, *words[4:]), tree, EmbeddingCache(Path(read(place)) / "embeddings"))
        assert (request.invalid, request.missing) == ({}, {})
        found += cells(request)
    return found


def write_embeddings(outputs: Path, model: Model, dataset: str, *classes: int, limit: int | None = None) -> None:
    """Embeddings of nothing in particular."""
    labels = np.repeat(np.array(classes, np.int64), 6)
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        features = (rng.normal(size=(len(labels), 5)) + labels[:, None]).astype(np.float32)
        key = EntryKey(model, dataset, split, limit)
        EmbeddingCache(outputs / "embeddings").write(key, features, labels, metadata={"source": "here"})


def write_rows(outputs: Path, *of: Cell) -> Results:
    """Rows of cells that nobody computed."""
    with ResultStore(outputs / "results").writer(Provenance("0", None, "host")) as writer:
        for i, one in enumerate(of):
            writer.add(Outcome(one, one.computation_id(), "f" * 20, n_correct=50 + i % 7, n_test=100, n_proxies=9))
    return results.load(outputs)


def row_of(outputs: Path, line: str, folder: Path) -> Any:
    """The row that is there after a line was typed and was not before."""
    before = set(load_results(outputs / "results")["cell_id"]) if (outputs / "results").exists() else set()
    typed(line, folder)
    rows = load_results(outputs / "results")
    (row,) = rows[~rows["cell_id"].isin(before)].itertuples()
    return row


# --- imported embeddings ----------------------------------------------------------------------------------------------


def imported(folder: Path, capsys: pytest.CaptureFixture[str], model: str, dataset: str, *more: str) -> str:
    """The command that an import prints at its end."""
    for split in ("train", "test"):
        np.savez(folder / f"{split}.npz", embeddings=np.eye(9, 4, dtype=np.float32), labels=np.arange(9) % 3)
    files = ["--train", str(folder / "train.npz"), "--test", str(folder / "test.npz")]
    outputs = ["--outputs", str(folder / ODD)]
    import_embeddings.main([f"--model={model}", f"--dataset={dataset}", *files, *outputs, *more])
    return capsys.readouterr().out.splitlines()[-1].partition(": ")[2]


@pytest.mark.parametrize("name", NAMES)
def test_what_was_imported_can_be_imprinted_on(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = imported(tmp_path, capsys, name, f"{name}2", f"--weights={name}3")
    found = compose(shlex.split(line)[3:])
    assert (found.model, found.task.name) == (Model(name, f"{name}3"), f"{name}2")
    assert found.task.datasets == (f"{name}2",)


def test_a_name_that_no_command_line_can_hold_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        imported(tmp_path, capsys, "net${k}", "mine")
    assert "--model: 'net${k}' holds ${, which stands for another value" in capsys.readouterr().err
    assert not (tmp_path / ODD).exists()


def test_what_was_imported_is_imprinted_on(tmp_path: Path, elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = row_of(tmp_path / ODD, imported(tmp_path, capsys, ODD, f"{ODD}2"), elsewhere)
    assert (row.model, row.weights, row.task, row.n_labels) == (ODD, "imported", f"{ODD}2", 3)


@pytest.mark.parametrize("image_size", [None, 112])
def test_missing_imported_embeddings_can_be_imported(
    image_size: int | None, tmp_path: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(elsewhere)
    cache = EmbeddingCache(tmp_path / ODD / "embeddings")
    key = EntryKey(Model(f"-{ODD}", "imported", image_size), "1e3", "train")
    with pytest.raises(MissingEmbeddingsError) as missing:
        cache.open(key)
    line = str(missing.value).partition("make them with: ")[2]
    for split in ("train", "test"):
        file = tmp_path / f"{split}.npz"
        np.savez(file, embeddings=np.eye(9, 4, dtype=np.float32), labels=np.arange(9) % 3)
        line = line.replace(f"--{split} FILE", f"--{split} {file}")
    typed(line, elsewhere)
    assert cache.open(key).header.n == 9


# --- folders of images ------------------------------------------------------------------------------------------------


def test_missing_embeddings_of_a_folder_of_images_are_made(
    tmp_path: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(elsewhere)
    outputs, data, name = tmp_path / f"out {ODD}", tmp_path / f"data {ODD}", "fl=1[x], ü"
    for split in ("train", "test"):
        for label in ("a", "b"):
            (data / name / split / label).mkdir(parents=True)
            Image.new("L", (4, 4), 40 * ord(label) % 255).save(data / name / split / label / "1.png")
    cache = EmbeddingCache(outputs / "embeddings", data)
    with pytest.raises(MissingEmbeddingsError) as missing:
        cache.open(EntryKey(Model("pixels", "raw", 6), name, "test", 1))
    typed(str(missing.value).partition("make them with: ")[2], elsewhere)
    assert cache.open(EntryKey(Model("pixels", "raw", 6), name, "test", 1)).header.n == 1


# --- the command of a cell --------------------------------------------------------------------------------------------

PIXELS = Model("pixels", "raw")
RIDGE: dict[str, Any] = {"gen": "least_squares", "weight_decay": 0.037}
MINE = Model(ODD, "1e3", 7)
DIGITS = range(10)


def of(name: str, *args: Any, datasets: Sequence[str] = (), **options: Any) -> Task:
    return make_task(name, datasets or [name], *args, **options)


TASKS: dict[str, Task] = {
    "classes": of("digits", DIGITS, [3, 1, 7]),
    "even": of("digits", DIGITS, "even"),
    "limit": of("digits", DIGITS, limit=400),
    "merged": of("digits", DIGITS, merge=2, remap=1),
    "merged classes": of("digits", DIGITS, [9, 2, 4, 0], merge=2, remap=0),
    "fewer labels": of("digits", [1, 2, 3, 5]),
    "of my own": of("my=task", DIGITS, "odd", datasets=["digits"]),
    "of my own, another order": of("1e3", DIGITS, [5, 0], datasets=["digits"]),
    "of my own, joined": of("null", [0, 1, 2, 3], [3, 0, 1], datasets=[ODD, "b,c"]),
    "folder": of(ODD, [0, 1, 2, 3]),
    "folder, merged": of(ODD, [0, 1, 2, 3], merge=2, remap=3),
    "a name of an option": of("mnist", [0, 1, 2, 3], datasets=["b,c"]),
}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Outputs with embeddings of all that :data:`TASKS` read, by a network of the configuration and by another."""
    root = tmp_path_factory.mktemp("outputs") / ODD
    for model in (PIXELS, MINE, Model(ODD, "imported"), Model("pixels", "imported")):
        for dataset in (ODD, "b,c"):
            write_embeddings(root, model, dataset, 0, 1, 2, 3)
        for limit in (None, 400):
            write_embeddings(root, model, "digits", *DIGITS, limit=limit)
    return root


@pytest.mark.parametrize("model", [PIXELS, MINE, Model(ODD, "imported"), Model("pixels", "imported")], ids=repr)
@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
def test_the_command_of_a_cell_gives_the_cell(
    task: Task, model: Model, outputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = Cell(model, task, Scheme.create(**RIDGE, seed=-3))
    (tmp_path / "embeddings").symlink_to(outputs / "embeddings")
    write_rows(tmp_path, one)
    cell.main([one.cell_id, "--outputs", str(tmp_path)])
    found = compose(shlex.split(capsys.readouterr().out.splitlines()[-1])[3:])
    assert found.cell_id == one.cell_id
    assert (found.task.name, found.task.classes) == (task.name, task.classes)


def test_the_command_of_a_cell_computes_it(outputs: Path, elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = Cell(MINE, TASKS["of my own, joined"], Scheme.create(**RIDGE))
    write_rows(outputs, one)
    cell.main([one.cell_id, "--outputs", str(outputs)])
    line = capsys.readouterr().out.splitlines()[-1]
    said = typed(f"{line} force=true", elsewhere)
    rows = load_results(outputs / "results")
    assert (rows.cell_id == one.cell_id).any(), said
    assert (rows[rows.cell_id == one.cell_id].n_test == 36).all()
    assert not rows.duplicated("cell_id").any()


# --- the commands that fill a gap -------------------------------------------------------------------------------------

SCHEMES = [Scheme.create(gen="mean", seed=1), Scheme.create(gen="kmeans", k=2, seed=1), Scheme.create(**RIDGE, seed=1)]
SETS: dict[str, Sequence[tuple[Model, Task]]] = {
    "one": [(PIXELS, TASKS["classes"])],
    "classes": [(PIXELS, TASKS[name]) for name in ("classes", "even", "merged", "merged classes", "limit")],
    "labels": [(PIXELS, TASKS["fewer labels"])],
    "own": [(PIXELS, TASKS[name]) for name in ("of my own", "of my own, another order", "of my own, joined")],
    "folders": [(PIXELS, TASKS[name]) for name in ("folder", "folder, merged", "a name of an option", "even")],
    "models": [(model, TASKS["classes"]) for model in (PIXELS, MINE, Model(ODD, "imported"))],
    "imported and not": [(PIXELS, of("digits", DIGITS)), (Model("pixels", "imported"), TASKS["folder"])],
    "all": [(model, task) for model in (MINE, Model(ODD, "imported")) for task in TASKS.values()],
}


def instances(of: Iterable[Cell]) -> set[tuple[Model, str, str, str]]:
    return {(one.model, one.task.name, one.task.classes, one.task.fragment) for one in of}


@pytest.mark.parametrize("pairs", SETS.values(), ids=SETS.keys())
def test_what_fills_a_gap_asks_for_these_instances_and_no_others(
    pairs: Sequence[tuple[Model, Task]], outputs: Path, tmp_path: Path
) -> None:
    (tmp_path / "embeddings").symlink_to(outputs / "embeddings")
    there = [Cell(model, task, scheme) for model, task in pairs for scheme in SCHEMES]
    found = write_rows(tmp_path, *there)
    asked = asked_for(filling.command("gen=least_squares norm=none seed=1", found.frame, found, exactly=True))
    assert len(asked) == len(pairs)
    assert {one.cell_id for one in asked} == {Cell(*pair, SCHEMES[2]).cell_id for pair in pairs}
    assert instances(asked) == instances(there)
    # An experiment brings selections of its own, and the instances are among them.
    every = asked_for(filling.command("+experiment=fig2", found.frame, found))
    named = {(model, task) for model, task in pairs if task.merge is None and task.name != "task"}
    assert instances(every) >= instances(Cell(*pair, SCHEMES[0]) for pair in named)
    assert {one.scheme.weight_decay for one in every} == {None, RIDGE["weight_decay"]}


@pytest.mark.parametrize("models", [1, 4])
def test_a_product_is_one_sweep(models: int, tmp_path: Path) -> None:
    pairs = [
        (Model(f"net={i}", "imported"), of(name, range(4), classes))
        for i in range(models)
        for name in ("a,b", "c")
        for classes in ("even", [3, 1])
    ]
    found = write_rows(tmp_path, *(Cell(*pair, SCHEMES[0]) for pair in pairs))
    for model, task in pairs:
        write_embeddings(tmp_path, model, task.name, *range(4))
    line = filling.command("gen=mean", found.frame, found, exactly=True)
    assert " && " not in line
    assert instances(asked_for(line)) == instances(Cell(*pair, SCHEMES[0]) for pair in pairs)


def test_the_winner_is_computed_on_all_instances(
    outputs: Path, tmp_path: Path, elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / ODD
    root.mkdir()
    (root / "embeddings").symlink_to(outputs / "embeddings")
    pairs = [*SETS["imported and not"], *SETS["models"]]
    schemes = [Scheme.create(gen=gen, seed=seed) for gen in ("mean", "all") for seed in (17121997, 123987)]
    write_rows(root, *(Cell(*pair, scheme) for pair in pairs for scheme in schemes))
    best.main(["--outputs", str(root)])
    line = capsys.readouterr().out.splitlines()[-1].removeprefix("Run it: ")
    (gen,) = set(re.findall(r"gen=(\w+)", line))
    typed(line.replace(" && ", " force=true && ") + " force=true", elsewhere)
    rows = load_results(root / "results")
    (seed,) = set(map(int, re.findall(r"seed=(\d+)", line)))
    wanted = {Cell(*pair, Scheme.create(gen=gen, seed=seed)).cell_id for pair in pairs}
    assert set(rows[rows["sweep"].notna()]["cell_id"]) == wanted


def test_a_command_of_the_report_fills_its_gap(tmp_path: Path, elsewhere: Path) -> None:
    """Typed as it stands on the page: afterwards the artefact is made of the rows of this model and this task."""
    root, model = tmp_path / ODD, Model(ODD, "imported")
    write_embeddings(root, model, "1e3", *range(6))
    task = of("1e3", range(6), [4, 0, 2])
    write_rows(root, Cell(model, task, SCHEMES[0]))
    report = ["python", "-m", "imprint_sweep.cli.commands.report", "--only", "fig2", "--outputs", str(root)]
    said = typed(shlex.join(report), elsewhere)
    (line,) = (line.strip() for line in said.splitlines() if line.startswith("    python -m imprint_sweep -m"))
    typed(line, elsewhere)
    rows = load_results(root / "results")
    assert len(rows) == 1 + 15
    assert {(row.model, row.task, row.classes) for row in rows.itertuples()} == {(ODD, "1e3", "4,0,2")}
    after = typed(shlex.join(report), elsewhere)
    assert "    python -m imprint_sweep" not in after
