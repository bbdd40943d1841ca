"""Anybody's models: what is captured, that nothing of it stays, and what is made of a mistake."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest

import inception_parity
from inception_parity import InputError
from inception_parity.models import ModelTrace, capture, compare

from ..conftest import chosen_backends
from ..support.small_models import (
    SHAPE,
    functional_keras_net,
    gluon_net,
    images,
    keras_net,
    torch_net,
)

pytestmark = pytest.mark.skipif(
    not {"pt", "tf", "mx"} <= set(chosen_backends()), reason="holds three frameworks together"
)
PORTS = {
    "subclassed": keras_net,
    "functional": functional_keras_net,
    "gluon": gluon_net,
    "gluon-imperative": lambda: gluon_net(hybridize=False),
}


@pytest.fixture(scope="module")
def original() -> Any:
    return torch_net()


@pytest.fixture(scope="module")
def trace(original: Any) -> ModelTrace:
    return capture(original, images())


def kinds(trace: ModelTrace) -> list[str]:
    return [layer.describe() for layer in trace.layers.values()]


def test_capture_knows_modules_and_functions_in_order(trace: ModelTrace) -> None:
    assert list(trace.layers) == [
        "input", "stem.0", "stem.1", "stem.2", "stem.3", "left", "relu", "right1", "relu:2",
        "right2", "relu:3", "avg_pool2d", "cat", "flatten", "fc", "output",
    ]  # fmt: skip
    described = kinds(trace)
    assert described[1] == "conv 7x7/2 pad 3"
    assert described[2] == "norm eps 0.001"
    assert described[11] == "avg_pool 3x3 pad 1 count_include_pad false"


def test_capture_knows_what_each_layer_was_computed_from(trace: ModelTrace) -> None:
    assert trace.layers["cat"].inputs == ("relu", "relu:3", "avg_pool2d")
    assert trace.layers["left"].inputs == trace.layers["right1"].inputs == ("stem.3",)
    assert trace.layers["flatten"].inputs == ("cat",)


def test_capture_copies_what_a_layer_overwrites(trace: ModelTrace) -> None:
    """The stem's ReLU works in place; the norm's output has to be what it was before."""
    assert (trace.array("stem.1") < 0).any()
    np.testing.assert_array_equal(trace.array("stem.2"), np.maximum(trace.array("stem.1"), 0))


def test_capture_keeps_weights_and_values_in_float64(original: Any, trace: ModelTrace) -> None:
    assert trace.array("fc").dtype == np.float64
    weight = original.stem[0].weight.detach().numpy()
    np.testing.assert_array_equal(trace.weight("stem.0", "weight"), weight)


@pytest.mark.parametrize("port", PORTS, ids=str)
def test_ports_agree_whatever_the_framework_names_and_order(
    original: Any, trace: ModelTrace, port: str
) -> None:
    made = compare(trace, PORTS[port](), images(), copy_weights=True)
    assert not made.fails, made.text()
    assert made.report.worst is not None
    assert made.report.worst.rel_l2 <= 1e-13  # measured: 2e-15
    assert made.match.only_a == made.match.only_b == []
    assert made.copied is not None
    assert (made.copied.arrays, made.copied.left) == (14, [])
    assert made.weights == []


def test_a_channels_last_flatten_is_brought_to_the_shared_order(trace: ModelTrace) -> None:
    made = compare(trace, keras_net(), images(), copy_weights=True)
    dense = made.b.weight("fc", "weight")
    np.testing.assert_array_equal(dense, trace.weight("fc", "weight"))


def test_a_torch_model_may_take_channels_last_images() -> None:
    import torch
    from torch import nn

    class Last(nn.Module):
        def __init__(self, conv: nn.Module) -> None:
            super().__init__()
            self.conv = conv

        def forward(self, x: Any) -> Any:
            return torch.relu(self.conv(x.permute(0, 3, 1, 2)))

    first = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    made = compare(first, Last(first[0]), images(), layout_b="NHWC")
    assert not made.fails, made.text()
    made = compare(first, Last(first[0]), images())  # which is found by trying
    assert not made.fails, made.text()
    assert made.b.notes == ("inputs turned to channels-last, since it can't be run otherwise",)
    with pytest.raises(InputError, match="can't be run"):
        compare(first, Last(first[0]), images(), layout_b="NCHW")


def test_a_depthwise_convolution_outside_of_layers_has_a_group_per_channel() -> None:
    import keras
    import tensorflow

    class Depthwise(keras.Model):
        def call(self, x: Any) -> Any:
            kernel = tensorflow.ones((3, 3, 3, 2), x.dtype)
            return tensorflow.nn.depthwise_conv2d(x, kernel, [1, 1, 1, 1], "VALID")

    settings = capture(Depthwise(), images()).layers["depthwise_conv2d_native"].settings
    assert (settings["kernel"], settings["groups"]) == ((3, 3), 3)


def test_same_padding_is_found_at_the_stem_and_named(trace: ModelTrace) -> None:
    made = compare(trace, keras_net(same=True), images(), copy_weights=True)
    assert made.first is not None
    assert made.first.name == "stem.0"
    assert len(made.report.guilty) == 1
    (difference,) = [d for d in made.settings if d.setting == "pads"]
    assert (difference.a, difference.of_b) == ("stem.0", [[2, 3], [2, 3]])
    cause = made.diagnoses["stem.0"].cause
    assert cause is not None
    assert "SAME" in cause.text
    assert cause.after <= 1e-10


def test_a_wrong_eps_is_found_and_named(trace: ModelTrace) -> None:
    made = compare(trace, keras_net(eps=1e-5), images(), copy_weights=True)
    assert made.first is not None
    assert made.first.name == "stem.1"
    assert [(d.a, d.setting, d.of_b) for d in made.settings] == [("stem.1", "eps", 1e-5)]
    cause = made.diagnoses["stem.1"].cause
    assert cause is not None
    assert "eps" in cause.cause


def test_pad_counting_is_found_at_the_average_pool(trace: ModelTrace) -> None:
    made = compare(trace, gluon_net(counts_padding=True), images(), copy_weights=True)
    assert made.first is not None
    assert made.first.name == "avg_pool2d"
    assert [d.setting for d in made.settings] == ["count_include_pad"]
    cause = made.diagnoses["avg_pool2d"].cause
    assert cause is not None
    assert "pad" in cause.text


def test_swapped_input_channels_are_found_in_the_weights(original: Any) -> None:
    port = torch_net()
    port.load_state_dict(original.state_dict())
    port.stem[0].weight.data = port.stem[0].weight.data.flip(1).clone()
    made = compare(original, port, images())
    assert made.first is not None
    assert made.first.name == "stem.0"
    (difference,) = made.weights
    assert "reverse order, as BGR is to RGB" in difference.text
    assert made.diagnoses["stem.0"].cause is not None


def test_weights_that_were_not_carried_over_are_listed(original: Any, trace: ModelTrace) -> None:
    made = compare(trace, functional_keras_net(), images())
    assert made.fails
    assert {(d.a, d.role) for d in made.weights} >= {("stem.0", "weight"), ("fc", "weight")}
    assert "weights: " in made.text()


def test_nan_fails_and_is_found_where_it_starts(original: Any) -> None:
    port = torch_net()
    port.load_state_dict(original.state_dict())
    port.right2.bias.data[0] = float("nan")
    made = compare(original, port, images())
    assert made.first is not None
    assert made.first.name == "right2"
    assert "NaN" in made.first.problem


def test_branches_in_another_order_are_found_at_the_concatenation(original: Any) -> None:
    port = torch_net(reverse=True)
    port.load_state_dict(original.state_dict())
    made = compare(original, port, images())
    assert made.first is not None
    assert made.first.name == "cat"
    assert made.match.pairs["relu"] == "relu"  # the left one is still the left one


def test_another_activation_is_found(original: Any) -> None:
    port = torch_net(activation="relu6")
    port.load_state_dict(original.state_dict())
    x = images() * 20
    made = compare(original, port, x)
    assert made.first is not None
    assert made.first.name == "relu"
    assert [(d.setting, d.of_b) for d in made.settings] == [("function", "relu6")]


def test_a_layer_without_a_counterpart_is_no_silent_pass(original: Any) -> None:
    port = torch_net(surplus=True)
    port.load_state_dict(original.state_dict())
    made = compare(original, port, images())
    assert made.fails
    assert made.match.only_b == ["tanh"]
    assert made.first is not None
    assert made.first.name == "cat"
    assert "the first has no tanh here" in made.text()
    made = compare(port, original, images())
    assert made.match.only_a == ["tanh"]
    assert made.first is not None
    assert made.first.name == "cat"
    assert "the second has no tanh here" in made.text()


def test_a_model_agrees_with_itself_and_names_dont_matter(original: Any) -> None:
    import torch

    class Renamed(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.z, self.y, self.x, self.w, self.v = (
                original.fc, original.right2, original.right1, original.left, original.stem,
            )  # fmt: skip

        forward = type(original).forward
        fc = property(lambda self: self.z)
        right2 = property(lambda self: self.y)
        right1 = property(lambda self: self.x)
        left = property(lambda self: self.w)
        stem = property(lambda self: self.v)
        drop = torch.nn.Identity()

    made = compare(original, Renamed(), images())
    assert not made.fails, made.text()
    assert made.match.pairs["right2"] == "y"
    assert made.match.pairs["stem.0"] == "v.0"
    assert all(e.verdict == "bit-identical" for e in made.report.endpoints)


def test_the_user_corrects_the_match(original: Any, trace: ModelTrace) -> None:
    port = torch_net(surplus=True)
    port.load_state_dict(original.state_dict())
    made = compare(original, port, images(), match={None: ["tanh"]})
    assert made.match.accepted == ["tanh"]
    assert [e.name for e in made.report.endpoints if e.problem] == []
    assert made.fails  # its output is wrong nevertheless
    made = compare(trace, trace, match={"left": "right2"})
    assert made.match.pairs["left"] == "right2"
    with pytest.raises(InputError, match=r"has no layer 'lef' \(did you mean left\?\)"):
        compare(trace, trace, match={"lef": "left"})
    with pytest.raises(InputError, match="'left' is given to two layers"):
        compare(trace, trace, match={"left": "left", "right2": "left"})


def test_float32_is_judged_in_units_of_the_original_s_own_rounding(original: Any) -> None:
    port = torch_net()
    port.load_state_dict(original.state_dict())
    assert not compare(original, port, images(), dtype="float32").fails
    port.stem[0].weight.data[0, 0, 0, 0] += 1e-3
    made = compare(original, port, images(), dtype="float32")
    assert made.first is not None
    assert (made.first.name, made.report.dtype) == ("stem.0", "float32")


def test_torch_models_are_left_as_they_were(original: Any) -> None:
    import torch

    before = {name: (id(p), p.data_ptr()) for name, p in original.named_parameters()}
    buffers = {name: id(b) for name, b in original.named_buffers()}
    values = {name: array.clone() for name, array in original.state_dict().items()}
    original.stem.eval()  # modes differ from module to module
    modes = [module.training for module in original.modules()]
    capture(original, images())
    capture(original, images(), training=True)
    assert [module.training for module in original.modules()] == modes
    assert {n: (id(p), p.data_ptr()) for n, p in original.named_parameters()} == before
    assert {n: id(b) for n, b in original.named_buffers()} == buffers
    state = original.state_dict()
    assert all(torch.equal(values[name], state[name]) for name in values)
    hooks = [m._forward_hooks or m._forward_pre_hooks for m in original.modules()]
    assert not any(hooks)
    assert not torch.nn.modules.module._global_forward_hooks
    assert not torch.nn.modules.module._global_forward_pre_hooks
    assert torch.get_default_dtype() == torch.float32


def test_keras_models_are_left_as_they_were() -> None:
    import keras

    model = functional_keras_net()
    before = [(id(v._value), v.dtype, v.numpy()) for v in model.variables]
    call, state = keras.layers.Layer.__call__, [dict(vars(x)) for x in model.layers]
    policies = [layer.dtype_policy.name for layer in model.layers]
    floatx = keras.config.floatx()
    capture(model, images())
    for (identity, dtype, array), variable in zip(before, model.variables, strict=True):
        assert (id(variable._value), variable.dtype) == (identity, dtype)
        np.testing.assert_array_equal(variable.numpy(), array)
    assert [layer.dtype_policy.name for layer in model.layers] == policies
    assert [vars(x).get("activation") for x in model.layers] == [s.get("activation") for s in state]
    assert keras.layers.Layer.__call__ is call
    assert (keras.config.floatx(), keras.config.dtype_policy().name) == (floatx, "float32")


def test_gluon_blocks_are_left_as_they_were() -> None:
    import mxnet

    net = gluon_net()
    capture(net, images())  # gives it its parameters
    parameters = net.collect_params().values()
    before = [(p._data[0], p._grad, p.dtype, p._data[0].asnumpy()) for p in parameters]
    call = mxnet.gluon.Block.__call__
    capture(net, images())
    for (data, grad, dtype, array), parameter in zip(before, parameters, strict=True):
        assert parameter._data[0] is data
        assert parameter._grad is grad
        assert parameter.dtype == dtype
        np.testing.assert_array_equal(data.asnumpy(), array)
    assert net._active
    assert mxnet.gluon.Block.__call__ is call


def test_a_port_has_its_own_weights_back_after_a_comparison(trace: ModelTrace) -> None:
    port = torch_net()
    port.fc.weight.data.zero_()
    compare(trace, port, images(), copy_weights=True)
    assert not port.fc.weight.any()


def test_a_model_that_raises_is_left_as_it_was(original: Any) -> None:
    import torch

    with pytest.raises(InputError, match=r"can't be run on inputs of shape \(1, 4, 20, 24\)"):
        capture(original, np.ones((1, 4, 20, 24)))
    assert all(p.dtype == torch.float32 for p in original.parameters())
    assert not torch.nn.modules.module._global_forward_hooks


def test_a_trace_is_kept_and_read_again(trace: ModelTrace, original: Any, tmp_path: Any) -> None:
    kept = capture(original, images(), out=tmp_path / "kept")
    folder = kept.folder
    del kept
    gc.collect()
    again = ModelTrace.read(folder)
    assert again.layers == trace.layers
    assert not compare(trace, again).fails
    (folder / "layers.json").write_text("{}")
    with pytest.raises(InputError, match=r"not a record of layers \(it has no 'format'\)"):
        ModelTrace.read(folder)


def test_a_trace_s_folder_goes_with_it(original: Any) -> None:
    made = capture(original, images())
    folder = made.folder
    assert folder.is_dir()
    del made
    gc.collect()
    assert not folder.exists()


@pytest.mark.parametrize(
    ("model", "inputs", "text"),
    [
        (object(), np.ones(SHAPE), "not a model"),
        (dict, np.ones(SHAPE), "a class; give an instance"),
        ("nothing.onnx", np.ones(SHAPE), "no such ONNX file"),
        (None, np.ones(SHAPE), "not a model"),
        ("net", "text", "should be an array of numbers"),
        ("net", np.full(SHAPE, np.nan), "NaN or infinite"),
        ("net", np.ones((0, 3, 20, 24)), "empty"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cant_be_captured_is_refused(
    original: Any, model: Any, inputs: Any, text: str
) -> None:
    with pytest.raises(InputError, match=text):
        capture(original if model == "net" else model, inputs)


def test_traces_of_other_inputs_are_refused(trace: ModelTrace, original: Any) -> None:
    with pytest.raises(InputError, match="not fed the same"):
        compare(trace, capture(original, images(1)))
    with pytest.raises(InputError, match="no inputs were given"):
        compare(trace, original)


def test_the_package_offers_capture_and_compare(original: Any) -> None:
    first = inception_parity.capture(original, images())
    assert not inception_parity.compare(first, first).fails


def test_a_keras_model_inside_of_another_computes_in_float64() -> None:
    import keras
    from torch import nn

    inner = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4), keras.layers.Dense(4)])
    x = keras.Input((5,))
    port = keras.Model(x, keras.layers.Dense(3)(inner(keras.layers.Dense(8)(x))))
    net = nn.Sequential(nn.Linear(5, 8), nn.Linear(8, 4), nn.Linear(4, 4), nn.Linear(4, 3))
    made = compare(net, port, np.random.default_rng(0).standard_normal((2, 5)), copy_weights=True)
    assert not made.fails, made.text()
    assert {layer.dtype for layer in inner.layers} == {"float32"}
    assert {x.dtype for x in inner._functional._inputs} == {"float32"}
