"""Damaged ONNX files: every one is read right, or refused with one clear error.

    python -m benchmarks.fuzz_onnx [--read 20000] [--run 2000]

`read` takes the weights out of a file, and may need four times the file's size of memory.
`run` seals each damaged file anew, as somebody would who means harm, so that it gets as far as
ONNX's checker, ONNX Runtime and onnx's reference. That happens in a process of its own, as in
`check`, here with a gigabyte more of memory than it starts with; one that crashes or hangs is
counted and started again.
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

from inception_parity import formats
from inception_parity.errors import InputError
from inception_parity.networks import catalogue
from inception_parity.onnx import model_file
from inception_parity.onnx.exporters.graph import Graph
from parity_tests.faults.mutations import mutated

from .random_checks import RESULTS

TINY = 4096  # bytes; below that a file's own size says nothing about memory
SECONDS = 20  # for one file
MORE = 1 << 30  # bytes of memory


def small_model() -> bytes:
    """Return a model with each operator that is exported, and its seal left off."""
    rng = np.random.default_rng(0)

    def numbers(*shape: int) -> Any:
        return rng.standard_normal(shape).astype(np.float32)

    arrays = {"conv.weight": numbers(4, 3, 3, 3), "conv.bias": numbers(4)}
    arrays |= {f"norm.{n}": abs(numbers(4)) for n in ("weight", "bias", "running_mean")}
    arrays |= {"norm.running_var": abs(numbers(4)), "fc.weight": numbers(10, 128)}
    arrays |= {"fc.bias": numbers(10)}
    graph = Graph(arrays, 3, (11, 10))
    x = graph.conv(graph.input, "conv.weight", "conv.bias", (2, 2), (1, 1, 1, 1))
    graph.endpoints["conv"] = x
    norm = [f"norm.{n}" for n in ("weight", "bias", "running_mean", "running_var")]
    x = graph.add("Relu", graph.batch_norm(x, *norm, 1e-3))  # type: ignore[arg-type]
    graph.endpoints["norm"] = x
    pooled = graph.max_pool(graph.pad(x, (1, 1, 2, 1), -np.inf), (3, 3), (1, 1))
    means = graph.avg_pool(x, (3, 3), (1, 1), (1, 1, 1, 1))
    x = graph.add("Concat", graph.response_norm(x, 5, 1e-4, 0.75, 1.0), means, axis=1)
    graph.endpoints["concat"] = x
    x = graph.adaptive_avg_pool(x, (6, 5), (4, 4))
    graph.endpoints["pool"] = x
    graph.endpoints["other"] = pooled
    x = graph.linear(graph.add("Flatten", x, axis=1), "fc.weight", "fc.bias")
    graph.outputs["logits"] = x
    options = catalogue.network("googlenet").resolve({})
    return model_file.model_of(
        graph, model_file.Origin("googlenet", options, "fuzz"), {"backend": "pt"}
    )


def read_all(count: int) -> dict[str, Any]:
    """Read damaged files; return what became of them, and the most memory that one took."""
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
    """Run damaged files one by one; say what becomes of each."""
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
            file.write_bytes(model_file.sealed(mutated(content, number)))
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
    """Run damaged files in processes that may crash; return what became of them."""
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
