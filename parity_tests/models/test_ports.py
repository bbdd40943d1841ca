"""Small ports after mistakes that people reported: right ones pass, faulty ones are placed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inception_parity.models import ModelReport, compare

from ..conftest import chosen_backends

pytestmark = pytest.mark.skipif(
    not {"pt", "tf", "mx"} <= set(chosen_backends()), reason="holds three frameworks together"
)


def normal(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape)


def first(made: ModelReport) -> str:
    assert made.first is not None, made.text()
    return made.first.name


def test_space_to_depth_orders_channels_unlike_pixel_unshuffle(tmp_path: Path) -> None:
    import onnx
    import torch
    from onnx import helper, numpy_helper

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down, self.conv = torch.nn.PixelUnshuffle(2), torch.nn.Conv2d(12, 4, 1)

        def forward(self, x: Any) -> Any:
            return self.conv(self.down(x))

    net = Net().eval()
    held = {"w": net.conv.weight, "b": net.conv.bias}
    shapes = {"six": [0, 3, 6, 2, 8, 2], "four": [0, 12, 6, 8]}
    right = [helper.make_node("Reshape", ["x", "six"], ["r"]),
             helper.make_node("Transpose", ["r"], ["t"], perm=[0, 1, 3, 5, 2, 4]),
             helper.make_node("Reshape", ["t", "four"], ["h"])]  # fmt: skip
    for nodes in (right, [helper.make_node("SpaceToDepth", ["x"], ["h"], blocksize=2)]):
        used = {name for node in nodes for name in node.input}
        constants = [numpy_helper.from_array(v.detach().numpy(), k) for k, v in held.items()]
        constants += [numpy_helper.from_array(np.array(v), k)
                      for k, v in shapes.items() if k in used]  # fmt: skip
        ends = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in "xy"]
        conv = helper.make_node("Conv", ["h", "w", "b"], ["y"], kernel_shape=[1, 1])
        graph = helper.make_graph([*nodes, conv], "net", ends[:1], ends[1:], constants)
        opset = [helper.make_opsetid("", 17)]
        file = tmp_path / "net.onnx"
        onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), file)
        made = compare(net, file, normal(2, 3, 12, 16))
        assert made.fails == (nodes is not right), made.text()
    assert first(made) == "down"
    assert made.diagnosis is not None
    assert made.diagnosis.cause is not None
    assert (
        "channels are counted block by block (y, x, c), but should be channel by channel"
        in made.diagnosis.cause.text
    )


@pytest.mark.parametrize("right", [True, False], ids=["right", "faulty"])
def test_a_transposed_convolution_is_cut_where_keras_cuts(right: bool) -> None:
    import keras
    import torch

    layers = keras.layers
    given = keras.Input((4, 5, 6))
    x = layers.Conv2DTranspose(8, 3, strides=2, padding="same", name="up")(
        layers.LeakyReLU(0.2)(given)
    )
    original = keras.Model(given, layers.Conv2D(3, 1)(layers.LeakyReLU(0.2)(x)))

    class Port(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            pads = (0, 0) if right else (1, 1)
            self.up, self.last = (
                torch.nn.ConvTranspose2d(6, 8, 3, 2, *pads),
                torch.nn.Conv2d(8, 3, 1),
            )
            kernel, bias, last, last_bias = map(torch.tensor, original.get_weights())
            self.up.weight.data, self.up.bias.data = kernel.permute(3, 2, 0, 1), bias
            self.last.weight.data, self.last.bias.data = last.permute(3, 2, 0, 1), last_bias

        def forward(self, x: Any) -> Any:
            x = self.up(torch.nn.functional.leaky_relu(x, 0.2))
            x = x[..., :8, :10] if right else x
            return self.last(torch.nn.functional.leaky_relu(x, 0.2))

    made = compare(original, Port(), normal(2, 6, 4, 5))
    assert made.fails != right, made.text()
    assert len(made.inside) == (2 if right else 1)
    if not right:
        assert first(made) == "up"


@pytest.mark.parametrize("right", [True, False], ids=["right", "faulty"])
def test_a_gamma_that_mxnet_ignores(older_mxnet: Any, right: bool) -> None:
    import torch

    mx = older_mxnet
    gamma, slope = np.array([0.3, 0.9, 0.5]), np.array([0.2, 0.4, 0.6])

    class Block(mx.gluon.HybridBlock):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.prelu = mx.gluon.nn.PReLU(in_channels=3)
            for name in ("gamma", "beta", "mean", "var"):
                setattr(self, name, self.params.get(name, shape=(3,), init="ones"))

        def hybrid_forward(self, F: Any, x: Any, **p: Any) -> Any:  # noqa: N803
            arrays = [p[name] for name in ("gamma", "beta", "mean", "var")]
            return F.L2Normalization(self.prelu(F.BatchNorm(x, *arrays, eps=2e-5, name="norm")))

    original = Block()
    original.initialize()
    original.gamma.set_data(mx.nd.array(gamma))
    original.prelu.alpha.set_data(mx.nd.array(slope))

    class Port(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.prelu = torch.nn.BatchNorm2d(3, 2e-5), torch.nn.PReLU(3)
            self.norm.running_mean.fill_(1.0)
            self.norm.bias.data.fill_(1.0)
            self.norm.weight.data = torch.ones(3) if right else torch.tensor(gamma).float()
            self.prelu.weight.data = torch.tensor(slope).float()

        def forward(self, x: Any) -> Any:
            x = self.prelu(self.norm(x))
            return torch.nn.functional.normalize(x.flatten(1)).reshape(x.shape)

    made = compare(original, Port(), normal(2, 3, 5, 4))
    assert made.fails != right, made.text()
    if not right:
        assert made.first is not None
        assert made.first.kind == "norm eps 2e-05"
        assert made.diagnosis is not None
        assert made.diagnosis.cause is not None
        assert "weight" in made.diagnosis.cause.text


@pytest.mark.parametrize("right", [True, False], ids=["right", "faulty"])
def test_a_mask_that_means_the_opposite(right: bool) -> None:
    import keras
    import torch

    class Original(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = torch.nn.MultiheadAttention(8, 2, batch_first=True)
            self.norm = torch.nn.LayerNorm(8)

        def forward(self, x: Any, padding: Any) -> Any:
            y, _ = self.attention(x, x, x, key_padding_mask=padding, need_weights=False)
            return self.norm(x + y)

    original = Original().eval()
    state = {k: v.detach().numpy() for k, v in original.state_dict().items()}

    class Port(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.attention = keras.layers.MultiHeadAttention(2, 4)
            self.norm = keras.layers.LayerNormalization(epsilon=1e-5)

        def call(self, x: Any, padding: Any) -> Any:
            mask = keras.ops.logical_not(padding) if right else padding
            return self.norm(x + self.attention(x, x, attention_mask=mask[:, None, :]))

    x = normal(2, 6, 8)
    padding = np.array([[False] * 4 + [True] * 2, [False] * 3 + [True] * 3])
    port = Port()
    port(x.astype("float32"), padding)
    arrays: list[Any] = []
    for kernel, bias in zip(np.split(state["attention.in_proj_weight"], 3),
                            np.split(state["attention.in_proj_bias"], 3), strict=True):  # fmt: skip
        arrays += [kernel.T.reshape(8, 2, 4), bias.reshape(2, 4)]
    out = state["attention.out_proj.weight"].T.reshape(2, 4, 8)
    port.attention.set_weights([*arrays, out, state["attention.out_proj.bias"]])
    made = compare(original, port, [x, padding], layout_b="NCHW")
    assert made.fails != right, made.text()
    if not right:
        differ = [region for region in made.regions if region.verdict == "differs"]
        assert "attention" in first(made) or ["attention" in r.b for r in differ] == [True]


@pytest.mark.parametrize("how", ["right", "flat", "eps"])
def test_the_eps_and_the_shape_of_a_distance(how: str) -> None:
    import keras
    import torch

    ops, layers = keras.ops, keras.layers
    encoder = keras.Sequential([keras.Input((5,)), layers.Dense(8, "relu"), layers.Dense(6)])

    def distance(pair: Any) -> Any:
        squares = ops.sum(ops.square(pair[0] - pair[1]), axis=1, keepdims=True)
        return ops.sqrt(ops.maximum(squares, 1e-7))

    left, right = keras.Input((5,)), keras.Input((5,))
    ends = layers.Lambda(distance, name="distance")([encoder(left), encoder(right)])
    original = keras.Model([left, right], ends)

    class Port(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            nn = torch.nn
            self.encoder = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 6))

        def forward(self, left: Any, right: Any) -> Any:
            left, right = self.encoder(left), self.encoder(right)
            if how == "right":
                return (left - right).square().sum(1, keepdim=True).clamp(min=1e-7).sqrt()
            return torch.nn.functional.pairwise_distance(left, right, keepdim=how == "eps")

    inputs = [normal(3, 5), normal(3, 5, seed=1)]
    inputs[1][0] = inputs[0][0]
    made = compare(original, Port(), inputs, copy_weights=True)
    assert made.fails == (how != "right"), made.text()
    if how == "right":
        (region,) = made.regions
        assert region.verdict == "computes the same in another way"
        assert len(region.b) == 4
    else:
        assert first(made) == ("distance" if how == "eps" else "output")
        assert sum(e.fails for e in made.report.endpoints) == (2 if how == "eps" else 1)
