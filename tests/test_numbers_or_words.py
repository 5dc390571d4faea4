"""Parameters that are a number or a word: identity, command line, table, analysis."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import imprint_sweep as ims
from imprint_sweep.analysis.data import names
from imprint_sweep.analysis.data.results import is_baseline, load, without_parameters
from imprint_sweep.analysis.data.subset import subset
from imprint_sweep.analysis.report.listing import listing
from imprint_sweep.analysis.report.page import data as columns_of_page
from imprint_sweep.config.overrides_of import cell_of, compose, overrides_of
from imprint_sweep.errors import ConfigError, InvalidCellError, UnknownOptionError
from imprint_sweep.grid.choosing import chosen_scheme
from imprint_sweep.grid.scheme import Scheme, baselines, words_of_parameters
from imprint_sweep.imprinting.components import GENS, ClassSamples, Gen, Parameter, Rows, Setting, Variant
from imprint_sweep.store import load_results, table_schema
from tests.extending import forget_gens

SHARE = Parameter("share", float, "half", "How far the mean is moved.", least=0.0, most=1.0, words=("half", "third"))


class Moved(Gen):
    """A share of the mean."""

    name = "moved"
    label = "moved mean"
    baseline = True
    parameters = (SHARE,)

    def proxies(self, given: ClassSamples, variant: Variant) -> Rows:
        share = {"half": 0.5, "third": 1 / 3}.get(variant["share"], variant["share"])
        moved: Rows = (given.samples.mean(axis=0, keepdims=True) * (1 - share)).astype("float32")
        return moved


MOVED = Moved()


def test_values() -> None:
    assert SHARE.checked("gen.share", 1) == 1.0
    assert SHARE.checked("gen.share", "third") == "third"
    with pytest.raises(
        UnknownOptionError, match=r"unknown gen.share 'thrid'; did you mean third\? Available: a number"
    ):
        SHARE.checked("gen.share", "thrid")
    with pytest.raises(InvalidCellError, match=r"gen.share must be at least 0 and at most 1, got 1.5"):
        SHARE.checked("gen.share", 1.5)
    with pytest.raises(InvalidCellError, match=r"gen\.share: expected a number, half or third, got None"):
        SHARE.checked("gen.share", None)


@given(st.floats(0, 1) | st.sampled_from(SHARE.words))
def test_what_is_recorded_is_read_again(value: float | str) -> None:
    recorded = SHARE.recorded(value)
    assert isinstance(recorded, str)
    assert SHARE.read(recorded) == value
    assert type(SHARE.read(recorded)) is type(value)


def test_numbers_are_recorded_as_they_are_typed() -> None:
    assert [SHARE.recorded(value) for value in (0.1, 0.0, 1.0, 1e-7, "half")] == [
        "0.1", "0", "1", "1e-07", "half"
    ]  # fmt: skip
    plain = Parameter("share", float, 0.0, "Of numbers alone.")
    assert plain.recorded(0.1) == 0.1
    assert SHARE.read("from a later version") == "from a later version"


def test_settings_are_ordered_whatever_their_values() -> None:
    settings = [Setting("moved", (("share", value),)) for value in ("third", 0.5, "half", 0.1)]
    assert [dict(setting.parameters)["share"] for setting in sorted(settings)] == [0.1, 0.5, "half", "third"]
    assert sorted([Variant(k=2, parameters=settings[0].parameters), Variant(k=1)])[0].k == 1


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name under which the gen is registered."""
    forget_gens(monkeypatch)
    return GENS.register(f"{__name__}:MOVED")


def test_identity(moved: str) -> None:
    neutral = Scheme.create(gen=moved, parameters={"gen.share": "half"})
    assert neutral == Scheme.create(gen=moved)
    assert "share" not in neutral.fragment
    fragments = {Scheme.create(gen=moved, parameters={"gen.share": value}).fragment for value in (0, 0.5, 1, "third")}
    assert len(fragments | {neutral.fragment}) == 5
    assert {json.loads(fragment)["gen.share"] for fragment in fragments} == {0.0, 0.5, 1.0, "third"}
    assert words_of_parameters()["gen.share"] == {"half", "third"}
    assert table_schema().field("gen_share").type == "string"
    chosen = chosen_scheme(Scheme.create(gen=moved, parameters={"gen.share": "third"}))
    assert chosen["gen.share"] == "third"


@pytest.fixture
def outputs(moved: str, tmp_path: Path) -> Path:
    """The outputs of a sweep."""
    axes: dict[str, Any] = {"gen": [moved, "mean"], "gen.share": [0, 0.25, 1, "half", "third"]}
    rows = ims.sweep(model="pixels", task="digits", n_shot=3, outputs=tmp_path, progress=False, **axes)
    assert len(rows) == 6
    return tmp_path


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ("thrid", UnknownOptionError, r"unknown gen.share 'thrid'; did you mean third\?"),
        ("[0.1]", ConfigError, r"gen.share: expected a number, half or third, or null for its default; got \[0.1\]"),
        ("true", ConfigError, "gen.share: expected a number, half or third, or null for its default; got True"),
    ],
)
def test_a_mistake_is_a_sentence(moved: str, value: str, error: type[Exception], message: str) -> None:
    for gen in (moved, "mean"):
        with pytest.raises(error, match=message):
            compose(["model=pixels", f'gen="{gen}"', f"gen.share={value}"])


def test_the_table_holds_texts_and_leads_back(outputs: Path, moved: str) -> None:
    table = load_results(outputs / "results").astype(object)
    assert sorted(table["gen_share"].dropna()) == ["0", "0.25", "1", "half", "third"]
    for row in table.where(table.notna(), None).to_dict("records"):
        cell = cell_of({str(name): value for name, value in row.items()})
        said = [word for word in overrides_of(cell, outputs) if word.startswith("gen.share")]
        value = cell.scheme.parameter("gen.share")
        assert said == ([] if value in (None, "half") else [f"gen.share={value}"])


def test_the_analysis_orders_numbers_before_words(outputs: Path, moved: str) -> None:
    results = load(outputs)
    column = results.frame["gen_share"]
    assert column.cat.categories.tolist() == [0.0, 0.25, 1.0, "half", "third"]
    assert results.frame.sort_values("gen_share")["gen_share"].dropna().tolist() == [0.0, 0.25, 1.0, "half", "third"]
    shown = names.configurations(results.frame)
    assert len(set(shown)) == 6
    assert {name.partition(" ·")[0] for name in shown} == {
        "mean", "moved mean", "moved mean, share = 0", "moved mean, share = 0.25", "moved mean, share = 1",
        "moved mean, share = third",
    }  # fmt: skip
    (column,) = [column for column in columns_of_page(listing(results).frame, listing(results).columns)["columns"]
                 if column["title"] == "gen.share"]  # fmt: skip
    assert column["values"] == [0.0, 0.25, 1.0, "half", "third", None]
    assert sorted(without_parameters(results.frame)["gen_share"].astype(object).dropna()) == ["half"]


def test_baselines_are_shown_as_such(outputs: Path, moved: str) -> None:
    table = listing(load(outputs)).frame
    assert dict(zip(table["gen"], table["kind"], strict=True)) == {moved: "baseline", "mean": "imprinting"}
    assert is_baseline(load(outputs).frame).sum() == 5
    assert f"gen={moved}" in baselines()


@pytest.mark.parametrize(
    ("condition", "rows"),
    [("gen.share > 0.1", 2), ("gen.share == third", 1), ("gen.share == 0.25 or gen.share in [half, 1]", 3)],
)
def test_conditions_choose_rows(outputs: Path, moved: str, condition: str, rows: int) -> None:
    assert len(subset(load(outputs), condition).frame) == rows
    with pytest.raises(UnknownOptionError, match="did you mean half"):
        subset(load(outputs), "gen.share == halff")
