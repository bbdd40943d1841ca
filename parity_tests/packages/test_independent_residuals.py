"""Inception-v4 and Inception-ResNet against timm's, pytorchcv's, facenet-pytorch's and Keras'.

Everything is float64. Weights are random, and batch norm's statistics lie near those of the data,
as after training: with statistics that don't fit, a deep network's values vanish or saturate.
"""

from __future__ import annotations

import functools
import importlib
import string

import keras
import numpy as np
import pytest
import torch

import inception_pt
import inception_tf
from inception_parity.backends.libraries.torchvision import models as torchvision_models
from inception_parity.networks import catalogue
from inception_parity.traces import seeding

from .. import expected_networks as expected

torchvision_models()  # before timm and facenet-pytorch, whose own import of it may fail

from facenet_pytorch import InceptionResnetV1  # noqa: E402
from pytorchcv.models.inceptionresnetv1 import inceptionresnetv1  # noqa: E402
from pytorchcv.models.inceptionresnetv2 import inceptionresnetv2  # noqa: E402
from pytorchcv.models.inceptionv4 import inceptionv4  # noqa: E402

# timm.models has functions of the same names.
timm_v4 = importlib.import_module("timm.models.inception_v4")
timm_resnet_v2 = importlib.import_module("timm.models.inception_resnet_v2")

LIMIT = 1e-13  # measured: bit-identical, but for facenet's bottleneck, a dense layer there: 2e-15
CLASSES = 10
SIZES = [(75, 96), (107, 108)]

slow = pytest.mark.slow


def error(found, other):
    return np.linalg.norm(found - other) / np.linalg.norm(other)


def images(height, width, batch=2):
    return np.random.default_rng(1).uniform(-1.0, 1.0, (batch, 3, height, width))


@functools.lru_cache(maxsize=1)  # its arrays take up to half a gigabyte
def trained_like(name, *settings):
    """Return (all options, arrays) of a network whose statistics fit what it computes."""
    options = catalogue.network(name).resolve({"num_classes": CLASSES, **dict(settings)})
    net = catalogue.network(name).build("inception_pt", options).double()
    arrays = {k: a.astype(np.float64) for k, a in seeding.seeded(name, options, 1).arrays.items()}
    rng = np.random.default_rng(2)
    for key, array in arrays.items():
        if key.endswith("norm.weight"):
            arrays[key] = rng.uniform(0.5, 1.5, array.shape)
        elif key.endswith("bias"):
            arrays[key] = rng.normal(0.0, 0.3, array.shape)
    inception_pt.set_weights(net, arrays)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0  # the batch's own statistics
    with torch.no_grad():
        net.train()(torch.from_numpy(images(107, 107, batch=8)))
    for key, array in inception_pt.get_weights(net).items():
        if key.endswith("running_mean"):
            deviation = np.sqrt(net.get_buffer(key.replace("mean", "var")).numpy())
            arrays[key] = array + 0.1 * deviation * rng.normal(size=array.shape)
        elif key.endswith("running_var"):
            arrays[key] = array * rng.uniform(0.8, 1.25, array.shape)
    return options, arrays


def ours_in_torch(name, *settings):
    options, arrays = trained_like(name, *settings)
    net = catalogue.network(name).build("inception_pt", options).double().eval()
    inception_pt.set_weights(net, arrays)
    return net


def load_in_order(net, arrays):
    """Load our arrays into a network whose layers are defined in the same order."""
    net = net.double().eval()  # before it is given arrays of float64
    state = {k: v for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}
    for (theirs, old), (ours, array) in zip(state.items(), arrays.items(), strict=True):
        assert theirs.rpartition(".")[2] == ours.rpartition(".")[2], (theirs, ours)
        dense = array[:, :, 0, 0] if ours == "Bottleneck.conv.weight" else array
        assert tuple(old.shape) == dense.shape, (theirs, ours)
        state[theirs] = torch.from_numpy(dense)
    net.load_state_dict(state, strict=False)
    return net


def run_torch(net, paths, x):
    """Return the results, and {path: output} of the modules named."""
    seen = {}
    for path in paths:
        net.get_submodule(path).register_forward_hook(
            lambda _, __, y, path=path: seen.update({path: y.detach().clone().numpy()})
        )
    with torch.no_grad():
        return net(torch.from_numpy(x)).numpy(), seen


def lettered(number, first, last):
    return [f"Mixed_{number}{letter}" for letter in string.ascii_lowercase[first : last + 1]]


V4_STEM = ["Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", *lettered(3, 0, 0)]
V4_STEM += [*lettered(4, 0, 0), *lettered(5, 0, 0)]
V4_BLOCKS = [lettered(5, 1, 4), lettered(6, 0, 7), lettered(7, 0, 3)]
STEM = ["Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "MaxPool_3a_3x3"]
STEM += ["Conv2d_3b_1x1", "Conv2d_4a_3x3"]


def repeats(first, second, third):
    """Return the blocks of a residual network by grid."""
    return [
        [f"Repeat.{i}" for i in range(first)],
        ["Mixed_6a", *(f"Repeat_1.{i}" for i in range(second))],
        ["Mixed_7a", *(f"Repeat_2.{i}" for i in range(third)), "Block8"],
    ]


def units(stem, blocks):
    """Return {our path: pytorchcv's}, whose units are numbered within a stage, for one grid."""
    return {stem: "features.init_block"} | {
        ours: f"features.stage{stage}.unit{unit}"
        for stage, names in enumerate(blocks, start=1)
        for unit, ours in enumerate(names, start=1)
    }


def pytorchcvs(make):
    """Return pytorchcv's network, with a last pool for any grid instead of 8 x 8 only."""
    net = make(num_classes=CLASSES)
    net.features.final_pool = torch.nn.AdaptiveAvgPool2d(1)
    return net


def facenets(classes=CLASSES):
    return InceptionResnetV1(classify=True, num_classes=classes)


NO_HEAD = (("use_aux", False),)
BOTTLENECK = (("bottleneck", True),)
V4_IN_TIMM = {
    path: f"features.{i}" for i, path in enumerate([*V4_STEM, *(p for b in V4_BLOCKS for p in b)])
}
RESNET_V1 = repeats(5, 10, 5)
RESNET_V2 = repeats(10, 20, 9)
LOWER_CASE = {
    path: path.lower().replace("_3x3", "").replace("_1x1", "")
    for path in (*STEM, "MaxPool_5a_3x3", "Mixed_5b", *(p for b in RESNET_V2 for p in b))
} | {"Conv2d_7b_1x1": "conv2d_7b"}
FACENETS = {
    path: path.lower().replace("_3x3", "").replace("_1x1", "") for path in (*STEM, "Conv2d_4b_3x3")
} | {
    path: path.replace("Repeat_2", "repeat_3")
    .replace("Repeat_1", "repeat_2")
    .replace("Repeat", "repeat_1")
    .lower()
    for path in (p for b in RESNET_V1 for p in b)
}

# name: our network, its options, theirs, {our path: theirs}.
PAIRS = {
    "timm v4": (
        *("inception_v4", NO_HEAD),
        lambda: timm_v4.InceptionV4(num_classes=CLASSES),
        V4_IN_TIMM,
    ),
    "pytorchcv v4": (
        *("inception_v4", NO_HEAD),
        lambda: pytorchcvs(inceptionv4),
        units("Mixed_5a", V4_BLOCKS),
    ),
    "facenet v1": ("inception_resnet_v1", BOTTLENECK, facenets, FACENETS),
    "pytorchcv v1": (
        *("inception_resnet_v1", BOTTLENECK),
        lambda: pytorchcvs(inceptionresnetv1),
        units("Conv2d_4b_3x3", RESNET_V1),
    ),
    "timm v2": (
        *("inception_resnet_v2", NO_HEAD),
        lambda: timm_resnet_v2.InceptionResnetV2(num_classes=CLASSES),
        LOWER_CASE,
    ),
    "pytorchcv v2": (
        *("inception_resnet_v2", NO_HEAD),
        lambda: pytorchcvs(inceptionresnetv2),
        units("Mixed_5b", RESNET_V2) | {"Conv2d_7b_1x1": "features.final_conv"},
    ),
}


@slow
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("pair", PAIRS)
def test_every_stage_is_that_of_another_implementation(pair, size):
    name, settings, make, paths = PAIRS[pair]
    theirs = load_in_order(make(), trained_like(name, *settings)[1])
    x = images(*size)
    logits, found = run_torch(ours_in_torch(name, *settings), paths, x)
    expected_logits, seen = run_torch(theirs, paths.values(), x)
    assert found.keys() == paths.keys()
    for ours, other in paths.items():
        assert error(found[ours], seen[other]) <= LIMIT, ours
    assert error(logits, expected_logits) <= LIMIT


# Our block, its arguments, theirs, channels of the input: what a quick run compares of timm.
BLOCKS = [
    (inception_pt.Mixed3a, (64,), timm_v4.Mixed3a, 64),
    (inception_pt.Mixed4a, (160,), timm_v4.Mixed4a, 160),
    (inception_pt.Mixed5a, (192,), timm_v4.Mixed5a, 192),
    (inception_pt.InceptionV4A, (384,), timm_v4.InceptionA, 384),
    (inception_pt.ReductionA, (384, 384, (192, 224, 256)), timm_v4.ReductionA, 384),
    (inception_pt.InceptionV4B, (1024,), timm_v4.InceptionB, 1024),
    (inception_pt.ReductionB, (1024,), timm_v4.ReductionB, 1024),
    (inception_pt.InceptionV4C, (1536,), timm_v4.InceptionC, 1536),
    (inception_pt.Mixed5b, (192,), timm_resnet_v2.Mixed_5b, 192),
    (inception_pt.Block35, (320, 32, (32, 32), (32, 48, 64), 0.17),
     lambda c: timm_resnet_v2.Block35(0.17, c), 320),
    (inception_pt.Block17, (1088, 192, (128, 160, 192), 0.1),
     lambda c: timm_resnet_v2.Block17(0.1, c), 1088),
    (inception_pt.Block8, (2080, 192, (192, 224, 256), 0.2),
     lambda c: timm_resnet_v2.Block8(0.2, False, c), 2080),
    (inception_pt.Block8, (2080, 192, (192, 224, 256), 1.0, False),
     lambda c: timm_resnet_v2.Block8(1.0, True, c), 2080),
    (inception_pt.ResNetReductionB, (1088, (256, 384), (256, 288), (256, 288, 320)),
     timm_resnet_v2.Mixed_7a, 1088),
]  # fmt: skip


@pytest.mark.parametrize(
    ("ours", "args", "theirs", "channels"), BLOCKS, ids=[block[0].__name__ for block in BLOCKS]
)
def test_block_is_timms(ours, args, theirs, channels):
    conv = functools.partial(
        timm_v4.ConvNormAct, padding=0, norm_kwargs={"eps": 1e-3}, act_kwargs={"inplace": True}
    )
    one = ours(*args).double().eval()
    rng = np.random.default_rng(3)
    arrays = {
        key: rng.uniform(0.5, 1.5, a.shape) if "norm" in key else rng.normal(0.0, 0.05, a.shape)
        for key, a in inception_pt.get_weights(one).items()
    }
    inception_pt.set_weights(one, arrays)
    other = load_in_order(theirs(conv), arrays)
    x = torch.from_numpy(rng.uniform(0.0, 1.0, (2, channels, 9, 8)))  # as from a ReLU
    with torch.no_grad():
        found, seen = one(x), other(x)
    assert (found < 0).any() == (args[-1] is False)  # only the last block has no ReLU
    assert error(found.numpy(), seen.numpy()) <= LIMIT


@pytest.mark.parametrize(
    ("name", "options", "make"),
    [
        pytest.param("inception_v4", {"use_aux": False}, timm_v4.InceptionV4, id="timm-v4"),
        pytest.param("inception_v4", {"use_aux": False}, inceptionv4, id="pytorchcv-v4"),
        pytest.param(
            "inception_resnet_v1",
            {"bottleneck": True},
            functools.partial(facenets, 1000),
            id="facenet-v1",
        ),
        pytest.param(
            "inception_resnet_v1", {"bottleneck": True}, inceptionresnetv1, id="pytorchcv-v1"
        ),
        pytest.param(
            "inception_resnet_v2",
            {"use_aux": False},
            timm_resnet_v2.InceptionResnetV2,
            id="timm-v2",
        ),
        pytest.param(
            "inception_resnet_v2", {"use_aux": False}, inceptionresnetv2, id="pytorchcv-v2"
        ),
    ],
)
def test_parameters_are_those_of_another_implementation(name, options, make):
    with torch.device("meta"):
        parameters = sum(p.numel() for p in make().parameters())
    assert (name, options, parameters) in expected.PARAMETERS


KERAS_STAGES = {
    "Mixed_5b": "mixed_5b",
    **{f"Repeat.{i}": f"block35_{i + 1}_ac" for i in range(10)},
    "Mixed_6a": "mixed_6a",
    **{f"Repeat_1.{i}": f"block17_{i + 1}_ac" for i in range(20)},
    "Mixed_7a": "mixed_7a",
    **{f"Repeat_2.{i}": f"block8_{i + 1}_ac" for i in range(9)},
    "Conv2d_7b_1x1": "conv_7b_ac",
}


def load_keras(net, arrays):
    """Load our arrays into Keras' network, whose nameless layers are numbered as it makes them."""

    def numbered(kind):
        found = {
            int(layer.name.removeprefix(kind).strip("_") or 0): layer
            for layer in net.layers
            if layer.name.removeprefix(kind).strip("_").isdigit() or layer.name == kind
        }
        return [found[number] for number in sorted(found)]

    projections = {
        f"{ours}.projection.conv.": theirs.replace("_ac", "_conv")
        for ours, theirs in {**KERAS_STAGES, "Block8": "block8_10_ac"}.items()
        if theirs.startswith("block")
    }
    named = projections | {
        "Conv2d_7b_1x1.conv.": "conv_7b",
        "Conv2d_7b_1x1.norm.": "conv_7b_bn",
        "fc.": "predictions",
    }
    layers = dict.fromkeys(key.rpartition(".")[0] + "." for key in arrays)
    for kind, suffix in (("conv2d", ".conv."), ("batch_normalization", ".norm.")):
        ours = [name for name in layers if name.endswith(suffix) and name not in named]
        layers.update(zip(ours, numbered(kind), strict=True))
    layers.update({ours: net.get_layer(theirs) for ours, theirs in named.items()})
    for name, layer in layers.items():
        values = [a for key, a in arrays.items() if key.rpartition(".")[0] + "." == name]
        axes = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}
        layer.set_weights([value.transpose(axes[value.ndim]) for value in values])


@slow  # both networks in Keras
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_inception_resnet_v2_is_keras(float64_in_keras, size):
    options, arrays = trained_like("inception_resnet_v2", *NO_HEAD, ("bn_scale", False))
    ours = inception_tf.InceptionResNetV2(**options)
    inception_tf.set_weights(ours, arrays)
    theirs = keras.applications.InceptionResNetV2(
        weights=None, classifier_activation=None, input_shape=(*size, 3), classes=CLASSES
    )
    load_keras(theirs, arrays)
    x = np.moveaxis(images(*size), 1, -1)
    taps = [ours.get_layer(name).output for name in KERAS_STAGES]
    *found, logits = keras.Model(ours.input, [*taps, ours.output])(x)
    taps = [theirs.get_layer(name).output for name in KERAS_STAGES.values()]
    *seen, expected_logits = keras.Model(theirs.input, [*taps, theirs.output])(x)
    for name, one, other in zip(KERAS_STAGES, found, seen, strict=True):
        assert error(one.numpy(), other.numpy()) <= LIMIT, name
    assert error(logits.numpy(), expected_logits.numpy()) <= LIMIT


@slow  # Keras' network
def test_parameters_with_statistics_are_keras():
    net = keras.applications.InceptionResNetV2(weights=None)
    options = {"use_aux": False, "bn_scale": False}
    total = ("inception_resnet_v2", options, net.count_params())
    assert total in expected.PARAMETERS_WITH_STATISTICS
