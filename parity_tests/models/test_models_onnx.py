"""ONNX files compared with the models that they were exported from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inception_parity import InputError
from inception_parity.models import capture, compare

from ..conftest import chosen_backends

pytestmark = pytest.mark.skipif("pt" not in chosen_backends(), reason="the original is torch's")
X = np.random.default_rng(0).standard_normal((2, 3, 8, 10))


def original() -> Any:
    import torch
    from torch import nn

    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(4, eps=1e-3), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 5),
    )  # fmt: skip
    with torch.no_grad():
        net[1].running_mean.normal_()
        net[1].running_var.uniform_(0.5, 2.0)
        net[1].weight.uniform_(0.5, 1.5)
    return net


def exported(net: Any, file: Path, fold: bool = False, eps: float = 1e-3) -> Path:
    """Write the network as exporters do, with the batch norm apart or folded."""
    from onnx import TensorProto, checker, helper, numpy_helper, save

    w = {name: array.detach().numpy() for name, array in net.state_dict().items()}
    held = {"0.weight": w["0.weight"], "5.weight": w["5.weight"], "5.bias": w["5.bias"]}
    window = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
    if fold:
        scale = w["1.weight"].astype(np.float64) / np.sqrt(w["1.running_var"] + eps)
        held["0.weight"] = (w["0.weight"] * scale[:, None, None, None]).astype(np.float32)
        held["0.bias"] = (w["1.bias"] - w["1.running_mean"] * scale).astype(np.float32)
        nodes = [helper.make_node("Conv", ["x", "0.weight", "0.bias"], ["b"], **window)]
    else:
        names = ["1.weight", "1.bias", "1.running_mean", "1.running_var"]
        held |= {name: w[name] for name in names}
        nodes = [
            helper.make_node("Conv", ["x", "0.weight"], ["a"], **window),
            helper.make_node("BatchNormalization", ["a", *names], ["b"], epsilon=eps),
        ]
    nodes += [
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("MaxPool", ["c"], ["d"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["d"], ["e"]),
        helper.make_node("Gemm", ["e", "5.weight", "5.bias"], ["y"], transB=1),
    ]
    graph = helper.make_graph(
        nodes, "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, X.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (2, 5))],
        [numpy_helper.from_array(array, name) for name, array in held.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    checker.check_model(model)
    save(model, file)
    return file


def test_a_file_agrees_with_its_model_in_float64(tmp_path: Path) -> None:
    net = original()
    made = compare(net, exported(net, tmp_path / "net.onnx"), X)
    assert not made.fails, made.text()
    assert (made.b.run.backend, made.report.dtype) == ("onnx", "float64")
    assert made.match.pairs["1"] == "1"
    assert (made.weights, made.arrays) == ([], 7)
    assert made.report.worst is not None
    assert made.report.worst.rel_l2 <= 1e-13


def test_a_file_agrees_with_its_model_in_float32(tmp_path: Path) -> None:
    net = original()
    made = compare(net, exported(net, tmp_path / "net.onnx"), X, dtype="float32")
    assert not made.fails, made.text()
    assert made.report.dtype == "float32"
    assert all(e.floors is not None for e in made.report.endpoints if e.verdict == "rounding")


def test_another_eps_in_the_file_is_found(tmp_path: Path) -> None:
    net = original()
    made = compare(net, exported(net, tmp_path / "net.onnx", eps=1e-5), X)
    assert made.first is not None
    assert made.first.name == "1"
    assert [(d.setting, d.of_b) for d in made.settings] == [("eps", 1e-5)]


def test_a_folded_batch_norm_is_compared_with_its_convolution(tmp_path: Path) -> None:
    net = original()
    file = exported(net, tmp_path / "net.onnx", fold=True)
    made = compare(net, file, X, dtype="float32")
    assert not made.fails, made.text()
    assert made.match.folded == {"0": "1"}
    assert made.match.pairs["1"] == "0"
    file = exported(net, tmp_path / "other.onnx", fold=True, eps=1e-1)
    assert compare(net, file, X, dtype="float32").fails


@pytest.mark.parametrize("swapped", [False, True])
def test_a_norm_folded_in_float32_passes_in_float64_and_an_error_in_it_does_not(
    tmp_path: Path, swapped: bool
) -> None:
    net = original()
    file = exported(net, tmp_path / "net.onnx", fold=True)
    made = compare(file, net, X) if swapped else compare(net, file, X)
    assert not made.fails, made.text()
    assert [(f.where, f.what) for f in made.inside] == [
        ("first" if swapped else "second", "the folded weights")
    ]
    assert 1e-9 < made.apart < 1e-6
    net[5].weight.data[2, 3] *= 1 + 1e-6  # behind it, and less than what folding does
    made = compare(file, net, X) if swapped else compare(net, file, X)
    assert made.first is not None
    assert made.first.name == "5"
    assert compare(original(), exported(original(), tmp_path / "b.onnx", True, 1.005e-3), X).fails


def test_a_file_is_not_changed_and_weights_are_copied(tmp_path: Path) -> None:
    net, file = original(), tmp_path / "net.onnx"
    exported(net, file)
    before = file.read_bytes()
    net[5].weight.data += 1
    assert compare(net, file, X).first is not None
    made = compare(net, file, X, copy_weights=True)
    assert not made.fails, made.text()
    assert file.read_bytes() == before


def test_local_response_norm_goes_over_the_channels_in_float64_too(tmp_path: Path) -> None:
    """onnx's own reference goes over the images, which shows as soon as they aren't as many."""
    from onnx import TensorProto, helper, save
    from torch import nn

    net = nn.Sequential(nn.LocalResponseNorm(5, alpha=0.1, beta=0.75, k=2.0))
    x = np.random.default_rng(0).standard_normal((2, 7, 4, 6))
    node = helper.make_node("LRN", ["x"], ["y"], size=5, alpha=0.1, beta=0.75, bias=2.0)
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, x.shape) for n in ("x", "y")]
    graph = helper.make_graph([node], "norm", values[:1], values[1:])
    save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10),
        tmp_path / "norm.onnx",
    )
    made = compare(net, tmp_path / "norm.onnx", x)
    assert not made.fails, made.text()
    assert made.report.worst is not None
    assert made.report.worst.rel_l2 <= 1e-13


def small_file(file: Path, opset: int, shapes: bool = True, dtype: str = "FLOAT") -> Path:
    """Write a convolution, batch norm, pool and dense layer as an exporter of that time did."""
    from onnx import TensorProto, helper, numpy_helper, save

    rng = np.random.default_rng(0)
    number = getattr(TensorProto, dtype)
    to = helper.tensor_dtype_to_np_dtype(number)
    held = [
        numpy_helper.from_array(rng.uniform(0.5, 1.5, shape).astype(to), name)
        for name, shape in (("w", (4, 3, 3, 3)), ("s", 4), ("b", 4), ("m", 4), ("v", 4),
                            ("fc", (80, 5)), ("fb", 5))
    ]  # fmt: skip
    norm: dict[str, Any] = {"consumed_inputs": [0, 0, 0, 1, 1]} if opset < 6 else {}
    norm |= {"is_test": 1} if opset < 7 else {}
    old = {"consumed_inputs": [0]} if opset < 6 else {}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], kernel_shape=[3, 3], pads=[1] * 4),
        helper.make_node("BatchNormalization", [*"csbmv"], ["n"], epsilon=1e-3, **norm),
        helper.make_node("Relu", ["n"], ["r"], **old),
        helper.make_node("AveragePool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node(
            "Gemm", ["f", "fc", "fb"], ["y"], **({"broadcast": 1} if opset < 7 else {})
        ),
    ]
    given = [helper.make_tensor_value_info("x", number, ["n", 3, 8, 10] if shapes else None)]
    if opset < 9:  # weights were inputs too
        given += [helper.make_tensor_value_info(t.name, number, list(t.dims)) for t in held]
    outputs = [helper.make_tensor_value_info("y", number, ["n", 5] if shapes else None)]
    graph = helper.make_graph(nodes, "small", given, outputs, held)
    opsets = [helper.make_opsetid("", opset)]
    save(helper.make_model(graph, opset_imports=opsets, ir_version=3 if opset < 9 else 10), file)
    return file


@pytest.mark.parametrize("opset", [1, 5, 6, 7, 8, 9, 13, 18, 21])
def test_files_of_every_age_give_the_same(tmp_path: Path, opset: int) -> None:
    first, second = tmp_path / "17.onnx", tmp_path / f"{opset}.onnx"
    made = compare(small_file(first, 17), small_file(second, opset), X)
    assert not made.fails, made.text()
    assert made.report.dtype == "float64"
    assert made.arrays == 7
    assert [layer.kind for layer in made.b.layers.values()][1:-1] == [
        "conv", "norm", "act", "avg_pool", "flatten", "dense",
    ]  # fmt: skip


def test_the_newest_opset_is_read(tmp_path: Path) -> None:
    from onnx.defs import onnx_opset_version

    file = small_file(tmp_path / "newest.onnx", onnx_opset_version())
    assert not compare(small_file(tmp_path / "17.onnx", 17), file, X).fails


def test_a_file_without_shapes_is_read(tmp_path: Path) -> None:
    file = small_file(tmp_path / "bare.onnx", 17, shapes=False)
    for dtype in ("float64", "float32"):
        made = compare(small_file(tmp_path / "17.onnx", 17), file, X, dtype=dtype)
        assert not made.fails, made.text()


@pytest.mark.parametrize("dtype", ["FLOAT16", "DOUBLE", "BFLOAT16"])
def test_files_of_other_dtypes_are_compared_in_float64(tmp_path: Path, dtype: str) -> None:
    """Values are those of the file's dtype; what is computed with them is float64."""
    file = small_file(tmp_path / "file.onnx", 22, dtype=dtype)
    trace = capture(file, X)
    assert trace.run.dtype == "float64"
    weight = trace.weight("w", "weight") if "w" in trace.layers else trace.weight("c", "weight")
    assert weight.dtype == np.float64
    assert not compare(trace, capture(file, X)).fails


def test_inputs_get_the_type_that_the_file_states(tmp_path: Path) -> None:
    from onnx import TensorProto, helper, numpy_helper, save

    table = numpy_helper.from_array(np.arange(20, dtype=np.float32).reshape(10, 2), "table")
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["e"]),
        helper.make_node("Where", ["keep", "e", "zero"], ["y"]),
    ]
    given = [
        helper.make_tensor_value_info("ids", TensorProto.INT32, [2, 3]),
        helper.make_tensor_value_info("keep", TensorProto.BOOL, [2, 3, 1]),
        helper.make_tensor_value_info("zero", TensorProto.FLOAT, [1]),
    ]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3, 2])]
    graph = helper.make_graph(nodes, "table", given, outputs, [table])
    file = tmp_path / "table.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), file)
    ids, keep = np.array([[1, 2, 3], [4, 5, 6]]), np.ones((2, 3, 1), bool)
    keep[0, 0] = False
    inputs = {"keep": keep, "ids": ids, "zero": np.zeros(1)}
    for dtype in ("float64", "float32"):
        output = capture(file, inputs, dtype=dtype).array("output")
        np.testing.assert_array_equal(output[1, 2], [12, 13])
        np.testing.assert_array_equal(output[0, 0], [0, 0])
    with pytest.raises(InputError, match="its input ids is int32, but was given fractions"):
        capture(file, {**inputs, "ids": ids + 0.5})
    with pytest.raises(InputError, match="its input ids is int32, which can't hold"):
        capture(file, {**inputs, "ids": ids + 2**40})
    with pytest.raises(InputError, match="takes ids, keep, zero, but zero isn't given"):
        capture(file, {"ids": ids, "keep": keep})
