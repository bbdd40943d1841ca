"""Every network with its notable options, exported from every framework, against the oracle.

    python -m benchmarks.onnx_matrix [--sizes source] [--float64] [--part 2/8]

Each file is run in ONNX Runtime, endpoint by endpoint, propagated and isolated, in units of
the noise floors; its weights are read back; and the three files' outputs are compared bit by
bit. `--sizes source` takes the sizes that the sources have in mind, by default small ones.
Rows go to benchmarks/results/onnx_matrix.jsonl; a run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from inception_parity.backends import Job, adapter, record
from inception_parity.backends.onnx import Backend
from inception_parity.comparison.comparing import compare
from inception_parity.networks import catalogue
from inception_parity.traces.trace import Trace
from parity_tests.support.harness import Bench

from .parts import add_part, part_of
from .random_checks import RESULTS

SMALL = {
    "googlenet": (97, 64), "inception_v1": (210, 223), "ceil_googlenet": (115, 94),
    "inception_v2": (96, 117), "inception_v3": (299, 299),
}  # fmt: skip


def rows_of(name: str, settings: dict[str, Any], size: tuple[int, int], float64: bool) -> list[Any]:
    """Return a row for each framework."""
    options = catalogue.network(name).resolve(settings)
    bench = Bench.make(name, options, size, 1)
    rows, outputs = [], {}
    with tempfile.TemporaryDirectory() as folder:
        for framework in catalogue.default_backends():
            file = Path(folder) / f"{framework}.onnx"
            start = time.perf_counter()
            net = bench.net(framework, "float32")
            file.write(adapter(framework), net, file.Origin(name, options, "seed 0"), size, file)
            seconds = time.perf_counter() - start
            shared, _ = file.read(file)
            row = {
                "network": name, "settings": settings, "size": size, "framework": framework,
                "seconds": round(seconds, 2), "bytes": file.stat().st_size,
                "weights": len(shared.arrays), "read_back": shared.sha256 == bench.shared.sha256,
            }  # fmt: skip
            backend = Backend("cpu")
            job = Job(name, options, "float32")
            backend.prepare(job, bench.shared.arrays, size, Path(folder), file)
            dtypes = ("float32", "float64") if float64 and framework == "pt" else ("float32",)
            for dtype in dtypes:
                loaded = backend.build(catalogue.network(name), options, dtype)
                modes = ("propagated", "isolated") if dtype == "float32" else ("propagated",)
                for mode in modes:
                    job = Job(name, options, dtype, mode)
                    out = Path(folder) / f"{framework}-{dtype}-{mode}"
                    trace = record(
                        backend, loaded, job, bench.images, bench.shared.arrays, out, bench.oracle
                    )
                    floors = bench.floors(dtype) if dtype == "float32" else None
                    report = compare(trace, bench.oracle, floors)
                    judged = [e.floors for e in report.endpoints if e.floors is not None]
                    row |= {
                        f"{dtype} {mode}": {
                            "fails": report.fails, "endpoints": len(report.endpoints),
                            "worst": report.tolerance, "floors": max(judged, default=None),
                        }
                    }  # fmt: skip
                    if (dtype, mode) == ("float32", "propagated"):
                        outputs[framework] = last(trace, name)
            rows.append(row)
        first = next(iter(outputs.values()))
        for row in rows:
            row["same_outputs"] = all(
                np.array_equal(a, b) for a, b in zip(outputs[row["framework"]], first, strict=True)
            )
    bench.close()
    return rows


def last(trace: Trace, name: str) -> list[Any]:
    """Return the network's outputs."""
    outputs = [output for output in catalogue.network(name).outputs if output in trace]
    return [np.array(trace.array(output)) for output in outputs]


def main() -> None:
    """Run what isn't in the results yet, and count."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sizes", choices=("small", "source"), default="small")
    parser.add_argument("--float64", action="store_true", help="and onnx.reference, of one file")
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
            new = rows_of(name, settings, size, arguments.float64)
            rows += new
            out.write("".join(json.dumps(row) + "\n" for row in new))
            out.flush()
    runs = [run for row in rows for run in row.values() if isinstance(run, dict) and "fails" in run]
    print(
        f"{len(rows)} files, {len(runs)} runs, {sum(run['fails'] for run in runs)} alarms, "
        f"at most {max(run['floors'] or 0 for run in runs):.1f} floors; "
        f"{sum(row['read_back'] for row in rows)} read back bit for bit, "
        f"{sum(row['same_outputs'] for row in rows)} with the same outputs as the first framework's"
    )


if __name__ == "__main__":
    main()
