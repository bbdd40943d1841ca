"""The page's data and text: what the pictures show, and that hostile text is escaped."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from inception_parity import cli
from inception_parity.comparison.comparing import compare
from inception_parity.diagnosis import Diagnosis, Finding
from inception_parity.errors import InputError
from inception_parity.report import page, pictures
from inception_parity.report.sheet import VERDICTS, Column, findings, sheet_data

from ..support import tiny
from ..support.command import SMALL, SOUND, call, empty_place, interpreter

HOSTILE = "</script><script>window.hacked=1</script><img src=x onerror=window.hacked=1>&amp;"


def shown(pool, number):
    """Return a map's pixels as numbers again."""
    width, height, low, high, _, text = pool.maps[number]
    pixels = np.frombuffer(base64.b64decode(text), np.uint8).reshape(height, width)
    return low + pixels / 254 * (high - low)


def picture_of(found, reference, full=True):
    """Return a pool and the picture of two arrays, with the worst element as in a comparison."""
    pool = pictures.MapPool()
    comparison = tiny_comparison(found, reference)
    return pool, pictures.picture(pool, comparison, found, reference, full)


def tiny_comparison(found, reference):
    from inception_parity.comparison.comparing import WRONG, Comparison

    result = Comparison("x", "", True, WRONG)
    if found.shape == reference.shape and np.isfinite(found).all():
        result.worst = tuple(
            int(i) for i in np.unravel_index(np.abs(found - reference).argmax(), found.shape)
        )
    return result


# Pictures.


def test_one_wrong_pixel_is_seen_on_a_large_map():
    reference = np.random.default_rng(0).standard_normal((2, 3, 300, 200))
    found = reference.copy()
    found[1, 2, 171, 33] -= 7.0
    pool, shot = picture_of(found, reference)
    assert (shot["image"], shot["channel"]) == ([1, 2], [2, 3])
    difference = shown(pool, shot["views"]["worst"][2])
    assert max(difference.shape) <= pictures.SIDE
    row, column = np.unravel_index(np.abs(difference).argmax(), difference.shape)
    assert difference[row, column] == pytest.approx(-7, rel=0.01)
    left, top = shot["mark"]
    assert (int(left * difference.shape[1]), int(top * difference.shape[0])) == (column, row)
    assert shown(pool, shot["views"]["all"][2]).max() == pytest.approx(7, rel=0.01)


def test_maps_of_both_have_one_scale():
    reference = np.full((1, 2, 4, 4), 1.0)
    found = 3 * reference
    found[0, 0, 0, 0] = -9.0
    pool, shot = picture_of(found, reference)
    theirs, ours, _ = (pool.maps[i] for i in shot["views"]["worst"])
    assert theirs[2:4] == ours[2:4] == [-9.0, 9.0]
    assert shown(pool, shot["views"]["worst"][0]) == pytest.approx(1.0, abs=0.05)
    assert shown(pool, shot["views"]["worst"][1])[1, 1] == pytest.approx(3.0, abs=0.05)
    assert shown(pool, shot["views"]["all"][1])[0, 0] == pytest.approx((9 + 3) / 2, abs=0.05)


def test_areas_of_a_map_are_means_of_what_they_cover():
    plane = np.arange(130.0 * 70).reshape(1, 1, 130, 70)
    pool, shot = picture_of(plane + 1, plane)
    found = shown(pool, shot["views"]["all"][0])
    assert found.shape == (44, 35)  # areas of 3 rows and 2 columns
    assert found[0, 0] == pytest.approx(plane[0, 0, :3, :2].mean(), abs=20)
    assert found[10, 34] == pytest.approx(plane[0, 0, 30:33, 68:].mean(), abs=20)


def test_values_that_are_not_finite_have_a_pixel_of_their_own():
    reference = np.ones((1, 2, 4, 4))
    found = reference.copy()
    found[0, 1, 2, 3] = np.nan
    pool, shot = picture_of(found, reference)
    text = pool.maps[shot["views"]["worst"][1]][-1]
    pixels = np.frombuffer(base64.b64decode(text), np.uint8).reshape(4, 4)
    assert np.argwhere(pixels == pictures.NOT_FINITE).tolist() == [[2, 3]]
    assert shot["worst"][0] == [[0, 1, 2, 3], 1.0, None, None]
    json.dumps(shot, allow_nan=False)


def test_worst_elements_are_listed_in_order_and_counted_once():
    reference = np.zeros((2, 30))
    found = reference.copy()
    found[1, 3], found[0, 7], found[1, 29] = 1.0, -4.0, 2.5
    _, shot = picture_of(found, reference)
    assert shot["worst"] == [
        [[0, 7], 0.0, -4.0, -4.0], [[1, 29], 0.0, 2.5, 2.5], [[1, 3], 0.0, 1.0, 1.0]
    ]  # fmt: skip
    assert shot["mark"] == [7.5 / 30, 0.25]


def test_histograms_count_every_value_of_small_arrays():
    rng = np.random.default_rng(0)
    reference = rng.standard_normal((1, 4, 10, 10))
    found = reference + rng.uniform(-0.1, 0.1, reference.shape)
    pool, shot = picture_of(found, reference)
    bars = shot["histogram"]
    for key in ("reference", "found", "difference"):
        assert sum(pool.counts[bars[key]]) == 400
    low, high = bars["values"]
    both = np.concatenate([reference.ravel(), found.ravel()])
    assert (low, high) == pytest.approx((both.min(), both.max()), rel=1e-4)
    middle = np.histogram(reference, 32, (both.min(), both.max()))[0][16]
    assert pool.counts[bars["reference"]][16] == middle


def test_histograms_are_numpys_to_the_last_value():
    rng = np.random.default_rng(0)
    for n in range(60):
        size = 1e-310 if n == 0 else 10 ** rng.uniform(-12, 5)
        values = rng.standard_normal(rng.integers(2, 3000)) * size
        if n % 3 == 1:
            values = np.round(values, 1)  # many lie on the edges of bins
        values[1::2] *= n % 2 or n == 0
        size = np.abs(values).max()
        for low, high in ((values.min(), values.max()), (-size, size)):
            if low < high:
                expected = np.histogram(values, pictures.BINS, (low, high))[0]
                assert pictures._histogram(values, low, high).tolist() == expected.tolist()


@pytest.mark.parametrize(
    "shape", [(3,), (2, 7), (2, 5, 1, 1), (2, 6, 9), (1, 2, 3, 4, 5), (2, 1, 1, 40)]
)
def test_arrays_of_all_ranks_have_pictures(shape):
    reference = np.random.default_rng(0).standard_normal(shape)
    found = reference.copy()
    found.flat[-2] += 1
    pool, shot = picture_of(found, reference)
    left, top = shot["mark"]
    difference = shown(pool, shot["views"].get("worst", shot["views"]["all"])[2])
    height, width = difference.shape
    assert np.abs(difference[int(top * height), int(left * width)]) == pytest.approx(1, rel=0.01)


def test_misshapen_arrays_are_shown_apart():
    pool, shot = picture_of(np.ones((1, 2, 5, 5)), np.ones((1, 2, 4, 4)))
    theirs, ours, difference = shot["views"]["all"]
    assert (pool.maps[theirs][:2], pool.maps[ours][:2], difference) == ([4, 4], [5, 5], None)


def test_the_same_map_is_kept_once():
    pool = pictures.MapPool()
    plane = np.arange(6.0).reshape(2, 3)
    assert pool.add(plane, (0.0, 5.0), False) == pool.add(plane.copy(), (0.0, 5.0), False)
    assert pool.add(plane, (0.0, 6.0), False) == 1


# Data.


def test_data_has_the_graph_and_the_numbers(tmp_path):
    oracle, columns = tiny.reports(tmp_path)
    found = sheet_data(oracle, columns)
    names = [node[0] for node in found["nodes"]]
    assert names == ["input", *(name for name, *_ in tiny.LAYERS)]
    for (name, kind, inputs, leaf), node in zip(tiny.LAYERS, found["nodes"][1:], strict=True):
        assert node[:3] == [name, kind, int(leaf)]
        assert [names[i] for i in node[4]] == list(inputs)
    right, bad = found["runs"]
    assert not right["fails"]
    culprit = bad["points"][names.index(tiny.CULPRIT)]
    assert (VERDICTS[culprit[0]], culprit[1], culprit[9]) == ("wrong", 1, [1, 1, 2, 3])
    carried = bad["points"][names.index("mixed.concat")]
    assert (VERDICTS[carried[0]], carried[1]) == ("wrong", 0)
    assert "worst" in found["pictures"][bad["pictures"][names.index(tiny.CULPRIT)]]["views"]


def test_pictures_of_what_agrees_can_be_left_out(tmp_path):
    oracle, columns = tiny.reports(tmp_path)
    few = sheet_data(oracle, columns, every_picture=False)
    assert few["runs"][0]["pictures"] == {}
    failing = {e.name for e in columns[1].report.endpoints if e.fails}
    names = [node[0] for node in few["nodes"]]
    assert {names[i] for i in few["runs"][1]["pictures"]} == failing


def test_missing_and_surplus_endpoints_are_on_the_page(tmp_path):
    values = tiny.arrays()
    oracle = tiny.trace(tmp_path / "np", "np", values)
    theirs = {k: v for k, v in values.items() if k != "mixed.right.pool"}
    less = tiny.trace(tmp_path / "less", "pt", theirs)
    found = sheet_data(oracle, [Column("less", compare(less, oracle), less)])
    names = [node[0] for node in found["nodes"]]
    assert found["runs"][0]["points"][names.index("mixed.right.pool")][10] == "missing"
    more = sheet_data(less, [Column("more", compare(oracle, less), oracle)])
    names = [node[0] for node in more["nodes"]]
    assert "surplus" in more["runs"][0]["points"][names.index("mixed.right.pool")][10]


def test_number_that_json_lacks_is_a_large_one(tmp_path):
    values = tiny.arrays()
    oracle = tiny.trace(tmp_path / "np", "np", {**values, "fc": 0 * values["fc"]})
    values["fc"][0, 0] = 1.0
    found = tiny.trace(tmp_path / "pt", "pt", values)
    text = json.dumps(
        sheet_data(oracle, [Column("x", compare(found, oracle), found)]), allow_nan=False
    )
    assert "1e+300" in text


# The file.


class Parts(HTMLParser):
    """Lists the tags and attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


def test_page_asks_the_network_for_nothing(tmp_path):
    text = page.render([tiny.sheet(tmp_path)])
    parts = Parts()
    parts.feed(text)
    for tag, attributes in parts.found:
        assert "src" not in attributes, tag
        assert tag != "link" or attributes["href"] == "data:,"
    links = [a["href"] for t, a in parts.found if t == "a"]
    assert all(link.startswith("#") for link in links)
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|import\(", text)
    addresses = set(re.findall(r"https?://[^\s\"'`<]+", text))
    assert addresses == {"http://www.w3.org/2000/svg"}  # a name, not a link


def test_hostile_text_stays_text(tmp_path):
    made = tiny.sheet(
        tmp_path, lambda name: name + HOSTILE, title=HOSTILE, verdict=HOSTILE, notes=[HOSTILE],
        reference=HOSTILE, facts=[(HOSTILE, HOSTILE)], environment=[(HOSTILE, {HOSTILE: HOSTILE})],
        command=HOSTILE,
    )  # fmt: skip
    parts = Parts()
    parts.feed(page.render([made, made]))
    tags = [tag for tag, _ in parts.found]
    assert "img" not in tags
    assert tags.count("script") == 3  # one with the data of each sheet, and one with the program


def test_data_on_the_page_is_the_data(tmp_path):
    made = tiny.sheet(tmp_path, lambda name: name + HOSTILE)
    text = page.render([made])
    (payload,) = re.findall(r'<script type="application/json">(.*?)</script>', text, re.DOTALL)
    found = json.loads(payload)
    assert found["nodes"] == made.data["nodes"]
    assert found["maps"] == made.data["maps"]


def test_finding_is_on_top_of_the_page(tmp_path):
    best = Finding("padding", "pads <after>", 0.5, 1e-16, "pad = (1, 1)", evidence="as SAME does")
    other = Finding("flip", "flips", 0.5, 1e-16, "flip()", cost=2)
    found = Diagnosis(tiny.CULPRIT, "conv 1x1", [best, other], tried=(40, 2), also=["fc"])
    made = tiny.sheet(tmp_path, diagnosis=found)
    text = page.render([made])
    top = text[: text.index('<table class="summary">')]
    for words in (
        "pads &lt;after&gt;",
        "5.0e-01; to the reference with this mistake 1.0e-16",
        "as SAME does",
        "pad = (1, 1)",
    ):
        assert words in top
    names = [node[0] for node in made.data["nodes"]]
    told = [(names[f["endpoint"]], f["cause"]) for f in made.data["runs"][1]["findings"]]
    assert told == [(tiny.CULPRIT, "pads <after>"), ("fc", "pads <after>")]


def test_what_nothing_explains_is_said_to_be_so(tmp_path):
    nearest = Finding("flip", "flips the kernel", 0.5, 0.04, "flip()")
    found = Diagnosis(tiny.CULPRIT, "", closest=nearest, tried=(7, 3), note="Only channel 1.")
    told = findings(tiny.sheet(tmp_path, diagnosis=found).columns[1].diagnosis)
    assert told[0]["cause"] == "unexplained"
    assert told[0]["evidence"] == "10 explanations were tried. Only channel 1."
    assert told[1]["cause"] == "flips the kernel"


def test_page_of_several_checks_counts_them(tmp_path):
    good = tiny.sheet(tmp_path / "a", state="agree", title="first")
    bad = tiny.sheet(tmp_path / "b", title="second")
    text = page.render([good, bad])
    assert "<h1>" in text
    assert "1 of 2 checks agree" in text
    assert text.index("first") < text.index("second")


def test_page_that_cannot_be_written_leaves_nothing(tmp_path):
    made = tiny.sheet(tmp_path / "a")
    with pytest.raises(InputError, match="can't be written"):
        page.write(tmp_path / "none" / "page.html", [made])
    assert not (tmp_path / "none").exists()


# The command.


def test_check_writes_a_page(capsys, tmp_path, monkeypatch):
    with empty_place(tmp_path, monkeypatch):
        sound = interpreter(tmp_path / "bin", "sound", SOUND)
        words = (
            "check", *SMALL, "--dtypes", "float64", "--backends", "tf", "--python", f"tf={sound}",
            "--set", "num_classes=3", "--seed", "4",
        )  # fmt: skip
        done = call(capsys, *words, "--report", tmp_path / "page.html", "--junit", tmp_path / "j")
        assert done.code == 0, done
        assert f"page: {tmp_path / 'page.html'}\n" in done.out
        text = (tmp_path / "page.html").read_text()
        assert "The backend agrees with the oracle." in text
        command = re.search(r"<code>(inception-parity check [^<]*)</code>", text)
        assert command is not None
        repeated = command[1].split()
        assert repeated[2:7] == ["googlenet", "--set", "num_classes=3", "--seed", "4"]
        again = call(capsys, *repeated[1:])
        assert again.code == 0, again
        assert "num_classes=3" in again.out
        assert (tmp_path / "j").read_text().startswith("<?xml")


@pytest.mark.parametrize("option", ["--report", "--junit"])
def test_place_that_cannot_be_written_is_refused_before_any_work(capsys, tmp_path, option):
    done = call(capsys, "check", *SMALL, option, tmp_path / "none" / "file")
    assert done.code == 2
    assert "there is no folder" in done.err


def test_templates_are_in_the_package():
    project = (Path(cli.__file__).parents[1] / "pyproject.toml").read_text()
    assert '"inception_parity.report" = ["*.json", "page/*"]' in project
    assert {p.name for p in page.FOLDER.iterdir()} == {"page.html", "page.css", *page.PROGRAMS}
