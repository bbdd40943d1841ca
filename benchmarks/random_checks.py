"""Random checks, clean or with one fault each: are there false alarms or misses?

    python -m benchmarks.random_checks calibrate --cases 60
    python -m benchmarks.random_checks clean --cases 200
    python -m benchmarks.random_checks networks --cases 350 --part 2/16
    python -m benchmarks.random_checks faults --cases 200
    python -m benchmarks.random_checks networks --report

The number of a case determines it: network, options, size, batch, seed of the weights.
`calibrate`, `clean` and `faults` use GoogLeNet, `networks` runs clean checks of all the
others; `calibrate` draws different cases from the rest, and the limit in floors was fixed
on it. Rows go to benchmarks/results/, in any order; an interrupted run resumes.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from inception_parity.networks import catalogue
from parity_tests.faults.planting import FAULTS, Case
from parity_tests.support.harness import Bench, backend_of, forget_networks

from .parts import add_part, append_rows, in_time, part_of, read_rows

RESULTS = Path(__file__).parent / "results"
FIRST = {"calibrate": 1_000_000, "clean": 0, "networks": 2_000_000, "faults": 0}
LARGEST = {"calibrate": 129, "clean": 81, "faults": 81}  # sides of images stay below
# Few lengths of logits where they don't matter: networks are built once for all cases.
CLASSES = {"calibrate": (2, 7, 10, 100, 1000), "clean": (10, 1000), "faults": (10, 1000)}
NETWORKS = ("googlenet",)

# What `networks` draws from: network, options, its smallest side, and how far
# sides go beyond. Sides are small because the layers are the same and the oracle is slow.
PLAIN: dict[str, Any] = {"use_aux": False}
HEADS: dict[str, Any] = {"return_aux": True}
TORCHVISION = {"third_kernel": 3, "pool4_kernel": 2, "bn_eps": 1e-3, "transform_input": True}
CONFIGURATIONS: tuple[tuple[str, dict[str, Any], int, int], ...] = (
    ("inception_v1", PLAIN, 33, 48),
    ("inception_v1", {"lrn": True, **PLAIN}, 33, 48),
    ("ceil_googlenet", PLAIN, 33, 48),
    ("ceil_googlenet", HEADS, 33, 48),
    ("ceil_googlenet", {**TORCHVISION, **PLAIN}, 33, 48),
    ("ceil_googlenet", {**TORCHVISION, **HEADS}, 33, 48),
    ("inception_v2", PLAIN, 75, 24),
    ("inception_v2", HEADS, 75, 24),
    ("inception_v3", PLAIN, 75, 24),
    ("inception_v3", {"count_include_pad": True, **PLAIN}, 75, 24),
    ("inception_v3", {"bn_scale": False, **PLAIN}, 75, 24),
    ("inception_v3", {"bn_eps": 1e-5, "transform_input": True, **PLAIN}, 75, 24),
    # V1's heads take 209 to 256.
    ("inception_v1", HEADS, 209, 16),
    ("inception_v1", {"lrn": True, **HEADS}, 209, 16),
    ("googlenet", {"batch_norm": True}, 33, 48),
    ("googlenet", {}, 33, 48),
)
BLOCK = 5  # cases in a row that share a network, so that it is built once for them


def draw(number: int, what: str) -> dict[str, Any]:
    """Return the case with this number."""
    rng = np.random.default_rng(number)
    network = NETWORKS[rng.integers(len(NETWORKS))]
    options: dict[str, Any] = {}
    for option in catalogue.network(network).options:
        if option.name == "in_channels":
            options[option.name] = int(rng.choice([1, 3]))
        elif option.name == "num_classes":
            options[option.name] = int(rng.choice(CLASSES[what]))
        elif isinstance(option.default, bool):
            options[option.name] = bool(rng.integers(2))
    return {
        "number": number,
        "network": network,
        "options": options,
        "size": [int(n) for n in rng.integers(33, LARGEST[what], size=2)],
        "batch": int(rng.integers(1, 4)),
        "dtypes": dtypes(number),
        "seed": int(rng.integers(1_000_000)),
    }


def draw_network(number: int) -> dict[str, Any]:
    """Return the case with this number, for any network: square, even or odd, or neither."""
    block = (number - FIRST["networks"]) // BLOCK
    # Each round starts at a different place, so that 16 parts have equal amounts of work.
    turn = block + 4 * (block // len(CONFIGURATIONS))
    network, options, least, more = CONFIGURATIONS[turn % len(CONFIGURATIONS)]
    shared = np.random.default_rng((block, 3))  # shared by the cases of a block
    options = {
        "in_channels": 3 if "transform_input" in options else int(shared.choice([1, 3])),
        "num_classes": int(shared.choice([10, 1000])),
        **options,
    }
    rng = np.random.default_rng(number)
    height, width = (int(n) for n in rng.integers(least, least + more, size=2))
    if rng.integers(3) < 2:
        width = height
    large = least > 200
    return {
        "number": number,
        "network": network,
        "options": options,
        "size": [height, width],
        "batch": 1 if large else int(rng.integers(1, 4)),
        "dtypes": dtypes(number),
        "seed": int(rng.integers(1_000_000)),
    }


def dtypes(number: int) -> list[str]:
    """Return the dtypes of a case. Half precision is slow on a CPU: every eighth case has it."""
    return ["float64", "float32", *(("bfloat16", "float16") if number % 8 == 0 else ())]


def clean_rows(case: dict[str, Any], bench: Bench) -> list[dict[str, Any]]:
    """Run every backend, dtype and mode; return the verdicts and the largest floors."""
    rows = []
    for name in catalogue.default_backends():
        for dtype in [d for d in case["dtypes"] if d in backend_of(name).dtypes]:
            for mode in ("propagated", "isolated"):
                report = bench.run(name, dtype, mode)
                kinds: dict[str, float] = {}
                for e in report.endpoints:
                    if e.leaf and e.floors is not None:
                        kind = e.kind.split(" ")[0]
                        kinds[kind] = max(e.floors, kinds.get(kind, 0.0))
                rows.append({
                    **case, "backend": name, "dtype": dtype, "mode": mode,
                    "alarm": report.fails,
                    "first": report.first.name if report.first else None,
                    "problem": report.first.problem if report.first else None,
                    "worst_rel_l2": report.tolerance,
                    "floors": kinds,
                })  # fmt: skip
    return rows


def fault_rows(case: dict[str, Any], bench: Bench) -> list[dict[str, Any]]:
    """Plant one fault, determined by the case's number, in one backend, and check in float64."""
    rng = np.random.default_rng((case["number"], 1))
    batch_norm = bool(case["options"].get("batch_norm"))
    # A fault in a size must change something in both directions, or it may have no effect.
    kinds = [Case(batch_norm, side) for side in case["size"]]
    possible = [f for f in FAULTS if all(f.applies(kind) for kind in kinds)]
    fault = possible[rng.integers(len(possible))]
    name = catalogue.default_backends()[rng.integers(len(catalogue.default_backends()))]
    while not bench.changed_by(name, fault.plant):  # such as clipping at 6 where nothing exceeds 6
        fault = possible[rng.integers(len(possible))]
    report = bench.run(name, plant=fault.plant)
    logits = next(e for e in report.endpoints if e.name == "logits")
    row = {
        **case, "backend": name, "fault": fault.name, "alarm": report.fails,
        "first": report.first.name if report.first else None, "expected": fault.first,
        "loader": report.loader, "logits": logits.problem or logits.rel_l2,
    }  # fmt: skip
    return [row]


def summary(what: str, rows: list[dict[str, Any]]) -> str:
    """Return the number of runs of each kind, and every alarm."""
    cases = {row["number"]: row for row in rows}
    alarms = [row for row in rows if row["alarm"]]
    lines = [f"{what}: {len(cases)} cases, {len(rows)} runs, {len(alarms)} alarms"]
    for key in ("network", "backend", "dtype", "mode"):
        counts = Counter(row[key] for row in rows if key in row)
        lines.append(f"  {key}: " + ", ".join(f"{k} {n}" for k, n in sorted(counts.items())))
    if what == "faults":
        missed = [row for row in rows if not row["alarm"]]
        lines.append(f"  {len(missed)} missed: {[row['fault'] for row in missed]}")
        return "\n".join(lines)
    for dtype in sorted({row["dtype"] for row in rows}):
        mine = [row for row in rows if row["dtype"] == dtype]
        if dtype == "float64":
            worst = max(row["worst_rel_l2"] or 0.0 for row in mine)
            lines.append(f"  worst in float64: relative L2 {worst:.1e}")
        else:
            most = max((max(row["floors"].values(), default=0.0) for row in mine), default=0.0)
            lines.append(f"  worst in {dtype}: {most:.1f} floors")
    lines += [
        f"  alarm: {row['number']} {row['network']} {row['options']} {row['size']} "
        f"{row['backend']} {row['dtype']} {row['mode']}: {row['first']} {row['problem'] or ''}"
        for row in alarms
    ]
    return "\n".join(lines)


def main() -> None:
    """Run the cases that aren't in the results yet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=FIRST)
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after these")
    parser.add_argument("--report", action="store_true", help="only count what is there")
    add_part(parser)
    arguments = parser.parse_args()
    what = arguments.what
    file = RESULTS / f"{what}.jsonl"
    done = {row["number"] for row in read_rows(file)}
    numbers = range(FIRST[what], FIRST[what] + arguments.cases)
    # A part consists of whole blocks, so that each network is built once.
    step = BLOCK if what == "networks" else 1
    blocks = part_of((numbers[i : i + step] for i in range(0, len(numbers), step)), arguments.part)
    todo = [number for block in blocks for number in block if number not in done]
    built: tuple[Any, ...] = ()
    todo = [] if arguments.report else todo
    for number in track(in_time(todo, arguments.seconds), what, len(todo), disable=not todo):
        case = draw_network(number) if what == "networks" else draw(number, what)
        if what == "networks" and (case["network"], case["options"]) != built:
            forget_networks()  # which take memory
            built = (case["network"], case["options"])
        size = (case["size"][0], case["size"][1])
        bench = Bench.make(case["network"], case["options"], size, case["batch"], case["seed"])
        append_rows(file, (fault_rows if what == "faults" else clean_rows)(case, bench))
        bench.close()
    print(summary(what, read_rows(file)))


if __name__ == "__main__":
    main()
