"""Our networks compared with torchvision's, Keras', MXNet's and one in an ONNX file.

Weights are seeded and batch norm's statistics random; everything is float64.
"""

import functools
import math
from pathlib import Path

import keras
import numpy as np
import pytest
import torch

import inception_mx
import inception_np
import inception_pt
import inception_tf
from inception_mx._mxnet import mxnet
from inception_parity import libraries
from inception_parity.backends.libraries.torchvision import models as torchvision_models
from inception_parity.networks import catalogue
from inception_parity.traces import seeding

LIMIT = 1e-13  # measured: bit-identical, each in its own framework
CLASSES = 10


def error(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def images(height, width):
    return np.random.default_rng(1).uniform(-1.0, 1.0, (2, 3, height, width))


def seeded(name, **options):
    """Return (all options, arrays) of a network."""
    options = catalogue.network(name).resolve({"num_classes": CLASSES, **options})
    return options, seeding.seeded(name, options, 1).arrays


def run_torch(net, paths, x):
    """Run in inference; return the results and {path: output} of the modules named."""
    seen = {}
    for path in paths:
        net.get_submodule(path).register_forward_hook(
            lambda _, __, y, path=path: seen.update({path: y.detach()})
        )
    with torch.no_grad():
        return net.double().eval()(torch.from_numpy(x)), seen


def load_torchvision(net, arrays):
    state = {key: torch.from_numpy(array) for key, array in arrays.items()}
    missing, unexpected = net.load_state_dict(state, strict=False)
    assert unexpected == []
    assert [key for key in missing if not key.endswith("num_batches_tracked")] == []


def torchvisions_name(ours):
    """`sec1.0.b1.0.norm.weight` -> `inception3a.branch1.bn.weight`."""
    return libraries.library("torchvision").path("ceil_googlenet", ours)


GOOGLENET = {
    torchvisions_name(ours): ours for ours in (*libraries.STAGES["ceil_googlenet"], "h0", "h1")
}


@pytest.mark.parametrize("size", [(64, 97), (47, 33)], ids=str)
def test_ceil_googlenet_is_torchvisions_googlenet(size):
    fixed = libraries.library("torchvision").networks["ceil_googlenet"].fixed
    options, arrays = seeded("ceil_googlenet", **fixed, transform_input=True, return_aux=True)
    ours = inception_pt.CeilGoogLeNet(**options)
    inception_pt.set_weights(ours, arrays)
    theirs = torchvision_models().googlenet(
        weights=None,
        aux_logits=True,
        init_weights=False,
        num_classes=CLASSES,
        transform_input=True,
    )
    load_torchvision(theirs, {torchvisions_name(key): a for key, a in arrays.items()})

    x = images(*size)
    (logits, aux2, aux1), found = run_torch(ours, GOOGLENET.values(), x)
    expected_logits, expected = run_torch(theirs, set(GOOGLENET) - {"aux1", "aux2"}, x)
    with torch.no_grad():  # torchvision runs its heads only in training mode
        expected["aux1"] = theirs.aux1(expected["inception4a"])
        expected["aux2"] = theirs.aux2(expected["inception4d"])
    for name, path in GOOGLENET.items():
        assert error(found[path], expected[name]) <= LIMIT, name
    assert error(logits, expected_logits) <= LIMIT
    assert error(aux1, expected["aux1"]) <= LIMIT
    assert error(aux2, expected["aux2"]) <= LIMIT


def test_ceil_googlenet_in_training_returns_what_torchvision_returns():
    options, arrays = seeded("ceil_googlenet", third_kernel=3, pool4_kernel=2, bn_eps=1e-3)
    ours = inception_pt.CeilGoogLeNet(**options).double().train()
    inception_pt.set_weights(ours, arrays)
    theirs = torchvision_models().googlenet(
        weights=None, aux_logits=True, init_weights=False, num_classes=CLASSES
    )
    load_torchvision(theirs, {torchvisions_name(key): a for key, a in arrays.items()})
    theirs = theirs.double().train()
    for net in (ours, theirs):
        for module in net.modules():
            if isinstance(module, torch.nn.Dropout):
                module.eval()  # dropout masks never match
    x = torch.from_numpy(images(64, 64))
    for found, expected, name in zip(ours(x), theirs(x), theirs(x)._fields, strict=True):
        assert error(found.detach().numpy(), expected.detach().numpy()) <= LIMIT, name


V3_STAGES = [*libraries.STAGES["inception_v3"][:-1], "avgpool"]


@pytest.mark.slow  # a whole V3, twice, on an image of 299x299
def test_inception_v3_is_torchvisions():
    options, arrays = seeded(
        "inception_v3", count_include_pad=True, transform_input=True, return_aux=True
    )
    ours = inception_pt.InceptionV3(**options)
    inception_pt.set_weights(ours, arrays)
    theirs = torchvision_models().inception_v3(
        weights=None,
        aux_logits=True,
        init_weights=False,
        transform_input=True,
        num_classes=CLASSES,
    )
    names = libraries.library("torchvision").names("inception_v3", arrays)
    load_torchvision(theirs, {names[key]: array for key, array in arrays.items()})

    x = images(299, 299)[:1]
    (logits, aux), found = run_torch(ours, V3_STAGES, x)
    expected_logits, expected = run_torch(theirs, V3_STAGES, x)
    for name in V3_STAGES:
        assert error(found[name], expected[name]) <= LIMIT, name
    assert error(logits, expected_logits) <= LIMIT
    with torch.no_grad():
        assert error(aux, theirs.AuxLogits(expected["Mixed_6e"])) <= LIMIT


@pytest.mark.slow  # a whole V3, twice
def test_inception_v3_is_keras(float64_in_keras):
    options, arrays = seeded("inception_v3", bn_scale=False, use_aux=False)
    ours = inception_tf.InceptionV3(**options)
    inception_tf.set_weights(ours, arrays)
    theirs = keras.applications.InceptionV3(
        weights=None, classifier_activation=None, input_shape=(97, 128, 3), classes=CLASSES
    )
    ordered = sorted(  # Keras numbers layers in the order it creates them, which is ours
        (layer for layer in theirs.layers if layer.name.startswith("conv2d")),
        key=lambda layer: int(layer.name.partition("_")[2] or 0),
    )
    kernels = [key for key in arrays if key.endswith("conv.weight")]
    norms = sorted(
        (layer for layer in theirs.layers if layer.name.startswith("batch_norm")),
        key=lambda layer: int(layer.name.removeprefix("batch_normalization").strip("_") or 0),
    )
    for key, conv, norm in zip(kernels, ordered, norms, strict=True):
        block = key.removesuffix("conv.weight")
        conv.set_weights([arrays[key].transpose(2, 3, 1, 0)])
        statistics = ("norm.bias", "norm.running_mean", "norm.running_var")
        norm.set_weights([arrays[block + name] for name in statistics])
    theirs.get_layer("predictions").set_weights([arrays["fc.weight"].T, arrays["fc.bias"]])

    x = np.moveaxis(images(97, 128), 1, -1)
    path = functools.partial(libraries.library("keras").path, "inception_v3")
    stages = {path(ours): ours for ours in V3_STAGES if ours.startswith("Mixed")}
    outputs = [theirs.get_layer(name).output for name in stages]
    *expected, expected_logits = keras.Model(theirs.input, [*outputs, theirs.output])(x)
    found = x
    for stage in V3_STAGES[:7]:
        found = getattr(ours, stage)(found)
    for (name, stage), value in zip(stages.items(), expected, strict=True):
        found = getattr(ours, stage)(found)
        assert error(found.numpy(), value.numpy()) <= LIMIT, name
    assert error(ours(x).numpy(), expected_logits.numpy()) <= LIMIT


@pytest.mark.slow  # a whole V3, twice, on an image of 299x299
def test_inception_v3_is_mxnets():
    options, arrays = seeded("inception_v3", count_include_pad=True, use_aux=False)
    ours = inception_mx.InceptionV3(**options)
    ours.initialize()
    ours.cast("float64")
    inception_mx.set_weights(ours, arrays)
    x = mxnet.np.array(images(299, 299)[:1], dtype="float64")
    with (
        mxnet.util.np_array(False),
        mxnet.util.np_shape(False),
    ):  # the model zoo uses MXNet's older interface
        theirs = mxnet.gluon.model_zoo.vision.inception_v3(classes=CLASSES)
        theirs.initialize()
        theirs(x.as_nd_ndarray().astype("float32"))  # its shapes are deferred until the first input
        theirs.cast("float64")
        parameters = theirs._collect_params_with_prefix()
        names = libraries.library("gluon").names("inception_v3", arrays)
        assert sorted(names.values()) == sorted(parameters)
        for key, array in arrays.items():
            parameter = parameters[names[key]]
            assert parameter.shape == array.shape, f"{parameter.name}, {key}"
            parameter.set_data(mxnet.nd.array(array, dtype="float64"))
        expected = [x.as_nd_ndarray()]
        for block in theirs.features._children.values():
            expected.append(block(expected[-1]))
        expected_logits = theirs(expected[0])

    found = x
    for stage, value in zip(V3_STAGES, expected[1:], strict=False):
        found = getattr(ours, stage)(found)
        assert error(found.asnumpy(), value.asnumpy()) <= LIMIT, stage
    assert error(ours(x).asnumpy(), expected_logits.asnumpy()) <= LIMIT


def onnx_graph():
    import onnx

    file = Path(onnx.__file__).parent / "backend/test/data/light/light_inception_v1.onnx"
    graph = onnx.load(file).graph
    attributes = {
        node.output[0]: {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        for node in graph.node
    }
    shapes = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    constants = {
        node.output[0]: tuple(shapes[node.input[0]])
        for node in graph.node
        if node.op_type == "ConstantOfShape"
    }
    given = {key: value.shape for key, value in shapes.items()}
    nodes = [node for node in graph.node if node.op_type != "ConstantOfShape"]
    return nodes, attributes, given | constants


def test_network_of_2014_is_that_of_the_onnx_model_zoo():
    nodes, attributes, shapes = onnx_graph()
    net = inception_np.InceptionV1(lrn=True, use_aux=False)
    order = []  # leaves as they run
    for path, module in net.named_modules():
        if next(module.children(), None) is None:
            module.hooks.append(lambda m, _, __, path=path: order.append((path, m)))
    net(np.zeros((0, 3, 224, 224)))
    ours = [m for _, m in order if type(m).__name__ in ("Conv2d", "LocalResponseNorm", "Linear")]
    theirs = [node for node in nodes if node.op_type in ("Conv", "LRN", "Gemm")]

    assert len(ours) == len(theirs) == 57 + 2 + 1
    for module, node in zip(ours, theirs, strict=True):
        more = attributes[node.output[0]]
        if node.op_type == "LRN":
            constants = (module.size, module.alpha, module.beta, module.k)
            assert constants == pytest.approx((5, 1e-4, 0.75, 1.0))
            stated = tuple(more.get(name) for name in ("size", "alpha", "beta", "bias"))
            assert constants == pytest.approx(stated)
        elif node.op_type == "Conv":
            assert (module.weight.shape, module.bias.shape) == tuple(
                map(shapes.get, node.input[1:])
            )
            assert list(module.stride) == more["strides"]
            assert list(module.padding) * 2 == more["pads"]
    first = ["Conv", "Relu", "MaxPool", "LRN", "Conv", "Relu", "Conv", "Relu", "LRN", "MaxPool"]
    assert [node.op_type for node in nodes[:10]] == first
    kinds = {"Conv2d": "Conv", "ReLU": "Relu", "LocalResponseNorm": "LRN", "MaxPool": "MaxPool"}
    assert [kinds[type(m).__name__] for _, m in order[:10]] == first
    trained = [name for node in nodes for name in node.input if name.endswith(("_w_0", "_b_0"))]
    assert sum(math.prod(shapes[name]) for name in trained) == 6_998_552
    assert sum(a.size for a in inception_np.get_weights(net).values()) == 6_998_552
