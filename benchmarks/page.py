"""The page's size, the time to open it, and its picture in the README.

python -m benchmarks.page        # a clean v3 at 299; results/page.json
python -m benchmarks.page shot   # docs/page.png: a GoogLeNet whose Keras stem pads as `same` does
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from PIL import Image

from inception_parity import cli
from inception_parity.backends import Job, adapter, loaded, record
from inception_parity.comparison import floors
from inception_parity.comparison.comparing import compare
from inception_parity.data import images
from inception_parity.diagnosis.traces import diagnose_trace
from inception_parity.networks import catalogue
from inception_parity.report import page
from inception_parity.report.sheet import Column, Sheet, sheet_data
from inception_parity.traces import seeding
from inception_parity.traces.trace import Trace
from parity_tests.support.browser import Browser

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "page.json"
RUNS = (("float64", "propagated"), ("float32", "propagated"), ("float32", "isolated"))

TIMES = "const t = performance.getEntriesByType('navigation')[0]; return t.loadEventEnd"


def measure(folder: Path) -> dict[str, Any]:
    """Check v3 at 299 with and without writing a page, and open the page five times."""
    file = folder / "page.html"
    seconds = {}
    for key, words in (("check", []), ("check_with_page", ["--report", str(file)])):
        start = time.perf_counter()
        assert cli.invoke(["check", "inception_v3", *words]) == 0
        seconds[key] = round(time.perf_counter() - start, 1)
    browser = Browser()
    opened = []
    for _ in range(5):
        browser.open(file)
        opened.append(browser.run(TIMES))
    assert browser.log() == []
    browser.close()
    return {
        "network": "inception_v3",
        "bytes": file.stat().st_size,
        "milliseconds_to_open": round(median(opened)),
        "seconds": seconds,
    }


def fault_of_keras(net: Any, dtype: str) -> None:
    """Make the stem of a GoogLeNet pad as d2l's Keras tab does."""
    from keras import layers

    stem = net.b1.layers[0].conv
    same = layers.Conv2D(64, 7, strides=2, padding="same", dtype=dtype)
    same.build((None, None, None, 3))
    same.set_weights(stem.get_weights())
    stem.call = same.call


def wrong_sheet(folder: Path, size: int = 128) -> Sheet:
    """Run GoogLeNet in all frameworks, with a fault in Keras', and compare."""
    shared = seeding.seeded("googlenet", {"in_channels": 3}, seed=0)
    files = images.photographs()[:2]
    batch = images.load(files, (size, size), channels=3)
    job = Job("googlenet", shared.options, "float64")
    backend = adapter("np")
    net = loaded(backend, job, shared.arrays)
    oracle = record(backend, net, job, batch, shared.arrays, folder / "np")
    floor = floors.measure("googlenet", shared.options, batch, shared.arrays, oracle, "float32")
    columns = []
    for name in ("pt", "tf", "mx"):
        for dtype, mode in RUNS:
            trace = _run(name, Job("googlenet", shared.options, dtype, mode), batch, shared.arrays,
                         folder / f"{name}-{dtype}-{mode}", oracle)  # fmt: skip
            known = None if dtype == "float64" else floor
            report = compare(trace, oracle, known)
            found = None
            if report.fails and dtype == "float64":
                found = diagnose_trace(report, trace, oracle, shared.arrays)
            columns.append(Column(catalogue.BACKENDS[name].title, report, trace, found))
    return Sheet(
        title=f"googlenet {size}x{size}",
        verdict="tf diverges; pt, mx agree.",
        state="diverge",
        reference="NumPy oracle",
        facts=[("network", "googlenet"), ("weights", shared.provenance)],
        notes=[],
        environment=[(c.title, c.report.versions) for c in columns[::3]],
        command="",
        columns=columns,
        data=sheet_data(oracle, columns),
    )


def _run(name: str, job: Job, batch: Any, arrays: Any, out: Path, oracle: Trace) -> Trace:
    backend = adapter(name)
    net = loaded(backend, job, arrays)
    if name == "tf":
        fault_of_keras(net, job.dtype)
    return record(backend, net, job, batch, arrays, out, oracle)


def shoot(folder: Path, out: Path, width: int = 1180, height: int = 1500) -> None:
    """Draw the page into a PNG with few colours."""
    page.write(folder / "page.html", [wrong_sheet(folder)])
    browser = Browser()
    browser.open(folder / "page.html", width, height)
    shot = Image.open(io.BytesIO(browser.driver.get_screenshot_as_png()))
    browser.close()
    shot.convert("RGB").quantize(96, dither=Image.Dither.NONE).save(out, optimize=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        if sys.argv[1:] == ["shot"]:
            shoot(Path(temporary), ROOT / "docs" / "page.png")
        else:
            found = measure(Path(temporary))
            print(json.dumps(found, indent=1))
            RESULTS.write_text(json.dumps(found, indent=1) + "\n")
