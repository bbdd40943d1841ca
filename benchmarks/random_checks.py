"""Random checks, clean or with one fault each: are there false alarms, or misses?

    python -m benchmarks.random_checks calibrate --cases 60
    python -m benchmarks.random_checks clean --cases 200
    python -m benchmarks.random_checks faults --cases 200

A case is drawn by its number alone: network, options, size, batch, seed of the
weights. `calibrate` draws other cases than the other two; the limit in floors was
fixed on it. Rows go to benchmarks/results/, and a run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from inception_parity import catalogue
from parity_tests.faults import FAULTS, Case
from parity_tests.harness import Bench, backend_of

RESULTS = Path(__file__).parent / "results"
FIRST = {"calibrate": 1_000_000, "clean": 0, "faults": 0}
LARGEST = {"calibrate": 129, "clean": 81, "faults": 81}  # sides of images stay below
# Few lengths of logits where nothing hangs on them: networks are built once for all cases.
CLASSES = {"calibrate": (2, 7, 10, 100, 1000), "clean": (10, 1000), "faults": (10, 1000)}
NETWORKS = ("googlenet",)


def draw(number: int, what: str) -> dict[str, Any]:
    """Return the case of this number."""
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
        # The halves are slow on a CPU: every eighth case has them.
        "dtypes": ["float64", "float32", *(("bfloat16", "float16") if number % 8 == 0 else ())],
        "seed": int(rng.integers(1_000_000)),
    }


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
    """Plant one fault, drawn by the case's number, in one backend, and look in float64."""
    rng = np.random.default_rng((case["number"], 1))
    batch_norm = bool(case["options"].get("batch_norm"))
    # A fault of sizes has to change something in both directions, or it may be none.
    kinds = [Case(batch_norm, side) for side in case["size"]]
    possible = [f for f in FAULTS if all(f.applies(kind) for kind in kinds)]
    fault = possible[rng.integers(len(possible))]
    name = catalogue.default_backends()[rng.integers(len(catalogue.default_backends()))]
    while not bench.changed_by(name, fault.plant):  # clipping at 6 where nothing exceeds 6, say
        fault = possible[rng.integers(len(possible))]
    report = bench.run(name, plant=fault.plant)
    logits = next(e for e in report.endpoints if e.name == "logits")
    row = {
        **case, "backend": name, "fault": fault.name, "alarm": report.fails,
        "first": report.first.name if report.first else None, "expected": fault.first,
        "loader": report.loader, "logits": logits.problem or logits.rel_l2,
    }  # fmt: skip
    return [row]


def main() -> None:
    """Run the cases that are not in the results yet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=FIRST)
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument(
        "--part",
        type=int,
        nargs=2,
        default=(0, 1),
        metavar=("I", "N"),
        help="only the numbers that leave I when divided by N",
    )
    arguments = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{arguments.what}.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    rows = [json.loads(line) for line in lines]
    done = {row["number"] for row in rows}
    numbers = range(FIRST[arguments.what], FIRST[arguments.what] + arguments.cases)
    run = fault_rows if arguments.what == "faults" else clean_rows
    with file.open("a") as out:
        part, parts = arguments.part
        todo = [n for n in numbers if n not in done and n % parts == part]
        for number in track(todo, arguments.what):
            case = draw(number, arguments.what)
            size = (case["size"][0], case["size"][1])
            bench = Bench.make(case["network"], case["options"], size, case["batch"], case["seed"])
            new = run(case, bench)
            bench.close()
            rows += new
            out.write("".join(json.dumps(row) + "\n" for row in new))
            out.flush()
    alarms = [row for row in rows if row["alarm"]]
    print(f"{arguments.what}: {len({r['number'] for r in rows})} cases, {len(rows)} runs, "
          f"{len(alarms)} alarms")  # fmt: skip


if __name__ == "__main__":
    main()
