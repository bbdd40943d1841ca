"""Weights for other classes, or without a classifier: read, checked, and the same everywhere."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

import inception_parity
from inception_parity.backends import adapter
from inception_parity.data import images
from inception_parity.errors import InputError
from inception_parity.networks import catalogue
from inception_parity.traces import seeding, weights
from inception_parity.traces.classifiers import for_classes

from ..support.command import call
from ..support.selection import slow_unless

slow = pytest.mark.slow
PHOTOGRAPHS = images.load(images.photographs()[:2], (97, 128), 3)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Return a file of a network with auxiliary heads for 10 classes, and its weights."""
    path = tmp_path_factory.mktemp("weights") / "ceil.safetensors"
    shared = seeding.seeded("ceil_googlenet", {"num_classes": 10}, 0)
    weights.write(path, shared)
    return path, shared


NEW = [
    *("h2.weight", "h2.bias", "h1.fc.3.weight", "h1.fc.3.bias"),
    *("h0.fc.3.weight", "h0.fc.3.bias"),
]


def test_load_pretrained_puts_a_new_classifier_in_place_and_says_so(file, framework):
    path, shared = file
    adapter(framework)  # MXNet's import has warnings of its own
    with pytest.warns(UserWarning, match=r"a new classifier for 3 classes \(seed 4\).*h2\.weight"):
        net = inception_parity.load_pretrained(path, framework, num_classes=3, seed=4)
    held = importlib.import_module(f"inception_{framework}").get_weights(net)
    expected, new = for_classes(shared, 3, 4)
    assert new == NEW
    assert net.options == expected.options == {**shared.options, "num_classes": 3}
    assert held.keys() == shared.arrays.keys()
    for name, array in held.items():
        np.testing.assert_array_equal(array, expected.arrays[name])
        assert np.array_equal(array, shared.arrays[name]) == (name not in new), name
    assert not getattr(net, "training", False)


@slow_unless(lambda p: p["framework"] == "pt", "a whole network in each framework")
def test_load_pretrained_without_a_head_returns_features(file, framework):
    path, shared = file
    net = inception_parity.load_pretrained(path, framework, head=False)
    assert net.options["num_classes"] == 0
    by = adapter(framework)
    x = by.to_native(PHOTOGRAPHS, "float32")
    whole = by.build(catalogue.network("ceil_googlenet"), shared.options, "float32")
    by.set_weights(whole, shared.arrays)
    found, expected = (np.array(by.to_shared(y)) for y in (net(x), whole.features(x)))
    assert found.shape == (2, 1024)
    np.testing.assert_array_equal(found, expected)


def test_the_same_number_of_classes_keeps_the_classifier(file, recwarn):
    path, shared = file
    net = inception_parity.load_pretrained(path, "np", num_classes=10)
    np.testing.assert_array_equal(net.h2.weight, shared.arrays["h2.weight"])
    assert len(recwarn) == 0
    with pytest.raises(InputError, match="num_classes=-2"):
        inception_parity.load_pretrained(path, "np", num_classes=-2)


@slow_unless(lambda p: p["framework"] == "pt", "whole networks, four times in each framework")
def test_a_network_whose_classifier_was_exchanged_is_saved_and_reloaded(file, framework, tmp_path):
    path, _ = file
    net = inception_parity.load(path, framework)
    for classes in (3, 0, 4):
        net.reset_classifier(classes)
        inception_parity.save(net, tmp_path / "w.safetensors")
        back = inception_parity.load(tmp_path / "w.safetensors", framework)
        assert back.options == net.options
        by = adapter(framework)
        x = by.to_native(PHOTOGRAPHS, "float32")
        np.testing.assert_array_equal(*(np.array(by.to_shared(n(x))) for n in (net, back)))
    assert back.options["use_aux"] is False


@slow
def test_shared_weights_without_a_classifier_are_inspected_checked_and_exported(
    file, tmp_path, capsys
):
    _, shared = file
    bare, target = tmp_path / "bare.safetensors", tmp_path / "bare.onnx"
    weights.write(bare, for_classes(shared, 0)[0])
    done = call(capsys, "inspect", bare)
    assert done.code == 0, done
    assert "num_classes=0 use_aux=false" in done.out
    done = call(capsys, "check", "ceil_googlenet", "--weights", bare, "--set", "num_classes=0",
                "--size", "32", "--backends", "pt", "--dtypes", "float64")  # fmt: skip
    assert done.code == 0, done
    done = call(capsys, "convert", bare, target, "--to", "onnx", "--size", "32")
    assert done.code == 0, done
    assert "verified" in done.out


def test_a_library_that_always_has_a_classifier_refuses_weights_without_one(file, tmp_path, capsys):
    _, shared = file
    bare = tmp_path / "bare.safetensors"
    weights.write(bare, for_classes(shared, 0)[0])
    done = call(capsys, "convert", bare, tmp_path / "t.pth", "--to", "torchvision")
    assert done.code == 2
    assert "it always has a classifier" in done.err
    assert not (tmp_path / "t.pth").exists()


def keras_notop(network, path):
    """Write the file of one of Keras' networks without its top; return the network, in float64."""
    import h5py
    import keras
    from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

    from inception_parity.backends.tf import precision

    def made():
        return getattr(keras.applications, network)(
            include_top=False, weights=None, pooling="avg", input_shape=(None, None, 3)
        )

    net, rng = made(), np.random.default_rng(0)
    for variable in net.weights:
        if variable.path.endswith("moving_variance"):
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    if path.name.endswith(".weights.h5"):
        net.save_weights(path)
    else:  # the format of Keras' published files, which save_weights no longer writes
        with h5py.File(path, "w") as file:
            save_weights_to_hdf5_group(file, net)
    with precision("float64"):
        double = made()
    double.set_weights(net.get_weights())
    return net, double


@slow
@pytest.mark.parametrize("suffix", [".weights.h5", ".h5"], ids=["newer", "older"])
@pytest.mark.parametrize(
    ("title", "network"),
    [("InceptionV3", "inception_v3"), ("InceptionResNetV2", "inception_resnet_v2")],
)
def test_a_keras_notop_file_gives_the_same_features_in_torch_and_gluon(
    title, network, suffix, tmp_path, capsys
):
    source, target = tmp_path / f"notop{suffix}", tmp_path / "notop.safetensors"
    theirs, double = keras_notop(title, source)
    done = call(capsys, "convert", source, target, "--backends", "pt")
    assert done.code == 0, done
    assert "num_classes=0" in done.out
    assert ", verified" in done.out
    found = {}
    for name in ("pt", "mx"):
        by = adapter(name)
        shared = weights.read(target)
        for dtype, reference, limit in (("float32", theirs, 2e-6), ("float64", double, 1e-10)):
            net = by.build(catalogue.network(network), shared.options, dtype)
            by.set_weights(net, shared.arrays)
            features = by.to_shared(net.features(by.to_native(PHOTOGRAPHS, dtype)))
            expected = np.asarray(reference(PHOTOGRAPHS.transpose(0, 2, 3, 1).astype(dtype)))
            error = np.linalg.norm(features - expected) / np.linalg.norm(expected)
            found[name, dtype] = error
            assert error <= limit, (name, dtype, error)
    print(network, suffix, {" ".join(k): f"{v:.1e}" for k, v in found.items()})
