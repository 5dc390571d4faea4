"""The page in a real browser: it sorts, filters, turns dark, prints and fits a phone, and the console is silent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from selenium.webdriver.common.keys import Keys

from imprint_sweep.analysis.artefact import Options
from imprint_sweep.analysis.data.results import load
from imprint_sweep.analysis.report import building
from imprint_sweep.planning.plan import Plan
from tests import plausible
from tests.analysis import handmade
from tests.browser import Browser, browser
from tests.sweeping import requested, tree_of

pytestmark = pytest.mark.browser

AXES = [
    "model=resnet18,vit_b_16",
    "task=mnist,fashion_mnist",
    "gen=mean,kmeans,kmedoids,random",
    "k=1,2,5,10,20",
    "norm.post=l2,none",
    "agg.metric=euclidean,cosine",
]
ROWS = 4 * (1 + 3 * 5) * 2 * 2
RESULTS = ".explorer table"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on made-up results, with hand-made artefacts."""
    outputs = tmp_path_factory.mktemp("outputs")
    plausible.write(outputs, Plan.of(requested(tree_of(), *AXES)))
    figures = outputs / "report" / "figures"
    figures.mkdir(parents=True)
    for name in ("contact_sheet-mnist-all", "projection-net-mnist-all"):
        Image.new("RGB", (1300, 1200), "grey").save(figures / f"{name}.png")
    with pytest.MonkeyPatch.context() as patch:
        handmade.install(patch, handmade.artefacts())
        return building.build(load(outputs), Options(), command="python scripts/report.py").page


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture
def page(chromium: Browser, report: Path) -> Iterator[Browser]:
    """The report, freshly loaded on a wide screen; what the console says fails the test."""
    chromium.emulate(width=1400)
    chromium.open(report)
    yield chromium
    assert chromium.complaints() == []


def column(page: Browser, table: str, title: str) -> list[str]:
    """The cells under a head of a table, from top to bottom."""
    place = page.texts(f"{table} thead th").index(title) + 1
    return page.texts(f"{table} tbody tr > :nth-child({place})")


def head(table: str, page: Browser, title: str) -> str:
    """The selector of a head."""
    return f"{table} thead th:nth-child({page.texts(f'{table} thead th').index(title) + 1})"


def choose(page: Browser, axis: str, option: str) -> None:
    """Choose from one of the lists above the results."""
    labels: list[str] = page.run(
        "[...document.querySelectorAll('.filters label')].map((l) => l.firstChild.textContent)"
    )
    select = f".filters label:nth-of-type({labels.index(axis) + 1}) select"
    page.find(f"{select} option:nth-child({page.texts(f'{select} option').index(option) + 1})").click()


@pytest.mark.parametrize("width", [400, 700, 1000, 1400])
@pytest.mark.parametrize("dark", [False, True])
def test_nothing_overflows(page: Browser, report: Path, width: int, dark: bool) -> None:
    assert_fits(page, report, width, dark)


@pytest.mark.slow
def test_the_papers_own_tables_and_figures_fit(page: Browser, tmp_path: Path) -> None:
    plan = Plan.of(requested(tree_of(), "+experiment=mini", "model=resnet18,vit_b_16", "task=mnist,cifar10"))
    plausible.write(tmp_path, plan)
    plausible.write_collapse(tmp_path, plan)
    report = building.build(load(tmp_path), Options(), command="python scripts/report.py")
    for width in (400, 1400):
        assert_fits(page, report.page, width, dark=width == 400)
    assert page.run("document.querySelectorAll('.drawing svg').length") > 12
    # The p-values of the pairs are the point of the table: no column of it may hide behind an edge of a usual screen.
    boxes = page.run(
        "[...document.querySelectorAll('#fig2 .scroll:has(table)')].map((box) => [box.scrollWidth, box.clientWidth])"
    )
    assert len(boxes) == 2
    assert all(content <= shown for content, shown in boxes)


def assert_fits(page: Browser, report: Path, width: int, dark: bool) -> None:
    """Nothing on a page is wider than the screen, but for what scrolls in its own box."""
    page.emulate(width=width, dark=dark)
    page.open(report)
    assert page.run("document.documentElement.scrollWidth") <= width
    assert page.run("innerWidth") == width
    outside = page.run(
        """[...document.querySelectorAll('main *, aside *')].filter((element) => {
            const box = element.getBoundingClientRect();
            const inBox = element.parentElement.closest('.scroll, pre') || element.closest('.unseen, .skip');
            return !inBox && box.width && (box.right > innerWidth + 1 || box.left < -1);
        }).map((element) => element.outerHTML.slice(0, 100))"""
    )
    assert outside == []


def test_what_is_wide_scrolls_in_its_own_box(page: Browser, report: Path) -> None:
    page.emulate(width=400)
    page.open(report)
    box = page.find("#fig6 table").find_element("xpath", "..")
    assert page.run("arguments[0].scrollWidth > arguments[0].clientWidth", box)
    assert page.run("arguments[0].tabIndex", box) == 0
    assert box.get_attribute("aria-label") == "A wide table"


@pytest.mark.parametrize("section", ["samples", "projections"])
def test_a_picture_shows_whole_and_in_its_proportions(page: Browser, report: Path, section: str) -> None:
    for width in (400, 1400):
        page.emulate(width=width)
        page.open(report)
        image = f"document.querySelector('#{section} img')"
        assert page.run(f"{image}.complete && {image}.naturalWidth") == 1300
        shown = page.run(f"[{image}.clientWidth, {image}.clientHeight]")
        assert 0 < shown[0] <= width
        assert shown[1] == pytest.approx(shown[0] * 12 / 13, abs=1)


def test_tables_sort_by_number_and_turn_around(page: Browser) -> None:
    table = "#fig2 table"
    given = column(page, table, "accuracy")
    assert given == sorted(given, reverse=True)
    button = page.find(f"{head(table, page, 'accuracy')} button")
    button.click()
    assert page.find(head(table, page, "accuracy")).get_attribute("aria-sort") == "descending"
    button.click()
    assert page.find(head(table, page, "accuracy")).get_attribute("aria-sort") == "ascending"
    assert column(page, table, "accuracy") == given[::-1]
    page.find(f"{head(table, page, 'method')} button").click()
    assert column(page, table, "method") == sorted(handmade.METHODS)
    assert page.find(head(table, page, "accuracy")).get_attribute("aria-sort") is None


def test_what_is_missing_is_last_in_both_directions(page: Browser) -> None:
    button = page.find(f"{head('#fig2 table', page, 'paper')} button")
    for _ in range(2):
        button.click()
        assert column(page, "#fig2 table", "paper")[-1] == "–"


def test_buttons_work_from_the_keyboard(page: Browser) -> None:
    button = page.find(f"{head('#fig2 table', page, 'average rank')} button")
    page.run("arguments[0].focus()", button)
    page.driver.switch_to.active_element.send_keys(Keys.ENTER)
    page.driver.switch_to.active_element.send_keys(Keys.SPACE)
    assert page.find(head("#fig2 table", page, "average rank")).get_attribute("aria-sort") == "descending"
    page.driver.switch_to.active_element.send_keys(Keys.SHIFT, Keys.TAB)
    outline = page.run("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def test_a_long_table_is_opened_and_sorts(page: Browser) -> None:
    table = ".fold table"
    assert not page.run("document.querySelector('.fold table').checkVisibility()")
    page.find(".fold summary").click()
    page.find(f"{head(table, page, 'name')} button").click()
    assert column(page, table, "name") == [f"row {i}" for i in range(30)]
    for _ in range(2):
        page.find(f"{head(table, page, 'value')} button").click()
    assert column(page, table, "name") == [f"row {i}" for i in range(30)][::-1]


def test_results_sort(page: Browser) -> None:
    page.find(f"{head(RESULTS, page, 'accuracy')} button").click()
    shown = [float(text) for text in column(page, RESULTS, "accuracy")]
    assert shown == sorted(shown, reverse=True)
    page.find(f"{head(RESULTS, page, 'k')} button").click()
    numbers = [int(text) for text in column(page, RESULTS, "k")]
    assert numbers == sorted(numbers)  # the dashes of mean come last, hence not in the first hundred
    assert len(numbers) == 100


def test_results_filter_by_words_and_by_choice(page: Browser) -> None:
    assert page.texts(".count") == [f"Showing 100 of {ROWS} rows."]
    search = page.find(".filters input")
    search.send_keys("vit_b_16 KMED cosine")
    assert page.texts(".count") == [f"Showing 20 of 20 rows, of {ROWS} in all."]
    assert set(column(page, RESULTS, "model")) == {"vit_b_16"}
    assert set(column(page, RESULTS, "gen")) == {"kmedoids"}
    choose(page, "k", "20")
    assert set(column(page, RESULTS, "k")) == {"20"}
    assert page.texts(".count") == [f"Showing 4 of 4 rows, of {ROWS} in all."]
    search.clear()
    search.send_keys("nowhere")
    assert page.texts(".count") == [f"No row fits, of {ROWS} in all."]
    search.clear()
    search.send_keys("mean")
    choose(page, "k", "–")
    assert set(column(page, RESULTS, "gen")) == {"mean"}
    assert len(column(page, RESULTS, "gen")) == 4 * 2 * 2


def test_the_rest_of_the_results_comes_on_demand(page: Browser) -> None:
    more = page.find(".more")
    for shown in (200, ROWS):
        assert more.is_displayed()
        more.click()
        assert len(column(page, RESULTS, "model")) == shown
    assert not more.is_displayed()


def test_dark_is_the_systems_choice_until_the_reader_chooses(page: Browser, report: Path) -> None:
    def paper() -> str:
        return str(page.run("getComputedStyle(document.body).backgroundColor"))

    light = paper()
    page.emulate(width=1400, dark=True)
    dark = paper()
    assert (light, dark) == ("rgb(255, 255, 255)", "rgb(20, 23, 26)")
    assert page.run("getComputedStyle(document.querySelector('figure .drawing')).filter") != "none"
    toggle = page.find(".theme")
    toggle.click()
    assert paper() == light
    assert page.run("getComputedStyle(document.querySelector('figure .drawing')).filter") == "none"
    toggle.click()
    assert paper() == dark


@pytest.mark.parametrize("dark", [False, True])
def test_texts_stand_out_from_what_is_behind_them(page: Browser, dark: bool) -> None:
    """WCAG 2.1, 1.4.3: at least 4.5 to 1."""
    page.emulate(width=1400, dark=dark)
    weak = page.run(
        """(() => {
            const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
            const luminance = (colour) => {
                const [r, g, b] = numbers(colour).map((v) => v / 255)
                    .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
            };
            const behind = (element) => {
                for (let at = element; at; at = at.parentElement) {
                    const colour = getComputedStyle(at).backgroundColor;
                    if (numbers(colour)[3] !== 0) return colour;
                }
                return 'rgb(255, 255, 255)';
            };
            const texts = [...document.body.querySelectorAll('*')].filter((element) => element.checkVisibility()
                && [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()));
            return texts.map((element) => {
                const [a, b] = [getComputedStyle(element).color, behind(element)].map(luminance);
                return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), element.outerHTML.slice(0, 80)];
            }).filter(([contrast]) => contrast < 4.5);
        })()"""
    )
    assert weak == []


def test_the_printed_page_is_light_and_whole(page: Browser, report: Path) -> None:
    page.emulate(width=700, dark=True, media="print")
    assert page.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.run("getComputedStyle(document.querySelector('figure .drawing')).filter") == "none"
    assert page.run("document.querySelector('.fold table').checkVisibility()")
    for hidden in ("aside", ".filters", ".copy", ".more"):
        assert not page.find(hidden).is_displayed()
    assert page.run("getComputedStyle(document.querySelector('#fig6 .scroll')).overflowX") == "visible"


def test_the_contents_mark_where_the_reader_is(page: Browser) -> None:
    page.find("nav a[href='#collapse']").click()
    page.await_("document.querySelector('nav a[href=\"#collapse\"][aria-current]')")
    assert "#fig2" not in page.run("[...document.querySelectorAll('nav [aria-current]')].map((a) => a.hash)")


def test_what_comes_from_results_runs_nothing(page: Browser) -> None:
    assert handmade.HOSTILE in page.texts("#fig6 .caption")[0]
    assert page.driver.title == "Weight imprinting: results"


def test_commands_are_copied(page: Browser) -> None:
    page.driver.execute_cdp_cmd(
        "Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    )
    button = page.find("#fig6 .copy")
    button.click()
    page.await_("arguments[0].textContent !== 'Copy'", button)
    assert button.text == "Copied"
    copied = page.driver.execute_async_script("navigator.clipboard.readText().then(arguments[0])")
    assert copied == handmade.COMMAND


def test_links_of_the_contents_lead_somewhere(page: Browser) -> None:
    links: list[str] = page.run("[...document.querySelectorAll('nav a')].map((link) => link.getAttribute('href'))")
    assert links[:4] == ["#headline", "#fig2", "#run", "#gaps"]
    assert links[-1] == "#results"
    assert all(page.run("document.querySelector(arguments[0]) !== null", link) for link in links)


def test_without_its_script_the_page_is_there_to_read(page: Browser, report: Path) -> None:
    page.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        page.open(report)
    finally:
        page.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert page.texts(".count") == [f"The first 25 of {ROWS} rows."]
    assert len(column(page, RESULTS, "accuracy")) == 25
    for useless in (".filters", ".copy", ".more", ".theme"):
        assert not page.find(useless).is_displayed()
