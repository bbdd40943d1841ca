"""Attention and embeddings: masks, scale, heads, projections, rows."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from .chains import gluon_chain, keras_chain, torch_chain
from .norms import COPY
from .onnx_files import onnx_model
from .pair import Fault, Pair, normal

WIDTH, HEADS, STEPS = 16, 4, 5
LENGTHS = (3, 4)
GIVEN = {"layout_b": "NCHW"}


def padded() -> Any:
    """Sequences, and where they are padding."""
    places = np.arange(STEPS)[None] >= np.array(LENGTHS)[:, None]
    return [normal(2, STEPS, WIDTH)(), places]


def torch_net(masked: bool = True, causal: bool = False) -> Any:
    """Self-attention with a residual, then a dense layer."""
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
            self.head = nn.Linear(WIDTH, 3)

        def forward(self, x: Any, padding: Any = None) -> Any:
            more = {"key_padding_mask": padding} if masked else {}
            if causal:
                more["attn_mask"] = torch.ones(STEPS, STEPS).tril() == 0
            y, _ = self.attention(x, x, x, need_weights=False, **more)
            return self.head(x + y)

    torch.manual_seed(0)
    net = Net().eval()
    for parameter in net.parameters():
        nn.init.normal_(parameter, 0.0, 0.5)
    return net


def keras_port(
    masked: bool = True, causal: bool = False, invert: bool = True, heads: int = HEADS,
    order: tuple[int, int, int] = (0, 1, 2), bias: bool = True, apart: bool = False,
) -> Any:  # fmt: skip
    """The same in Keras, with the weights of `torch_net`."""
    import keras

    net = torch_net(masked, causal)

    class Port(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            size = WIDTH // heads
            self.attention = keras.layers.MultiHeadAttention(heads, size, use_bias=bias)
            self.head = keras.layers.Dense(3)

        def call(self, x: Any, padding: Any = None) -> Any:
            more: dict[str, Any] = {"use_causal_mask": causal} if causal else {}
            if masked:
                mask = keras.ops.logical_not(padding) if invert else padding
                more["attention_mask"] = mask[:, None, :]
            return self.head(x + self.attention(x, x, **more))

    port = Port()
    port(*([np.zeros((1, STEPS, WIDTH), "float32"), np.zeros((1, STEPS), bool)][: 1 + masked]))
    state = {name: array.detach().numpy() for name, array in net.state_dict().items()}
    arrays: list[Any] = []
    weights = np.split(state["attention.in_proj_weight"], 3)
    biases = np.split(state["attention.in_proj_bias"], 3)
    for i in order:
        kernel = weights[i].T.reshape(WIDTH, heads, -1)
        if apart:
            kernel = weights[i].T.reshape(WIDTH, -1, heads).swapaxes(1, 2)
        arrays += [kernel, biases[i].reshape(heads, -1)][: 1 + bias]
    out = state["attention.out_proj.weight"].T.reshape(heads, -1, WIDTH)
    arrays += [out, state["attention.out_proj.bias"]][: 1 + bias]
    port.attention.set_weights(arrays)
    port.head.set_weights([state["head.weight"].T, state["head.bias"]])
    return port


def torch_core(scale: float | None = None, causal: bool = False) -> Any:
    """Projections that the model has itself, and torch's attention between them."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q, self.k, self.v = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
            self.out = nn.Linear(WIDTH, 3)

        def forward(self, x: Any) -> Any:
            y = F.scaled_dot_product_attention(
                self.q(x), self.k(x), self.v(x), is_causal=causal, scale=scale
            )
            return self.out(y)

    torch.manual_seed(0)
    return Net().eval()


def keras_core(scale: bool = True, causal: bool = False, exchanged: bool = False) -> Any:
    """The same in Keras, whose layer takes query, value, key and doesn't scale by itself."""
    import keras

    net = torch_core()

    class Port(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.q, self.k, self.v = (keras.layers.Dense(WIDTH) for _ in range(3))
            self.attention = keras.layers.Attention(use_scale=True)
            self.out = keras.layers.Dense(3)

        def call(self, x: Any) -> Any:
            parts = [self.q(x), self.k(x), self.v(x)] if exchanged else \
                [self.q(x), self.v(x), self.k(x)]  # fmt: skip
            return self.out(self.attention(parts, use_causal_mask=causal))

    port = Port()
    port(np.zeros((1, STEPS, WIDTH), "float32"))
    for name in ("q", "k", "v", "out"):
        module = getattr(net, name)
        getattr(port, name).set_weights(
            [module.weight.detach().numpy().T, module.bias.detach().numpy()]
        )
    port.attention.scale.assign(WIDTH**-0.5 if scale else 1.0)
    return port


ROWS, SIZE = 7, 6


def tokens() -> Any:
    """Numbers of rows, without the first and the last."""
    return np.random.default_rng(0).integers(1, ROWS - 1, (2, STEPS))


def torch_words() -> Any:
    """An embedding and a dense layer."""
    return torch_chain(lambda nn: [nn.Embedding(ROWS, SIZE), nn.Linear(SIZE, 3)])


def keras_words() -> Any:
    """The same in Keras."""
    return keras_chain(lambda layers: [layers.Embedding(ROWS, SIZE), layers.Dense(3)], (STEPS,))


def gluon_words() -> Any:
    """The same in Gluon."""
    return gluon_chain(lambda nn: [nn.Embedding(ROWS, SIZE), nn.Dense(3, flatten=False)])


def onnx_words(moved: int = 0, scale: float = 1.0) -> Any:
    """The same in ONNX, with the table's rows moved or scaled."""
    net = torch_words()
    state = {name: array.detach().numpy() for name, array in net.state_dict().items()}
    table = np.roll(state["0.weight"], moved, axis=0) * np.float32(scale)
    constants = {"table": table, "1.weight": state["1.weight"].T, "1.bias": state["1.bias"]}
    nodes: list[Any] = [
        ("Gather", "table x", "y", {}), ("MatMul", "y 1.weight", "z", {}),
        ("Add", "z 1.bias", "out", {}),
    ]  # fmt: skip
    return onnx_model(nodes, constants, {"x": (2, STEPS)}, integers=("x",))


PAIRS = (
    Pair(
        "attention-padded", "pt-tf", torch_net, keras_port, padded,
        (
            Fault("mask inverted", partial(keras_port, invert=False), "attention",
                  "mask-inverted"),
            Fault("another number of heads", partial(keras_port, heads=2), "attention",
                  "attention-heads"),
            Fault("heads apart", partial(keras_port, apart=True), "attention",
                  "attention-heads"),
            Fault("q and k exchanged", partial(keras_port, order=(1, 0, 2)), "attention",
                  "attention-inputs"),
            Fault("no biases", partial(keras_port, bias=False), "attention",
                  "attention-weights"),
        ),
        GIVEN,
    ),
    Pair(
        "attention-causal", "pt-tf", partial(torch_net, False, True),
        partial(keras_port, False, True), normal(2, STEPS, WIDTH),
        (Fault("not causal", partial(keras_port, False), "attention", "causal"),),
        GIVEN,
    ),
    Pair(
        "attention-plain", "pt-tf", partial(torch_net, False), partial(keras_port, False),
        normal(2, STEPS, WIDTH),
        (Fault("causal", partial(keras_port, False, True), "attention", "causal"),), GIVEN,
    ),
    Pair(
        "attention-core", "pt-tf", torch_core, keras_core, normal(2, STEPS, WIDTH),
        (
            Fault("not scaled", partial(keras_core, scale=False),
                  "scaled_dot_product_attention", "attention-scale"),
            Fault("key and value exchanged", partial(keras_core, exchanged=True),
                  "scaled_dot_product_attention", "attention-inputs"),
            Fault("causal", partial(keras_core, causal=True), "scaled_dot_product_attention",
                  "causal"),
        ),
        GIVEN,
    ),
    Pair("embedding", "pt-tf", torch_words, keras_words, tokens, (), COPY),
    Pair("embedding", "pt-mx", torch_words, gluon_words, tokens, (), COPY),
    Pair(
        "embedding", "pt-onnx", torch_words, onnx_words, tokens,
        (
            Fault("one row further", partial(onnx_words, 1), "0", "embedding-row"),
            Fault("scaled", partial(onnx_words, 0, SIZE**0.5), "0", "embedding-scale"),
        ),
    ),
)  # fmt: skip
