"""Damaged ONNX files: each is read correctly or refused with one clear error.

    python -m benchmarks.fuzz_onnx [--read 20000] [--run 2000]

`read` takes the weights out of a file, and may use four times the file's size in memory.
`run` reseals each damaged file, as an attacker would, so that it reaches ONNX's checker,
ONNX Runtime and onnx's reference. This happens in a separate process, as in `check`, with
a gigabyte more memory than it starts with; one that crashes or hangs is counted and
restarted.
"""

from __future__ import annotations

import argparse
import collections
import json
import multiprocessing
import resource
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np

from inception_np import get_weights, layers, pools
from inception_np.layers import Module
from inception_parity import formats
from inception_parity.errors import InputError
from inception_parity.networks import catalogue
from inception_parity.onnx import writing
from inception_parity.onnx.sealing import sealed
from inception_parity.traces.weights import SharedWeights
from parity_tests.faults.mutations import mutated

from .random_checks import RESULTS

TINY = 4096  # bytes; below that a file's own size says nothing about memory
SECONDS = 20  # for one file
MORE = 1 << 30  # bytes of memory


class Small(Module):
    """A network with every operator that the writer produces."""

    def __init__(self) -> None:
        super().__init__()
        self.transform = layers.TransformInput()
        self.conv = layers.ConvBlock(3, 4, 3, 2, 1, batch_norm=True)
        self.pool = pools.MaxPool(3, 1, 1, ceil_mode=True)
        self.means = pools.AvgPool(3, 1, 1, count_include_pad=False)
        self.norm = layers.LocalResponseNorm(5, 1e-4, 0.75, 1.0)
        self.concat = layers.Concat()
        self.adaptive = pools.AdaptiveAvgPool(4)
        self.flatten = layers.Flatten()
        self.fc = layers.Linear(192, 10)
        self.whole = pools.GlobalAvgPool()

    def forward(self, x: Any) -> Any:
        x = self.conv(self.transform(x))
        self.whole(x)
        x = self.concat(self.norm(x), self.means(x), self.pool(x))
        return self.fc(self.flatten(self.adaptive(x)))


def small_model() -> bytes:
    """Return a model with every operator that the writer produces, without its seal."""
    rng = np.random.default_rng(0)
    net = Small()
    arrays = {
        name: abs(rng.standard_normal(array.shape)).astype(np.float32)
        for name, array in get_weights(net).items()
    }
    options = catalogue.network("googlenet").resolve({})
    graph = writing.graph_of(net, ("logits",), (3, 11, 10))
    return writing.model_of(graph, SharedWeights("googlenet", options, "fuzz", arrays))


def read_all(count: int) -> dict[str, Any]:
    """Read damaged files; return their outcomes and the largest amount of memory used by one."""
    content = small_model()
    outcomes: collections.Counter[str] = collections.Counter()
    most = 0.0
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "m.onnx"
        file.write_bytes(content)
        formats.read(file)  # modules are loaded before memory is measured
        tracemalloc.start()
        for number in range(count):  # a progress bar would be measured with it
            damaged = mutated(content, number)
            file.write_bytes(damaged)
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            try:
                formats.read(file)
                outcomes["read"] += 1
            except InputError:
                outcomes["refused"] += 1
            except Exception as error:
                outcomes[f"{type(error).__name__} [{number}]"] += 1
            if len(damaged) >= TINY:
                taken = tracemalloc.get_traced_memory()[1] - before
                most = max(most, taken / len(damaged))
        tracemalloc.stop()
    return {"what": "read", "files": count, "outcomes": dict(outcomes), "times_the_size": most}


def run_some(first: int, count: int, connection: Any) -> None:
    """Run damaged files one by one and report each outcome."""
    from inception_parity.backends import Job
    from inception_parity.backends.onnx import Backend

    options = catalogue.network("googlenet").resolve({})
    content = small_model()
    images = np.random.default_rng(1).standard_normal((2, 3, 11, 10))
    backend = Backend("cpu")
    limit = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + MORE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "m.onnx"
        for number in range(first, count):
            file.write_bytes(sealed(mutated(content, number)))
            try:
                for dtype in ("float32", "float64"):
                    job = Job("googlenet", options, dtype)
                    backend.prepare(job, {}, (11, 10), Path(folder), file)
                    net = backend.build(catalogue.network("googlenet"), options, dtype)
                    net(images.astype(dtype))
                outcome = "ran"
            except InputError:
                outcome = "refused"
            except Exception as error:
                outcome = f"{type(error).__name__} [{number}]: {str(error)[:80]}"
            connection.send(outcome)


def run_all(count: int) -> dict[str, Any]:
    """Run damaged files in processes that may crash; return their outcomes."""
    outcomes: collections.Counter[str] = collections.Counter()
    spawn = multiprocessing.get_context("spawn")
    done = 0
    while done < count:
        ours, theirs = spawn.Pipe(duplex=False)
        process = spawn.Process(target=run_some, args=(done, count, theirs), daemon=True)
        process.start()
        theirs.close()
        try:
            wait = 120  # for its imports
            while done < count:
                if not ours.poll(wait):
                    outcomes[f"hangs [{done}]"] += 1
                    done += 1
                    break
                outcomes[ours.recv()] += 1
                done, wait = done + 1, SECONDS
        except EOFError:
            process.join()
            outcomes[f"exit code {process.exitcode} [{done}]"] += 1
            done += 1
        process.kill()
        process.join()
    return {"what": "run", "files": count, "outcomes": dict(outcomes)}


def main() -> None:
    """Damage, read and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--read", type=int, default=20_000)
    parser.add_argument("--run", type=int, default=2_000)
    arguments = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    found = [read_all(arguments.read), run_all(arguments.run)]
    (RESULTS / "fuzz_onnx.json").write_text(json.dumps(found, indent=1) + "\n")
    for part in found:
        print(json.dumps(part))


if __name__ == "__main__":
    main()
