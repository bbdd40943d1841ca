"""The Keras networks behave like those in `keras.applications`, without being called first."""

from __future__ import annotations

import inspect
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

import inception_tf
from inception_parity.networks import catalogue
from inception_tf.layers import ConvBlock, Flatten, Linear, Sequential
from inception_tf.network import Network
from inception_tf.pools import GlobalAvgPool, MaxPool
from inception_tf.weights import named_layers

LABELS = np.array([0, 3])


class Tiny(Network):
    """A stem, a block, a head on the stem, and a classifier."""

    def __init__(self, in_channels=3, num_classes=4, return_aux=False, **kwargs):
        self.options = {
            "in_channels": in_channels,
            "num_classes": num_classes,
            "return_aux": return_aux,
        }
        self.return_aux = return_aux
        self.stem = Sequential(
            ConvBlock(in_channels, 6, 3, stride=2, batch_norm=True), MaxPool(3, 2, 1)
        )
        self.head = Sequential(GlobalAvgPool(), Flatten(), Linear(6, num_classes))
        self.mixed = inception_tf.Inception(6, 2, (2, 3), (1, 2), 2)
        self.top = Sequential(GlobalAvgPool(), Flatten(), Linear(9, num_classes))
        super().__init__(**kwargs)

    def call(self, x, training=False):
        x = self.stem(x)
        aux = self.head(x) if training or self.return_aux else None
        logits = self.top(self.mixed(x))
        return logits if aux is None else (logits, aux)


def images(size=16, batch=2):
    rng = np.random.default_rng(size)
    return rng.uniform(-1.0, 1.0, (batch, size, size + 3, 3)).astype(np.float32)


QUICK = ("googlenet", "inception_v1")


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(n, marks=[pytest.mark.slow] * (n not in QUICK)) for n in catalogue.NETWORKS
    ],
)
def built(request):
    """Yield (catalogue entry, a network with no option at its default)."""
    info = catalogue.network(request.param)
    other = {"third_kernel": 3, "pool4_kernel": 2, "in_channels": 3}
    changed = {bool: lambda default: not default, int: lambda _: 7, float: lambda _: 0.5}
    options = {
        o.name: other.get(o.name, changed[type(o.default)](o.default))
        for o in info.options
        if o.name != "use_aux"  # False excludes `return_aux`
    }
    return info, info.build("inception_tf", options), info.resolve(options)


def test_every_layer_is_in_the_graph_from_the_start(built):
    info, net, _ = built
    assert net.input.shape == (None, None, None, 3)
    outputs = net.output if isinstance(net.output, tuple) else (net.output,)
    assert [y.shape for y in outputs] == [(None, 7)] * len(info.outputs)
    paths = [path for path, _ in named_layers(net) if path]
    assert [net.get_layer(path).name for path in paths] == paths
    features = keras.Model(net.input, {path: net.get_layer(path).output for path in paths})
    assert len(features.output) == len(paths) > 50


def test_config_gives_the_same_network_back(built):
    """Without `get_config`, Keras would rebuild every network with default options."""
    _, net, options = built
    back = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(net))
    assert type(back) is type(net)
    assert back.options == net.options == options
    assert [w.shape for w in back.weights] == [w.shape for w in net.weights]
    assert back.get_config() == net.get_config()


@pytest.mark.parametrize("return_aux", [False, True])
def test_features_by_name_are_what_the_layers_compute(return_aux):
    net = Tiny(return_aux=return_aux)
    assert [y.shape for y in tf.nest.flatten(net.output)] == [(None, 4)] * (1 + return_aux)
    names = ("stem", "stem.0.conv", "mixed.p3_2.act", "mixed", "head.2")
    features = keras.Model(net.input, [net.get_layer(name).output for name in names])
    for size in (16, 23):
        x = images(size)
        stem = net.stem(x)
        expected = [
            stem,
            net.stem.layers[0].conv(x),
            net.mixed.p3_2(net.mixed.p3_1(stem)),
            net.mixed(stem),
            net.head(stem),
        ]
        for found, value in zip(features(x), expected, strict=True):
            np.testing.assert_array_equal(found, value)


def test_layers_are_found_by_index_and_unknown_ones_named():
    net = Tiny()
    assert net.get_layer(index=1) is net.stem
    with pytest.raises(ValueError, match=r"No such layer: mixed\.p5"):
        net.get_layer("mixed.p5")


def test_summary_shows_shapes(capsys):
    lines = []
    Tiny().summary(print_fn=lines.append)
    text = "\n".join(lines)
    assert "(None, None, None, 9)" in text
    assert "(None, 4)" in text
    assert "?" not in text


def test_network_is_a_layer_of_a_model():
    net, x = Tiny(), keras.Input((20, 20, 3))
    assert [y.shape for y in net(x, training=True)] == [(None, 4)] * 2
    model = keras.Model(x, net(x))
    assert model.output.shape == (None, 4)
    square = images(20)[:, :, :20]
    np.testing.assert_array_equal(model(square), net(square))


@pytest.mark.parametrize("return_aux", [False, True])
def test_export_without_a_call_takes_any_size(return_aux, tmp_path):
    net = Tiny(return_aux=return_aux)
    net.export(tmp_path / "net", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "net")
    for size in (16, 31):
        x = images(size, batch=size)
        for found, expected in zip(
            tf.nest.flatten(loaded.serve(x)), tf.nest.flatten(net(x)), strict=True
        ):
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")
def test_tflite_without_a_call_takes_any_size():
    net = Tiny()
    lite = tf.lite.Interpreter(
        model_content=tf.lite.TFLiteConverter.from_keras_model(net).convert()
    )
    for size in (16, 31):
        x = images(size)
        index = lite.get_input_details()[0]["index"]
        lite.resize_tensor_input(index, x.shape)
        lite.allocate_tensors()
        lite.set_tensor(index, x)
        lite.invoke()
        found = lite.get_tensor(lite.get_output_details()[0]["index"])
        np.testing.assert_allclose(found, net(x), rtol=1e-5, atol=1e-6)


def cross_entropy(logits):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return float(loss(LABELS, logits))


@pytest.mark.parametrize(
    ("loss", "weight"),
    [
        (keras.losses.SparseCategoricalCrossentropy(from_logits=True), 0.3),
        (inception_tf.TrainingLoss(aux_weight=0.5), 0.5),
    ],
    ids=["keras", "ours"],
)
def test_fit_trains_the_heads_too(loss, weight):
    net, x = Tiny(), images()
    logits, aux = net(x, training=True)
    expected = cross_entropy(logits) + weight * cross_entropy(aux)
    before = net.head.layers[2].kernel.numpy()
    net.compile(keras.optimizers.SGD(0.01), loss, metrics=["accuracy"])
    history = net.fit(x, LABELS, verbose=0).history
    assert math.isclose(history["loss"][0], expected, rel_tol=1e-5)
    assert set(history) == {"accuracy", "loss"}
    assert not np.array_equal(net.head.layers[2].kernel, before)
    found = net.evaluate(x, LABELS, verbose=0, return_dict=True)
    assert math.isclose(found["loss"], cross_entropy(net(x)), rel_tol=1e-5)
    np.testing.assert_allclose(net.predict(x, verbose=0), net(x), rtol=1e-5, atol=1e-6)


def test_fit_with_labels_and_losses_for_each_output_is_left_to_keras():
    net, x = Tiny(return_aux=True), images()
    logits, aux = net(x, training=True)
    expected = cross_entropy(logits) + 0.1 * cross_entropy(aux)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile("sgd", [loss, loss], loss_weights=[1.0, 0.1])
    history = net.fit(x, (LABELS, LABELS), verbose=0).history
    assert math.isclose(history["loss"][0], expected, rel_tol=1e-5)


# Every layer class in the package, with no argument at its default.
BLOCKS = {
    "Inception": (6, 1, (2, 3), (4, 5), 6, True),
    "InceptionV1Block": (6, 1, 2, 3, 4, 5, 6, False),
    "CeilInception": (6, 1, 2, 3, 4, 5, 6, 3, 0.5),
    "BNInceptionBlock": (6, 1, (2, 3), (4, 5), 6, False, False, 0.5, True),
    "BNInceptionReduction": (6, (2, 3), (4, 5), True, False, 0.5),
    "InceptionV1Aux": (6, 7, False),
    "CeilInceptionAux": (6, 7, 0.5),
    "InceptionV2Aux": (6, 7),
    "InceptionAux": (6, 7, False, 0.5),
    "InceptionRed": (6, 7, 8),
    "InceptionF5": (6,),
    "InceptionF6": (6, 7),
    "InceptionF7": (6,),
    "InceptionA": (6, 7, True, False, 0.5),
    "InceptionB": (6, False, 0.5),
    "InceptionC": (6, 7, True, False, 0.5),
    "InceptionD": (6, False, 0.5),
    "InceptionE": (6, True, False, 0.5, True),
    "Mixed3a": (6, False, 0.5),
    "Mixed4a": (6, False, 0.5),
    "Mixed5a": (6, False, 0.5),
    "InceptionV4A": (6, True, False, 0.5),
    "ReductionA": (6, 7, (8, 9, 10), False, 0.5),
    "InceptionV4B": (6, True, False, 0.5),
    "ReductionB": (6, False, 0.5),
    "InceptionV4C": (6, True, False, 0.5),
    "Mixed5b": (6, True, False, 0.5),
    "Block35": (6, 7, (8, 9), (1, 2, 3), 0.3, False, 0.5),
    "Block17": (6, 7, (8, 9, 10), 0.3, False, 0.5),
    "Block8": (6, 7, (8, 9, 10), 0.3, False, False, 0.5),
    "ResNetReductionB": (6, (7, 8), (9, 10), (1, 2, 3), False, 0.5),
    "Preprocess": (9, (8, 7), "bicubic", False, (-1.0, 1.0), (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_config_of_a_block_has_its_arguments(name):
    block = getattr(inception_tf, name)
    layer = block(*BLOCKS[name])
    bound = inspect.signature(block.__init__).bind(None, *BLOCKS[name]).arguments
    assert layer.get_config().items() >= {k: v for k, v in bound.items() if k != "self"}.items()
    back = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(back) is block
    assert [w.shape for w in back.weights] == [w.shape for w in layer.weights]


def test_every_block_is_tested():
    found = {name: getattr(inception_tf, name) for name in inception_tf.__all__}
    layers = {n for n, c in found.items() if isinstance(c, type) and issubclass(c, keras.Layer)}
    networks = {network.class_name for network in catalogue.NETWORKS.values()}
    assert layers - networks - {"ConvBlock"} == set(BLOCKS)


@pytest.mark.slow  # saves and builds whole networks
def test_a_network_reloads_with_the_dtype_it_was_saved_with(tmp_path):
    keras.config.set_dtype_policy("float64")
    try:
        net = inception_tf.GoogLeNet(in_channels=3)
    finally:
        keras.config.set_dtype_policy("float32")
    x = images(32).astype("float64")
    net.save(tmp_path / "net.keras")
    back = keras.models.load_model(tmp_path / "net.keras")
    assert {w.dtype for w in back.weights} == {"float64"}
    np.testing.assert_array_equal(back(x), net(x))
    assert keras.config.dtype_policy().name == "float32"


def test_a_dtype_given_to_the_constructor_is_refused_with_the_way_to_set_it():
    with pytest.raises(ValueError, match=r"dtype='float64'.*set_dtype_policy"):
        inception_tf.GoogLeNet(dtype="float64")
