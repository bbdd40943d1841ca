"""What models are given: arguments by name, integers, masks, dictionaries; and in which layout."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from inception_parity import InputError
from inception_parity.commands.model_inputs import parse_inputs
from inception_parity.models import Arguments, capture, compare
from inception_parity.models.inputs import Parameters, arranged, given
from inception_parity.models.layouts import possible_turns

from ..conftest import chosen_backends
from ..support.small_models import mxnet_module

needs_torch = pytest.mark.skipif("pt" not in chosen_backends(), reason="its models are torch's")
needs_keras = pytest.mark.skipif(
    not {"pt", "tf"} <= set(chosen_backends()), reason="holds torch and Keras together"
)
needs_gluon = pytest.mark.skipif(
    not {"pt", "mx"} <= set(chosen_backends()), reason="holds torch and MXNet together"
)

RNG = np.random.default_rng(0)
IDS = RNG.integers(0, 9, (2, 5))
MASK = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], bool)
X = RNG.standard_normal((2, 5, 4))


def torch_tagger() -> Any:
    """Token ids and a mask to logits; what is between is plain arithmetic."""
    import torch
    from torch import nn

    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.head = nn.Embedding(10, 4), nn.Linear(4, 3)

        def forward(self, ids: Any, mask: Any) -> Any:
            return self.head(self.table(ids.long() + 1)) * mask[..., None]

    torch.manual_seed(0)
    return Tagger()


def gluon_tagger(net: Any) -> Any:
    mxnet = mxnet_module()

    class Tagger(mxnet.gluon.HybridBlock):
        def __init__(self) -> None:
            super().__init__()
            self.table = mxnet.gluon.nn.Embedding(10, 4)
            self.head = mxnet.gluon.nn.Dense(3, flatten=False, in_units=4)

        def hybrid_forward(self, F: Any, tokens: Any, keep: Any) -> Any:  # noqa: N803
            y = self.head(self.table(tokens + 1))
            return F.broadcast_mul(y, F.expand_dims(keep, 2).astype("float64"))

    port = Tagger()
    port.initialize()
    port.table.weight.set_data(mxnet.nd.array(net.table.weight.detach().numpy()))
    port.head.weight.set_data(mxnet.nd.array(net.head.weight.detach().numpy()))
    port.head.bias.set_data(mxnet.nd.array(net.head.bias.detach().numpy()))
    return port


@needs_torch
@pytest.mark.parametrize(
    "inputs",
    [
        (IDS, MASK),
        {"ids": IDS, "mask": MASK},
        {"mask": MASK, "tokens/ids": IDS},
        Arguments((IDS,), {"mask": MASK}),
    ],
    ids=["sequence", "names", "alternatives", "mixed"],
)
def test_arguments_come_by_position_and_by_name(inputs: Any) -> None:
    trace = capture(torch_tagger(), inputs)
    assert trace.layers["table"].inputs == ("add",)  # `.long() + 1`
    assert trace.array("output").shape == (2, 5, 3)
    assert {trace.array(name).dtype.kind for name in trace.inputs} == {"i", "b"}
    assert not trace.array("output")[0, 3:].any()


@needs_gluon
@pytest.mark.usefixtures("older_mxnet")
def test_a_port_s_names_are_alternatives_or_places() -> None:
    net = torch_tagger()
    port = gluon_tagger(net)
    made = {}
    for names in ({"ids/tokens": IDS, "mask/keep": MASK}, {"ids": IDS, "mask": MASK}):
        trace = capture(port, names)
        made[trace.notes] = trace.array("output")
    by_name, by_place = made
    assert by_name == ()
    assert by_place == ("takes tokens, keep: inputs given by position, in the order ids, mask",)
    want = capture(net, (IDS, MASK)).array("output")
    for array in made.values():
        np.testing.assert_allclose(array, want, rtol=1e-12)


@needs_keras
def test_dictionaries_lists_and_names_reach_keras() -> None:
    import keras

    a, b = keras.Input((5,), name="left"), keras.Input((5,), name="right")
    for struct in ([a, b], {"left": a, "right": b}):
        net = keras.Model(struct, keras.layers.Subtract()([a, b]))
        for inputs in ((X[..., 0], X[..., 1]), {"right": X[..., 1], "left": X[..., 0]}):
            trace = capture(net, inputs)
            np.testing.assert_allclose(
                trace.array("output"), (X[..., 0] - X[..., 1]).astype("f"), rtol=1e-6
            )

    class Subclassed(keras.Model):
        def call(self, batch: Any, keep: Any = None, training: Any = None) -> Any:
            return batch["x"] * keras.ops.cast(keep, batch["x"].dtype)[..., None]

    trace = capture(Subclassed(), {"batch": {"x": X}, "keep": MASK})
    assert not trace.array("output")[0, 3:].any()
    pair = type("Pair", (keras.Model,), {"call": lambda self, pair: pair[0] + pair[1]})()
    assert capture(pair, (X, X)).array("output").shape == X.shape


@needs_torch
def test_a_dictionary_is_the_argument_of_a_model_with_one_parameter() -> None:
    from torch import nn

    class Batched(nn.Module):
        def forward(self, batch: Any) -> Any:
            return batch["x"] * batch["more"][1]

    inputs = {"batch": {"x": X, "more": [X, X]}}
    assert capture(Batched(), inputs).inputs == ("input", "input.1", "input.2")
    found, notes = arranged(given({"x": X, "more": [X, X]}), Parameters(("batch",), 1), "Batched")
    assert list(found.positional[0]) == ["x", "more"]
    assert notes == ()


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ({"ids": IDS, "masc": MASK}, "net: no input is called masc; it takes ids, mask"),
        ((IDS,), "takes ids, mask, but mask isn't given .*; add it: --input mask="),
        ((IDS, MASK, MASK), "takes ids, mask, but 3 inputs are given by position"),
        (Arguments((IDS,), {"ids": IDS}), "ids is given by position and by name"),
    ],
)
def test_arguments_that_a_model_doesn_t_take_are_refused(inputs: Any, text: str) -> None:
    with pytest.raises(InputError, match=text):
        arranged(given(inputs), Parameters(("ids", "mask"), 2), "net")


def turns(shape: tuple[int, ...], stated: Any = None, last: Any = (4,), layout: Any = None) -> Any:
    array = np.zeros(shape)
    return [turned for (turned,) in possible_turns([array], [stated], last, layout)]


def test_only_images_are_turned_unless_a_model_states_its_shapes() -> None:
    assert turns((2, 3, 8, 8)) == [True, False]
    assert turns((2, 3, 8, 8), last=()) == [False, True]
    assert turns((2, 7, 12)) == [False, True]  # (N, T, F)
    assert turns((2, 7, 12), layout="NHWC") == [True]
    assert turns((2, 3, 8, 8), layout="NCHW") == [False]
    assert turns((2, 3, 8, 9), (None, 3, 8, 9)) == [False]
    assert turns((2, 12, 7), (None, None, 12)) == [True]
    assert turns((2, 7, 12), (None, None, 12)) == [False]
    integers = possible_turns([np.zeros((2, 1, 8, 8), int)], [None], (4,), None)
    assert integers == [(False,)]


@needs_keras
def test_a_keras_model_of_sequences_isn_t_turned() -> None:
    import keras
    from torch import nn

    class Net(nn.Module):
        def __init__(self, dense: Any) -> None:
            super().__init__()
            self.dense = dense

        def forward(self, x: Any) -> Any:
            return self.dense(x)

    net = Net(nn.Linear(4, 3))
    functional = keras.Sequential([keras.Input((None, 4)), keras.layers.Dense(3)])
    made = compare(net, functional, X, copy_weights=True)
    assert not made.fails, made.text()
    assert made.b.notes == ()
    convolution = keras.Sequential([keras.Input((4, 5)), keras.layers.Conv1D(3, 1)])
    assert capture(convolution, X).array("output").shape == (2, 3, 4)
    assert capture(convolution, X.transpose(0, 2, 1)).array("output").shape == (2, 3, 4)


def test_inputs_of_the_command_line() -> None:
    ids = parse_inputs(["tokens:2x16:0..30000"], "224")
    assert ids.shape == (2, 16)
    assert ids.dtype == np.int64
    assert 0 <= ids.min() < 1000 < 29000 < ids.max() < 30000
    unit = parse_inputs(["2x3:0.0..1.0"], "224")
    assert 0 <= unit.min() < unit.max() < 1
    found = parse_inputs(
        ["2x3", "2x3", "a/b=mask:2x4", "c.x=3x1:0..9", "d.0=2x2", "d.1=2x2"], "224"
    )
    assert not np.array_equal(*found.positional)  # each input has numbers of its own
    assert found.named["a/b"].dtype == bool
    assert found.named["a/b"].any(axis=1).all()
    assert found.named["c"]["x"].shape == (3, 1)
    assert [array.shape for array in found.named["d"]] == [(2, 2), (2, 2)]


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["tokens:2x16"], "token ids need a range"),
        (["2x16:0..1"], "should hold at least two integers"),
        (["2x16:5..5"], "is empty"),
        (["mask:2x4:0..2"], "a mask has no range"),
        (["x=2x2", "x=2x3"], "x is given twice"),
        (["x=2x2", "x.y=2x3"], "x is given as an array already"),
        (["x=nothing"], "neither a shape such as"),
    ],
)
def test_inputs_of_the_command_line_that_can_t_be_used(texts: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_inputs(texts, "224")
