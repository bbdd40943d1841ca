"""Small faults: down to which relative size are they found, here and by other tools?

    python -m benchmarks.small_faults
    python -m benchmarks.small_faults --part 2/16
    python -m benchmarks.small_faults --report

One weight, one eps or one pixel of padding is wrong by a relative size from 1e-2 to
1e-12, at two places each, in PyTorch. This project judges in float64 (limit 1e-10 at
every endpoint); the rules of other tools are applied in float32 to the outputs of this
network and of Keras' correct one. A rule that raises an alarm without a fault is of no
use. Rows go to benchmarks/results/small_faults.jsonl; an interrupted run resumes.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from inception_parity.backends import Adapter, Job, record
from inception_parity.comparison.comparing import compare
from inception_parity.diagnosis.traces import diagnose_trace
from inception_parity.traces.trace import Trace
from parity_tests.faults.mistakes import convolve
from parity_tests.faults.planting import Undo, in_numpy, on_weight, wrong_eps
from parity_tests.support.harness import Bench, backend_of

from .diagnosis_benchmark import TOOLS, others
from .parts import add_part, append_rows, in_time, part_of, read_rows
from .random_checks import RESULTS

FILE = RESULTS / "small_faults.jsonl"
SIZES = tuple(10.0**-n for n in range(2, 13))
OPTIONS = {"in_channels": 3, "batch_norm": True}


def one_weight(path: str, size: float) -> Any:
    """One weight of a kernel is 1 + `size` times its correct value."""

    def change(w: Any) -> Any:
        at = np.unravel_index(np.argsort(np.abs(w), axis=None)[w.size // 2], w.shape)
        w[at] *= 1 + size  # a weight of median size
        return w

    return on_weight(f"{path}.weight", change)


def one_eps(path: str, size: float) -> Any:
    """The eps of a batch norm is 1 + `size` times its correct value."""
    return wrong_eps(path, 1e-3, 1e-3 * (1 + size))


def one_pixel(path: str, size: float) -> Any:
    """The corner of the padding holds `size` times the input's root mean square instead of 0."""
    side = {"b1.0.conv": 3, "b3.0.p3_2.conv": 2}.get(path, 1)
    stride = 2 if path == "b1.0.conv" else 1

    def compute(w: dict[str, Any], x: Any) -> Any:
        padded = np.pad(x, ((0, 0), (0, 0), (side, side), (side, side)))
        padded[:, :, 0, 0] = size * np.sqrt((x**2).mean())
        return convolve(padded, w["weight"], w.get("bias"), stride)

    return in_numpy(path, compute)


PLACES = {
    "one weight": (one_weight, ("b1.0.conv", "b3.1.p2_2.conv")),
    "one eps": (one_eps, ("b1.0.norm", "b3.1.p2_2.norm")),
    "one pixel of padding": (one_pixel, ("b1.0.conv", "b3.0.p3_2.conv")),
}

RIGHT = {"one weight": "one-weight", "one eps": "eps", "one pixel of padding": "padding-value"}
CLEAN = (
    "nothing",
    "",
    0.0,
)  # the case without a fault: a rule that raises an alarm there is useless
CASES = (CLEAN, *((k, p, s) for k, (_, paths) in PLACES.items() for p in paths for s in SIZES))


def traced(bench: Bench, backend: str, dtype: str, out: Path, plant: Any = None) -> Trace:
    """Run a backend with a fault planted and write a trace to `out`."""
    adapter: Adapter = backend_of(backend)
    net = bench.net(backend, dtype)
    undo: Undo = plant(adapter, net) if plant is not None else lambda: None
    try:
        job = Job(bench.network, bench.shared.options, dtype)
        return record(adapter, net, job, bench.images, bench.shared.arrays, out, bench.oracle)
    finally:
        undo()


def run_case(bench: Bench, kind: str, path: str, size: float, folder: Path) -> dict[str, Any]:
    """Plant a fault of one size; return the verdicts of the check and of other rules."""
    plant = PLACES[kind][0](path, size) if kind in PLACES else None
    wide = traced(bench, "pt", "float64", folder / "wide", plant)
    report = compare(wide, bench.oracle)
    found = diagnose_trace(report, wide, bench.oracle, bench.shared.arrays)
    small = traced(bench, "pt", "float32", folder / "small", plant)
    right = Trace.read(bench.folder / "tf")
    return {
        "kind": kind, "path": path, "size": size, "alarm": report.fails,
        "first": report.first.name if report.first else None,
        "rel_l2": report.first.rel_l2 if report.first else None,
        "cause": found.cause.cause if found and found.cause else None,
        "loader": bool(report.loader), "others": others(small, right, report),
    }  # fmt: skip


def _least(sizes: Iterable[float]) -> str:
    least = min(sizes, default=None)
    return "never" if least is None else f"1e{round(np.log10(least))}"


def table(rows: list[dict[str, Any]]) -> str:
    """Return the smallest size that each rule finds, as Markdown for docs/diagnosis.md.

    A rule that raises an alarm without a fault gets no column and is named below the table.
    """
    known = {(r["kind"], r["path"], r["size"]): r for r in rows}
    clean = known.get(CLEAN)
    blind = [t for t in TOOLS if clean is None or clean["others"][t]]
    usable = [t for t in TOOLS if t not in blind]
    lines = [
        "| wrong | found | explained | " + " | ".join(TOOLS[t] for t in usable) + " |",
        "|---|---|---|" + "---|" * len(usable),
    ]
    for kind, (_, paths) in PLACES.items():
        for path in paths:
            mine = [r for s in SIZES if (r := known.get((kind, path, s))) is not None]
            cells = [
                _least(r["size"] for r in mine if r["alarm"] and r["first"] == path),
                _least(r["size"] for r in mine if r["cause"] == RIGHT[kind]),
                *(_least(r["size"] for r in mine if r["others"][t]) for t in usable),
            ]
            lines.append(f"| {kind} of `{path}` | {' | '.join(cells)} |")
    if clean is not None and clean["alarm"]:
        lines += ["", f"The check alarms without a fault, at {clean['first']}."]
    lines += ["", f"Alarm without any fault: {', '.join(TOOLS[t] for t in blind) or 'none'}."]
    missing = sum(case not in known for case in CASES)
    if missing:
        lines += ["", f"{missing} of {len(CASES)} cases haven't been run."]
    return "\n".join(lines)


def main() -> None:
    """Run the missing cases, and print the smallest size that each rule finds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after these")
    parser.add_argument("--report", action="store_true", help="only count what is there")
    add_part(parser)
    arguments = parser.parse_args()
    done = {(r["kind"], r["path"], r["size"]) for r in read_rows(FILE)}
    todo = [case for case in part_of(CASES, arguments.part) if case not in done]
    if todo and not arguments.report:
        bench = Bench.make("googlenet", OPTIONS, (48, 41), 2)
        traced(bench, "tf", "float32", bench.folder / "tf")
        for case in track(in_time(todo, arguments.seconds), "small faults", len(todo)):
            with tempfile.TemporaryDirectory(dir=bench.folder) as folder:
                append_rows(FILE, [run_case(bench, *case, Path(folder))])
        bench.close()
    print(table(read_rows(FILE)))


if __name__ == "__main__":
    main()
