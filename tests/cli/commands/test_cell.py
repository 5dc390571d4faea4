"""A row can be found by the first digits of its cell, leads back to the command that gave it, and can be checked."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imprint_sweep.cli.commands.cell import main
from imprint_sweep.config.overrides_of import cell_of, compose, overrides_of
from imprint_sweep.config.schemas import GROUPS, SweepConfig
from imprint_sweep.config.settings import Settings
from imprint_sweep.embeddings.cache import SPLITS, EmbeddingCache, EntryKey
from imprint_sweep.errors import StoreError
from imprint_sweep.grid.cell import Cell, Model
from imprint_sweep.grid.outcome import FAILED, OK, Outcome
from imprint_sweep.grid.scheme import Scheme
from imprint_sweep.grid.tasks import make_task
from imprint_sweep.imprinting.components import GENS
from imprint_sweep.invocation import conf_folder, override
from imprint_sweep.planning.plan import Plan
from imprint_sweep.running.work import run_cells
from imprint_sweep.store import Provenance, ResultStore
from imprint_sweep.store.parts import read_parts
from tests import data

OPTIONS = {group: [path.stem for path in sorted((conf_folder() / group).glob("*.yaml"))] for group in GROUPS}
FROM_EMBEDDINGS = ("imported", "image_folder", "text_table")
"""Options whose classes are those of embeddings, and which have tests of their own."""


def _every_option() -> Iterator[list[str]]:
    options = {group: [name for name in names if name not in FROM_EMBEDDINGS] for group, names in OPTIONS.items()}
    for i in range(max(map(len, options.values()))):
        chosen = {group: names[i % len(names)] for group, names in options.items()}
        if GENS[chosen["gen"]].biased:  # which other norms and aggregations refuse
            chosen |= {"norm": "none", "agg": "max"}
        yield [f"{group}={name}" for group, name in chosen.items()]


EVERY_OPTION = list(_every_option())
"""As few combinations as hold every option of every group."""
IMPORTED = ["model=imported", "model.name=mynet", "task=imported", "task.name=mydata"]
PROVENANCE = Provenance("0", None, "host")


def settings(outputs: Path) -> Settings:
    return Settings(outputs=outputs, data=outputs / "data", sweep=SweepConfig(threads=1))


def add_row(outputs: Path, cell: Cell, *, n_correct: int | None = 3, fingerprint: str = "f" * 20) -> None:
    """Put a row of a cell into the table without computing it."""
    outcome = Outcome(cell, cell.computation_id(), fingerprint, status=FAILED, error="StageError: no")
    if n_correct is not None:
        outcome = Outcome(cell, cell.computation_id(), fingerprint, status=OK, n_correct=n_correct, n_test=10)
    with ResultStore(outputs / "results").writer(PROVENANCE) as writer:
        writer.add(outcome)


def rows(outputs: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = read_parts(outputs / "results").table.to_pylist()
    return found


def embeddings(outputs: Path, model: Model, *datasets: str, classes: Sequence[int] = (0, 1, 2, 3)) -> None:
    """Cache embeddings of nothing in particular under given names."""
    labels = np.repeat(np.array(classes, np.int64), 3)
    for dataset in datasets:
        for split in ("train", "test"):
            EmbeddingCache(outputs / "embeddings").write(
                EntryKey(model, dataset, split), np.ones((len(labels), 2), np.float32), labels, metadata={}
            )


def printed_command(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The overrides of the command that was printed."""
    lines = capsys.readouterr().out.splitlines()
    words = shlex.split(lines[lines.index("reproduce it with:") + 1])
    assert words[:3] == ["python", "-m", "imprint_sweep"]
    return words[3:]


# --- The command that reproduces -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "overrides",
    [
        *EVERY_OPTION,
        ["gen=k_least_squares", "model.weight_decay=1e-7", "k=3"],
        ["agg=mnn", "agg.metric=manhattan", "agg.m=50", "agg.weighting=uniform", "norm.post=quantile", "norm.pre=none"],
        ["agg.metric=mahalanobis", "norm.inf=none", "n_shot=7", "seed=-12412312", "limit=100"],
        ["task.classes=even", "model.image_size=null"],
        ["task.classes=[3,1,7]", "model.image_size=64", "model.weights=mine"],
        ["task.merge=2", "task.remap=3"],
        ["task.classes=[4,0,9,2]", "task.merge=2", "task.remap=0"],
        ["task=imagenet", "task.merge=3", "task.remap=9"],
        ["task=imagenet", "task.sample=null", "task.classes=[999,3]"],
        ["task=imagenet", "task.sample=50"],
        ["task=combi_digits", "task.classes=odd"],
        ["task=combi_digits", "task.datasets=[usps,mnist]"],
        ["task=digits", "task.labels=[0,1,2,3]"],
        ["model=timm", "model.name=timm/vit_small_patch16_224.augreg_in1k"],
    ],
    ids=" ".join,
)
def test_the_command_gives_the_cell_of_the_row(
    overrides: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = compose(overrides)
    add_row(tmp_path, cell)
    main([cell.cell_id[:12], "--outputs", str(tmp_path)])
    printed = printed_command(capsys)
    assert compose(printed).cell_id == cell.cell_id
    assert printed[-1] == f"paths.outputs={tmp_path}"


@pytest.mark.parametrize(
    ("model", "dataset", "more"),
    [
        ("mynet", "mydata", []),
        ("my net, v2", "my'data", ["task.classes=[3,0]"]),
        ("007", "null", ["task.classes=even"]),
        ("mynet", "left+right: a=b,c", []),
        ("mynet", "x+y", ["task.datasets=[left+1,right:2]", "task.classes=odd"]),
        ("mynet", "mydata", ["task.datasets=[left,right]", "task.classes=odd"]),
        ("mynet", "mydata", ["task.merge=2", "task.remap=1"]),
    ],
)
def test_imported_embeddings_keep_their_names(
    model: str, dataset: str, more: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    embeddings(tmp_path, Model(model, "imported"), dataset, "left", "right", "left+1", "right:2")
    names = [override("model.name", model), override("task.name", dataset)]
    outputs = f"paths.outputs={tmp_path}"
    cell = compose(["model=imported", "task=imported", *names, *more, outputs])
    add_row(tmp_path, cell)
    main([cell.cell_id, "--outputs", str(tmp_path)])
    assert compose(printed_command(capsys)).cell_id == cell.cell_id


@pytest.mark.parametrize(
    ("model", "weights", "option"),
    [("resnet18", "IMAGENET1K_V1", "image_folder"), ("minilm", "all-MiniLM-L6-v2", "text_table")],
)
def test_files_of_the_users_own(
    model: str, weights: str, option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    embeddings(tmp_path, Model(model, weights), "flowers")
    cell = compose([f"model={model}", f"task={option}", "task.name=flowers", f"paths.outputs={tmp_path}"])
    add_row(tmp_path, cell)
    main([cell.cell_id, "--outputs", str(tmp_path)])
    printed = printed_command(capsys)
    assert compose(printed).cell_id == cell.cell_id
    assert f"task={option}" in printed


def test_a_task_that_no_option_gives(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Which classes were there to be merged, only the option knew.
    task = make_task("own", ["digits"], range(10), merge=3, remap=1, sample=7)
    cell = replace(compose(["gen=mean"]), task=task)
    with pytest.raises(
        StoreError, match=r"^no option of the configuration gives cell \w{20} \(efficientnet_lite0 on own"
    ):
        overrides_of(cell, tmp_path)
    add_row(tmp_path, cell)
    main([cell.cell_id, "--outputs", str(tmp_path)])
    assert "note: no option of the configuration" in capsys.readouterr().out


def test_a_row_is_the_cell_that_was_written(tmp_path: Path) -> None:
    left, right = data.joined()
    tasks = [data.task(left, right), data.task(data.digits(), classes=(4, 0, 9, 2, 7, 1), merge=2)]
    cells = [data.cell(task, gen=gen, agg="mnn", metric="cosine") for task in tasks for gen in ("all", "kmeans")]
    cells += [Cell(Model("toy", "w", 32), tasks[0], Scheme.create(gen="k_least_squares", k=2, weight_decay=1e-7))]
    for cell in cells:
        add_row(tmp_path, cell)
    assert {cell_of(row) for row in rows(tmp_path)} == set(cells)


@pytest.mark.parametrize("column", ["labels", "k", "weights", "merge"])
def test_a_row_that_is_not_its_own_cell(column: str, tmp_path: Path) -> None:
    add_row(tmp_path, data.cell(data.task(data.clean()), gen="kmeans"))
    (row,) = rows(tmp_path)
    row[column] = {"labels": ["clean:7"], "k": 17, "weights": "others", "merge": 1}[column]
    with pytest.raises(StoreError, match=r"^the columns of row \w{20} describe cell \w{20}"):
        cell_of(row)


# --- Looking up ------------------------------------------------------------------------------------------------------


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """A table with two computed cells of imported embeddings."""
    cache = EmbeddingCache(tmp_path / "embeddings")
    dataset = data.clean()
    for split, samples in zip(SPLITS, (dataset.train, dataset.test), strict=True):
        key = EntryKey(Model("mynet", "imported"), "mydata", split)
        cache.write(key, samples.features, samples.labels, metadata={})
    for cell in two_cells(tmp_path):
        run_cells(Plan.of_cells([cell]), settings(tmp_path))
    return tmp_path


def two_cells(outputs: Path) -> list[Cell]:
    return [compose([*IMPORTED, f"gen={gen}", "k=2", f"paths.outputs={outputs}"]) for gen in ("mean", "kmeans")]


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str], code: int = 2) -> str:
    """The message with which a command line is refused."""
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == code
    return capsys.readouterr().err.strip()


def test_the_newest_good_row_is_shown(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cell = two_cells(outputs)[0]
    good = next(row for row in rows(outputs) if row["cell_id"] == cell.cell_id)
    add_row(outputs, cell, n_correct=None)
    main([cell.cell_id[:10].upper(), "--outputs", str(outputs)])
    text = capsys.readouterr().out
    shown = dict(line.split(maxsplit=1) for line in text.partition("\n\n")[0].splitlines())
    assert shown["cell_id"] == cell.cell_id
    assert shown["n_correct"] == str(good["n_correct"])
    assert shown["labels"] == "mydata:-5 mydata:7 mydata:1000"
    assert "k" not in shown
    assert "StageError" not in text


def test_the_row_that_is_shown_is_the_one_that_is_checked(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cell = two_cells(outputs)[0]
    good = next(row for row in rows(outputs) if row["cell_id"] == cell.cell_id)
    add_row(outputs, cell, n_correct=good["n_correct"] + 1)  # newer, of embeddings that are no longer there
    main([cell.cell_id, "--check", "--outputs", str(outputs)])
    text = capsys.readouterr().out
    shown = dict(line.split(maxsplit=1) for line in text.partition("\n\n")[0].splitlines())
    assert shown["n_correct"] == str(good["n_correct"])
    assert f"n_correct={good['n_correct']} of" in text
    assert "note:" not in text


def test_a_row_of_other_embeddings_is_shown_as_such(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    embeddings(tmp_path, Model("mynet", "imported"), "mydata")
    cell = two_cells(tmp_path)[0]
    add_row(tmp_path, cell)
    main([cell.cell_id, "--outputs", str(tmp_path)])
    assert "note: a row of other embeddings" in capsys.readouterr().out


def test_the_whole_history_is_shown(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cell = two_cells(outputs)[0]
    add_row(outputs, cell, n_correct=None)
    add_row(outputs, cell, n_correct=1)
    main([cell.cell_id, "--all", "--outputs", str(outputs)])
    statuses = [line.split()[1] for line in capsys.readouterr().out.splitlines() if line.startswith("status")]
    assert statuses == ["ok", "ok", "failed"]


def test_prefixes_that_name_no_cell_or_several(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = [data.cell(data.task(data.clean()), gen="fps", seed=seed) for seed in range(17)]
    for cell in cells:
        add_row(tmp_path, cell)
    where = ["--outputs", str(tmp_path)]
    firsts = [cell.cell_id[0] for cell in cells]
    twice = max(firsts, key=firsts.count)
    message = refused([twice, *where], capsys)
    assert message.startswith(f"error: {firsts.count(twice)} cells begin with {twice}: ")
    assert message.endswith("; give more digits")
    unused = next(f"{i:04x}" for i in range(16**4) if not any(c.cell_id.startswith(f"{i:04x}") for c in cells))
    assert refused([unused, *where], capsys) == (
        f"error: no cell in {tmp_path / 'results'} begins with {unused} (17 rows)"
    )
    for wrong in ("kmeans", "", "3f9c2a" * 5, "3f*"):
        assert refused([wrong, *where], capsys).startswith("error: a cell id is 20 hex digits like 3f9c2a...; expected")


def test_there_is_no_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no cell in" in refused(["3f9c2a", "--outputs", str(tmp_path)], capsys)


# --- Checking --------------------------------------------------------------------------------------------------------


def test_a_cell_is_computed_again_and_no_row_is_added(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = len(rows(outputs))
    for cell in two_cells(outputs):
        main([cell.cell_id, "--check", "--outputs", str(outputs)])
        assert "checked: computed again, n_correct=" in capsys.readouterr().out
    assert len(rows(outputs)) == before


def test_another_result_is_said_and_is_an_error(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (part, *_) = sorted((outputs / "results").glob("*.parquet"))
    table = pq.read_table(part)
    column = table.schema.get_field_index("n_correct")
    numbers = pa.array([n - 1 for n in table["n_correct"].to_pylist()], table.schema.field(column).type)
    wrong = table.set_column(column, table.schema.field(column), numbers)
    pq.write_table(wrong, part)
    cell_id = table["cell_id"][0].as_py()
    with pytest.raises(SystemExit) as exit_:
        main([cell_id, "--check", "--outputs", str(outputs)])
    assert exit_.value.code == 1
    assert "DIFFERENT: n_correct=" in capsys.readouterr().out


def test_rows_of_other_embeddings_are_not_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    embeddings(tmp_path, Model("mynet", "imported"), "mydata")
    cell = two_cells(tmp_path)[0]
    add_row(tmp_path, cell)
    message = refused([cell.cell_id, "--check", "--outputs", str(tmp_path)], capsys)
    assert message.startswith("error: there is no good row to compare with: n_correct=")


def test_a_cell_that_cannot_be_computed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cell = compose(["gen=mean"])
    add_row(tmp_path, cell)
    message = refused([cell.cell_id, "--check", "--outputs", str(tmp_path)], capsys)
    assert message.startswith("error: the cell cannot be computed: MissingEmbeddingsError: there are no embeddings of")
