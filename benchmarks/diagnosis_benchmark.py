"""Planted faults: are they detected, located, and is their cause named?

    python -m benchmarks.diagnosis_benchmark --cases 654 --seconds 280
    python -m benchmarks.diagnosis_benchmark --part 2/16
    python -m benchmarks.diagnosis_benchmark --report

The number of a case determines it: kinds of fault take turns; the framework, the network
and the layer are drawn. A fault that changes no output of the network, or makes it crash,
is redrawn. For comparison, the rules of other tools are applied to the final outputs.
Rows go to benchmarks/results/diagnosis.jsonl, in any order; an interrupted run resumes.
`--report` prints the Markdown for README.md and docs/diagnosis.md.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from inception_parity.backends import Job, record
from inception_parity.comparison.comparing import Report, compare
from inception_parity.diagnosis import Diagnosis
from inception_parity.diagnosis.traces import diagnose_trace
from inception_parity.networks import catalogue
from inception_parity.traces.trace import INPUT, Trace
from parity_tests.faults.in_layers import Place
from parity_tests.faults.kinds import IMAGES, KINDS
from parity_tests.support import harness
from parity_tests.support.harness import Bench, backend_of

from .diagnosis_report import TOOLS, page, readme
from .parts import add_part, append_rows, in_time, part_of, read_rows
from .random_checks import RESULTS

FILE = RESULTS / "diagnosis.jsonl"
# Network, options, (height, width): small, and every kind of layer somewhere.
SCENES: tuple[tuple[str, dict[str, Any], tuple[int, int]], ...] = (
    ("googlenet", {"in_channels": 3, "batch_norm": False}, (48, 41)),
    ("googlenet", {"in_channels": 3, "batch_norm": True}, (40, 49)),
    ("inception_v1", {"num_classes": 10, "use_aux": False}, (46, 46)),
    ("inception_v1", {"num_classes": 10, "use_aux": False, "lrn": True}, (41, 48)),
    ("ceil_googlenet", {"num_classes": 10, "return_aux": True}, (66, 66)),
    ("inception_v2", {"num_classes": 10, "return_aux": True}, (76, 83)),
    ("inception_v3", {"num_classes": 10, "use_aux": False}, (76, 79)),
    ("inception_v3", {"num_classes": 10, "use_aux": False, "transform_input": True,
                      "count_include_pad": True}, (80, 75)),
)  # fmt: skip
LARGE = 5  # from this scene on
ALL = (*(k.name for k in KINDS), *(name for name, _, _ in IMAGES))


class Scene:
    """A network with its oracle, and the layers that faults can be planted in."""

    def __init__(self, number: int) -> None:
        network, options, size = SCENES[number]
        harness._built.cache_clear()  # the previous scene's networks take memory
        self.bench = Bench.make(network, options, size, 2, seed=number)
        oracle = self.bench.oracle
        net = catalogue.network(network).build("inception_np", self.bench.shared.options)
        self.layers = {name: module for name, module in net.named_modules() if name}
        arrays = self.bench.shared.arrays
        for name, layer in self.layers.items():
            for key in list(vars(layer)):
                if f"{name}.{key}" in arrays:
                    setattr(layer, key, arrays[f"{name}.{key}"])
        self.shapes = {n: e.shape for n, e in oracle.endpoints.items()}
        self.inputs = {n: e.inputs for n, e in oracle.endpoints.items()}
        leaves = [n for n, e in oracle.endpoints.items() if e.leaf and n in self.layers]
        self.leaves = leaves
        self.feeds = dict.fromkeys(leaves, "")
        for name in leaves:
            for source in self.inputs[name]:
                self.feeds[source] = type(self.layers[name]).__name__

    def places(self, layer: str) -> list[str]:
        """Return the layers of a class, which may include the network itself."""
        if layer == "network":
            return [""]
        return [n for n in self.leaves if type(self.layers[n]).__name__ == layer]

    def place(self, path: str, rng: np.random.Generator) -> Place:
        return Place(path, self.layers.get(path), rng, self.shapes, self.inputs, self.feeds)


def draw(number: int) -> tuple[int, str, int]:
    """Return the kind, the framework and the scene of a case."""
    kind = number % len(ALL)
    backends = catalogue.default_backends()
    backend = backends[(number // len(ALL) + kind) % len(backends)]
    rng = np.random.default_rng((number, 7))
    fit = [i for i in range(len(SCENES)) if _may_have(kind, i)]
    return kind, backend, int(fit[rng.integers(len(fit))])


def _order(number: int) -> tuple[bool, int]:
    """Sort small networks first, and leave to the large ones what only they can have."""
    kind, _, scene = draw(number)
    elsewhere = any(_may_have(kind, i) for i in range(LARGE))
    return scene >= LARGE and elsewhere, scene


def _may_have(kind: int, scene: int) -> bool:
    """Return whether a network may have such a layer, before it is built."""
    name, options, _ = SCENES[scene]
    if kind >= len(KINDS):
        return True
    layer = KINDS[kind].layer
    lrn, bn = options.get("lrn", False), name != "googlenet" or options["batch_norm"]
    has = {
        "LocalResponseNorm": lrn,
        "BatchNorm2d": bn and not lrn,
        "TransformInput": options.get("transform_input", False),
        "AvgPool": name == "inception_v3",
        "AdaptiveAvgPool": options.get("return_aux", False),
        "Flatten": options.get("return_aux", False),
        "Dropout": name in ("inception_v1", "inception_v2", "inception_v3"),
        "network": name == "ceil_googlenet",
    }
    biased = name == "inception_v2" or lrn or (name == "googlenet" and not options["batch_norm"])
    if "bias" in KINDS[kind].name and layer == "Conv2d" and not biased:
        return False
    by_name = {
        "7x1 for 1x7": name in ("inception_v2", "inception_v3"),
        "windows a pixel late": name in ("inception_v2", "inception_v3"),
        "kernel for HWC": bool(options.get("return_aux")),
    }
    return bool(by_name.get(KINDS[kind].name, has.get(layer, True)))


def identity(number: int) -> dict[str, Any]:
    """Return what identifies a case, including the version of the draw."""
    kind, backend, where = draw(number)
    network, options, size = SCENES[where]
    return {
        "number": number, "kind": ALL[kind], "backend": backend, "network": network,
        "options": options, "size": list(size),
    }  # fmt: skip


def run_case(number: int, scene: Scene) -> dict[str, Any]:
    """Plant the case's fault, diagnose it, and record the result."""
    kind, backend, _ = draw(number)
    rng = np.random.default_rng((number, 11))
    for attempt in range(8):
        row = plant_one(kind, backend, scene, rng)
        if row is not None:
            return {**identity(number), "drawn": attempt + 1, **row}
    return {**identity(number), "skipped": "no place in this network where it changes the output"}


def plant_one(
    kind: int, backend: str, scene: Scene, rng: np.random.Generator
) -> dict[str, Any] | None:
    """Plant a kind at a drawn place, and look.

    Returns:
        The row, or None if it has no place, lets the network crash, or changes no output.
    """
    bench = scene.bench
    adapter, plant = backend_of(backend), None
    if kind < len(KINDS):
        fault = KINDS[kind]
        path = ""
        for path in rng.permutation(scene.places(fault.layer)).tolist():
            plant = fault.make(scene.place(path, rng))
            if plant is not None:
                break
        if plant is None:
            return None
        causes, layer = fault.causes, fault.layer
        expected = "aux2_logits" if layer == "network" else path
    else:
        name, words, change = IMAGES[kind - len(KINDS)]
        causes, layer, expected, path = tuple(words.split("|")), "input", INPUT, INPUT
        adapter = copy.copy(adapter)
        native = adapter.to_native
        adapter.to_native = lambda a, dtype: native(np.ascontiguousarray(change(a)), dtype)
        del name
    net = bench.net(backend, "float64")
    job = Job(bench.network, bench.shared.options, "float64")
    with tempfile.TemporaryDirectory(dir=bench.folder) as folder:
        undo = plant(adapter, net) if plant is not None else None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                trace = record(adapter, net, job, bench.images, bench.shared.arrays,
                               Path(folder) / "trace", bench.oracle)  # fmt: skip
        except Exception:  # a network that crashes needs no diagnosis: redraw
            return None
        finally:
            if undo is not None:
                undo()
        report = compare(trace, bench.oracle)
        outputs = [e for e in report.endpoints if e.kind == "output"]
        inlined = causes == ("inlined",)  # whose values are correct
        if not inlined and not any(e.problem or (e.rel_l2 or 0) > 1e-10 for e in outputs):
            return None
        start, found, failed = time.monotonic(), None, ""
        try:
            found = diagnose_trace(report, trace, bench.oracle, bench.shared.arrays)
        except Exception as error:  # counted as a miss; no reason to stop
            failed = repr(error)
        seconds = time.monotonic() - start
        return {
            "layer": layer, "expected": expected, "causes": causes, "alarm": report.fails,
            "first": report.first.name if report.first else None,
            "rel_l2": report.first.rel_l2 if report.first else None,
            "outputs": max((e.rel_l2 or 0.0) for e in outputs),
            **_said(found, causes), "failed": failed, "seconds": round(seconds, 2),
            "others": others(trace, bench.oracle, report),
        }  # fmt: skip


def _said(found: Diagnosis | None, causes: tuple[str, ...]) -> dict[str, Any]:
    named = [] if found is None else list(dict.fromkeys(f.cause for f in found.findings))
    rank = next((i + 1 for i, cause in enumerate(named) if cause in causes), None)
    return {
        "rank": rank, "named": named[:4], "tried": None if found is None else found.tried,
        "text": found.cause.text if found is not None and found.cause else None,
        "note": found.note if found is not None else None,
    }  # fmt: skip


def others(trace: Trace, oracle: Trace, report: Report) -> dict[str, bool]:
    """Return which rules of other tools raise an alarm at the network's float32 outputs."""
    import torch

    alarms = dict.fromkeys(TOOLS, False)
    for name in (e.name for e in report.endpoints if e.kind == "output"):
        a = np.asarray(trace.array(name)).astype(np.float32) if name in trace.endpoints else None
        b = np.asarray(oracle.array(name)).astype(np.float32)
        if a is None or a.shape != b.shape:  # which every tool detects
            return dict.fromkeys(TOOLS, True)
        wide, truth = a.astype(np.float64), b.astype(np.float64)
        try:
            torch.testing.assert_close(torch.from_numpy(a), torch.from_numpy(b))
        except AssertionError:
            alarms["assert_close"] = True
        try:
            np.testing.assert_allclose(a, b, rtol=1e-3)
        except AssertionError:
            alarms["allclose"] = True
        size = np.linalg.norm(wide) * np.linalg.norm(truth)
        cosine = float((wide * truth).sum() / size) if size else 0.0
        alarms["cosine"] |= not cosine > 0.999
        apart = np.abs(wide - truth)  # where either tolerance is enough
        close = (apart <= 1e-5) | (apart <= 1e-5 * np.abs(truth))
        alarms["polygraphy"] |= not bool(close.all())
        alarms["means"] |= not abs(wide.mean() - truth.mean()) <= 1e-6 * abs(truth.mean())
    return alarms


def read() -> list[dict[str, Any]]:
    """Return the rows so far, in the order of their cases; of two for one case the last.

    Rows of cases that are drawn otherwise by now are left out, so that they are run.
    """
    current = [
        row for row in read_rows(FILE)
        if all(row.get(name) == value for name, value in identity(row["number"]).items())
    ]  # fmt: skip
    rows = {row["number"]: row for row in current}
    return [rows[number] for number in sorted(rows)]


def main() -> None:
    """Run the cases that are not in the results yet, scene by scene."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=3 * 2 * len(ALL))
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after these")
    parser.add_argument("--report", action="store_true", help="only count what is there")
    add_part(parser)
    arguments = parser.parse_args()
    if not arguments.report:
        done = {row["number"] for row in read()}
        mine = part_of(sorted(range(arguments.cases), key=_order), arguments.part)
        todo = [number for number in mine if number not in done]
        scene, at = None, -1
        for number in track(in_time(todo, arguments.seconds), "faults", len(todo)):
            where = draw(number)[2]
            if scene is None or where != at:
                if scene is not None:
                    scene.bench.close()
                scene, at = Scene(where), where
            append_rows(FILE, [run_case(number, scene)])
        if scene is not None:
            scene.bench.close()
    rows = read()
    if rows:
        print("README.md:", readme(rows), "docs/diagnosis.md:", page(rows), sep="\n\n")


if __name__ == "__main__":
    main()
