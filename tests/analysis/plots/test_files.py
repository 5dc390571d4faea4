"""Figures on disk: the same bytes each time, whole or not at all, fit for papers and pages."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zlib
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from imprint_sweep.analysis import plots
from imprint_sweep.analysis.artefact import Chart, Figure, Panel, RankDiagram, Series
from imprint_sweep.errors import UnknownOptionError
from tests.analysis.plots import examples

ROOT = Path(__file__).resolve().parents[3]
SVG = "{http://www.w3.org/2000/svg}"
HREF = "{http://www.w3.org/1999/xlink}href"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a diagram and two charts in every format."""
    found = tmp_path_factory.mktemp("figures") / "made" / "on demand"
    for figure in (examples.fig8(), examples.fig6(), examples.fig10()):
        plots.write(figure, found)
    return found


def test_every_format_and_the_data_are_written(tmp_path: Path) -> None:
    written = plots.write(examples.fig8(), tmp_path)
    assert [path.name for path in written] == ["fig8.pdf", "fig8.svg", "fig8.png", "fig8-data.csv"]
    assert sorted(tmp_path.iterdir()) == sorted(written)
    assert plots.write(examples.fig8(), tmp_path / "data", formats=()) == [tmp_path / "data" / "fig8-data.csv"]


def test_the_same_figure_gives_the_same_bytes_in_another_process(folder: Path, tmp_path: Path) -> None:
    # Another hash seed, another time, and a user with a taste of their own.
    (tmp_path / "matplotlibrc").write_text("font.size: 20\nsavefig.bbox: tight\nsvg.fonttype: path\naxes.grid: False\n")
    program = (
        "import sys; from pathlib import Path; from imprint_sweep.analysis import plots; "
        "from tests.analysis.plots import examples; "
        "figures = (examples.fig8(), examples.fig6(), examples.fig10()); "
        f"[plots.write(figure, Path({str(tmp_path / 'again')!r})) for figure in figures]; "
        "assert 'matplotlib.pyplot' not in sys.modules and 'torch' not in sys.modules"
    )
    environment = os.environ | {"PYTHONHASHSEED": "7", "MATPLOTLIBRC": str(tmp_path), "SOURCE_DATE_EPOCH": "1"}
    finished = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


def test_pdf_has_truetype_fonts_and_no_date(folder: Path) -> None:
    content = (folder / "fig6.pdf").read_bytes()
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", content, re.DOTALL)
    fonts = [stream for stream in map(inflated, streams) if stream.startswith(b"\x00\x01\x00\x00")]
    assert b"/FontFile2" in content  # how PDF embeds TrueType
    assert fonts
    assert b"/Type3" not in content
    assert b"CreationDate" not in content
    assert b"Accuracy over k" in content


def inflated(stream: bytes) -> bytes:
    try:
        return zlib.decompress(stream)
    except zlib.error:
        return b""


def test_png_is_sharp_and_opaque(folder: Path) -> None:
    with Image.open(folder / "fig8.png") as image:
        assert image.width == round(3.5 * 220)
        assert round(image.info["dpi"][0]) >= 200
        assert np.asarray(image.convert("RGBA"))[..., 3].min() == 255


def test_svg_for_a_page_is_the_one_on_disk(folder: Path) -> None:
    assert plots.svg(examples.fig8()) == (folder / "fig8.svg").read_text(encoding="utf-8")


def test_svgs_can_stand_in_one_page(folder: Path) -> None:
    ids: list[str] = []
    for path in sorted(folder.glob("*.svg")):
        text = path.read_text(encoding="utf-8")
        assert text.startswith("<svg ")  # nothing before it that HTML does not know
        root = ElementTree.fromstring(text)
        assert root.get("role") == "img"
        title = root.find(f"{SVG}title")
        assert title is not None
        assert title.text
        assert root.find(f".//{SVG}style") is None  # it would apply to the page
        assert root.find(f".//{SVG}metadata") is None
        own = [element.attrib["id"] for element in root.iter() if "id" in element.attrib]
        referred = {element.attrib[HREF][1:] for element in root.iter() if HREF in element.attrib}
        referred |= set(re.findall(r"url\(#(.+?)\)", text))
        assert referred == set(own)
        ids += own
    assert len(ids) == len(set(ids)) > 0


def test_svg_text_is_text_and_its_background_is_the_pages(folder: Path) -> None:
    root = ElementTree.parse(folder / "fig8.svg").getroot()
    assert "20-nn" in [element.text for element in root.iter(f"{SVG}text")]
    assert "DejaVu Sans" in root.attrib["style"]
    assert "sans-serif" in root.attrib["style"]
    assert "#ffffff" not in (folder / "fig8.svg").read_text()
    assert (folder / "fig8.svg").stat().st_size < 8_000


def test_names_with_markup_survive(tmp_path: Path) -> None:
    labels = ("<b>&amp;</b>", 'a "quoted" one', "$x$")
    plots.write(RankDiagram("odd", "a < b & c", labels, np.array([1.0, 2.0, 3.0]), ()), tmp_path, ["svg", "pdf"])
    root = ElementTree.parse(tmp_path / "odd.svg").getroot()
    assert set(labels) <= {element.text for element in root.iter(f"{SVG}text")}
    assert root.findtext(f"{SVG}title") == "a < b & c"


def test_an_unknown_format_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(
        UnknownOptionError, match=r"unknown figure format 'pgn'; did you mean png\? Available: pdf, png, svg"
    ):
        plots.write(examples.fig8(), tmp_path / "none", ["pgn"])
    assert not (tmp_path / "none").exists()


def test_a_failed_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plots.write(examples.fig8(), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        plots.write(examples.ranks_of(3, name="fig8"), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, keep_default_na=True)


def test_the_data_of_a_diagram() -> None:
    found = plots.frame(examples.fig8())
    assert found["label"].tolist() == ["50-nn", "max = 1-nn", "20-nn", "3-nn", "5-nn"]
    assert found["rank"].tolist() == [4.354, 3.958, 2.479, 2.313, 1.542]
    assert found["cliques"].tolist() == ["1", "1", "2", "2", ""]


def test_the_data_of_a_chart_is_every_point_once(folder: Path) -> None:
    figure = examples.fig10()
    found = read(folder / "fig10-data.csv")
    for series in figure.panels[0].series:
        rows = found[found["series"] == series.label]
        assert series.low is not None
        for column, expected in {"x": series.x, "y": series.y, "low": series.low}.items():
            assert rows[column].tolist() == expected.tolist()  # to the last bit
    assert len(found) == sum(len(series.x) for series in figure.panels[0].series)
    assert "marker" not in found


def test_the_data_of_levels_names_and_shapes() -> None:
    levels = plots.frame(examples.fig6())
    assert levels.loc[levels["style"] == "level", ["x", "y"]].isna().to_numpy().tolist() == [[True, False]]
    names = plots.frame(examples.fig11a()[1])
    assert names["x"].tolist()[:4] == ["MNIST", "FashionMNIST", "CIFAR-10", "CombiDigits"]
    assert plots.frame(examples.fig12())["marker"].nunique() == 5
    panels = plots.frame(examples.fig_a4())
    assert panels["panel"].nunique() == 12


@pytest.mark.parametrize(
    "figure",
    [
        Chart("none", "No panels", (), "x", "y"),
        Chart("empty", "Nothing in it", (Panel("", ()),), "x", "y"),
        Chart("level", "No level", (Panel("", (Series("a", np.zeros(0), np.zeros(0), style="level"),)),), "x", "y"),
        Chart("void", "No points", (Panel("", (Series("a", np.zeros(0), np.zeros(0)),)),), "x", "y", x_scale="log"),
    ],
    ids=lambda figure: figure.name,
)
def test_figures_without_data_can_be_written(figure: Figure, tmp_path: Path) -> None:
    written = plots.write(figure, tmp_path)
    assert len(read(written[-1])) == 0
