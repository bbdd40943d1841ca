"""Libraries' own networks: our tables have their names and shapes, and they verify files."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch

from inception_parity import libraries
from inception_parity.backends.libraries.torchvision import models
from inception_parity.conversion import converting
from inception_parity.conversion.identifying import identify
from inception_parity.libraries import keras as keras_names
from inception_parity.networks import catalogue
from inception_parity.traces import seeding, weights

from ..support.command import call

models()  # timm, facenet-pytorch, pytorch-fid and pytorchcv import torchvision, which needs help

import timm  # noqa: E402
from facenet_pytorch import InceptionResnetV1  # noqa: E402
from pytorch_fid import inception as pytorch_fid  # noqa: E402
from pytorchcv.model_provider import get_model  # noqa: E402


def fids(**_):
    """Return pytorch-fid's network, whose own function would download its weights."""
    net = pytorch_fid._inception_v3(num_classes=1008, aux_logits=False, weights=None)
    net.Mixed_5b = pytorch_fid.FIDInceptionA(192, pool_features=32)
    return net


def makers(library, title):
    return {
        "timm": lambda **options: timm.create_model(title, pretrained=False, **options),
        "pytorchcv": lambda **options: get_model(title, **options),
        "facenet_pytorch": lambda **options: InceptionResnetV1(classify=True, **options),
        "pytorch_fid": fids,
        "torch_fidelity": fids,
    }[library]


CASES = [
    ("timm", "inception_v4"),
    ("timm", "inception_resnet_v2"),
    *[("pytorchcv", network) for network in libraries.library("pytorchcv").networks],
    ("facenet_pytorch", "inception_resnet_v1"),
    ("pytorch_fid", "fid_inception"),
    ("torch_fidelity", "fid_inception"),
]


def options_of(library, network):
    fixed = libraries.library(library).networks[network].fixed
    return catalogue.network(network).resolve({"num_classes": 7, **fixed})


@pytest.mark.parametrize(("library", "network"), CASES)
def test_names_and_shapes_are_those_of_the_librarys_network(library, network):
    info = libraries.library(library)
    with torch.device("meta"):
        net = makers(library, info.networks[network].title)(num_classes=7)
    shapes = weights.shapes(network, options_of(library, network))
    names = info.names(network, shapes)
    ours = {
        names[name]: info.from_shared(network, name, np.broadcast_to(0, shape)).shape
        for name, shape in shapes.items()
    }
    theirs = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
    counters = [name for name in theirs if name.endswith("num_batches_tracked")]
    assert ours == {name: shape for name, shape in theirs.items() if name not in counters}
    modules = dict(net.named_modules())
    for stage in libraries.STAGES[network]:
        path = info.path(network, stage)
        assert path in modules or library == "torch_fidelity", (stage, path)


def test_numbers_in_a_row_are_counted_from_that_in_braces():
    info = libraries.library("pytorchcv")
    path = info.path("inception_resnet_v2", "Repeat_1.19.branch1.2.conv.weight")
    assert path == "features.stage2.unit21.branches.branch2.conv_list.conv3.conv.weight"
    path = libraries.library("keras").path("inception_resnet_v2", "Repeat.9.projection.conv")
    assert path == "block35_10_conv"


@pytest.mark.parametrize("network", keras_names.BLOCKS)
def test_every_convolution_of_keras_has_one_place(network):
    order = keras_names.in_model(network)
    assert sorted(order) == list(range(len(order)))
    shapes = weights.shapes(network, options_of("keras", network))
    assert len(order) == sum(name.endswith("conv.weight") for name in shapes)
    names = keras_names.names(network, list(shapes), None)
    assert len(set(names.values())) == len(shapes)
    assert not any(name.startswith("(no place") for name in names.values())


@pytest.mark.slow  # Keras' network
@pytest.mark.parametrize("suffix", [".weights.h5", ".h5"], ids=["newer", "older"])
def test_keras_inception_resnet_v2_is_read_from_both_kinds_of_file(suffix, tmp_path):
    import keras

    net = keras.applications.InceptionResNetV2(
        weights=None, classifier_activation=None, classes=7, input_shape=(75, 75, 3)
    )
    rng = np.random.default_rng(0)
    for variable in net.weights:
        variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    file = tmp_path / f"r2{suffix}"
    if suffix == ".h5":
        net.save(file)
    else:
        net.save_weights(file)
    found = identify(file)
    assert (found.library, found.network) == ("keras", "inception_resnet_v2")
    arrays = found.arrays()
    assert len(arrays) == 898
    for ours, theirs in (("Repeat.3.projection.conv", "block35_4_conv"), ("fc", "predictions")):
        layer = net.get_layer(theirs)
        axes = (3, 2, 0, 1) if len(layer.kernel.shape) == 4 else (1, 0)
        held = np.asarray(layer.kernel).transpose(axes)
        np.testing.assert_array_equal(arrays[f"{ours}.weight"], held)
        np.testing.assert_array_equal(arrays[f"{ours}.bias"], np.asarray(layer.bias))
    norm = net.get_layer("conv_7b_bn")
    for ours, theirs in (("bias", norm.beta), ("running_mean", norm.moving_mean)):
        np.testing.assert_array_equal(arrays[f"Conv2d_7b_1x1.norm.{ours}"], np.asarray(theirs))


@pytest.mark.slow  # whole networks, in three processes each
@pytest.mark.parametrize(("library", "network"), [*CASES, ("keras", "inception_resnet_v2")])
def test_files_are_verified_by_the_librarys_network(library, network, tmp_path, capsys):
    if library == "torch_fidelity" and importlib.util.find_spec(library) is None:
        pytest.skip("torch-fidelity, an optional library, is not installed")
    info = libraries.library(library)
    shared = seeding.seeded(network, options_of(library, network), 3)
    source = tmp_path / f"source{info.suffixes[0]}"
    converting.write_library(info, shared, source, source)
    target = tmp_path / "shared.safetensors"
    done = call(capsys, "convert", source, target, "--from", library, "--backends", "pt")
    assert done.code == 0, done
    found = weights.read(target)
    assert found.sha256 == shared.sha256
    proof = found.history["verification"]
    assert (proof["status"], proof["against"]) == ("verified", info.title)
    stages = {row["stages"] for row in proof["rows"]}
    assert stages == {len(libraries.STAGES[network]) + 1}  # and the logits
    for row in proof["rows"]:
        if row["dtype"] == "float64":
            # Measured: 1e-15. Images that pytorch-fid resizes differ by 4e-15, of which seeded
            # weights make 1.8e-12.
            resized = library == "pytorch_fid" and row["size"] != [299, 299]
            assert row["worst_rel_l2"] < (1e-11 if resized else 1e-13), row
