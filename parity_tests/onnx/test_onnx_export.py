"""Exported files: every framework's, every network's, held against the oracle and each other."""

from __future__ import annotations

import functools
import importlib
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from inception_parity.backends import Job, adapter, loaded, run_job
from inception_parity.backends.onnx import Backend, Network, checked
from inception_parity.comparison.comparing import compare
from inception_parity.errors import InputError
from inception_parity.networks import catalogue
from inception_parity.onnx import model_file
from inception_parity.onnx.exporters import graph_of
from inception_parity.onnx.running import LRN, decimals
from inception_parity.traces import seeding, weights

from ..conftest import chosen_backends, loaded_adapter
from ..support.helpers import images, relative_l2

STRUCTURE = 1e-10  # in float64 what is above is a mistake, not rounding
ROUNDING = 1e-3  # float32 logits; measured, at most 4e-5

CASES = {  # network, options, (height, width)
    "norm": ("googlenet", {"in_channels": 3, "batch_norm": True}, (33, 47)),
    "heads": ("ceil_googlenet", {"num_classes": 10, "return_aux": True}, (47, 38)),
}


@dataclass
class Bench:
    """A network's weights, and what is exported of it."""

    network: str
    shared: weights.SharedWeights
    size: tuple[int, int]
    folder: Path

    @functools.cache  # noqa: B019
    def file(self, backend: str = "") -> Path:
        """Return what a framework exports; the one that is held against the oracle, by default."""
        backend = backend or reference_framework()
        file = self.folder / f"{backend}.onnx"
        options = self.shared.options
        net = loaded(adapter(backend), Job(self.network, options, "float32"), self.shared.arrays)
        model_file.write(adapter(backend), net, model_file.Origin(self.network, options, "seed 0"),
                     self.size, file)  # fmt: skip
        return file

    def __hash__(self) -> int:
        return id(self)

    def images(self, batch: int) -> Any:
        return images((batch, int(self.shared.options["in_channels"]), *self.size))

    @functools.cache  # noqa: B019
    def run(self, backend: str, dtype: str = "float64", batch: int = 1, of: str = "") -> Any:
        """Return the trace of a backend; of the file of framework `of`, if given."""
        job = Job(self.network, self.shared.options, dtype)
        runs = adapter(backend)
        if of:
            runs.prepare(job, self.shared.arrays, self.size, self.folder, self.file(of))
        out = self.folder / f"{backend}{of}-{dtype}-{batch}"
        return run_job(runs, job, self.images(batch), self.shared.arrays, out)


@pytest.fixture(scope="module")
def norm_bench(tmp_path_factory):
    network, settings, size = CASES["norm"]
    shared = seeding.seeded(network, settings, 0)
    return Bench(network, shared, size, tmp_path_factory.mktemp("norm"))


@pytest.fixture(scope="module", params=CASES)
def bench(request, tmp_path_factory):
    network, settings, size = CASES[request.param]
    shared = seeding.seeded(network, settings, 0)
    return Bench(network, shared, size, tmp_path_factory.mktemp("onnx"))


def parts(file):
    """Return what a file computes with: its operators, constants, weights and metadata."""
    model = onnx.load(file)
    nodes = Counter(node.SerializeToString(deterministic=True) for node in model.graph.node)
    given = {t.name: t.SerializeToString(deterministic=True) for t in model.graph.initializer}
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    return nodes, given, metadata


def test_frameworks_export_the_same(bench, framework):
    """One of them is held against the oracle, with all its endpoints, in another test."""
    loaded_adapter(framework)
    found, description = model_file.read(bench.file(framework))
    assert description.backend == framework
    assert (found.network, found.options) == (bench.network, bench.shared.options)
    assert set(found.arrays) == set(bench.shared.arrays)
    for name, array in bench.shared.arrays.items():
        np.testing.assert_array_equal(found.arrays[name], array)
    nodes, given, metadata = parts(bench.file(framework))
    expected_nodes, expected_given, expected = parts(bench.file())
    assert nodes == expected_nodes
    assert given == expected_given
    same = ("format", "network", "options", "size", "sha256", "endpoints")
    assert {key: metadata[key] for key in same} == {key: expected[key] for key in same}


def reference_framework():
    """Return the framework that exports fastest, of those under test."""
    return next(name for name in ("mx", "tf", "pt") if name in chosen_backends())


def test_every_endpoint_agrees_with_the_oracle(bench):
    oracle = bench.run("np")
    trace = bench.run("onnx", of=reference_framework())
    assert trace.loader == []
    assert set(trace) == set(oracle)
    errors = {name: relative_l2(trace.array(name), oracle.array(name)) for name in oracle}
    assert {name: error for name, error in errors.items() if not error <= STRUCTURE} == {}


def test_onnx_runtime_takes_any_batch(norm_bench):
    """Endpoints, and the outputs of the file as users run it."""
    oracle = norm_bench.run("np", batch=2)
    trace = norm_bench.run("onnx", "float32", 2, reference_framework())
    assert set(trace) == set(oracle)
    errors = {name: relative_l2(trace.array(name), oracle.array(name)) for name in oracle}
    assert {name: error for name, error in errors.items() if not error <= ROUNDING} == {}


def test_file_is_what_it_says(bench):
    file = bench.file()
    model = onnx.load(file)
    onnx.checker.check_model(model, full_check=True)
    assert model.ir_version == model_file.IR_VERSION == 8
    assert (
        [(o.domain, o.version) for o in model.opset_import]
        == [("", model_file.OPSET)]
        == [("", 18)]
    )
    (x,) = model.graph.input
    sides = [d.dim_param or d.dim_value for d in x.type.tensor_type.shape.dim]
    assert sides == ["batch", bench.shared.options["in_channels"], *bench.size]
    outputs = catalogue.network(bench.network).outputs
    expected = outputs if bench.shared.options.get("return_aux") else outputs[:1]
    assert tuple(value.name for value in model.graph.output) == expected
    norms = [n for n in model.graph.node if n.op_type == "BatchNormalization"]
    assert len(norms) == sum(name.endswith("running_var") for name in live(bench))
    names = [name for node in model.graph.node for name in (node.name, *node.output)]
    assert len(set(names)) >= len(model.graph.node)
    assert not [name for name in names if "#" in name]


def live(bench):
    """Return the weights of layers that run in inference."""
    endpoints = model_file.describe(bench.file()).endpoints
    return [name for name in bench.shared.arrays if name.rpartition(".")[0] in endpoints]


SIZES = ((21, 30), (24, 17), (9, 8))  # windows fit, or don't, in each direction


def tiny(package: str) -> Any:
    """Return layers whose arithmetic ONNX has in other forms, or not at all."""
    p = importlib.import_module(package)
    layers, pools = (importlib.import_module(f"{package}.{m}") for m in ("layers", "pools"))
    net = layers.Sequential(
        layers.TransformInput(),
        layers.ConvBlock(3, 6, (3, 1), 2, (1, 0), bias=False, batch_norm=True, bn_scale=False),
        layers.LocalResponseNorm(5, 0.5, 0.75, 2.0),
        pools.MaxPool(3, 2, ceil_mode=True),
        pools.MaxPool(2, 2, ceil_mode=True),
        pools.AvgPool(3, 1, 1, count_include_pad=False),
        pools.AvgPool(3, 1, 1, count_include_pad=True),
        pools.MaxPool(3, 1, 1, ceil_mode=True),
        pools.AdaptiveAvgPool(4),
        layers.Dropout(0.5),
        layers.Flatten(),
        layers.Linear(6 * 16, 5),
    )
    net.options = {"in_channels": 3, "num_classes": 5}
    rng = np.random.default_rng(0)
    if package == "inception_mx":
        net.initialize()
    given = {
        name: rng.uniform(0.5, 1.5, array.shape).astype(np.float32) - ("var" not in name)
        for name, array in sorted(p.get_weights(net).items())
    }
    p.set_weights(net, given)
    return net


@functools.cache
def tiny_net(package: str) -> Any:
    return tiny(package)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_layers_compute_what_the_oracle_s_do(framework, size):
    """Every pool, the norms and the input's transformation, on grids that fit and that don't."""
    backend = loaded_adapter(framework)
    net = tiny_net(backend.package)
    if framework == "pt":
        net.eval()
    graph = graph_of(backend, net, ("logits",), size)
    origin = model_file.Origin("tiny", net.options, "test")
    model = onnx.load_model_from_string(model_file.model_of(graph, origin, {}))
    assert [n.op_type for n in model.graph.node].count("Pad") == 0  # taken over by what follows
    described = model_file.Description(origin, size, framework, graph.endpoints)
    x = images((2, 3, *size))
    expected = tiny_net("inception_np")(x)
    for dtype, limit in (("float64", STRUCTURE), ("float32", 1e-5)):
        (found,) = Network(model, described, dtype, "cpu")(x.astype(dtype))
        assert found.dtype == dtype
        assert relative_l2(found, expected) <= limit, dtype


def test_float64_constants_are_the_decimals_that_were_meant():
    given = np.array([1e-3, 0.458, -0.03, 3.0, -np.inf], np.float32)
    assert decimals(given).tolist() == [1e-3, 0.458, -0.03, 3.0, -math.inf]


def test_reference_normalises_every_channel():
    """onnx's own goes over the images; three images of seven channels tell the two apart."""
    x = images((3, 7, 2, 2))
    node = onnx.helper.make_node("LRN", ["x"], ["y"], size=5, alpha=0.5, beta=0.75, bias=2.0)
    wide = onnx.TensorProto.DOUBLE
    graph = onnx.helper.make_graph(
        [node], "lrn", [onnx.helper.make_tensor_value_info("x", wide, x.shape)],
        [onnx.helper.make_tensor_value_info("y", wide, x.shape)],
    )  # fmt: skip
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])
    (found,) = onnx.reference.ReferenceEvaluator(model, new_ops=[LRN]).run(None, {"x": x})
    expected = np.empty_like(x)
    for c in range(7):
        total = (x[:, max(0, c - 2) : c + 3] ** 2).sum(axis=1)
        expected[:, c] = x[:, c] / (2 + 0.5 / 5 * total) ** 0.75
    np.testing.assert_allclose(found, expected, rtol=1e-14)


def faulty(file, out, change):
    """Write `file` with one thing changed in its graph, and sealed."""
    model = onnx.load(file)
    change({node.output[0]: node for node in model.graph.node})
    del model.metadata_props[-1]
    out.write_bytes(model_file.sealed(model.SerializeToString()))
    return out


def set_attribute(name, value):
    def change(node):
        kept = [a for a in node.attribute if a.name != name]
        del node.attribute[:]
        node.attribute.extend([*kept, onnx.helper.make_attribute(name, value)])

    return change


def swap_weight_and_variance(node):
    node.input[1], node.input[4] = node.input[4], node.input[1]


FAULTS = {  # what is changed in the "norm" file -> where
    "pads": ("b1.0.conv", set_attribute("pads", [2, 2, 4, 4])),
    "eps": ("b3.0.p1_1.norm", set_attribute("epsilon", 1e-5)),
    "pool": ("b3.0.p4_1", lambda node: setattr(node, "op_type", "AveragePool")),
    "concat": ("b3.0.concat", lambda node: node.input.insert(0, node.input.pop())),
    "norm": ("b4.0.p2_1.norm", swap_weight_and_variance),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_a_file_is_found_where_it_is(fault, norm_bench):
    oracle = norm_bench.run("np", batch=2)
    where, change = FAULTS[fault]
    file = faulty(norm_bench.file(), norm_bench.folder / "fault.onnx", lambda n: change(n[where]))
    backend = Backend("cpu")
    job = Job(norm_bench.network, norm_bench.shared.options, "float64")
    backend.prepare(job, norm_bench.shared.arrays, norm_bench.size, norm_bench.folder, file)
    trace = run_job(
        backend, job, norm_bench.images(2), norm_bench.shared.arrays, norm_bench.folder / fault
    )
    assert compare(trace, oracle).first.name == where


def test_changed_weights_are_named_by_the_loader(norm_bench):
    backend = Backend("cpu")
    job = Job(norm_bench.network, norm_bench.shared.options, "float32")
    backend.prepare(
        job, norm_bench.shared.arrays, norm_bench.size, norm_bench.folder, norm_bench.file()
    )
    other = {**norm_bench.shared.arrays, "fc.bias": norm_bench.shared.arrays["fc.bias"] + 1}
    trace = run_job(backend, job, norm_bench.images(1), other, norm_bench.folder / "loader")
    assert trace.loader == ["fc.bias: 10 of 10 elements are not as loaded"]


def test_checked_refuses_an_absurd_shape(norm_bench):
    pads = set_attribute("pads", [1 << 30, 0, 1 << 30, 0])
    file = faulty(
        norm_bench.file(),
        norm_bench.folder / "absurd.onnx",
        lambda n: pads(n["b1.0.conv"]),
    )
    with pytest.raises(InputError, match="absurd"):
        checked(file)
