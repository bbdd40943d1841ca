"""Features, layers by name, other classifiers and refused images, alike in every package."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch

import inception_mx
import inception_np
import inception_pt
import inception_tf
from inception_mx._mxnet import mxnet
from inception_parity.backends import adapter
from inception_parity.networks import catalogue
from inception_parity.traces import seeding

from ..support.selection import slow_unless

slow = pytest.mark.slow
QUICK = ("googlenet",)
SIZES = {"googlenet": 33, "inception_v1": 209, "ceil_googlenet": 40, "bn_inception": 63}
NETWORKS = [pytest.param(n, marks=[slow] * (n not in QUICK)) for n in catalogue.NETWORKS]
BACKENDS = ("np", "pt", "tf", "mx")
PACKAGES = {"np": inception_np, "pt": inception_pt, "tf": inception_tf, "mx": inception_mx}
# Of an array's largest value, in float64; the worst of the ten networks was 3.6e-13.
CLOSE = 1e-11

backends = pytest.mark.parametrize("name", BACKENDS)
frameworks = pytest.mark.parametrize("name", BACKENDS[1:])


def options_of(network, **settings):
    given = {"in_channels": 3, "num_classes": 5, **settings}
    return catalogue.network(network).resolve(given)


@functools.lru_cache(maxsize=2)
def arrays(network, items):
    return seeding.seeded(network, dict(items), 0).arrays


def build(name, network, **settings):
    """Return a backend and a network with seeded weights in float64."""
    backend, options = adapter(name), options_of(network, **settings)
    net = backend.build(catalogue.network(network), options, "float64")
    backend.set_weights(net, arrays(network, tuple(options.items())))
    return backend, net


def images(network):
    size = SIZES.get(network, 80)
    return np.random.default_rng(0).uniform(-1.0, 1.0, (2, 3, size, size + 1))


def shared(backend, outputs):
    return [np.array(backend.to_shared(y)) for y in outputs]


def assert_close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=CLOSE * np.abs(expected).max())


@pytest.mark.parametrize("network", NETWORKS)
def test_features_have_the_same_meaning_in_every_package(network):
    found = {}
    for name in BACKENDS:
        backend, net = build(name, network)
        x = backend.to_native(images(network), "float64")
        pooled, grid, logits = net.features(x), net.features(x, pooled=False), net(x)
        assert [tuple(pooled.shape), tuple(logits.shape)] == [(2, net.num_features), (2, 5)]
        found[name] = shared(backend, (pooled, grid, logits))
        same = net.endpoints(x, [net.pooled_layer, net.grid_layer])
        assert list(same) == [net.pooled_layer, net.grid_layer]
        for one, other in zip(shared(backend, same.values()), found[name], strict=False):
            np.testing.assert_array_equal(one, other)
    mean = found["np"][1].mean(axis=(2, 3))
    assert_close(mean, found["np"][0])
    for name in BACKENDS[1:]:
        for one, other in zip(found[name], found["np"], strict=True):
            assert_close(one, other)


@pytest.mark.parametrize("network", NETWORKS)
def test_features_are_what_a_network_without_a_classifier_returns(network):
    for name in BACKENDS:
        backend, net = build(name, network)
        x = backend.to_native(images(network), "float64")
        expected = shared(backend, [net.features(x)])[0]
        weights = PACKAGES[name].get_weights(net)
        assert net.reset_classifier(0) == []
        np.testing.assert_array_equal(shared(backend, [net(x)])[0], expected)
        assert net.options == options_of(network, num_classes=0)
        bare = backend.build(catalogue.network(network), net.options, "float64")
        kept = PACKAGES[name].get_weights(net)
        assert kept.keys() == PACKAGES[name].get_weights(bare).keys() < weights.keys()
        for array, value in kept.items():
            np.testing.assert_array_equal(value, weights[array])
        new = net.reset_classifier(4)
        assert new == [f"{net.classifier}.weight", f"{net.classifier}.bias"]
        assert tuple(net(x).shape) == (2, 4)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_new_classifier_is_the_same_in_every_package(network):
    heads = "use_aux" in options_of(network)
    after = {}
    for name in BACKENDS:
        backend, net = build(name, network)
        before = PACKAGES[name].get_weights(net)
        new = net.reset_classifier(3, seed=7)
        paths = [net.classifier, *(net.head_classifiers if heads else ())]
        assert new == [f"{path}.{array}" for path in paths for array in ("weight", "bias")]
        assert net.options == options_of(network, num_classes=3)
        after[name] = PACKAGES[name].get_weights(net)
        assert list(after[name]) == list(before)
        assert [n for n in before if not np.array_equal(before[n], after[name][n])] == [
            n for n in before if n in new
        ]
        x = backend.to_native(images(network), "float64")
        assert tuple(net(x).shape) == (2, 3)
        fresh = backend.build(catalogue.network(network), net.options, "float64")
        backend.set_weights(fresh, after[name])
        np.testing.assert_array_equal(*shared(backend, (net(x), fresh(x))))
    for name in BACKENDS[1:]:
        for array, value in after["np"].items():
            np.testing.assert_array_equal(after[name][array], value)
    weight = after["np"][new[0]]
    np.testing.assert_array_equal(weight, weight.astype(np.float32))
    bound = weight.shape[1] ** -0.5
    assert 0.9 * bound < np.abs(weight).max() <= bound
    assert abs(weight.mean()) < 0.1 * bound


@pytest.mark.parametrize("network", ["ceil_googlenet", pytest.param("inception_v2", marks=slow)])
@frameworks
def test_heads_have_the_new_classes_in_training(name, network):
    backend, net = build(name, network)
    net.reset_classifier(3)
    x = backend.to_native(images(network), "float64")
    outputs = backend.forward(net, x, training=True)
    expected = [(2, 3)] * len(catalogue.network(network).outputs)
    assert [tuple(y.shape) for y in outputs] == expected


def test_other_seeds_and_other_places_give_other_weights():
    from inception_np.network import drawn

    one = drawn("fc", (3, 4), 0)["weight"]
    for path, seed in (("fc", 1), ("AuxLogits.fc", 0)):
        assert not np.any(drawn(path, (3, 4), seed)["weight"] == one)


@backends
def test_a_negative_number_of_classes_is_refused(name):
    _, net = build(name, "googlenet")
    for wrong in (-1, 2.5, True, None):
        with pytest.raises(ValueError, match="num_classes="):
            net.reset_classifier(wrong)
    assert net.options["num_classes"] == 5


@backends
def test_heads_need_classes(name):
    with pytest.raises(ValueError, match="use_aux=True, but should be False with num_classes=0"):
        PACKAGES[name].CeilGoogLeNet(num_classes=0)


@slow_unless(lambda p: p["name"] in ("np", "pt"), "seconds to build in Keras")
@backends
def test_endpoints_name_what_they_do_not_find(name):
    backend, net = build(name, "ceil_googlenet")
    x = backend.to_native(images("ceil_googlenet"), "float64")
    with pytest.raises(ValueError, match=r"no layer at 'sec9', ''; paths are like transform|sec0"):
        net.endpoints(x, ["sec0", "sec9", ""])
    with pytest.raises(ValueError, match=r"h0\.fc: doesn't run; heads do with return_aux=True"):
        net.endpoints(x, ["sec0", "h0.fc"])
    _, net = build(name, "ceil_googlenet", return_aux=True)
    assert tuple(net.endpoints(x, ["h0.fc"])["h0.fc"].shape) == (2, 5)


def test_gluon_features_of_a_traced_network_are_the_same():
    backend, net = build("mx", "ceil_googlenet")
    x = backend.to_native(images("ceil_googlenet"), "float64")
    names = ["sec0.0.conv", "sec3", "flatten"]
    before = shared(backend, net.endpoints(x, names).values())
    net.hybridize()
    logits = net(x)
    for one, other in zip(before, shared(backend, net.endpoints(x, names).values()), strict=True):
        np.testing.assert_array_equal(one, other)
    assert net._active
    np.testing.assert_array_equal(*shared(backend, (net(x), logits)))
    net.reset_classifier(3)
    assert net(x).shape == (2, 3)


def test_keras_features_are_those_of_a_symbolic_input_too():
    net = inception_tf.CeilGoogLeNet(num_classes=5)
    x = keras.Input((40, 41, 3))
    model = keras.Model(x, keras.layers.Dense(2)(net.features(x)))
    assert model.output.shape == (None, 2)
    array = images("ceil_googlenet").transpose(0, 2, 3, 1)[:, :, :41].astype("float32")
    expected = model.layers[-1](net.features(array))
    np.testing.assert_array_equal(model(array), expected)


@pytest.mark.slow  # fits, saves and exports a whole network
def test_keras_files_hold_an_exchanged_classifier(tmp_path):
    net = inception_tf.CeilGoogLeNet(num_classes=5)
    net.reset_classifier(3)
    x = images("ceil_googlenet").transpose(0, 2, 3, 1).astype("float32")
    assert net.output.shape == (None, 3)
    assert net.get_layer("h0.fc.3").output.shape == (None, 3)
    assert net.count_params() == inception_tf.CeilGoogLeNet(num_classes=3).count_params()
    net.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    before = [keras.ops.convert_to_numpy(w) for w in net.trainable_weights]
    net.fit(x, np.array([0, 2]), verbose=0)
    after = [keras.ops.convert_to_numpy(w) for w in net.trainable_weights]
    assert len(after) == len(before)
    assert not any(np.array_equal(a, b) for a, b in zip(after, before, strict=True) if a.ndim > 1)
    net.save(tmp_path / "net.keras")
    back = keras.models.load_model(tmp_path / "net.keras")
    np.testing.assert_array_equal(back(x), net(x))
    net.save_weights(tmp_path / "net.weights.h5")
    fresh = inception_tf.CeilGoogLeNet(num_classes=3)
    fresh.load_weights(tmp_path / "net.weights.h5")
    np.testing.assert_array_equal(fresh(x), net(x))
    net.export(tmp_path / "saved", verbose=False)
    saved = tf.saved_model.load(tmp_path / "saved")
    np.testing.assert_allclose(saved.serve(x), net(x), rtol=1e-5, atol=1e-6)


def test_a_torch_state_dict_holds_an_exchanged_classifier():
    net = inception_pt.CeilGoogLeNet(num_classes=5).eval()
    net.reset_classifier(3)
    fresh = inception_pt.CeilGoogLeNet(num_classes=3).eval()
    fresh.load_state_dict(net.state_dict())
    x = torch.from_numpy(images("ceil_googlenet")).float()
    torch.testing.assert_close(fresh(x), net(x), rtol=0.0, atol=0.0)


def test_a_gluon_file_holds_an_exchanged_classifier(tmp_path):
    _, net = build("mx", "ceil_googlenet")
    net.reset_classifier(3)
    net.save_parameters(str(tmp_path / "net.params"))
    fresh = inception_mx.CeilGoogLeNet(num_classes=3)
    fresh.load_parameters(str(tmp_path / "net.params"), cast_dtype=True, dtype_source="saved")
    x = mxnet.np.array(images("ceil_googlenet"), dtype="float64")
    np.testing.assert_array_equal(fresh(x).asnumpy(), net(x).asnumpy())


BYTES = {
    "np": lambda x: x,
    "pt": torch.from_numpy,
    "tf": lambda x: tf.constant(x.transpose(0, 2, 3, 1)),
    "mx": lambda x: mxnet.np.array(x, dtype=x.dtype),
}


@slow_unless(
    lambda p: p["network"] == "googlenet" or p["name"] in ("np", "pt"), "seconds to build in Keras"
)
@pytest.mark.parametrize("dtype", ["uint8", "int32"])
@pytest.mark.parametrize(
    ("network", "settings", "how"),
    [
        ("googlenet", {}, r"mostly pixels / 127\.5 - 1, from -1 to 1"),
        (
            "ceil_googlenet",
            {"transform_input": True},
            r"\(pixels / 255 - mean\) / std with mean",
        ),
        pytest.param("fid_inception", {}, r"pixels / 255 as in pytorch-fid", marks=slow),
    ],
)
@backends
def test_whole_numbers_are_refused_with_the_preprocessing_to_use(
    name, network, settings, how, dtype
):
    _, net = build(name, network, **settings)
    x = BYTES[name]((images(network) * 100 + 100).astype(dtype))
    with pytest.raises(TypeError, match=f"images of dtype (torch.)?{dtype}, but should be .*{how}"):
        net(x)
    with pytest.raises(TypeError, match="preprocessed"):
        net.features(x)


def test_keras_refuses_whole_numbers_wherever_they_are_given():
    net = inception_tf.GoogLeNet(in_channels=3)
    x = (images("googlenet") * 100 + 100).astype("uint8").transpose(0, 2, 3, 1)
    net.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    for give in (net, net.predict, lambda x: net.fit(x, np.array([0, 1]), verbose=0)):
        with pytest.raises(TypeError, match="images of dtype uint8"):
            give(x)
    with pytest.raises(TypeError, match="images of dtype uint8"):
        net(keras.Input((32, 32, 3), dtype="uint8"))


def test_gluon_refuses_whole_numbers_when_traced():
    _, net = build("mx", "googlenet")
    net.hybridize()
    with pytest.raises(TypeError, match="images of dtype uint8"):
        net(mxnet.np.zeros((1, 3, 32, 32), dtype="uint8"))
