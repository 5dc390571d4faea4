"""Names of models and datasets that hold control characters, markup or formulas: refused on entry, shown escaped."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from imprint_sweep.analysis import plots, rendering
from imprint_sweep.analysis.artefact import Chart, Column, Options, Panel, RankDiagram, Series, Table
from imprint_sweep.analysis.data.results import Results
from imprint_sweep.analysis.report import building
from imprint_sweep.cli.commands import import_embeddings
from imprint_sweep.cli.commands.report import markdown
from imprint_sweep.config.reading import model_from, task_from
from imprint_sweep.config.schemas import ModelConfig, TaskConfig
from imprint_sweep.embeddings.cache import EmbeddingCache
from imprint_sweep.errors import ConfigError, ImprintError
from imprint_sweep.extraction.datasets import read_split
from imprint_sweep.grid.cell import Model, check_name
from imprint_sweep.wording import visible
from tests.analysis.frames import ROW, frame, product

ROOT = Path(__file__).resolve().parents[2]

UNSHOWN = {
    "escape": "net\x1b[31m",
    "null": "net\x00",
    "bell": "\x07net",
    "delete": "net\x7f",
    "C1": "net\x9b31m",
    "line break": "net\nwork",
    "tab": "net\twork",
    "return": "net\rwork",
    "line separator": "net\u2028work",
    "right to left": "net\u202egnp",
    "zero width": "net\u200b",
    "byte order mark": "\ufeffnet",
    "no character": "net\uffff",
    "half a pair": "net\udcff",
}
NAMES = [
    *("resnet18", "timm/vit.a_b-c", "my net (2)", "Größe", "模型", "क्\u200dष"),
    *("=net", "-net", "<b>", "a&b;", "$x$", "🚀"),
]
MARKUP = "</script><script>alert(1)</script>&amp;\"'"
FORMULAS = ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "=1", "＝1+1", " =1", "-net"]


# --- where they enter -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", UNSHOWN.values(), ids=UNSHOWN.keys())
def test_a_name_that_cannot_be_shown_is_refused_where_it_enters(name: str, tmp_path: Path) -> None:
    option: dict[str, Any] = {"name": "digits", "datasets": ["digits"], "labels": 10}
    attempts: dict[str, Callable[[], object]] = {
        "model.name": lambda: model_from(ModelConfig(name=name, weights="w")),
        "model.weights": lambda: model_from(ModelConfig(name="net", weights=name)),
        "task.name": lambda: task_from(TaskConfig(**{**option, "name": name})),
        "task.datasets": lambda: task_from(TaskConfig(**{**option, "datasets": ["digits", name]})),
        "dataset": lambda: read_split(name, "train", tmp_path),
    }
    for kind, attempt in attempts.items():
        with pytest.raises(ImprintError) as refused:
            attempt()
        assert str(refused.value).startswith(f"{kind}: "), kind
        assert str(refused.value).isprintable()


@pytest.mark.parametrize("name", ["", " ", "\u00a0"])
def test_a_name_needs_a_character(name: str) -> None:
    with pytest.raises(ConfigError, match=r"^model\.name: expected a name, got "):
        check_name("model.name", name)


@pytest.mark.parametrize("name", NAMES)
def test_any_other_name_is_a_name(name: str) -> None:
    check_name("model.name", name)
    assert visible(name) == name


@pytest.mark.parametrize("option", ["--model", "--dataset", "--weights"])
def test_the_import_refuses_such_a_name_and_writes_nothing(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for split in ("train", "test"):
        np.savez(tmp_path / f"{split}.npz", embeddings=np.eye(4, dtype=np.float32), labels=np.arange(4))
    words = {"--model": "net", "--dataset": "mine", "--weights": "w", option: "ev\x1bil"}
    files = ["--train", str(tmp_path / "train.npz"), "--test", str(tmp_path / "test.npz")]
    outputs = tmp_path / "outputs"
    with pytest.raises(SystemExit) as ended:
        import_embeddings.main([*(w for pair in words.items() for w in pair), *files, "--outputs", str(outputs)])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said == f"error: {option}: 'ev\\x1bil' holds \\x1b, which cannot be shown; choose a name without it\n"
    assert not outputs.exists()


@pytest.mark.parametrize(
    "words",
    [
        ["model=imported", "model.name='ev\x1bil'", "task=imported", "task.name=mine"],
        ["task=image_folder", "task.name='ev\x1bil'"],
        ["-m", "model=imported", "model.name='ev\x1bil'", "task=imported", "task.name=mine", "gen=mean,all"],
    ],
)
def test_a_command_line_with_such_a_name_is_refused_in_a_sentence(words: list[str], tmp_path: Path) -> None:
    line = [sys.executable, "-m", "imprint_sweep", *words, f"paths.outputs={tmp_path / 'outputs'}"]
    finished = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert finished.returncode == 2, finished.stderr
    assert "\x1b" not in finished.stderr + finished.stdout
    assert "Traceback" not in finished.stderr
    assert "'ev\\x1bil' holds \\x1b" in finished.stderr
    assert not list(tmp_path.rglob("*.parquet"))


def test_a_message_never_carries_a_control_character(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        import_embeddings.main(
            ["--model", "net", "--dataset", "mine", "--train", f"{tmp_path}/\x1b[31m.npz", "--test", "x.npz",
             "--outputs", str(tmp_path)]
        )  # fmt: skip
    said = capsys.readouterr().err
    assert "\\x1b[31m.npz" in said
    assert "\x1b" not in said


# --- what an old table holds ------------------------------------------------------------------------------------------

OLD = ["ev\x1bil\x07", f"{MARKUP}\x00", "\u202e=cmd|calc", "=1+1", "a|b`c`[d](e)~~f~~"]


def old_results(outputs: Path) -> Results:
    """Results of models and datasets with such names, and rows for several artefacts."""
    methods: list[dict[str, Any]] = [
        {"gen": "mean"},
        {"gen": "kmeans", "k": 20},
        *({"gen": "kmeans", "k": k} for k in (1, 5)),
        {"gen": "mean", "norm_pre": "none", "norm_post": "quantile", "norm_inf": "none"},
        {"gen": "least_squares", "norm_pre": "none", "norm_post": "none", "norm_inf": "none", "weight_decay": 0.1},
    ]
    rows = product(
        lambda **row: 40 + 7 * (row["configuration"].get("k") or 0) % 50,
        configuration=methods,
        model=OLD,
        task=[f"set{name}" for name in OLD],
        host=[f"host{OLD[0]}"],
    )
    rows = [{**row, "cell_id": f"c{i}", "computation_id": f"c{i}"} for i, row in enumerate(rows)]
    return Results(frame(rows), outputs, (f"A note on {OLD[0]}.",))


def clean(text: str) -> bool:
    """Whether a text holds nothing that cannot be shown but line breaks."""
    return all(character.isprintable() or character in "\n\u00a0\u202f" for character in text)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    outputs = tmp_path_factory.mktemp("outputs")
    results = old_results(outputs)
    with pytest.MonkeyPatch.context() as patch:
        # The count of all rows, which the page takes from the files.
        patch.setattr("imprint_sweep.analysis.report.overview.read_parts", lambda *given: _Rows(results.frame))
        return building.build(results, Options(), command=f"report --where 'model == {OLD[0]}'").page.parent


class _Rows:
    def __init__(self, rows: pd.DataFrame) -> None:
        self.table = rows


def test_every_file_of_a_report_can_be_shown(report: Path) -> None:
    files = [path for path in report.rglob("*") if path.suffix in (".html", ".svg", ".tex", ".md", ".csv")]
    assert {path.suffix for path in files} == {".html", ".svg", ".tex", ".md", ".csv"}
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert clean(text), path
        if path.suffix == ".svg":
            ElementTree.fromstring(text)
    page = (report / "index.html").read_text()
    assert "ev\\x1bil\\x07" in page
    assert "\\u202e=cmd" in page
    assert page.count("<script>") == 1  # the page's own, beside the data
    (data,) = re.findall(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)
    models = next(head for head in json.loads(data)["columns"] if head["title"] == "model")["values"]
    assert sorted(models) == sorted(map(visible, OLD))


def test_no_cell_of_a_csv_is_a_formula(report: Path) -> None:
    seen = []
    for path in report.rglob("*.csv"):
        for row in csv.reader(io.StringIO(path.read_text())):
            for cell in row:
                seen.append(cell)
                assert not re.match(r"\s*[=@+\-＝＋－＠](?![\d.,e+-]+$)", cell), (path, cell)
    assert "'=1+1" in seen


def csv_of(*values: object) -> list[str]:
    """The cells of a CSV with one column."""
    table = Table("t", "t", (Column("a", "a"),), pd.DataFrame({"a": pd.Series(values, dtype=object)}))
    return [row[0] for row in csv.reader(io.StringIO(rendering.csv(table)))][1:]


def test_formulas_are_texts_and_numbers_stay_numbers() -> None:
    assert csv_of(*FORMULAS) == [f"'{text}" for text in FORMULAS]
    numbers = ["-1", "+2", "-1.5", "-1e-05", "-1,3", "3,-1", "1", "a=b", "a-b", "2 = 2"]
    assert csv_of(*numbers) == numbers
    exact = pd.DataFrame({"x": [-1.0, -0.1 - 0.2, -np.inf], "n": pd.array([-5, None, 3], "Int64")})
    table = Table("t", "t", (Column("x", "x"), Column("n", "n")), exact)
    assert rendering.csv(table) == exact.to_csv(index=False, lineterminator="\n")
    assert csv_of(-5, -0.5) == ["-5", "-0.5"]
    assert csv_of("\tx", "a\rb", "\x1b=1") == ["\\tx", "a\\rb", "\\x1b=1"]


@pytest.mark.parametrize("name", [name for name in UNSHOWN.values() if "\udcff" not in name])  # Arrow has no half pairs
def test_tables_and_figures_escape_it(name: str, tmp_path: Path) -> None:
    cells = pd.DataFrame({"a": [name], "b": [1]})
    shown = Table("t", f"T {name}", (Column("a", f"A {name}"), Column("b", "b")), cells, f"N {name}.")
    for written in (rendering.markdown(shown), rendering.latex(shown), rendering.csv(shown)):
        assert clean(written)
        written.encode()
    diagram = RankDiagram("d", name, (name, "other"), np.array([1.0, 2.0]), (), (f"model:{name}", "model:other"))
    series = Series(name, np.array([1.0, 2]), np.array([1.0, 2]), colour=f"model:{name}")
    chart = Chart("c", name, (Panel(name, (series,)),), name, name, note=name, x_names=(name, name, name))
    for figure in (diagram, chart):
        for path in plots.write(figure, tmp_path):
            assert path.stat().st_size
        assert clean((tmp_path / f"{figure.name}.svg").read_text())
        assert clean((tmp_path / f"{figure.name}-data.csv").read_text())
        with Image.open(tmp_path / f"{figure.name}.png") as picture:
            assert clean(str(picture.info["Title"]))


def test_markdown_shows_entities_and_strokes_as_they_are() -> None:
    table = Table("t", "t", (Column("a", "a"),), pd.DataFrame({"a": ["&lt;b&gt; &#60; a&b ~~x~~"]}))
    assert r"\&lt;b\&gt; \&#60; a&b \~\~x\~\~" in rendering.markdown(table)


def test_the_terminal_gets_no_control_character(tmp_path: Path) -> None:
    from imprint_sweep.analysis.artefacts import ARTEFACTS, make

    results = old_results(tmp_path)
    for name in ARTEFACTS:
        assert clean("\n\n".join(markdown(make(name, results, Options())))), name


def test_latex_of_hostile_names_compiles(report: Path, tmp_path: Path) -> None:
    if shutil.which("pdflatex") is None:
        pytest.skip("Debian's texlive-latex-recommended is not installed")
    body = "\n".join(path.read_text() for path in sorted(report.rglob("*.tex")))
    (tmp_path / "t.tex").write_text(
        rf"\documentclass{{article}}\usepackage{{booktabs}}\begin{{document}}{body}\end{{document}}"
    )
    words = shlex.split("pdflatex -interaction=nonstopmode -halt-on-error t.tex")
    finished = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False)
    assert finished.returncode == 0, finished.stdout[-2000:]


def test_a_cache_with_such_an_entry_is_read_as_before(tmp_path: Path) -> None:
    from imprint_sweep.embeddings.cache import EntryKey

    cache = EmbeddingCache(tmp_path)
    key = EntryKey(Model("ev\x1bil", "w"), "digits", "train")
    cache.write(key, np.ones((3, 2), np.float32), np.arange(3), metadata={})
    assert cache.open(key).key == key
    assert ROW["model"] == "net"
