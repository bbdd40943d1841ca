"""Exported files: every layer's and every network's, held against the oracle and the frameworks."""

from __future__ import annotations

import functools
import json
import math
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from inception_np import get_weights, layers, pools, set_weights
from inception_parity.backends import Job, adapter
from inception_parity.backends.onnx import Backend, FileNetwork, checked
from inception_parity.comparison.comparing import compare
from inception_parity.errors import InputError
from inception_parity.networks import catalogue
from inception_parity.networks.empty_batch import calls_of
from inception_parity.onnx import reading, writing
from inception_parity.onnx.layers import LAYERS
from inception_parity.onnx.running import LRN, decimals
from inception_parity.onnx.sealing import sealed
from inception_parity.traces import seeding, weights

from ..conftest import loaded_adapter
from ..support.helpers import images, relative_l2, run_job
from ..support.selection import SMALL_NETWORKS, slow_unless

STRUCTURE = 1e-10  # in float64 what is above is a mistake, not rounding
ROUNDING = 1e-3  # float32 logits; measured, at most 4e-5

CASES = {  # network, options, (height, width)
    "norm": ("googlenet", {"in_channels": 3, "batch_norm": True}, (33, 47)),
    "heads": ("ceil_googlenet", {"num_classes": 10, "return_aux": True}, (47, 38)),
}
VARIANTS = [
    (network.name, settings)
    for network in catalogue.NETWORKS.values()
    for settings in network.variants
]


@dataclass
class Bench:
    """A network's weights, and the file of them."""

    network: str
    shared: weights.SharedWeights
    size: tuple[int, int]
    folder: Path
    traces: dict[tuple[str, str, int], Any] = field(default_factory=dict)

    @functools.cached_property
    def file(self) -> Path:
        file = self.folder / "exported.onnx"
        writing.write(self.shared, self.size, file)
        return file

    def images(self, batch: int) -> Any:
        return images((batch, int(self.shared.options["in_channels"]), *self.size))

    def run(self, backend: str, dtype: str = "float64", batch: int = 1) -> Any:
        """Return the trace of a backend, which is run once."""
        key = backend, dtype, batch
        if key not in self.traces:
            self.traces[key] = self._run(*key)
        return self.traces[key]

    def _run(self, backend: str, dtype: str, batch: int) -> Any:
        job = Job(self.network, self.shared.options, dtype)
        runs = adapter(backend)
        runs.prepare(job, self.shared.arrays, self.size, self.folder, self.file)
        out = self.folder / f"{backend}-{dtype}-{batch}"
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


def test_file_says_what_it_is_and_holds_the_weights_bit_for_bit(bench):
    found, description = reading.read(bench.file)
    assert (found.network, found.options) == (bench.network, bench.shared.options)
    assert (description.backend, description.size) == ("np", bench.size)
    assert found.provenance == description.provenance == bench.shared.provenance
    assert list(found.arrays) == list(bench.shared.arrays)
    for name, array in bench.shared.arrays.items():
        np.testing.assert_array_equal(found.arrays[name], array)
    metadata = {entry.key: entry.value for entry in onnx.load(bench.file).metadata_props}
    assert set(json.loads(metadata["versions"])) == {"onnx", "numpy", "python", "machine"}


def test_every_endpoint_agrees_with_the_oracle(bench):
    oracle = bench.run("np")
    trace = bench.run("onnx")
    assert trace.loader == []
    assert list(trace) == list(oracle)
    errors = {name: relative_l2(trace.array(name), oracle.array(name)) for name in oracle}
    assert {name: error for name, error in errors.items() if not error <= STRUCTURE} == {}


def test_every_endpoint_agrees_with_the_frameworks(bench, framework):
    loaded_adapter(framework)
    expected, trace = bench.run(framework), bench.run("onnx")
    assert set(trace) == set(expected)
    errors = {name: relative_l2(trace.array(name), expected.array(name)) for name in expected}
    assert {name: error for name, error in errors.items() if not error <= STRUCTURE} == {}


def test_onnx_runtime_takes_any_batch(norm_bench):
    """Endpoints, and the outputs of the file as users run it."""
    oracle = norm_bench.run("np", batch=2)
    trace = norm_bench.run("onnx", "float32", 2)
    assert set(trace) == set(oracle)
    errors = {name: relative_l2(trace.array(name), oracle.array(name)) for name in oracle}
    assert {name: error for name, error in errors.items() if not error <= ROUNDING} == {}


def test_file_is_what_users_of_onnx_expect(bench):
    model = onnx.load(bench.file)
    onnx.checker.check_model(model, full_check=True)
    assert model.ir_version == writing.IR_VERSION == 8
    assert (
        [(o.domain, o.version) for o in model.opset_import]
        == [("", writing.OPSET)]
        == [("", 18)]
    )  # fmt: skip
    (x,) = model.graph.input
    sides = [d.dim_param or d.dim_value for d in x.type.tensor_type.shape.dim]
    assert sides == ["batch", bench.shared.options["in_channels"], *bench.size]
    outputs = catalogue.network(bench.network).outputs
    expected = outputs if bench.shared.options.get("return_aux") else outputs[:1]
    assert tuple(value.name for value in model.graph.output) == expected
    norms = [n for n in model.graph.node if n.op_type == "BatchNormalization"]
    assert len(norms) == sum(name.endswith("running_var") for name in live(bench))
    names = [node.name for node in model.graph.node]
    made = [tensor for node in model.graph.node for tensor in node.output]
    assert len({*names}) == len({*made}) == len(model.graph.node)


def live(bench):
    """Return the weights of layers that run in inference."""
    endpoints = reading.describe(bench.file).endpoints
    return [name for name in bench.shared.arrays if name.rpartition(".")[0] in endpoints]


@slow_unless(lambda p: p["network"] in SMALL_NETWORKS, "whole networks")
@pytest.mark.parametrize(("network", "settings"), VARIANTS, ids=str)
def test_every_network_is_written_with_the_oracles_shapes(network, settings):
    """Its endpoints in the same order, with the shapes that ONNX itself infers."""
    known = catalogue.network(network)
    options = known.resolve(settings)
    shape = (int(options["in_channels"]), *known.size)
    net = known.build("inception_np", options)
    graph = writing.graph_of(net, known.outputs, shape)
    *calls, whole = calls_of(net, shape)
    assert list(graph.endpoints) == [call.path for call in calls]
    zeros = {n: np.zeros(s, np.float32) for n, s in weights.shapes(network, options).items()}
    content = writing.model_of(graph, weights.SharedWeights(network, options, "", zeros))
    model = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(content))
    inferred = {
        value.name: [side.dim_value or side.dim_param for side in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.value_info, *model.graph.output)
    }
    for call in calls:
        assert inferred[graph.endpoints[call.path]] == ["batch", *call.output.shape[1:]], call.path
    returned = whole.output if isinstance(whole.output, tuple) else (whole.output,)
    assert list(graph.outputs.values()) == [array.shape[1:] for array in returned]


class Branches(layers.Module):
    """Two branches of different width; the second one is first in the concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = layers.ConvBlock(6, 4, 1)
        self.narrow = layers.Conv2d(6, 2, (1, 3), 1, (0, 1))
        self.concat = layers.Concat()

    def forward(self, x: Any) -> Any:
        wide, narrow = self.wide(x), self.narrow(x)
        return self.concat(narrow, wide)


class Residual(layers.Module):
    """A block with its input added twice, once to a fraction of what it computes."""

    def __init__(self) -> None:
        super().__init__()
        self.block = layers.ConvBlock(6, 6, (1, 3), 1, (0, 1), batch_norm=True)
        self.projection = layers.ConvBlock(6, 6, 1, activation=False)
        self.add, self.plain = layers.ScaledAdd(0.17), layers.ScaledAdd(1.0)

    def forward(self, x: Any) -> Any:
        return self.plain(self.add(x, self.projection(self.block(x))), x)


def in_a_row(*modules: Any) -> layers.Sequential:
    """Return a network of these modules, with random weights."""
    net = layers.Sequential(*modules)
    rng = np.random.default_rng(0)
    given = {
        name: rng.uniform(0.5, 1.5, array.shape).astype(np.float32) - ("var" not in name)
        for name, array in sorted(get_weights(net).items())
    }
    set_weights(net, given)
    return net


@functools.cache
def every_layer() -> layers.Sequential:
    """Return layers whose arithmetic ONNX has in other forms, or not at all, and all others."""
    return in_a_row(
        layers.TransformInput(),
        layers.ConvBlock(3, 6, (3, 1), 2, (1, 0), bias=False, batch_norm=True, bn_scale=False),
        layers.Dropout(0.5),
        layers.LocalResponseNorm(5, 0.5, 0.75, 2.0),
        pools.MaxPool(3, 2, ceil_mode=True),
        pools.MaxPool(2, 2, ceil_mode=True),
        Branches(),
        pools.AvgPool(3, 1, 1, count_include_pad=False),
        pools.AvgPool(3, 1, 1, count_include_pad=True),
        pools.MaxPool(3, 1, 1, ceil_mode=True),
        Residual(),
        pools.AdaptiveAvgPool((4, 3)),
        layers.Resize((7, 2)),
        layers.Resize((4, 3), half_pixel_centres=True),
        layers.Rescale(0.7, -0.3),
        layers.Flatten(),
        layers.Linear(6 * 12, 5),
    )


def model_of(net: Any, size: tuple[int, int], outputs: tuple[str, ...] = ("logits",)) -> Any:
    """Return a network of three channels as a model and its endpoints."""
    graph = writing.graph_of(net, outputs, (3, *size))
    shared = weights.SharedWeights("tiny", {}, "test", {
        name: array.astype(np.float32) for name, array in get_weights(net).items()
    })  # fmt: skip
    return onnx.load_model_from_string(writing.model_of(graph, shared)), graph.endpoints


def run_beside_the_oracle(net: Any, size: tuple[int, int]) -> None:
    """Fail unless all endpoints of a network are the oracle's, in both dtypes."""
    model, endpoints = model_of(net, size)
    x = images((2, 3, *size))
    expected, undo = {}, []
    for path, module in net.named_modules():

        def hook(_: Any, args: Any, output: Any, path: str = path) -> None:
            expected[path] = output

        module.hooks.append(hook)
        undo.append(module.hooks)
    output = net(x)
    for hooks in undo:
        hooks.pop()
    assert list(endpoints) == [path for path in expected if path]
    for dtype, limit in (("float64", STRUCTURE), ("float32", 1e-5)):
        network = FileNetwork(model, endpoints, dtype, "cpu")
        found = {
            network.input: x.astype(dtype),
            **network.run_all({network.input: x.astype(dtype)}),
        }
        assert found["logits"].dtype == dtype
        assert relative_l2(found["logits"], output) <= limit, dtype
        for path, tensor in endpoints.items():
            assert relative_l2(found[tensor], expected[path]) <= limit, (dtype, path)


@pytest.mark.parametrize("size", [(21, 30), (24, 17), (9, 8)], ids=str)
def test_layers_compute_what_the_oracle_s_do(size):
    """Every layer that is written, on grids that the windows fit and that they don't."""
    kinds = {type(module) for _, module in every_layer().named_modules()}
    assert set(LAYERS) - kinds == {pools.GlobalAvgPool}
    run_beside_the_oracle(every_layer(), size)


@pytest.mark.parametrize(
    ("pool", "operators"),
    [
        (pools.GlobalAvgPool(), ["GlobalAveragePool"]),
        (pools.AvgPool((1, 2), (2, 1), count_include_pad=True), ["AveragePool"]),
        (pools.AdaptiveAvgPool(1), ["GlobalAveragePool"]),
        (pools.AdaptiveAvgPool((2, 3)), ["AveragePool"]),
        (pools.AdaptiveAvgPool((4, 3)), ["MatMul", "MatMul", "Div"]),
    ],
    ids=["global", "padding counted", "adaptive to one", "equal windows", "unequal windows"],
)
def test_average_pools_are_written_by_how_their_windows_lie(pool, operators):
    net = in_a_row(pool)
    run_beside_the_oracle(net, (6, 12))
    model, _ = model_of(net, (6, 12))
    found = [node.op_type for node in model.graph.node if node.op_type != "Constant"]
    assert found == operators


def test_addition_is_scaled_where_the_factor_is_not_one():
    model, endpoints = model_of(in_a_row(layers.Conv2d(3, 6, 1), Residual()), (6, 9))
    found = [node.op_type for node in model.graph.node if node.op_type != "Constant"]
    block = ["Conv", "BatchNormalization", "Relu", "Conv"]
    assert found == ["Conv", *block, "Mul", "Add", "Add"]
    assert endpoints["1.projection"] == endpoints["1.projection.conv"]


def test_tensors_are_called_as_the_layers_that_make_them():
    model, endpoints = model_of(every_layer(), (21, 30))
    assert endpoints["2"] == endpoints["1"] == endpoints["1.act"] == "1.act"  # the dropout's
    assert endpoints["6.concat"] == endpoints["6"] == "6.concat"
    assert endpoints["16"] == "logits"
    inner = [node.output[0] for node in model.graph.node if node.name.startswith("11/")]
    assert inner == [
        "11/Constant", "11/Constant2", "11/Constant3", "11/MatMul", "11/MatMul2", "11",
    ]  # fmt: skip
    assert {t.name for t in model.graph.initializer} == set(get_weights(every_layer()))


class Doubled(layers.Module):
    def forward(self, x: Any) -> Any:
        return 2 * x


class Added(layers.Module):
    def __init__(self, inside: bool) -> None:
        super().__init__()
        self.conv, self.inside = layers.Conv2d(3, 3, 1), inside

    def forward(self, x: Any) -> Any:
        return self.conv(x + x) if self.inside else x + self.conv(x)


@pytest.mark.parametrize(
    ("module", "text"),
    [
        (Doubled(), "0: Doubled can't be written as ONNX; the layers that can be: Conv2d, Batch"),
        (Added(True), "0.conv: Conv2d uses or returns what no layer has made"),
        (Added(False), "0: Added uses or returns what no layer has made"),
        (layers.LocalResponseNorm(4, 1.0, 0.75, 1.0), "0: local response norm over 4 channels"),
    ],
    ids=["unknown layer", "inputs", "outputs", "even window"],
)
def test_what_has_no_form_in_onnx_is_refused_by_name(module, text):
    with pytest.raises(InputError, match=text):
        model_of(layers.Sequential(module), (6, 9))


def test_weights_and_sizes_that_do_not_fit_are_refused(bench, tmp_path):
    shared, file = bench.shared, tmp_path / "f.onnx"
    first, second = list(shared.arrays)[:2]
    arrays = {**shared.arrays, first: np.zeros(3, np.float32)}
    del arrays[second]
    wrong = weights.SharedWeights(shared.network, shared.options, "", arrays)
    with pytest.raises(InputError, match=rf"2 arrays are wrong(.|\n)*{second}: missing"):
        writing.write(wrong, bench.size, file)
    assert not file.exists()


def test_sizes_that_are_too_small_are_refused(tmp_path):
    shared = seeding.seeded("ceil_googlenet", {"use_aux": False, "num_classes": 2}, 0)
    with pytest.raises(InputError, match="ceil_googlenet doesn't take images of 8x47"):
        writing.write(shared, (8, 47), tmp_path / "f.onnx")
    assert list(tmp_path.iterdir()) == []


def test_without_the_onnx_package_nothing_is_written(norm_bench, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InputError, match=r"f.onnx: only the onnx package .*inception-parity.onnx"):
        writing.write(norm_bench.shared, norm_bench.size, tmp_path / "f.onnx")
    assert list(tmp_path.iterdir()) == []


WRITES = """
import sys
from pathlib import Path
from inception_parity.onnx import reading, writing
from inception_parity.traces import seeding
writing.write(seeding.seeded("googlenet", {}, 0), (8, 9), Path(sys.argv[1]))
reading.read(Path(sys.argv[1]))
mine = [name for name in sys.modules if name.startswith("inception_parity.workers")]
print(*mine, *{"torch", "tensorflow", "mxnet", "onnxruntime"} & set(sys.modules))
"""


def test_no_framework_and_no_process_is_needed(tmp_path):
    words = [sys.executable, "-c", WRITES, str(tmp_path / "g.onnx")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
    assert (tmp_path / "g.onnx").exists()


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
    out.write_bytes(sealed(model.SerializeToString()))
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


@pytest.mark.parametrize(
    "fault",
    [pytest.param(f, marks=[] if f == "pads" else [pytest.mark.slow]) for f in FAULTS],
)
def test_a_fault_in_a_file_is_found_where_it_is(fault, norm_bench):
    oracle = norm_bench.run("np", batch=2)
    where, change = FAULTS[fault]
    file = faulty(norm_bench.file, norm_bench.folder / "fault.onnx", lambda n: change(n[where]))
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
        job, norm_bench.shared.arrays, norm_bench.size, norm_bench.folder, norm_bench.file
    )
    other = {**norm_bench.shared.arrays, "fc.bias": norm_bench.shared.arrays["fc.bias"] + 1}
    trace = run_job(backend, job, norm_bench.images(1), other, norm_bench.folder / "loader")
    assert trace.loader == ["fc.bias: 10 of 10 elements are not as loaded"]


def test_checked_refuses_an_absurd_shape(norm_bench):
    pads = set_attribute("pads", [1 << 30, 0, 1 << 30, 0])
    file = faulty(
        norm_bench.file,
        norm_bench.folder / "absurd.onnx",
        lambda n: pads(n["b1.0.conv"]),
    )
    with pytest.raises(InputError, match="which can't be right"):
        checked(file)
