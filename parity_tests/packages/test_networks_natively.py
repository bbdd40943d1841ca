"""Each network works natively in its framework: modes, saving, export, hybridization."""

import functools

import keras
import numpy as np
import pytest
import torch

import inception_mx
import inception_pt
import inception_tf
from inception_mx._mxnet import mxnet
from inception_parity.networks import catalogue
from inception_parity.traces import seeding

slow = pytest.mark.slow  # a whole V2 or larger
NETWORKS = [
    "inception_v1",
    "ceil_googlenet",
    "inception_v2",
    *(pytest.param(f"inception_{n}", marks=slow) for n in ("v3", "v4", "resnet_v2")),
]
# Close to the smallest size at which a network's heads run, to save time.
SIZES = {
    "inception_v1": (209, 214),
    "ceil_googlenet": (31, 40),
    "bn_inception": (31, 38),
    "inception_v2": (75, 96),
    "inception_v3": (299, 299),
    "fid_inception": (31, 40),
    "inception_v4": (299, 299),
    "inception_resnet_v1": (75, 96),
    "inception_resnet_v2": (299, 299),
}


def images(name, batch=1):
    rng = np.random.default_rng(0)
    return rng.uniform(-1.0, 1.0, (batch, 3, *SIZES[name])).astype(np.float32)


def build(package, name, **options):
    network = catalogue.network(name)
    options = network.resolve({"num_classes": 10, **options})
    net = network.build(package.__name__, options)
    package.set_weights(net, seeded(name, tuple(options.items())))
    return net


@functools.lru_cache(maxsize=4)
def seeded(name, options):
    return seeding.seeded(name, dict(options), 0).arrays


@pytest.mark.parametrize("name", NETWORKS)
def test_torch_runs_the_heads_in_training_only(name):
    net = build(inception_pt, name)
    x = torch.from_numpy(images(name, batch=2))
    with torch.no_grad():
        assert net.eval()(x).shape == (2, 10)
        assert [tuple(y.shape) for y in net.train()(x)] == [(2, 10)] * len(
            catalogue.network(name).outputs
        )


@slow
@pytest.mark.parametrize("name", ["ceil_googlenet", "inception_v2"])
def test_keras_runs_the_heads_in_training_only(name):
    net = build(inception_tf, name)
    x = np.moveaxis(images(name, batch=2), 1, -1)
    assert net(x).shape == (2, 10)
    mean = next(w for w in net.non_trainable_weights if "moving_mean" in w.path)
    before = keras.ops.convert_to_numpy(mean)
    outputs = net(x, training=True)
    assert [tuple(y.shape) for y in outputs] == [(2, 10)] * len(catalogue.network(name).outputs)
    assert not np.array_equal(before, keras.ops.convert_to_numpy(mean))


@pytest.mark.parametrize("hybridized", [False, True], ids=["imperative", "hybridized"])
@pytest.mark.parametrize("name", ["ceil_googlenet", pytest.param("inception_v2", marks=slow)])
def test_gluon_runs_the_heads_in_training_only(name, hybridized):
    net = build(inception_mx, name)
    if hybridized:
        net.hybridize()
    x = mxnet.np.array(images(name, batch=2))
    count = len(catalogue.network(name).outputs)
    for _ in range(2):  # there and back: a graph traced in one mode must not be used in the other
        assert net(x).shape == (2, 10)
        with mxnet.autograd.record():
            outputs = net(x)
        assert isinstance(outputs, tuple)
        assert [y.shape for y in outputs] == [(2, 10)] * count


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("inception_v1", {"return_aux": True}),
        ("inception_v1", {"lrn": True}),
        ("ceil_googlenet", {"return_aux": True}),
        ("bn_inception", {}),
        pytest.param("inception_v2", {"return_aux": True}, marks=slow),
        pytest.param("inception_v3", {"return_aux": True, "transform_input": True}, marks=slow),
        pytest.param("fid_inception", {"half_pixel_centres": True}, marks=slow),
        pytest.param("inception_v4", {"return_aux": True}, marks=slow),
        pytest.param("inception_resnet_v1", {"bottleneck": True}, marks=slow),
        pytest.param("inception_resnet_v2", {"return_aux": True}, marks=slow),
    ],
    ids=str,
)
def test_gluon_hybridized_gives_the_same_bits(name, options):
    net = build(inception_mx, name, **options)
    x = mxnet.np.array(images(name))
    before = net(x)
    net.hybridize()
    after = net(x)
    before, after = (y if isinstance(y, tuple) else (y,) for y in (before, after))
    for found, expected in zip(after, before, strict=True):
        np.testing.assert_array_equal(found.asnumpy(), expected.asnumpy())


@slow
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("inception_v1", {"lrn": True}),
        ("ceil_googlenet", {"return_aux": True, "third_kernel": 3}),
        ("bn_inception", {"pool_features": 96, "padded_pool": True}),
        ("inception_v2", {}),
        ("inception_v3", {"bn_scale": False, "transform_input": True, "use_aux": False}),
        ("fid_inception", {"half_pixel_centres": True}),
        ("inception_v4", {}),
        ("inception_resnet_v1", {"block8_scale": 0.3}),
        ("inception_resnet_v2", {"last_activation": True}),
    ],
    ids=str,
)
def test_keras_file_gives_the_network_back(name, options, tmp_path):
    net = build(inception_tf, name, **options)
    x = np.moveaxis(images("inception_v2"), 1, -1)
    expected = net(x)
    net.save(tmp_path / "net.keras")
    back = keras.models.load_model(tmp_path / "net.keras")
    assert type(back) is type(net)
    assert back.options == net.options
    found = back(x)
    found, expected = (y if isinstance(y, tuple) else (y,) for y in (found, expected))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@slow
def test_keras_network_runs_where_height_and_width_are_unknown():
    import tensorflow as tf

    net = build(inception_tf, "ceil_googlenet", return_aux=True)
    compiled = tf.function(net, input_signature=[tf.TensorSpec((None, None, None, 3))])
    for size in (75, 96):
        x = np.random.default_rng(0).uniform(-1.0, 1.0, (1, size, 80, 3)).astype(np.float32)
        for one, other in zip(compiled(x), net(x), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ceil_googlenet", {"return_aux": True}),
        pytest.param("inception_v3", {"transform_input": True, "bn_scale": False}, marks=slow),
    ],
    ids=str,
)
def test_torch_exports_the_network(name, options):
    net = build(inception_pt, name, **options).eval()
    x = torch.from_numpy(images("inception_v2"))
    program = torch.export.export(net, (x,))
    with torch.no_grad():
        found, expected = program.module()(x), net(x)
    torch.testing.assert_close(found, expected, rtol=0.0, atol=0.0)
