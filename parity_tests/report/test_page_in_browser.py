"""The page in a real browser: what a reader sees, clicks, types and prints."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from selenium.webdriver.common.keys import Keys

from inception_parity.diagnosis import Diagnosis, Finding
from inception_parity.models import compare
from inception_parity.report import page
from inception_parity.report.models import sheet_of

from ..conftest import chosen_backends
from ..support import tiny
from ..support.browser import Browser
from .test_page import HOSTILE

CULPRIT_CELL = f'[data-at="{tiny.CULPRIT}|1"]'


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = Browser()
    yield found
    found.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pages")


@pytest.fixture(scope="module")
def file(folder: Path) -> Path:
    """Return the page of one backend that agrees and one that doesn't, with a cause."""
    found = Finding("flip", "flipped kernel", 0.5, 1e-16, "kernel[::-1, ::-1]")
    made = tiny.sheet(folder, diagnosis=Diagnosis(tiny.CULPRIT, "conv 1x1", [found]))
    page.write(folder / "page.html", [made])
    return folder / "page.html"


@pytest.fixture(scope="module")
def models_file(folder: Path) -> Path:
    """Return the page of two PyTorch models, whose layers are numbers; one adds a bias twice."""
    if "pt" not in chosen_backends():
        pytest.skip("its models are torch's")
    import torch
    from torch import nn

    original, port = (
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3, 2)) for _ in range(2)
    )
    port.load_state_dict(original.state_dict())
    with torch.no_grad():
        port[2].bias *= 2
    found = compare(original, port, np.random.default_rng(0).standard_normal((2, 3, 9, 9)))
    command = ["inception-parity", "compare-models", "nets:original", "nets:port"]
    page.write(folder / "models.html", [sheet_of(found, command)])
    return folder / "models.html"


def panel(browser: Browser) -> str:
    return browser.one(".panel").text


def clean_log(browser: Browser) -> None:
    assert browser.log() == []


def test_page_begins_with_the_verdict_and_the_culprit(browser, file):
    browser.open(file)
    assert "Keras/TF diverges; PyTorch agrees." in browser.one("h1").text
    assert browser.one(".panel h3").text == tiny.CULPRIT
    assert "An error starts here" in panel(browser)
    assert browser.one(CULPRIT_CELL).get_attribute("aria-pressed") == "true"
    for words in (
        "Cause: flipped kernel",
        "5.0e-01; to the reference with this mistake 1.0e-16",
        "kernel[::-1, ::-1]",
    ):
        assert words in panel(browser)
    clean_log(browser)


def test_every_endpoint_has_a_cell_in_every_column(browser, file):
    browser.open(file)
    names = [h.get_attribute("textContent") for h in browser.all(".graph thead th")]
    assert names == ["block", "PyTorch", "Keras/TF"]
    cells = {b.get_attribute("data-at") for b in browser.all(".graph .cell")}
    for name in ("input", *(name for name, *_ in tiny.LAYERS)):
        assert {f"{name}|0", f"{name}|1"} <= cells
    look = browser.one(CULPRIT_CELL)
    assert "guilty" in look.get_attribute("class")
    assert look.text.startswith("◆")  # a sign besides the colour
    assert "starts here" in look.get_attribute("aria-label")
    assert "wrong" in browser.one('[data-at="fc|1"]').get_attribute("class")
    assert "identical" in browser.one('[data-at="fc|0"]').get_attribute("class")


def test_click_on_a_cell_changes_the_panel(browser, file):
    browser.open(file)
    before = panel(browser)
    browser.one('[data-at="fc|1"]').click()
    after = panel(browser)
    assert browser.one(".panel h3").text == "fc"
    assert "Carries on an error from before" in after
    assert after != before
    assert browser.one(CULPRIT_CELL).get_attribute("aria-pressed") == "false"
    assert len(browser.all(".panel canvas")) == 3
    assert "fc, Keras/TF: wrong, carried on" in browser.one("[role=status]").get_attribute(
        "textContent"
    )
    clean_log(browser)


def test_keyboard_alone_reaches_and_chooses_an_endpoint(browser, file):
    browser.open(file)
    browser.run("arguments[0].focus()", browser.one(CULPRIT_CELL))
    keys = browser.driver.switch_to.active_element
    keys.send_keys(Keys.ARROW_DOWN)
    active = browser.driver.switch_to.active_element
    assert active.get_attribute("data-at") == "mixed.concat|1"
    active.send_keys(Keys.ARROW_LEFT)
    active = browser.driver.switch_to.active_element
    assert active.get_attribute("data-at") == "mixed.concat|0"
    assert browser.one(".panel h3").text == tiny.CULPRIT  # not chosen yet
    active.send_keys(Keys.ENTER)
    assert browser.one(".panel h3").text == "mixed.concat"
    active = browser.driver.switch_to.active_element
    assert active.get_attribute("data-at") == "mixed.concat|0"  # the focus stays
    outline = browser.run("return getComputedStyle(arguments[0]).outlineStyle", active)
    assert outline != "none"
    active.send_keys(Keys.HOME)
    assert browser.driver.switch_to.active_element.get_attribute("data-at") == "input|0"


def test_graph_is_one_stop_of_the_tab_key(browser, file):
    browser.open(file)
    stops = browser.all('.graph [tabindex="0"]')
    assert len(stops) == 1
    browser.run("arguments[0].focus()", stops[0])
    stops[0].send_keys(Keys.TAB)
    inside = browser.run("return document.activeElement.closest('.graph') !== null")
    assert not inside


def test_blocks_close_and_open(browser, file):
    browser.open(file)
    name = browser.one('button[data-at="mixed.right|-1"]')
    assert name.get_attribute("aria-expanded") == "true"
    name.click()
    assert browser.all(CULPRIT_CELL) == []
    closed = browser.one('[data-at="mixed.right|1"]')
    assert "guilty" in closed.get_attribute("class")  # shows the worst of its layers
    closed.click()
    assert browser.one(".panel h3").text == tiny.CULPRIT
    name = browser.one('button[data-at="mixed.right|-1"]')
    name.send_keys(Keys.ENTER)
    assert len(browser.all(CULPRIT_CELL)) == 1
    browser.one(".tools button:last-child").click()
    rows = [b.get_attribute("data-at") for b in browser.all('.graph .cell[data-at$="|0"]')]
    assert rows == ["input|0", "stem|0", "mixed|0", "fc|0", "logits|0"]
    clean_log(browser)


def test_lanes_follow_the_dataflow(browser, file):
    browser.open(file)
    script = """
      const sheet = JSON.parse(document.querySelector('.explorer script').textContent);
      const open = new Set(['stem', 'mixed', 'mixed.left', 'mixed.right']);
      const rows = rowsOf(treeOf(sheet.nodes), open);
      const width = layLanes(rows, sheet.nodes);
      return [width, Object.fromEntries(rows.map((r) => [r.item.key, [r.flows, r.lane, r.lines]]))];
    """
    width, rows = browser.run(script)
    assert width == 2
    assert rows["mixed"][0] is False  # its layers are in the flow, the open block isn't
    left, pool, right = rows["mixed.left.conv"], rows["mixed.right.pool"], rows[tiny.CULPRIT]
    assert (left[1], pool[1], right[1]) == (1, 0, 0)  # each branch has a lane of its own
    into = [line for line in rows["mixed.concat"][2] if line[3] == 1]
    assert sorted(line[0] for line in into) == [0, 1]  # and all of them end in the concatenation
    assert rows["logits"][2] == [[0, 0, 0, 1]]


def test_slider_steps_through_the_depth(browser, file):
    browser.open(file)
    slider = browser.one("input[type=range]")
    assert tiny.CULPRIT in slider.get_attribute("aria-valuetext")
    slider.send_keys(Keys.ARROW_RIGHT)
    assert browser.one(".panel h3").text == "mixed.concat"
    slider.send_keys(Keys.HOME)
    assert browser.one(".panel h3").text == "input"
    assert "input" in browser.one(".readout").text


def test_chart_says_in_words_what_it_shows(browser, file):
    browser.open(file)
    said = browser.one(".chart svg").get_attribute("aria-label")
    assert "PyTorch: all below the limit" in said
    failing = sum(tiny_failing(file))
    assert f"Keras/TF: {failing} endpoints fail" in said
    assert len(browser.all(".chart .culprit")) == 1
    browser.one(".chart svg").click()  # its middle
    assert browser.one(".panel h3").text != tiny.CULPRIT
    clean_log(browser)


def tiny_failing(file: Path) -> list[bool]:
    text = file.read_text()
    start = text.index('<script type="application/json">') + len('<script type="application/json">')
    data = json.loads(text[start : text.index("</script>", start)])
    return [point[0] >= 3 for point in data["runs"][1]["points"].values()]


def test_pictures_of_the_worst_channel_are_drawn(browser, file):
    browser.open(file)
    browser.one('[data-key="view-worst"]').click()
    assert "channel 1 of 3" in panel(browser)
    script = """
      const canvas = document.querySelectorAll('.panel canvas')[2];
      const pixels = canvas.getContext('2d').getImageData(0, 0, 8, 8).data;
      const at = (x, y) => [...pixels.slice(4 * (8 * y + x), 4 * (8 * y + x) + 3)];
      return [canvas.width, canvas.height, at(3, 2), at(0, 0), at(7, 7)];
    """
    width, height, worst, corner, clean = browser.run(script)
    assert (width, height) == (8, 8)
    assert worst == [178, 24, 43]  # the end of the scale
    assert clean == [247, 247, 247]  # no difference: its middle
    assert corner not in (worst, clean)
    table = [row.text for row in browser.all(".worst tbody tr")]
    assert table[0].startswith("[1, 1, 2, 3]")
    clean_log(browser)


def test_card_leads_to_the_culprit(browser, file):
    browser.open(file)
    browser.one('[data-at="fc|0"]').click()
    browser.one(".card .link").click()
    assert browser.one(".panel h3").text == tiny.CULPRIT
    assert "An error starts here" in panel(browser)


@pytest.mark.parametrize("width", [320, 390, 768])
def test_narrow_screens_scroll_down_only(browser, file, width):
    browser.open(file, width=width, height=800, prefers_reduced_motion="reduce")
    assert browser.run("return document.documentElement.scrollWidth") <= width
    browser.one('[data-at="fc|1"]').click()
    assert browser.run("return document.documentElement.scrollWidth") <= width
    if width < 600:  # in one column, the panel scrolls into view
        script = "return document.querySelector('.panel').getBoundingClientRect().top"
        assert -1 <= browser.run(script) < 100
    clean_log(browser)


CONTRAST = """
  const channel = (c) => (c /= 255, c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  const light = (c) => 0.2126 * channel(c[0]) + 0.7152 * channel(c[1]) + 0.0722 * channel(c[2]);
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const ground = (e) => {
    const c = parse(getComputedStyle(e).backgroundColor);
    return c.length < 4 || c[3] > 0 ? c : ground(e.parentElement);
  };
  return [...document.querySelectorAll(arguments[0])].map((e) => {
    const both = [light(parse(getComputedStyle(e).color)), light(ground(e))];
    const [a, b] = both.sort((x, y) => y - x);
    return [e.className + ' ' + e.textContent.slice(0, 30), (a + 0.05) / (b + 0.05)];
  });
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_legible_in_both_schemes(browser, file, scheme):
    browser.open(file, prefers_color_scheme=scheme)
    ground = browser.run("return getComputedStyle(document.documentElement).backgroundColor")
    brightness = sum(int(n) for n in ground.strip("rgb()").split(","))
    assert (brightness > 384) == (scheme == "light")
    selector = "h1, h2, h3, p, dt, dd, th, td, .cell:not(:disabled), .segments button, .chip"
    found = browser.run(CONTRAST, selector)
    assert len(found) > 50
    assert [f"{what}: {ratio:.1f}" for what, ratio in found if ratio < 4.5] == []


def test_print_is_on_white_and_without_controls(browser, file):
    browser.open(file, prefers_color_scheme="dark")
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert browser.run("return getComputedStyle(document.body).backgroundColor") in (
        "rgb(255, 255, 255)",
        "rgba(0, 0, 0, 0)",
    )
    for selector in (".tools", ".slide input", ".back", ".switch"):
        assert browser.run(
            "return getComputedStyle(document.querySelector(arguments[0])).display", selector
        ) == "none", selector  # fmt: skip
    assert browser.run("return document.querySelector('.panel').offsetHeight") > 100
    pdf = browser.printed()
    assert pdf.startswith(b"%PDF")
    assert len(pdf) > 20_000


def test_names_that_look_like_markup_stay_text(browser, folder):
    made = tiny.sheet(
        folder / "hostile", lambda name: name + HOSTILE, title=HOSTILE, facts=[(HOSTILE, HOSTILE)],
        reference=HOSTILE,
    )  # fmt: skip
    page.write(folder / "hostile.html", [made])
    browser.open(folder / "hostile.html")
    assert browser.one(".panel h3").text == tiny.CULPRIT + HOSTILE
    assert browser.run("return window.hacked") is None
    assert browser.all("img") == []
    clean_log(browser)


def test_every_sheet_of_a_page_works(browser, folder):
    sheets = [tiny.sheet(folder / f"sheet-{n}", title=f"sheet {n}") for n in (1, 2)]
    page.write(folder / "two.html", sheets)
    browser.open(folder / "two.html")
    panels = browser.all(".panel h3")
    browser.all('[data-at="fc|1"]')[1].click()
    assert [p.text for p in browser.all(".panel h3")] == [tiny.CULPRIT, "fc"]
    assert len(panels) == 2
    clean_log(browser)


def test_controls_have_names_and_ids_are_unique(browser, file):
    browser.open(file)
    unnamed = browser.run("""
      return [...document.querySelectorAll('button, input, canvas, svg[role=img], [role=region]')]
        .filter((e) => !(e.getAttribute('aria-label') || e.textContent.trim() || e.labels?.length))
        .map((e) => e.outerHTML.slice(0, 80));
    """)
    assert unnamed == []
    ids = browser.run("return [...document.querySelectorAll('[id]')].map((e) => e.id)")
    assert len(ids) == len(set(ids))
    levels = [int(h.tag_name[1]) for h in browser.all("h1, h2, h3, h4")]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_page_of_two_models_names_the_culprit_and_answers_clicks(browser, models_file):
    browser.open(models_file)
    assert "They differ: 2 of 4 layers and outputs." in browser.one("h1").text
    names = [h.get_attribute("textContent") for h in browser.all(".graph thead th")]
    assert names == ["block", "second: Sequential"]
    assert browser.one(".panel h3").text == "2"
    assert "An error starts here" in panel(browser)
    assert "the bias is added twice" in panel(browser)
    assert "guilty" in browser.one('[data-at="2|0"]').get_attribute("class")
    browser.one('[data-at="1|0"]').click()
    assert browser.one(".panel h3").text == "1"
    assert len(browser.all(".panel canvas")) == 3  # both, and their difference
    text = browser.one("body").text
    assert "compare-models nets:original nets:port" in text
    assert "weights: 2 bias" in text  # what differs
    clean_log(browser)


def test_page_of_two_models_fits_a_phone(browser, models_file):
    browser.open(models_file, width=320, height=800, prefers_color_scheme="dark")
    assert browser.run("return document.documentElement.scrollWidth") <= 320
    clean_log(browser)
