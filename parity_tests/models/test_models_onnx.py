"""ONNX files compared with the models that they were exported from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inception_parity.models import compare

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
    """Its weights are rounded to float32 in the file, so it agrees in float32 only."""
    net = original()
    file = exported(net, tmp_path / "net.onnx", fold=True)
    made = compare(net, file, X, dtype="float32")
    assert not made.fails, made.text()
    assert made.match.folded == {"0": "1"}
    assert made.match.pairs["1"] == "0"
    file = exported(net, tmp_path / "other.onnx", fold=True, eps=1e-1)
    assert compare(net, file, X, dtype="float32").fails


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
