"""The cost of a diagnosis: Inception v3 at 299, faults early and late, explained and not.

    python -m benchmarks.diagnosis_cost

Seconds of the diagnosis alone, and the peak memory of the process, PyTorch included. Rows
go to benchmarks/results/diagnosis_cost.json.
"""

from __future__ import annotations

import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from inception_np.pools import AvgPool
from inception_parity.backends import Job, record
from inception_parity.comparison.comparing import compare
from inception_parity.diagnosis.traces import diagnose_trace
from parity_tests.faults.in_networks import instead
from parity_tests.faults.planting import on_output
from parity_tests.support.harness import Bench, backend_of

from .random_checks import RESULTS


def scrambled(y: Any) -> Any:
    """A fault that no explanation covers."""
    return y + 0.1 * np.random.default_rng(0).standard_normal(y.shape)


FAULTS = {
    "padding counted at Mixed_5b.pool": instead(
        "Mixed_5b.pool", AvgPool(3, 1, 1, count_include_pad=True)
    ),
    "noise at Conv2d_2b_3x3.conv": on_output("Conv2d_2b_3x3.conv", scrambled),
    "noise at Conv2d_1a_3x3.act": on_output("Conv2d_1a_3x3.act", scrambled),
    "noise at Conv2d_4a_3x3.conv": on_output("Conv2d_4a_3x3.conv", scrambled),
    "noise at Mixed_7c.concat": on_output("Mixed_7c.concat", scrambled),
}


def main() -> None:
    """Plant each fault and measure its diagnosis."""
    bench = Bench.make("inception_v3", {"use_aux": False}, (299, 299), 2)
    adapter, net = backend_of("pt"), bench.net("pt", "float64")
    job = Job(bench.network, bench.shared.options, "float64")
    rows = {}
    for name, plant in FAULTS.items():
        undo = plant(adapter, net)
        with tempfile.TemporaryDirectory(dir=bench.folder) as folder:
            trace = record(adapter, net, job, bench.images, bench.shared.arrays,
                           Path(folder) / "trace", bench.oracle)  # fmt: skip
            undo()
            report = compare(trace, bench.oracle)
            start, cpu = time.monotonic(), time.process_time()
            found = diagnose_trace(report, trace, bench.oracle, bench.shared.arrays)
            seconds, cpu = time.monotonic() - start, time.process_time() - cpu
        assert found is not None
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        rows[name] = {"seconds": seconds, "cpu_seconds": cpu, "peak_gib": peak,
                      "tried": found.tried,
                      "cause": found.cause.text if found.cause else None}  # fmt: skip
        print(f"{name}: {seconds:.1f} s ({cpu:.1f} s of CPU), {found.tried} tried, "
              f"peak {peak:.2f} GiB; {rows[name]['cause'] or found.note}", flush=True)  # fmt: skip
    bench.close()
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "diagnosis_cost.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
