"""Each framework used the way its own users do: compiled, exported, saved, trained."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest

from ..support.helpers import images, relative_l2, shared_weights

OPTIONS = {"in_channels": 3, "num_classes": 7, "batch_norm": True}
SHAPE = (2, 3, 40, 33)
plain_and_bn = pytest.mark.parametrize("batch_norm", [False, True], ids=["plain", "bn"])


_shared_nets = {}


class Native:
    """A framework's package, its GoogLeNet with seeded weights, and its own tensors."""

    def __init__(self, adapter):
        import importlib

        self.adapter = adapter
        self.package = importlib.import_module(adapter.package)

    def net(self, batch_norm=True):
        from inception_parity.networks import catalogue

        options = {**OPTIONS, "batch_norm": batch_norm}
        net = self.adapter.build(catalogue.network("googlenet"), options, "float32")
        weights = shared_weights("googlenet", tuple(options.items())).arrays
        self.package.set_weights(net, weights)
        return net

    def shared_net(self):
        """Return the same network each time, for tests that don't modify it."""
        name = self.adapter.name
        if name not in _shared_nets:
            _shared_nets[name] = self.net()
        return _shared_nets[name]

    def tensor(self, shape=SHAPE, seed=0):
        return self.adapter.to_native(images(shape, seed), "float32")

    def statistics(self, net):
        return {n: a for n, a in self.package.get_weights(net).items() if "running" in n}


@pytest.fixture
def pt(load_adapter):
    return Native(load_adapter("pt"))


@pytest.fixture
def tf(load_adapter):
    return Native(load_adapter("tf"))


@pytest.fixture
def mx(load_adapter):
    return Native(load_adapter("mx"))


def assert_equal_weights(found, expected):
    assert list(found) == list(expected)
    assert [n for n in found if found[n].tobytes() != expected[n].tobytes()] == []


def assert_statistics_moved(before, after, images_seen):
    """Every mean and variance has moved; those of the first layer by a tenth of the batch's."""
    assert before.keys() == after.keys()
    assert [n for n in before if np.array_equal(before[n], after[n])] == []
    momentum = 0.1
    for name, batch in images_seen.items():
        expected = (1 - momentum) * before[name] + momentum * batch
        np.testing.assert_allclose(after[name], expected, rtol=1e-4, atol=1e-5)


def first_batch(weights, x):
    """Return the batch mean of the first convolution's output, by the oracle's layer."""
    from inception_np.layers import Conv2d

    conv = Conv2d(3, 64, 7, 2, 3)
    conv.weight[...], conv.bias[...] = weights["b1.0.conv.weight"], weights["b1.0.conv.bias"]
    return {"b1.0.norm.running_mean": conv(x).mean(axis=(0, 2, 3))}


# PyTorch


@pytest.mark.slow  # the compiler
def test_torch_compiled_equals_eager(pt):
    import torch

    if not any(map(shutil.which, ("g++", "clang++", "c++"))):
        pytest.skip("no C++ compiler")
    net, x = pt.net(), pt.tensor()
    with torch.no_grad():
        expected = net(x)
        # One block has every kind of layer except the head's, and compiles in seconds.
        block = torch.compile(net.b3[0])
        x = net.b2(net.b1(x))
        for part in (block, *net.b3[1:], net.b4, net.b5, net.fc):
            x = part(x)
    torch._dynamo.reset()
    assert relative_l2(x.numpy(), expected.numpy()) < 1e-4


@pytest.mark.slow  # traces a whole network
def test_torch_exported_takes_any_batch(pt):
    import torch

    net = pt.shared_net()
    shapes = {"x": {0: torch.export.Dim("batch", min=1)}}
    program = torch.export.export(net, (pt.tensor(),), dynamic_shapes=shapes).module()
    for batch in (2, 5):
        x = pt.tensor((batch, *SHAPE[1:]), seed=batch)
        with torch.no_grad():
            assert relative_l2(program(x).numpy(), net(x).numpy()) < 1e-6


def test_torch_state_dict_is_the_shared_names(pt):
    names = [n for n in pt.shared_net().state_dict() if not n.endswith("num_batches_tracked")]
    assert names == list(shared_weights("googlenet", tuple(OPTIONS.items())).arrays)


def test_torch_state_dict_round_trip_is_exact(pt, tmp_path):
    import torch

    net, fresh = pt.shared_net(), pt.package.GoogLeNet(**OPTIONS).eval()
    torch.save(net.state_dict(), tmp_path / "net.pt")
    fresh.load_state_dict(torch.load(tmp_path / "net.pt", weights_only=True))
    assert_equal_weights(pt.package.get_weights(fresh), pt.package.get_weights(net))
    with torch.no_grad():
        assert torch.equal(fresh(pt.tensor()), net(pt.tensor()))


def test_torch_updates_running_statistics_in_forward(pt):
    net = pt.net()
    weights, before = pt.package.get_weights(net), pt.statistics(net)
    net.train()(pt.tensor())
    assert_statistics_moved(before, pt.statistics(net), first_batch(weights, images(SHAPE)))


def test_torch_refuses_other_channels(pt):
    with pytest.raises(RuntimeError, match=r"to have 3 channels, but got 2 channels"):
        pt.shared_net()(pt.tensor((1, 2, 33, 33)))


# Keras


@pytest.mark.slow  # traces a whole network
def test_keras_eager_equals_function_and_predict(tf):
    import tensorflow

    net, x = tf.shared_net(), tf.tensor()
    eager = net(x, training=False).numpy()
    function = tensorflow.function(lambda x: net(x, training=False))(x).numpy()
    predicted = net.predict(x, verbose=0)
    assert relative_l2(function, eager) < 1e-6
    assert relative_l2(predicted, eager) < 1e-6


@pytest.mark.slow  # traces a whole network
def test_keras_function_takes_unknown_sizes(tf):
    import tensorflow

    net = tf.shared_net()
    unknown = tensorflow.TensorSpec((None, None, None, 3), "float32")
    function = tensorflow.function(lambda x: net(x, training=False), input_signature=[unknown])
    for shape in (SHAPE, (1, 3, 47, 64)):
        x = tf.tensor(shape)
        assert relative_l2(function(x).numpy(), net(x, training=False).numpy()) < 1e-6


def test_keras_config_round_trip(tf):
    net = tf.shared_net()
    fresh = type(net).from_config(net.get_config())
    assert fresh.options == net.options == OPTIONS
    assert fresh.name == net.name
    shapes = [{n: a.shape for n, a in tf.package.get_weights(m).items()} for m in (fresh, net)]
    assert shapes[0] == shapes[1]


def test_keras_block_config_round_trip(tf):
    block = tf.package.Inception(8, 4, (2, 4), (1, 2), 3, batch_norm=True, name="mixed")
    fresh = type(block).from_config(block.get_config())
    assert block.get_config().items() >= {"in_channels": 8, "c3": (1, 2), "name": "mixed"}.items()
    assert fresh.get_config() == block.get_config()
    assert [w.shape for w in fresh.weights] == [w.shape for w in block.weights]


@pytest.mark.slow  # traces a whole network
def test_keras_file_is_exact_with_optimiser_and_statistics(tf, tmp_path):
    import keras

    net = tf.net()
    net.compile(
        optimizer=keras.optimizers.SGD(0.001, momentum=0.9),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        run_eagerly=True,  # building a graph of all its gradients takes long
    )
    labels = np.array([1, 5])
    before = tf.package.get_weights(net)
    net.fit(tf.tensor(), labels, verbose=0)
    trained = tf.package.get_weights(net)
    unmoved = {n for n in trained if np.array_equal(trained[n], before[n])}
    assert {n for n in unmoved if not n.endswith("conv.bias")} == set()  # before batch norm: 0
    net.save(tmp_path / "net.keras")
    loaded = keras.models.load_model(tmp_path / "net.keras")
    assert type(loaded) is type(net)
    assert loaded.options == OPTIONS
    assert_equal_weights(tf.package.get_weights(loaded), trained)
    momenta = [[v.numpy() for v in m.optimizer.variables] for m in (net, loaded)]
    assert len(momenta[0]) == len(momenta[1]) > len(net.trainable_weights)
    for found, expected in zip(momenta[1], momenta[0], strict=True):
        np.testing.assert_array_equal(found, expected)
    x = tf.tensor()
    np.testing.assert_array_equal(loaded(x, training=False), net(x, training=False))


def test_keras_updates_running_statistics_in_forward(tf):
    net = tf.net()
    weights, before = tf.package.get_weights(net), tf.statistics(net)
    net(tf.tensor(), training=True)
    assert_statistics_moved(before, tf.statistics(net), first_batch(weights, images(SHAPE)))


def test_keras_leaves_statistics_alone_in_inference(tf):
    net = tf.shared_net()
    before = tf.statistics(net)
    net(tf.tensor())
    assert_equal_weights(tf.statistics(net), before)


def test_keras_refuses_other_channels_with_both_numbers(tf):
    with pytest.raises(ValueError, match=r"(?s)\b3\b.*\b2\b") as caught:
        tf.shared_net()(tf.tensor((1, 2, 33, 33)))
    assert re.search("channel|axis", str(caught.value))


# MXNet


@plain_and_bn
@pytest.mark.parametrize("static", [False, True])
def test_gluon_hybridized_is_identical(mx, batch_norm, static):
    net, x = mx.net(batch_norm), mx.tensor()
    expected = net(x).asnumpy()
    net.hybridize(static_alloc=static, static_shape=static)
    for _ in range(2):  # the first call traces; the second runs the graph
        np.testing.assert_array_equal(net(x).asnumpy(), expected)


def test_gluon_parameters_round_trip_is_exact(mx, tmp_path):
    net, fresh = mx.shared_net(), mx.package.GoogLeNet(**OPTIONS)
    net.save_parameters(str(tmp_path / "net.params"))
    fresh.load_parameters(str(tmp_path / "net.params"))
    assert_equal_weights(mx.package.get_weights(fresh), mx.package.get_weights(net))
    np.testing.assert_array_equal(fresh(mx.tensor()).asnumpy(), net(mx.tensor()).asnumpy())


def test_gluon_updates_running_statistics_in_backward_only(mx):
    from mxnet import autograd

    net = mx.net()
    weights, before = mx.package.get_weights(net), mx.statistics(net)
    with autograd.record():
        total = net(mx.tensor()).sum()
    assert_equal_weights(mx.statistics(net), before)
    total.backward()
    assert_statistics_moved(before, mx.statistics(net), first_batch(weights, images(SHAPE)))


def test_gluon_refuses_other_channels(mx):
    import mxnet

    net = mx.shared_net()
    with pytest.raises(mxnet.MXNetError, match=r"(?s)\[64,2,7,7\].*\[64,3,7,7\]|3.*2"):
        net(mx.tensor((1, 2, 33, 33))).asnumpy()
