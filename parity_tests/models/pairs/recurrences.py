"""LSTM, GRU and simple RNN: gates, biases, directions, states, the step that is taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from ...support.small_models import mxnet_module
from .onnx_files import onnx_model
from .pair import Fault, Pair, normal

Array = np.ndarray[Any, Any]
Change = Callable[[list[Array]], list[Array]]  # of weight_ih, weight_hh, bias_ih, bias_hh

FEATURES, HIDDEN, OUT, STEPS = 5, 4, 3, 6
GATES = {"lstm": 4, "gru": 3, "rnn": 1}
TAKES = {"last": -1, "first": 0}


def reordered(*order: int) -> Change:
    """Return what puts the gates of all arrays into another order."""
    return lambda arrays: [
        np.concatenate([np.split(array, len(order))[i] for i in order]) for array in arrays
    ]


def as_is(arrays: list[Array]) -> list[Array]:
    """Return the arrays as they are."""
    return arrays


def torch_net(kind: str, layers: int = 1, both: bool = False, state: bool = False) -> Any:
    """A recurrent stack, of which the last step feeds a dense layer."""
    import torch
    from torch import nn

    made = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[kind]

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = made(FEATURES, HIDDEN, layers, batch_first=True, bidirectional=both)
            self.head = nn.Linear(HIDDEN * (1 + both), OUT)
            self.h0 = nn.Parameter(torch.randn(1, 1, HIDDEN)) if state else None

        def forward(self, x: Any) -> Any:
            if self.h0 is None:
                y, _ = self.rnn(x)
            else:
                y, _ = self.rnn(x, self.h0.expand(-1, len(x), -1).contiguous())
            return self.head(y[:, -1])

    torch.manual_seed(0)
    net = Net().eval()
    for name, parameter in net.named_parameters():
        nn.init.normal_(parameter, 0.0, 0.5)
        if "bias" in name:  # few bits, so that the sum of two is exact in float32
            parameter.data = torch.round(parameter.data * 256) / 256
    return net


def weights_of(net: Any, layers: int = 1, both: bool = False) -> list[list[Array]]:
    """Return the four arrays of every direction of every layer."""
    roles = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    ends = [f"l{i}{end}" for i in range(layers) for end in ("", "_reverse")[: 1 + both]]
    state = {name: array.detach().numpy() for name, array in net.state_dict().items()}
    return [[state[f"rnn.{role}_{end}"] for role in roles] for end in ends]


def keras_port(
    kind: str, layers: int = 1, both: bool = False, change: Change | None = None,
    bias: str = "right", reset_after: bool = True, take: str = "last", state: bool = False,
    forget: bool = False, **settings: Any,
) -> Any:  # fmt: skip
    """Keras' layers with the weights of `torch_net`."""
    import keras

    net = torch_net(kind, layers, both, state)
    usual = reordered(1, 0, 2) if kind == "gru" else as_is
    change = change or usual
    made = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU, "rnn": keras.layers.SimpleRNN}[kind]
    if kind == "gru":
        settings["reset_after"] = reset_after
    given = keras.Input((None, FEATURES))
    x, rnns = given, []
    start = [] if not state else [net.h0.detach().numpy()[0]]
    for _ in range(layers):
        layer = made(HIDDEN, return_sequences=True, name=f"rnn{len(rnns)}", **settings)
        rnns.append(keras.layers.Bidirectional(layer) if both else layer)
        if start and not forget:
            zeros = keras.ops.zeros_like(x[:, 0, :1])
            x = rnns[-1](x, initial_state=zeros + start[0])
        else:
            x = rnns[-1](x)
    x = x[:, TAKES[take]]
    head = keras.layers.Dense(OUT, name="head")
    model = keras.Model(given, head(x))
    parts = []
    for arrays in weights_of(net, layers, both):
        w = change(arrays)
        if kind == "gru" and reset_after:
            b = {"right": np.stack(w[2:]), "swapped": np.stack(w[:1:-1]),
                 "summed": np.stack([w[2] + w[3], 0 * w[3]])}[bias]  # fmt: skip
        else:
            b = {"right": w[2] + w[3], "one": w[2], "forget": _forget(w[2] + w[3])}[bias]
        parts.append([w[0].T, w[1].T, b])
    each = 1 + both
    for i, layer in enumerate(rnns):
        layer.set_weights([w for part in parts[i * each : (i + 1) * each] for w in part])
    head.set_weights([net.head.weight.detach().numpy().T, net.head.bias.detach().numpy()])
    return model


def _forget(bias: Array) -> Array:
    i, f, g, o = np.split(bias, 4)
    return np.concatenate([i, f + 1, g, o])


def gluon_port(
    kind: str, layers: int = 1, both: bool = False, change: Change = as_is,
    take: str = "last", **settings: Any,
) -> Any:  # fmt: skip
    """Gluon's layers with the weights of `torch_net`."""
    mxnet = mxnet_module()
    net = torch_net(kind, layers, both)
    made = {"lstm": mxnet.gluon.rnn.LSTM, "gru": mxnet.gluon.rnn.GRU, "rnn": mxnet.gluon.rnn.RNN}
    settings = {"activation": "tanh", **settings} if kind == "rnn" else settings

    class Port(mxnet.gluon.HybridBlock):
        def __init__(self) -> None:
            super().__init__()
            with self.name_scope():
                self.rnn = made[kind](
                    HIDDEN, num_layers=layers, layout="NTC", bidirectional=both,
                    input_size=FEATURES, **settings,
                )  # fmt: skip
                self.head = mxnet.gluon.nn.Dense(OUT, in_units=HIDDEN * (1 + both))

        def hybrid_forward(self, F: Any, x: Any) -> Any:  # noqa: N803
            return self.head(self.rnn(x)[:, TAKES[take]])

    port = Port()
    port.initialize()
    ends = [f"{way}{i}" for i in range(layers) for way in ("l", "r")[: 1 + both]]
    names = ("i2h_weight", "h2h_weight", "i2h_bias", "h2h_bias")
    for end, arrays in zip(ends, weights_of(net, layers, both), strict=True):
        for name, array in zip(names, change(arrays), strict=True):
            getattr(port.rnn, f"{end}_{name}").set_data(mxnet.nd.array(array))
    port.head.weight.set_data(mxnet.nd.array(net.head.weight.detach().numpy()))
    port.head.bias.set_data(mxnet.nd.array(net.head.bias.detach().numpy()))
    return port


_TO_ONNX = {"lstm": reordered(0, 3, 1, 2), "gru": reordered(1, 0, 2), "rnn": as_is}


def onnx_port(
    kind: str, both: bool = False, change: Change | None = None, after: int = 1,
    directions: Sequence[str] = ("forward",), take: int = -1,
) -> Any:  # fmt: skip
    """One ONNX node for each layer, with the weights of `torch_net`."""
    net, layers = torch_net(kind, len(directions), both), len(directions)
    change = change or _TO_ONNX[kind]
    nodes: list[Any] = [("Transpose", "x", "y0", {"perm": [1, 0, 2]})]
    constants: dict[str, Any] = {"wide": np.array([0, 0, -1]), "at": np.array(take)}
    arrays, each = weights_of(net, layers, both), 1 + both
    for i, way in enumerate(directions):
        parts = [change(part) for part in arrays[i * each : (i + 1) * each]]
        constants[f"W{i}"] = np.stack([part[0] for part in parts])
        constants[f"R{i}"] = np.stack([part[1] for part in parts])
        constants[f"B{i}"] = np.stack([np.concatenate(part[2:]) for part in parts])
        extra = {"linear_before_reset": after} if kind == "gru" else {}
        nodes += [
            (kind.upper(), f"y{i} W{i} R{i} B{i}", f"s{i}",
             {"hidden_size": HIDDEN, "direction": "bidirectional" if both else way, **extra}),
            ("Transpose", f"s{i}", f"t{i}", {"perm": [0, 2, 1, 3]}),
            ("Reshape", f"t{i} wide", f"y{i + 1}", {}),
        ]  # fmt: skip
    constants["head.weight"] = net.head.weight.detach().numpy()
    constants["head.bias"] = net.head.bias.detach().numpy()
    nodes += [("Gather", f"y{layers} at", "end", {"axis": 0}),
              ("Gemm", "end head.weight head.bias", "out", {"transB": 1})]  # fmt: skip
    return onnx_model(nodes, constants, {"x": ("n", STEPS, FEATURES)})


def _pair(kind: str, to: str, *faults: Fault, name: str = "", **options: Any) -> Pair:
    port = {"tf": keras_port, "mx": gluon_port, "onnx": onnx_port}[to]
    theirs = dict(options)
    if to == "onnx" and "layers" in theirs:
        theirs["directions"] = ("forward",) * theirs.pop("layers")
    return Pair(
        f"{kind}{name}", f"pt-{to}", partial(torch_net, kind, **options),
        partial(port, kind, **theirs), normal(2, STEPS, FEATURES), faults,
        {"layout_b": "NCHW"} if to == "tf" else {},
    )  # fmt: skip


def _only(role: int) -> Change:
    """Return what leaves out one array, so that it stays 0."""
    return lambda arrays: [0 * a if i == role else a for i, a in enumerate(arrays)]


PAIRS = (
    _pair(
        "lstm", "tf",
        Fault("gates as i, f, o, g", partial(keras_port, "lstm", change=reordered(0, 1, 3, 2)),
              "rnn", "gate-order"),
        Fault("one bias", partial(keras_port, "lstm", bias="one"), "rnn", "recurrent-bias"),
        Fault("forget bias", partial(keras_port, "lstm", bias="forget"), "rnn", "recurrent-bias"),
        Fault("first step", partial(keras_port, "lstm", take="first"), "getitem", "step-taken"),
        Fault("hard sigmoid", partial(keras_port, "lstm", recurrent_activation="hard_sigmoid"),
              "rnn", "other-activation"),
    ),
    _pair(
        "gru", "tf",
        Fault("gates as r, z, n",
              partial(keras_port, "gru", layers=2, change=as_is), "rnn.l0", "gate-order"),
        Fault("biases exchanged",
              partial(keras_port, "gru", layers=2, bias="swapped"), "rnn.l0", "recurrent-bias"),
        Fault("biases summed",
              partial(keras_port, "gru", layers=2, bias="summed"), "rnn.l0", "recurrent-bias"),
        Fault("reset before",
              partial(keras_port, "gru", layers=2, reset_after=False), "rnn.l0", "reset-after"),
        name="-stacked", layers=2,
    ),
    _pair(
        "gru", "tf",
        Fault("state forgotten", partial(keras_port, "gru", state=True, forget=True), "rnn",
              "initial-state"),
        name="-initial-state", state=True,
    ),
    _pair("lstm", "tf", name="-bidirectional", both=True),
    _pair(
        "rnn", "tf",
        Fault("one bias", partial(keras_port, "rnn", bias="one"), "rnn", "recurrent-bias"),
        Fault("relu", partial(keras_port, "rnn", activation="relu"), "rnn", "other-activation"),
        Fault("backwards", partial(keras_port, "rnn", go_backwards=True), "rnn", "direction"),
    ),
    _pair(
        "lstm", "onnx",
        Fault("gates as i, f, g, o", partial(onnx_port, "lstm", change=as_is), "rnn",
              "gate-order"),
        Fault("backwards", partial(onnx_port, "lstm", directions=("reverse",)), "rnn",
              "direction"),
        Fault("first step", partial(onnx_port, "lstm", take=0), "getitem", "step-taken"),
    ),
    _pair(
        "gru", "onnx",
        Fault("reset before", partial(onnx_port, "gru", after=0, directions=("forward",) * 2),
              "rnn.l0", "reset-after"),
        Fault("gates as r, z, n",
              partial(onnx_port, "gru", change=as_is, directions=("forward",) * 2),
              "rnn.l0", "gate-order"),
        name="-stacked", layers=2,
    ),
    _pair("gru", "onnx", name="-bidirectional", both=True),
    _pair(
        "gru", "mx",
        Fault("gates as z, r, n", partial(gluon_port, "gru", change=reordered(1, 0, 2)), "rnn",
              "gate-order"),
        Fault("recurrent bias 0", partial(gluon_port, "gru", change=_only(3)), "rnn",
              "recurrent-bias"),
        Fault("first step", partial(gluon_port, "gru", take="first"), "getitem", "step-taken"),
    ),
    _pair(
        "lstm", "mx",
        Fault("gates as i, o, f, g",
              partial(gluon_port, "lstm", 2, True, change=reordered(0, 3, 1, 2)), "rnn.l0",
              "gate-order"),
        name="-stacked-bidirectional", layers=2, both=True,
    ),
    _pair(
        "rnn", "mx",
        Fault("input's bias 0", partial(gluon_port, "rnn", change=_only(2)), "rnn",
              "recurrent-bias"),
        Fault("relu", partial(gluon_port, "rnn", activation="relu"), "rnn", "other-activation"),
    ),
)  # fmt: skip
