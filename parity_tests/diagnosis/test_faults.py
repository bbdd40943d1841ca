"""Planted faults: none passes, and each is reported at the layer where it starts."""

from __future__ import annotations

import copy
import importlib
from typing import Any

import numpy as np
import pytest

from inception_parity.backends import Adapter, Job, loaded, record
from inception_parity.comparison.agreement import oracle_suspected
from inception_parity.comparison.comparing import compare
from inception_parity.data import images
from inception_parity.traces import seeding

from ..conftest import chosen_backends
from ..faults.planting import FAULTS, Case, Fault, module_at, on_output
from ..support.harness import backend_of, googlenet
from ..support.selection import slow_unless, takes_turn

FRAMEWORKS = tuple(name for name in chosen_backends() if name != "np")
CASES = [Case(batch_norm, size) for batch_norm in (False, True) for size in (96, 97)]


def case_name(case: Case) -> str:
    return f"{'bn' if case.batch_norm else 'plain'}-{case.size}"


def quick(p: dict[str, Any]) -> bool:
    """Each fault once, frameworks in turn: without norms at an even size, with norms at odd."""
    number = FAULTS.index(p["fault"])
    applies = [case for case in CASES if p["fault"].applies(case)]
    few = [case for case in applies if case in (CASES[0], CASES[-1])] or applies
    return takes_turn(few, p["case"], number // len(FRAMEWORKS)) and takes_turn(
        FRAMEWORKS, p["framework"], number
    )


@slow_unless(quick, "each fault in one framework is quick, in all of them and four networks isn't")
@pytest.mark.parametrize(
    ("case", "fault"),
    [(case, fault) for case in CASES for fault in FAULTS if fault.applies(case)],
    ids=lambda value: case_name(value) if isinstance(value, Case) else value.name,
)
def test_planted_fault_is_named_where_it_starts(case: Case, fault: Fault, framework: str) -> None:
    bench = googlenet(case.batch_norm, case.size)
    report = bench.run(framework, plant=fault.plant)
    logits = next(e for e in report.endpoints if e.name == "logits")
    if fault.name != "missing endpoint":  # its values are right, but it is missing
        assert logits.problem or logits.rel_l2 > 1e-10, "the fault changes nothing"
    assert report.fails
    assert report.first is not None
    assert report.first.name == fault.first
    if fault.loader:
        assert any(line.startswith(f"{fault.loader}:") for line in report.loader)
    else:
        assert report.loader == []


@slow_unless(
    lambda p: takes_turn(CASES[::-1], p["case"], FRAMEWORKS.index(p["framework"])),
    "floors of float32 take long: in each framework one of the networks",
)
@pytest.mark.parametrize("case", CASES, ids=case_name)
def test_clean_network_raises_no_alarm(case: Case, framework: str) -> None:
    bench = googlenet(case.batch_norm, case.size)
    for dtype, mode in (
        ("float64", "propagated"),
        ("float32", "propagated"),
        ("float32", "isolated"),
    ):
        report = bench.run(framework, dtype, mode)
        assert not report.fails, (dtype, mode, report.first)


@pytest.mark.parametrize("mode", ["propagated", "isolated"])
def test_layer_in_bfloat16_is_found_in_float32(framework: str, mode: str) -> None:
    fault = next(f for f in FAULTS if f.name == "one layer in bfloat16")
    report = googlenet(True, 96).run(framework, "float32", mode, fault.plant)
    assert report.first is not None
    assert report.first.name == fault.first
    if mode == "isolated":
        assert [e.name for e in report.guilty] == [fault.first]


def test_two_faults_are_both_named(framework: str) -> None:
    """In isolated mode the first fault's effect on later layers doesn't hide the second."""
    plants = [
        on_output(path, lambda y: np.roll(y, 1, axis=1))
        for path in ("b3.1.p2_1.conv", "b5.0.p3_1.conv")
    ]

    def plant(adapter: Adapter, net: object):
        undone = [p(adapter, net) for p in plants]
        return lambda: [undo() for undo in undone]

    report = googlenet(False, 96).run(framework, "float32", "isolated", plant)
    assert [e.name for e in report.guilty] == ["b3.1.p2_1.conv", "b5.0.p3_1.conv"]


@pytest.mark.parametrize("batch_norm", [False, True], ids=["plain", "bn"])
def test_exchanged_rows_are_refused_by_the_loader(framework: str, batch_norm: bool) -> None:
    """4b and 4c have the same input and output channels, so only the arrays tell them apart."""
    package = importlib.import_module(backend_of(framework).package)
    net = package.GoogLeNet(3, 10, batch_norm)
    rows = [
        package.Inception(512, 128, (128, 256), (24, 64), 64, batch_norm),
        package.Inception(512, 160, (112, 224), (24, 64), 64, batch_norm),
    ]
    if framework == "pt":
        net.b4[1], net.b4[2] = rows
    elif framework == "tf":
        net.b4.layers[1], net.b4.layers[2] = rows
    else:
        net.b4._children["1"], net.b4._children["2"] = rows
    seeded = seeding.seeded("googlenet", {"in_channels": 3, "batch_norm": batch_norm}, 0)
    with pytest.raises(
        ValueError, match=r"b4\.1\.p1_1\.conv\.weight: shape \(160, 512, 1, 1\)"
    ) as e:
        package.set_weights(net, seeded.arrays)
    assert "b4.2.p2_2.conv.weight" in str(e.value)


def _feeding(framework: str, change) -> Adapter:
    """An adapter that feeds its network something other than it was given."""
    adapter = copy.copy(backend_of(framework))
    native = adapter.to_native
    adapter.to_native = lambda array, dtype: native(change(array), dtype)  # type: ignore[method-assign]
    return adapter


def test_bgr_input_is_named_at_the_input(framework: str) -> None:
    bench = googlenet(False, 96)
    report = bench.run(
        framework, adapter=_feeding(framework, lambda x: np.ascontiguousarray(x[:, ::-1]))
    )
    assert report.first is not None
    assert report.first.name == "input"
    assert "not the images that the run names" in report.first.problem


@pytest.mark.parametrize("size", [96, 97])
def test_input_resized_otherwise_is_named_at_the_input(framework: str, size: int) -> None:
    # Every other pixel of a double-sized image: a resize without antialiasing.
    double = images.load(images.photographs()[:2], (2 * size, 2 * size), 3)
    other = np.ascontiguousarray(double[:, :, ::2, ::2])
    bench = googlenet(False, size)
    assert not np.array_equal(other, bench.images)
    report = bench.run(framework, adapter=_feeding(framework, lambda x: other))
    assert report.first is not None
    assert report.first.name == "input"


@pytest.mark.parametrize("batch_norm", [False, True], ids=["plain", "bn"])
def test_float32_passed_off_as_float64_is_found_at_the_first_layer(
    framework: str, batch_norm: bool
) -> None:
    bench = googlenet(batch_norm, 96)
    adapter = copy.copy(backend_of(framework))
    shared, native = adapter.to_shared, adapter.to_native
    adapter.to_shared = lambda t: shared(t).astype(np.float64)  # type: ignore[method-assign]
    adapter.to_native = lambda array, dtype: native(array, "float32")  # type: ignore[method-assign]
    adapter.dtype_of = lambda tensor: "float64"  # type: ignore[method-assign]
    float32_net = bench.net(framework, "float32")
    bench.net = lambda *_: float32_net  # type: ignore[method-assign]
    try:
        report = bench.run(framework, adapter=adapter)
    finally:
        del bench.net
    assert report.first is not None
    assert report.first.name == "b1.0.conv"


def test_oracle_at_fault_is_suspected_when_the_others_agree() -> None:
    frameworks = [name for name in chosen_backends() if name != "np"]
    if len(frameworks) < 2:
        pytest.skip("fewer than two frameworks among INCEPTION_BACKENDS: nobody to agree with")
    bench = googlenet(False, 96)
    oracle, job = backend_of("np"), Job("googlenet", bench.shared.options, "float64")
    net = loaded(oracle, job, bench.shared.arrays)
    module_at(oracle, net, "b2.2").padding = (0, 0)
    module_at(oracle, net, "b2.2").kernel_size = (2, 2)
    arrays = bench.shared.arrays
    wrong = record(oracle, net, job, bench.images, arrays, bench.folder / "wrong-oracle")
    traces, reports = {}, []
    for name in frameworks:
        trace = record(
            backend_of(name), bench.net(name, "float64"), job, bench.images, arrays,
            bench.folder / f"honest-{name}",
        )  # fmt: skip
        traces[name, "float64", "propagated"] = trace
        reports.append(compare(trace, wrong))
    assert all(r.fails for r in reports)
    assert oracle_suspected(reports, traces) == "b2.2"
    honest = [compare(trace, bench.oracle) for trace in traces.values()]
    assert oracle_suspected(honest, traces) == ""
