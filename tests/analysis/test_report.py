"""The page says what was run, what is there and what is missing; its table of results holds what it says it holds."""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from imprint_sweep.analysis.artefact import Artefact, Options, RankDiagram
from imprint_sweep.analysis.data.results import MODEL, Results, load
from imprint_sweep.analysis.report import building, files
from imprint_sweep.analysis.report.elements import described
from imprint_sweep.analysis.report.listing import COLUMNS, Listing, listing
from imprint_sweep.analysis.report.overview import listed, overview
from imprint_sweep.analysis.report.page import data, short
from imprint_sweep.analysis.report.samples import projections, samples
from imprint_sweep.errors import StoreError
from imprint_sweep.planning.plan import Plan
from tests import plausible
from tests.analysis import handmade
from tests.analysis import table as made_by_hand
from tests.sweeping import requested, tree_of

AXES = [
    "model=resnet18,vit_b_16",
    "task=mnist,fashion_mnist",
    "task.classes=all,even",
    "gen=mean,kmeans",
    "k=1,5",
    "norm.post=l2,none",
    "seed=1,2,3",
]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of outputs with made-up results."""
    outputs = tmp_path_factory.mktemp("outputs")
    plausible.write(outputs, Plan.of(requested(tree_of(), *AXES)))
    return outputs


@pytest.fixture
def results(table: Path, tmp_path: Path) -> Results:
    """The same results, the report of which goes into a folder of this test."""
    (tmp_path / "results").symlink_to(table / "results")
    return load(tmp_path)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[Artefact]], None]:
    """Puts artefacts in the place of those of the paper."""

    return partial(handmade.install, monkeypatch)


class Page(HTMLParser):
    """What is on a page: its elements with their attributes and the text directly within them."""

    VOID = ("meta", "link", "img", "input", "br")

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.open: list[int] = []
        self.feed(html)
        assert not self.open, [self.elements[i][0] for i in self.open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), []))
        if tag not in self.VOID:
            self.open.append(len(self.elements) - 1)

    def handle_endtag(self, tag: str) -> None:
        assert self.elements[self.open.pop()][0] == tag, f"</{tag}> at {self.getpos()} closes something else"

    def handle_data(self, data: str) -> None:
        for i in self.open:
            self.elements[i][2].append(data)

    def texts(self, tag: str, **attributes: str) -> list[str]:
        """The texts of the elements of a kind, white space as one space."""
        wanted = {name.rstrip("_"): value for name, value in attributes.items()}
        return [
            " ".join("".join(text).split())
            for name, found, text in self.elements
            if name == tag and all(found.get(key) == value for key, value in wanted.items())
        ]

    def values(self, tag: str, attribute: str) -> list[str]:
        """An attribute of the elements of a kind that have it."""
        return [str(found[attribute]) for name, found, _ in self.elements if name == tag and attribute in found]


def written(results: Results) -> Page:
    """The page of a report."""
    return Page(building.build(results, Options(), command="python scripts/report.py").page.read_text())


# --- the page ---------------------------------------------------------------------------------------------------------


def test_the_page_needs_nothing_else(results: Results, made: Callable[[list[Artefact]], None]) -> None:
    made(handmade.artefacts())
    page = written(results)
    assert page.texts("img") == []
    assert page.values("script", "src") == []
    assert page.values("link", "href") == ["data:,"]
    html = (results.outputs / "report" / "index.html").read_text()
    assert not re.findall(r"@import|url\((?!#)|href=\"(?!#|data:,|artefacts/)", html)


def test_headings_are_in_order_and_everything_has_a_name(
    results: Results, made: Callable[[list[Artefact]], None]
) -> None:
    made(handmade.artefacts())
    page = written(results)
    levels = [int(tag[1]) for tag, *_ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert [found["aria-label"] for _, found, _ in page.elements if found.get("class") == "drawing"] == [
        described(figure) for artefact in handmade.artefacts() for figure in artefact.figures
    ]
    ids = [str(found["id"]) for _, found, _ in page.elements if "id" in found]
    assert len(ids) == len(set(ids))
    anchors = [link.removeprefix("#") for link in page.values("a", "href") if link.startswith("#")]
    assert anchors
    assert set(anchors) <= set(ids)
    assert set(page.values("th", "scope")) == {"col", "row"}
    assert len(page.values("th", "scope")) == len(page.texts("th"))


def test_what_comes_from_results_is_text_and_never_markup(
    results: Results, made: Callable[[list[Artefact]], None]
) -> None:
    made(handmade.artefacts())
    results = replace(results, notes=(handmade.HOSTILE,))
    page = written(results)
    assert len(page.texts("script")) == 2  # the data and the page's own
    assert any(handmade.HOSTILE in text for text in page.texts("p", class_="caption"))
    assert handmade.HOSTILE in page.texts("li")


def test_every_file_of_an_artefact_can_be_downloaded(results: Results, made: Callable[[list[Artefact]], None]) -> None:
    made(handmade.artefacts())
    page = written(results)
    linked = {link for link in page.values("a", "href") if not link.startswith("#")}
    root = results.outputs / "report"
    assert linked == {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()} - {"index.html"}
    assert {"artefacts/fig2/fig2.csv", "artefacts/fig2/fig2.pdf", "artefacts/results/results.csv"} <= linked


def test_what_is_missing_is_said_with_the_command_that_fills_it(
    results: Results, made: Callable[[list[Artefact]], None]
) -> None:
    also = replace(handmade.empty(), name="fig11b", command=handmade.COMMAND)
    made([*handmade.artefacts(), also])
    page = written(results)
    summary = "Of 4 tables and figures 1 stand on complete results, 1 on a part of what they need, 2 on"
    assert any(text.startswith(summary) for text in page.texts("p"))
    assert page.texts("code").count(handmade.COMMAND) == 3  # once for both, and once at each
    assert "For Fig. 6, Fig. 11b:" in page.texts("p")
    assert "There is no result on ImageNet." in page.texts("li")


def test_the_answer_comes_before_what_was_run(results: Results, made: Callable[[list[Artefact]], None]) -> None:
    said = "All 10 pairs differ."
    found = replace(handmade.complete(), finding=said)
    table = replace(found.tables[0], note=said)
    made([replace(found, tables=(table,)), handmade.partial()])
    page = written(results)
    assert [found["id"] for tag, found, _ in page.elements if tag == "section"] == [
        *("headline", "run", "gaps", "gen", "projections", "samples", "results")
    ]
    links = [link for link in page.values("a", "href") if link.startswith("#")]
    assert links.index("#headline") < links.index("#fig2") < links.index("#run") < links.index("#gen")
    marks = {"drawing", "finding", "basis"}
    order = [str(found.get("class")) if found.get("class") in marks else tag for tag, found, _ in page.elements]
    assert [kind for kind in order if kind in marks | {"h2", "table"}][:6] == [
        *("h2", "drawing", "finding", "basis", "table", "h2")
    ]
    assert page.texts("p", class_="finding") == [said]
    assert said not in page.texts("p", class_="note")  # once is enough


def test_a_report_with_everything_says_so(results: Results, made: Callable[[list[Artefact]], None]) -> None:
    made([handmade.complete()])
    assert "Nothing: all 1 tables and figures stand on complete results." in " ".join(written(results).texts("p"))


def test_the_best_stands_out_and_a_missing_number_is_a_dash(
    results: Results, made: Callable[[list[Artefact]], None]
) -> None:
    made([handmade.complete()])
    page = written(results)
    assert page.texts("strong") == ["94.54", "1.00"]
    assert "–" in page.texts("td")


def test_a_page_that_cannot_be_written_leaves_the_old_one(
    results: Results, made: Callable[[list[Artefact]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    made([handmade.complete()])
    path = building.build(results, Options(), command="").page
    before = path.read_text()

    def fail(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    made([])
    with pytest.raises(StoreError, match=r"the report cannot be written to .*: No space left on device"):
        building.build(results, Options(), command="")
    assert path.read_text() == before
    assert [each.name for each in path.parent.iterdir() if each.is_file()] == ["index.html"]


# --- samples ----------------------------------------------------------------------------------------------------------


def sheet(results: Results, name: str, title: str | None = None) -> bytes:
    """Put a small picture where the command draws contact sheets; its bytes."""
    path = results.outputs / "report" / "figures" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    info = PngInfo()
    if title is not None:
        info.add_text("Title", title)
    Image.new("RGB", (30, 20), "red").save(path, pnginfo=info)
    return path.read_bytes()


def test_without_a_contact_sheet_the_page_says_how_to_draw_one(
    results: Results, made: Callable[[list[Artefact]], None]
) -> None:
    made([handmade.complete()])
    page = written(results)
    assert page.texts("code")[-3:-1] == [
        f"python scripts/contact_sheet.py task=combi_digits 'task.classes=[6]' paths.outputs={results.outputs}",
        f"python scripts/contact_sheet.py task=fashion_mnist paths.outputs={results.outputs}",
    ]
    (said,) = (text for text in page.texts("p") if "contact sheet" in text)
    assert said.endswith("there is none yet. Each of these commands draws one, for the next report.")


def test_contact_sheets_are_within_the_page(results: Results, made: Callable[[list[Artefact]], None]) -> None:
    made([handmade.complete()])
    content = [
        sheet(results, "contact_sheet-digits-6.png", f"digits, classes 6 {handmade.HOSTILE}"),
        sheet(results, "contact_sheet-my-task-all.png"),
    ]
    sheet(results, "another.png")
    (results.outputs / "report" / "figures" / "contact_sheet-broken.png").write_bytes(content[0][:60])
    page = written(results)
    captions = [f"digits, classes 6 {handmade.HOSTILE}", "my-task-all"]
    assert page.texts("figcaption") == captions
    sources = page.values("img", "src")
    assert [base64.b64decode(source.removeprefix("data:image/png;base64,")) for source in sources] == content
    assert page.values("img", "width") == ["30", "30"]
    assert [text.split(": a labelled")[0] for text in page.values("img", "alt")] == [
        f"Contact sheet of {caption}" for caption in captions
    ]
    assert "Left out, as they are no PNG pictures: contact_sheet-broken.png." in page.texts("p")
    assert not [text for text in page.texts("code") if "contact_sheet.py" in text]


def test_projections_are_within_the_page_and_turn_dark_with_it(
    results: Results, made: Callable[[list[Artefact]], None]
) -> None:
    made([handmade.complete()])
    drawn = "python scripts/projection.py model=resnet18 task=fashion_mnist task.classes=all"
    assert f"{drawn} paths.outputs={results.outputs}" in written(results).texts("code")
    content = sheet(results, "projection-resnet18-mnist-all.png", f"resnet18 on mnist {handmade.HOSTILE}")
    sheet(results, "contact_sheet-mnist-6.png")
    page = written(results)
    assert page.texts("figcaption") == [f"resnet18 on mnist {handmade.HOSTILE}", "mnist-6"]
    assert page.values("img", "src")[0] == f"data:image/png;base64,{base64.b64encode(content).decode()}"
    assert page.values("img", "class") == ["drawing"]
    assert not [text for text in page.texts("code") if "projection.py" in text]


def of(results: Results, **columns: Any) -> Results:
    """The same results with other values in some columns."""
    return replace(results, frame=results.frame.assign(**columns))


def test_only_whole_embeddings_are_proposed_for_a_projection(results: Results) -> None:
    root = results.outputs / "report"
    assert projections(of(results, limit=100), root).commands == []
    imported = replace(of(results, weights="imported", task="mydata", classes="all"), outputs=root)  # without a table
    assert projections(imported, root).commands == [
        "python scripts/projection.py model=imported model.name=resnet18 task=imported task.name=mydata "
        f"task.classes=all paths.outputs={root}"
    ]


def test_only_tasks_that_have_images_are_proposed_for_a_contact_sheet(results: Results) -> None:
    place, root = f"paths.outputs={results.outputs}", results.outputs / "report"
    only_papers = [f"python scripts/contact_sheet.py task=combi_digits 'task.classes=[6]' {place}"]
    assert samples(of(results, weights="imported"), root).commands == only_papers
    assert samples(of(results, task="of my own"), root).commands == only_papers
    assert samples(of(results, task="combi_digits"), root).commands == only_papers


def test_files_of_an_earlier_report_do_not_stay_behind(tmp_path: Path) -> None:
    artefact = handmade.complete()
    files.write(artefact, tmp_path)
    assert (tmp_path / "fig2.pdf").exists()
    written = files.write(replace(artefact, figures=()), tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(written)
    assert {path.suffix for path in written} == {".csv", ".md", ".tex"}


@pytest.mark.parametrize(
    ("name", "cited"),
    [("fig2", "Fig. 2"), ("figA6b", "Fig. A.6b"), ("table1", "Table 1"), ("tableA2", "Table A.2"), ("mine", "mine")],
)
def test_artefacts_are_cited_as_in_the_paper(name: str, cited: str) -> None:
    assert short(name) == cited


def test_figures_are_described_in_words() -> None:
    (diagram,), (chart, _) = handmade.complete().figures, handmade.partial().figures
    assert described(diagram) == (
        "Average ranks. Average ranks: Oracle 1.00, Ours 2.00, Qi et al. 2018 3.67, Janson et al. 2022 3.92, "
        "Hosoda et al. 2024 4.27. Not significantly different: Qi et al. 2018, Janson et al. 2022."
    )
    assert isinstance(diagram, RankDiagram)
    assert described(replace(diagram, cliques=())).endswith("All pairs differ significantly.")
    assert described(chart) == (
        "Accuracy over k. accuracy in % over proxies per class, k. resnet18: kmeans, random vit_b_16: kmeans, random"
    )


# --- the overview -----------------------------------------------------------------------------------------------------


def test_the_overview_counts(results: Results) -> None:
    seen = overview(results)
    assert dict(seen.facts) == {
        "rows in the table": 144,
        "cells": 144,
        "computations": 64,  # k-means with one proxy is the mean, and the mean needs no seed
        "models": 2,
        "datasets": 2,
        "tasks": 4,
        "configurations": 6,
        "seeds": 3,
    }
    assert seen.about == "144 cells of 2 models on 4 tasks"
    axes, instances, origin = (one.frame.set_index(one.columns[0].name) for one in seen.tables)
    assert axes["values"].to_dict() == {
        "model": "resnet18, vit_b_16",
        "task": "fashion_mnist, mnist",
        "task.classes": "all, even",
        "gen": "kmeans, mean",
        "k": "1, 5, null",
        "norm.post": "l2, none",
        "seed": "1–3",
    }
    assert instances["cells"].tolist() == [36] * 4
    assert instances["n_test"].tolist() == [10_000] * 4
    assert instances["classes"].tolist() == ["all, even"] * 4
    assert origin["cells"].tolist() == [144]


def test_one_of_a_kind_is_counted_in_the_singular(tmp_path: Path) -> None:
    mean = made_by_hand.cell(made_by_hand.RESNET18, made_by_hand.task("mnist"), gen="mean")
    one = made_by_hand.write(tmp_path, [(mean, 500)])
    assert overview(one).facts == (
        ("row in the table", 1),
        ("cell", 1),
        ("computation", 1),
        ("model", 1),
        ("dataset", 1),
        ("task", 1),
        ("configuration", 1),
        ("seed", 1),
    )
    assert overview(one).about == "1 cell of 1 model on 1 task"
    page = written(one)
    assert page.texts("dt")[:2] == ["row in the table", "cell"]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([3, 1, 2, 20], "1–3, 20"),
        ([1, 2], "1, 2"),
        ([5], "5"),
        ([None, 7], "7, null"),
        ([None], "null"),
        ([-1, 0, 1], "-1–1"),
        (range(0, 100, 2), ", ".join(map(str, range(0, 60, 2))) + ", and 20 more"),
    ],
)
def test_values_are_listed_in_a_line(values: Any, text: str) -> None:
    assert listed(pd.Series(list(values), dtype="Int64")) == text


# --- all results ------------------------------------------------------------------------------------------------------


def test_a_row_is_the_mean_over_tasks_of_medians_over_seeds(results: Results) -> None:
    rows = listing(results).frame
    assert len(rows) == 2 * 2 * 6
    frame = results.frame
    for row in rows.itertuples():
        cells = frame[
            (frame["model"] == row.model)
            & (frame["task"] == row.task)
            & (frame["gen"] == row.gen)
            & (frame["norm_post"] == row.norm_post)
            & (frame["k"].fillna(0) == (0 if row.k is pd.NA else row.k))
        ]
        medians = [np.median(cells.loc[cells["classes"] == classes, "accuracy"]) for classes in ("all", "even")]
        assert row.accuracy == pytest.approx(np.mean(medians))
        assert (row.classes, row.seeds) == ("all, even", 3)


def test_a_row_names_what_it_is_the_mean_over(results: Results) -> None:
    frame = results.frame
    lacking = (frame["model"] == "resnet18") & (frame["gen"] == "mean") & (frame["classes"] == "even")
    alone = (frame["model"] == "vit_b_16") & (frame["gen"] == "mean") & (frame["seed"] > 1)
    rows = listing(replace(results, frame=frame[~lacking & ~alone])).frame
    of_mean = rows[rows["gen"] == "mean"].set_index("model")
    assert of_mean.loc[["resnet18"], "classes"].unique().tolist() == ["all"]
    assert of_mean.loc[["vit_b_16"], "seeds"].unique().tolist() == [1]
    assert set(rows.loc[rows["gen"] == "kmeans", "classes"]) == {"all, even"}


def test_columns_without_variation_are_said_once(results: Results) -> None:
    rows = listing(results)
    names = [column.name for column in rows.columns]
    assert names == ["model", "task", "accuracy", "gen", "k", "norm_post"]
    constant = dict(rows.constant)
    assert constant["agg.metric"] == "inner_product"
    assert constant["seeds"] == 3
    assert "agg.m" not in constant  # null throughout: it has no meaning here


def test_rows_stand_by_dataset_the_most_accurate_first(results: Results) -> None:
    rows = listing(results).frame
    for _, group in rows.groupby(["model", "task"], observed=True, sort=False):
        assert group["accuracy"].is_monotonic_decreasing
        assert group.index.tolist() == list(range(group.index[0], group.index[0] + len(group)))


@pytest.mark.parametrize("limit", [3, 8, 9, 12, 23, 24, 100])
def test_of_too_many_rows_the_most_accurate_of_each_dataset_stay(limit: int) -> None:
    size = {"a": 2, "b": 10, "c": 12}
    frame = pd.DataFrame({name: pd.Series(dtype="object") for name in (*MODEL[1:], "limit")})
    frame = pd.concat([frame, pd.DataFrame({"task": [task for task, n in size.items() for _ in range(n)]})])
    frame["model"] = "m"
    frame["accuracy"] = np.concatenate([np.linspace(1, 0, n) for n in size.values()])
    top = Listing(frame, COLUMNS, ()).top(limit)
    assert min(limit, 3) <= len(top) <= limit
    assert len(top) > min(limit, len(frame)) - len(size)
    kept = top.groupby("task").size()
    assert set(kept.index) == set(size)
    for task, group in top.groupby("task"):
        best = frame.loc[frame["task"] == task, "accuracy"].head(len(group))
        assert group["accuracy"].tolist() == best.tolist()


def test_the_script_gets_what_the_table_holds(results: Results) -> None:
    rows = listing(results)
    sent = json.loads(json.dumps(data(rows.frame, rows.columns)))
    for head, column, values in zip(sent["columns"], rows.columns, sent["rows"], strict=True):
        expected = rows.frame[column.name]
        if column.kind == "percent":
            assert values == (100 * expected).round(2).tolist()
            continue
        found = [head["values"][place] for place in values]
        assert found == [None if value is pd.NA or value != value else value for value in expected.tolist()]
        present = [value for value in head["values"] if value is not None]
        assert present == sorted(present)
        assert None not in head["values"][:-1]
