"""Every fault in every framework, GoogLeNet with and without batch norm, at 96, 97 and 224.

    python -m benchmarks.fault_matrix

Rows go to benchmarks/results/fault_matrix.jsonl; an interrupted run resumes. A fault is
planted only where it changes something: SAME padding at stride 2 changes nothing on odd
sizes, nor does ceil mode where the windows fit. In addition to the faults in
parity_tests/faults/: BGR images, images resized differently, float32 passed off as
float64, and two rows of the table swapped.
"""

from __future__ import annotations

import json

from rich.progress import track

from inception_parity.networks import catalogue
from parity_tests.faults.planting import FAULTS, Case
from parity_tests.support.harness import Bench

from .network_faults import WHOLE
from .random_checks import RESULTS

SIZES = (96, 97, 224)


def main() -> None:
    """Plant the faults that aren't in the results yet, and count."""
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / "fault_matrix.jsonl"
    rows = [json.loads(s) for s in file.read_text().splitlines()] if file.exists() else []
    done = {(r["batch_norm"], r["size"], r["backend"], r["fault"]) for r in rows}
    with file.open("a") as out:
        for batch_norm, size in [(b, s) for b in (False, True) for s in SIZES]:
            options = {"in_channels": 3, "batch_norm": batch_norm}
            bench = Bench.make("googlenet", options, (size, size), 2)
            possible = [f for f in FAULTS if f.applies(Case(batch_norm, size))]
            cells = [(b, f) for b in catalogue.default_backends() for f in possible]
            todo = [(b, f) for b, f in cells if (batch_norm, size, b, f.name) not in done]
            for backend, fault in track(todo, f"{'bn' if batch_norm else 'plain'} {size}"):
                report = bench.run(backend, plant=fault.plant)
                logits = next(e for e in report.endpoints if e.name == "logits")
                row = {
                    "batch_norm": batch_norm, "size": size, "backend": backend,
                    "fault": fault.name, "alarm": report.fails, "expected": fault.first,
                    "first": report.first.name if report.first else None,
                    "loader": report.loader, "named": fault.loader,
                    "logits": logits.problem or logits.rel_l2,
                }  # fmt: skip
                rows.append(row)
                out.write(json.dumps(row) + "\n")
                out.flush()
            for backend in catalogue.default_backends():
                for plant in WHOLE:
                    if (batch_norm, size, backend, plant.__name__) not in done:
                        found = plant(bench, backend)
                        row = {
                            "batch_norm": batch_norm, "size": size, "backend": backend,
                            "fault": plant.__name__, "alarm": found["alarm"],
                            "expected": found["expected"], "first": found["first"],
                            "loader": [], "named": "", "logits": found["outputs"],
                        }  # fmt: skip
                        rows.append(row)
                        out.write(json.dumps(row) + "\n")
            bench.close()
    right = sum(row["first"] == row["expected"] for row in rows)
    named = [row for row in rows if row["named"]]
    loaded = sum(any(s.startswith(f"{r['named']}:") for s in r["loader"]) for r in named)
    print(
        f"{len({r['fault'] for r in rows})} faults, {len(rows)} planted, "
        f"{sum(row['alarm'] for row in rows)} alarms, {right} named at the right endpoint, "
        f"{loaded} of {len(named)} changed arrays named by the loader"
    )


if __name__ == "__main__":
    main()
