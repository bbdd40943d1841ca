"""Every network with its notable options, as an ONNX file, compared with the oracle.

    python -m benchmarks.onnx_matrix [--sizes source] [--float64] [--part 2/8]

Each file runs in ONNX Runtime, endpoint by endpoint, propagated and isolated, in units of
noise floors, and its weights are read back. `--float64` also runs it in onnx's reference;
`--sizes source` uses the sizes of the sources instead of small ones. Rows go to
benchmarks/results/onnx_matrix.jsonl; an interrupted run resumes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.progress import track

from inception_parity.backends import Job, record
from inception_parity.backends.onnx import Backend
from inception_parity.comparison.comparing import compare
from inception_parity.networks import catalogue
from inception_parity.onnx import reading, writing
from parity_tests.support.harness import Bench

from .parts import add_part, part_of
from .random_checks import RESULTS

SMALL = {
    "googlenet": (97, 64), "inception_v1": (210, 223), "ceil_googlenet": (115, 94),
    "bn_inception": (97, 102), "inception_v2": (96, 117), "inception_v3": (299, 299),
    "fid_inception": (76, 97),
}  # fmt: skip


def row_of(name: str, settings: dict[str, Any], size: tuple[int, int], float64: bool) -> Any:
    """Write a file, run it, and return the result."""
    options = catalogue.network(name).resolve(settings)
    bench = Bench.make(name, options, size, 1)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "exported.onnx"
        start = time.perf_counter()
        writing.write(bench.shared, size, file)
        seconds = time.perf_counter() - start
        shared, _ = reading.read(file)
        row = {
            "network": name, "settings": settings, "size": size,
            "seconds": round(seconds, 2), "bytes": file.stat().st_size,
            "weights": len(shared.arrays), "read_back": shared.sha256 == bench.shared.sha256,
        }  # fmt: skip
        backend = Backend("cpu")
        backend.prepare(
            Job(name, options, "float32"), bench.shared.arrays, size, Path(folder), file
        )
        runs = [("float32", "propagated"), ("float32", "isolated")]
        runs += [("float64", "propagated")] * float64
        for dtype, mode in runs:
            net = backend.build(catalogue.network(name), options, dtype)
            job, out = Job(name, options, dtype, mode), Path(folder) / f"{dtype}-{mode}"
            trace = record(backend, net, job, bench.images, bench.shared.arrays, out, bench.oracle)
            floors = bench.floors(dtype) if dtype == "float32" else None
            report = compare(trace, bench.oracle, floors)
            judged = [e.floors for e in report.endpoints if e.floors is not None]
            row[f"{dtype} {mode}"] = {
                "fails": report.fails, "endpoints": len(report.endpoints),
                "worst": report.tolerance, "floors": max(judged, default=None),
            }  # fmt: skip
    bench.close()
    return row


def main() -> None:
    """Run the cases that aren't in the results yet, and count."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sizes", choices=("small", "source"), default="small")
    parser.add_argument("--float64", action="store_true", help="and onnx.reference")
    add_part(parser)
    arguments = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / "onnx_matrix.jsonl"
    rows = [json.loads(s) for s in file.read_text().splitlines()] if file.exists() else []
    cells = []
    for network in catalogue.NETWORKS.values():
        size = SMALL.get(network.name, network.size)
        size = network.size if arguments.sizes == "source" else size
        cells += [(network.name, dict(v), size) for v in network.variants]
    done = [(r["network"], r["settings"], tuple(r["size"])) for r in rows]
    todo = [cell for cell in part_of(cells, arguments.part) if cell not in done]
    with file.open("a") as out:
        for name, settings, size in track(todo, "onnx"):
            rows.append(row_of(name, settings, size, arguments.float64))
            out.write(json.dumps(rows[-1]) + "\n")
            out.flush()
    runs = [run for row in rows for run in row.values() if isinstance(run, dict) and "fails" in run]
    print(
        f"{len(rows)} files, {len(runs)} runs, {sum(run['fails'] for run in runs)} alarms, "
        f"at most {max(run['floors'] or 0 for run in runs):.1f} floors; "
        f"{sum(row['read_back'] for row in rows)} read back bit for bit"
    )


if __name__ == "__main__":
    main()
