"""The faults of GoogLeNet's matrix in the other networks, in every framework.

    python -m benchmarks.network_faults

Each kind is planted in each network that has such a layer, at a layer drawn by seed where
it changes an output. Faults that only some networks can have, such as swapped heads, are
in parity_tests/faults/in_networks.py. Rows go to benchmarks/results/network_faults.jsonl;
an interrupted run resumes.
"""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
from rich.progress import track

from inception_parity.data import images
from inception_parity.networks import catalogue
from parity_tests.faults.kinds import KINDS
from parity_tests.support.harness import Bench, backend_of

from .diagnosis_benchmark import ALL, SCENES, Scene, plant_one
from .random_checks import RESULTS

# (layer, kind) of parity_tests/faults/kinds.py
PLANTED = (
    ("Conv2d", "SAME padding"), ("MaxPool", "SAME padding"),
    ("BatchNorm2d", "eps 1e-5 for 1e-3, or the reverse"),
    ("Concat", "branches exchanged"), ("ReLU", "no activation"), ("ReLU", "ReLU cut at 6"),
    ("MaxPool", "window 2 for 3"), ("MaxPool", "average for max"), ("AvgPool", "max for average"),
    ("MaxPool", "ceil mode changed"), ("Conv2d", "kernel transposed"),
    ("Conv2d", "7x1 for 1x7"), ("Conv2d", "bias shifted"), ("BatchNorm2d", "beta shifted"),
    ("Conv2d", "one weight other"), ("Conv2d", "in bfloat16"), ("Conv2d", "a NaN"),
    ("ReLU", "activation inlined"), ("AvgPool", "padding counted, or not"),
    ("LocalResponseNorm", "alpha not divided"), ("Flatten", "flattened as HWC"),
    ("Linear", "kernel for HWC"), ("Dropout", "active in inference"),
    ("network", "heads swapped"),
)  # fmt: skip
# Two blocks with equal input and output channels whose rows in the table differ.
ROWS = {
    "googlenet": ("b4.1.", "b4.2."),
    "inception_v1": ("inception_4b.", "inception_4c."),
    "ceil_googlenet": ("sec2.0.", "sec2.1."),
    "inception_v2": ("inception4a.", "inception4b."),
    "inception_v3": ("Mixed_6b.", "Mixed_6c."),
}


def planted(scene: Scene, backend: str, where: int) -> list[dict[str, Any]]:
    """Plant every kind once; a kind that has no place in the network leaves no row."""
    rows = []
    for kind in [i for i, k in enumerate(KINDS) if (k.layer, k.name) in PLANTED]:
        rng = np.random.default_rng((where, kind))
        found = None
        for _ in range(8 if scene.places(KINDS[kind].layer) else 0):
            found = found or plant_one(kind, backend, scene, rng)
        if found is not None:
            kept = ("expected", "alarm", "first", "rel_l2", "outputs")
            rows.append({"kind": f"{found['layer']}: {ALL[kind]}"}
                        | {key: found[key] for key in kept})  # fmt: skip
    return rows


def bgr(bench: Bench, backend: str) -> dict[str, Any]:
    """Feed the channels in reverse order."""
    adapter = copy.copy(backend_of(backend))
    native = adapter.to_native
    adapter.to_native = lambda a, dtype: native(np.ascontiguousarray(a[:, ::-1]), dtype)  # type: ignore[method-assign]
    return _row("input: BGR", "input", bench.run(backend, adapter=adapter))


def resized(bench: Bench, backend: str) -> dict[str, Any]:
    """Feed every other pixel of images twice the size: a resize without antialiasing."""
    height, width = bench.images.shape[2:]
    files = images.photographs()[: len(bench.images)]
    double = images.load(files, (2 * height, 2 * width), bench.images.shape[1])
    other = np.ascontiguousarray(double[:, :, ::2, ::2])
    adapter = copy.copy(backend_of(backend))
    native = adapter.to_native
    adapter.to_native = lambda a, dtype: native(other, dtype)  # type: ignore[method-assign]
    report = bench.run(backend, adapter=adapter)
    return _row("input: resized otherwise", "input", report)


def float32_as_float64(bench: Bench, backend: str) -> dict[str, Any]:
    """Compute in float32 and report float64."""
    adapter = copy.copy(backend_of(backend))
    shared, native = adapter.to_shared, adapter.to_native
    adapter.to_shared = lambda t: shared(t).astype(np.float64)  # type: ignore[method-assign]
    adapter.to_native = lambda a, dtype: native(a, "float32")  # type: ignore[method-assign]
    adapter.dtype_of = lambda tensor: "float64"  # type: ignore[method-assign]
    small = bench.net(backend, "float32")
    bench.net = lambda *_: small  # type: ignore[method-assign]
    try:
        report = bench.run(backend, adapter=adapter)
    finally:
        del bench.net
    computed = [e.name for e in bench.oracle.endpoints.values() if e.leaf and e.name != "input"]
    return _row("network: float32 passed off as float64", computed[0], report)


def exchanged_rows(bench: Bench, backend: str) -> dict[str, Any]:
    """Load what a network with two rows of its table swapped would have saved."""
    one, other = ROWS[bench.network]
    arrays = {
        name.replace(one, "\0").replace(other, one).replace("\0", other): array
        for name, array in bench.shared.arrays.items()
    }
    said = ""
    try:
        backend_of(backend).set_weights(bench.net(backend, "float64"), arrays)
    except ValueError as error:
        said = str(error)
    named = [prefix for prefix in (one, other) if prefix in said]
    first = one if len(named) == 2 else None
    return {"kind": "network: two rows of the table exchanged", "expected": one,
            "alarm": bool(said), "first": first, "outputs": None}  # fmt: skip


# Faults in the network as a whole and in its input.
WHOLE = (bgr, resized, float32_as_float64, exchanged_rows)


def _row(kind: str, expected: str, report: Any) -> dict[str, Any]:
    outputs = [e for e in report.endpoints if e.kind == "output"]
    return {
        "kind": kind, "expected": expected, "alarm": report.fails,
        "first": report.first.name if report.first else None,
        "rel_l2": report.first.rel_l2 if report.first else None,
        "outputs": max((e.rel_l2 or 0.0) for e in outputs),
    }  # fmt: skip


def main() -> None:
    """Plant the faults that aren't in the results yet, and count."""
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / "network_faults.jsonl"
    rows = [json.loads(s) for s in file.read_text().splitlines()] if file.exists() else []
    done = {(r["scene"], r["backend"]) for r in rows}
    scenes = [i for i, (network, _, _) in enumerate(SCENES) if network != "googlenet"]
    cells = [(i, b) for i in scenes for b in catalogue.default_backends() if (i, b) not in done]
    scene, at = None, -1
    with file.open("a") as out:
        for where, backend in track(cells, "networks"):
            if where != at:
                scene, at = Scene(where), where
            assert scene is not None
            network, options, size = SCENES[where]
            new = [
                {"scene": where, "network": network, "options": options, "size": size,
                 "backend": backend, **row}
                for row in (
                    *planted(scene, backend, where),
                    *(plant(scene.bench, backend) for plant in WHOLE),
                )
            ]  # fmt: skip
            rows += new
            out.write("".join(json.dumps(row) + "\n" for row in new))
            out.flush()
    for row in rows:
        if not row["alarm"] or row["first"] != row["expected"]:
            print(row)
    right = sum(row["first"] == row["expected"] for row in rows)
    print(
        f"{len({r['kind'] for r in rows})} kinds, {len({r['network'] for r in rows})} networks, "
        f"{len(rows)} planted, {sum(row['alarm'] for row in rows)} alarms, {right} named rightly"
    )


if __name__ == "__main__":
    main()
