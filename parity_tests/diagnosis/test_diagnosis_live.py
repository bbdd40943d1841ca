"""Diagnosis of faults in running networks, in every framework, and from traces alone."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from inception_parity.backends import Job, record
from inception_parity.comparison.comparing import compare
from inception_parity.data.images import load, photographs
from inception_parity.diagnosis import Diagnosis, SuspectLayer, diagnose
from inception_parity.diagnosis.traces import best_report, diagnose_trace
from inception_parity.report import terminal
from inception_parity.report.record import report_record
from inception_parity.traces import seeding, weights

from ..conftest import chosen_backends
from ..faults.in_family import in_order
from ..faults.planting import FAULTS, on_output
from ..support.command import call, require_clear_error
from ..support.harness import Bench, backend_of, googlenet
from ..support.selection import slow_unless, takes_turn

CAUSES = {  # fault in faults.py -> its cause, and what the fix says in each framework
    "SAME padding at stride 2": ("padding", {
        "pt": "nn.Conv2d(…, padding=3)", "tf": "ZeroPadding2D(3)", "mx": "nn.Conv2D(…, padding=3)",
    }),
    "BN eps 1e-5 for 1e-3": ("eps", {
        "pt": "eps=0.001", "tf": "epsilon=0.001", "mx": "epsilon=0.001",
    }),
    "swapped branches": ("branch-order", {"pt": "torch.cat", "tf": "Concatenate"}),
    "transposed 3x3 kernel": ("kernel-transposed", {"tf": "kernel.transpose(2, 3, 1, 0)"}),
    "missing endpoint": ("inlined", {}),
    "one layer in bfloat16": ("downcast", {}),
    "NaN in an activation": ("not-finite", {}),
    "rolled classes": ("channel-order", {}),
}  # fmt: skip


def diagnosed(bench: Bench, backend: str, plant: Any, dtype: str = "float64",
              mode: str = "propagated") -> tuple[Any, Diagnosis | None]:  # fmt: skip
    adapter, net = backend_of(backend), bench.net(backend, dtype)
    job = Job(bench.network, bench.shared.options, dtype, mode)
    undo = plant(adapter, net)
    arrays, floors = bench.shared.arrays, None if dtype == "float64" else bench.floors(dtype)
    try:
        with tempfile.TemporaryDirectory(dir=bench.folder) as folder:
            out = Path(folder) / "trace"
            trace = record(adapter, net, job, bench.images, arrays, out, bench.oracle)
            report = compare(trace, bench.oracle, floors)
            found = diagnose_trace(report, trace, bench.oracle, arrays, floors)
            return report, found
    finally:
        undo()


FRAMEWORKS = tuple(name for name in chosen_backends() if name != "np")


def in_turn(reason: str) -> pytest.MarkDecorator:
    """Keep each cause quick in one framework only, taking the frameworks in turn."""
    return slow_unless(
        lambda p: takes_turn(FRAMEWORKS, p["framework"], list(CAUSES).index(p["name"])), reason
    )


@in_turn("the search for a cause is the same whatever the framework")
@pytest.mark.parametrize("name", CAUSES)
def test_planted_fault_is_explained(name: str, framework: str) -> None:
    cause, fixes = CAUSES[name]
    fault = next(f for f in FAULTS if f.name == name)
    report, found = diagnosed(googlenet(True, 96), framework, fault.plant)
    assert found is not None
    assert found.endpoint == fault.first
    assert found.cause is not None, found.note
    assert found.cause.cause == cause
    assert fixes.get(framework, "") in found.cause.fix
    assert found.cause.text in terminal.failure(report, found).plain
    assert report_record(report, found)["diagnosis"]["cause"] == cause


@in_turn("floors of float32 take long")
@pytest.mark.parametrize("name", ["SAME padding at stride 2", "one layer in bfloat16"])
def test_fault_is_explained_in_float32_alone(name: str, framework: str) -> None:
    fault = next(f for f in FAULTS if f.name == name)
    _, found = diagnosed(googlenet(True, 96), framework, fault.plant, "float32", "isolated")
    assert found is not None and found.cause is not None, found
    assert found.cause.cause == CAUSES[name][0]


@slow_unless(lambda p: p["framework"] == FRAMEWORKS[0], "the search for a cause is the same in all")
def test_blocks_in_another_order_are_explained(framework: str) -> None:
    plant = in_order("b4", (0, 2, 1, 3, 4, 5))
    _, found = diagnosed(googlenet(True, 96), framework, plant)
    assert found is not None and found.cause is not None, found
    assert found.endpoint == "b4.1.p1_1.conv"
    assert found.cause.cause == "layer-order"
    assert found.cause.text == "takes b4.2.concat, but should be computed before it"


def test_unexplained_fault_is_said_to_be(framework: str) -> None:
    def scrambled(y: Any) -> Any:
        y[:, 3:9] = y[:, 3:9] ** 2 + 0.1 * y[:, 2:8]
        return y

    plant = on_output("b3.0.p2_1.conv", scrambled)
    report, found = diagnosed(googlenet(True, 96), framework, plant)
    assert found is not None
    assert found.cause is None
    assert found.tried[0] > 40
    assert "in 6 of 96 channels (3, 4, 5, 6, 7, 8)" in found.note
    assert "cause: unexplained" in terminal.failure(report, found).plain


@pytest.mark.parametrize("name", ["pt", "tf"])
def test_resize_without_antialiasing_is_named(name: str) -> None:
    """Photographs resized by the frameworks instead of by Pillow."""
    backend_of(name)
    seen = []
    for file in photographs()[:2]:
        image = Image.open(file).convert("RGB")
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        pixels = np.asarray(image.crop((left, top, left + side, top + side)), dtype=np.float64)
        if name == "pt":
            import torch

            tensor = torch.from_numpy(pixels.transpose(2, 0, 1)[None])
            small = torch.nn.functional.interpolate(tensor, (50, 50), mode="bilinear")[0].numpy()
        else:
            import tensorflow as tf

            small = tf.image.resize(pixels, (50, 50)).numpy().transpose(2, 0, 1)
        seen.append((2.0 * small - 255) / 256)
    right = load(photographs()[:2], (50, 50), 3)
    files = tuple(photographs()[:2])
    limit = 1e-10 if name == "pt" else 1e-6  # TensorFlow resizes in float32
    layer = SuspectLayer(
        "input", "input", (right,), right, np.stack(seen), backend=name, limit=limit, sources=files
    )
    found = diagnose(layer).cause
    assert found is not None
    assert (found.cause, "without antialiasing" in found.text) == ("resize", True)


def test_clean_run_has_no_diagnosis(framework: str) -> None:
    report, found = diagnosed(googlenet(True, 96), framework, lambda backend, net: lambda: None)
    assert found is None
    assert best_report([report]) is None
    assert report_record(report, found)["diagnosis"] is None


@slow_unless(lambda p: p["framework"] == "pt", "the code is the same for all frameworks")
def test_compare_names_the_cause_where_it_has_the_weights(
    framework: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = googlenet(True, 96)
    adapter, net = backend_of(framework), bench.net(framework, "float64")
    undo = next(f for f in FAULTS if f.name == "swapped branches").plant(adapter, net)
    try:
        job = Job(bench.network, bench.shared.options, "float64")
        arrays = bench.shared.arrays
        record(adapter, net, job, bench.images, arrays, tmp_path / "wrong", bench.oracle)
    finally:
        undo()
    done = call(capsys, "compare", tmp_path / "wrong", bench.oracle.folder)
    assert done.code == 1
    assert "cause: branches 3 and 4 exchanged" in done.out
    done = call(capsys, "compare", tmp_path / "wrong", bench.oracle.folder, "--seed", 1)
    assert "cause:" not in done.out
    assert "give the run's weights with --weights or --seed" in done.err
    other = seeding.seeded("googlenet", {"in_channels": 3, "batch_norm": True}, 1)
    weights.write(tmp_path / "other.safetensors", other)
    done = call(
        capsys, "compare", tmp_path / "wrong", bench.oracle.folder,
        "--weights", tmp_path / "other.safetensors",
    )  # fmt: skip
    require_clear_error(done, "other.safetensors: not the weights of")
