"""Pools, response norm and resize compared with PyTorch's own, in float64, at 64 sizes."""

import keras
import numpy as np
import pytest
import torch
import torch.nn.functional as F

import inception_mx.layers
import inception_mx.pools
import inception_np.layers
import inception_np.pools
import inception_pt.layers
import inception_pt.pools
import inception_tf.layers
import inception_tf.pools
from inception_mx._mxnet import mxnet

SIZES = range(1, 65)
PACKAGES = ("np", "pt", "tf", "mx", "mx-hybrid")
MODULES = {
    "np": (inception_np.pools, inception_np.layers),
    "pt": (inception_pt.pools, inception_pt.layers),
    "tf": (inception_tf.pools, inception_tf.layers),
    "mx": (inception_mx.pools, inception_mx.layers),
}


def make(package, name, *args, **kwargs):
    """Return the layer `name` of a package as a function of float64 (N, C, H, W) arrays."""
    short = package.removesuffix("-hybrid")
    module = next(m for m in MODULES[short] if hasattr(m, name))
    if short == "tf":
        kwargs["dtype"] = "float64"
    layer = getattr(module, name)(*args, **kwargs)
    if short == "mx":
        layer.cast("float64")
    if package == "mx-hybrid":
        layer.hybridize()
    return {
        "np": layer,
        "pt": lambda x: layer(torch.from_numpy(x)).numpy(),
        "tf": lambda x: np.moveaxis(keras.ops.convert_to_numpy(layer(to_nhwc(x))), -1, 1),
        "mx": lambda x: layer(mxnet.np.array(x, dtype="float64")).asnumpy(),
    }[short]


def to_nhwc(x):
    return np.ascontiguousarray(np.moveaxis(x, 1, -1))


def images(size, channels=2):
    # Negative, so that padding with zeros instead of -infinity would win.
    other = size * 7 % 64 + 1
    rng = np.random.default_rng(size)
    return rng.uniform(-2.0, -1.0, (1, channels, size, other))


def compare_with_torch(package, layer, function, tolerance=0.0):
    """Compare `layer` with `function` at all sizes; where one refuses, both must."""
    accepted = 0
    for size in SIZES:
        for x in (images(size), images(size).transpose(0, 1, 3, 2)):
            try:
                expected = function(torch.from_numpy(np.ascontiguousarray(x))).numpy()
            except RuntimeError:
                with pytest.raises((ValueError, RuntimeError, mxnet.MXNetError)):
                    layer(np.ascontiguousarray(x))
                continue
            accepted += 1
            found = layer(np.ascontiguousarray(x))
            assert found.shape == expected.shape, f"{package}: {x.shape} gives {found.shape}"
            assert np.abs(found - expected).max() <= tolerance, f"{package}: {x.shape}"
    assert accepted >= 2 * len(SIZES) - 16


WINDOWS = [  # kernel, stride, padding
    (3, 2, 0),
    (3, 1, 1),
    (3, 2, 1),
    (2, 2, 0),
    (2, 3, 1),
    (5, 3, 0),
    (1, 2, 0),
    ((3, 2), (2, 3), (1, 0)),
]


@pytest.mark.parametrize("ceil_mode", [False, True], ids=["floor", "ceil"])
@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize("package", PACKAGES)
def test_max_pool_is_torchs(package, window, ceil_mode):
    layer = make(package, "MaxPool", *window, ceil_mode=ceil_mode)
    compare_with_torch(package, layer, lambda x: F.max_pool2d(x, *window, ceil_mode=ceil_mode))


@pytest.mark.parametrize("counted", [False, True], ids=["without pad", "with pad"])
@pytest.mark.parametrize("window", [w for w in WINDOWS if w[0] != 1], ids=str)
@pytest.mark.parametrize("package", PACKAGES)
def test_avg_pool_is_torchs(package, window, counted):
    layer = make(package, "AvgPool", *window, count_include_pad=counted)
    compare_with_torch(
        package,
        layer,
        lambda x: F.avg_pool2d(x, *window, count_include_pad=counted),
        tolerance=4e-15,  # measured: 1.1e-15
    )


@pytest.mark.parametrize("output", [1, 4, (2, 7)], ids=str)
@pytest.mark.parametrize("package", PACKAGES)
def test_adaptive_avg_pool_is_torchs(package, output):
    layer = make(package, "AdaptiveAvgPool", output)
    compare_with_torch(
        package, layer, lambda x: F.adaptive_avg_pool2d(x, output), 1e-14
    )  # measured: 2.2e-15


@pytest.mark.parametrize("size", [1, 4, 5])
@pytest.mark.parametrize("package", PACKAGES)
def test_local_response_norm_is_torchs(package, size):
    # Large constants: with the network's alpha, 1e-4, mistakes would be hidden.
    layer = make(package, "LocalResponseNorm", size, 0.7, 0.75, 2.0)
    for channels in SIZES:
        x = np.random.default_rng(channels).normal(size=(2, channels, 3, 2))
        expected = F.local_response_norm(torch.from_numpy(x), size, 0.7, 0.75, 2.0).numpy()
        assert np.abs(layer(x) - expected).max() <= 1e-15, f"{package}: {channels} channels"


@pytest.mark.parametrize(("dtype", "roundoff"), [("bfloat16", 2**-8), ("float16", 2**-11)])
def test_local_response_norm_in_torch_takes_16_bits_on_a_cpu(dtype, roundoff):
    from inception_pt.layers import LocalResponseNorm

    x = torch.from_numpy(images(6)).to(getattr(torch, dtype))
    expected = F.local_response_norm(x.double(), 5, 0.7, 0.75, 2.0)
    found = LocalResponseNorm(5, 0.7, 0.75, 2.0)(x)
    assert found.dtype == x.dtype
    assert ((found.double() - expected).abs() <= 1.01 * roundoff * expected.abs()).all()


@pytest.mark.parametrize("package", PACKAGES)
def test_transform_input_goes_from_imagenets_statistics_to_plus_minus_one(package):
    pixels = np.random.default_rng(0).uniform(size=(2, 3, 4, 5))
    mean = np.reshape([0.485, 0.456, 0.406], (3, 1, 1))
    std = np.reshape([0.229, 0.224, 0.225], (3, 1, 1))
    found = make(package, "TransformInput")((pixels - mean) / std)
    assert np.abs(found - (2 * pixels - 1)).max() <= 1e-15


@pytest.mark.parametrize("package", PACKAGES)
def test_resize_with_half_pixel_centres_is_torchs(package):
    def interpolate(x):
        return F.interpolate(x, (13, 40), mode="bilinear", align_corners=False)

    compare_with_torch(package, make(package, "Resize", (13, 40), True), interpolate, 1e-13)


@pytest.mark.parametrize("package", PACKAGES)
def test_resize_is_tensorflow_1s(package):
    import tensorflow as tf

    layer = make(package, "Resize", (16, 32))  # powers of two: the ratios are exact in float32
    for size in SIZES:
        x = images(size)
        expected = tf.raw_ops.ResizeBilinear(
            images=to_nhwc(x), size=(16, 32), align_corners=False, half_pixel_centers=False
        )
        error = np.abs(layer(x) - np.moveaxis(expected.numpy(), -1, 1)).max()
        assert error <= 2**-21, f"{package}: {x.shape}"  # TensorFlow computes in float32


@pytest.mark.parametrize("package", PACKAGES)
def test_rescale_maps_zero_to_one_to_plus_minus_one(package):
    x = images(9) + 2
    np.testing.assert_array_equal(make(package, "Rescale", 2.0, -1.0)(x), 2 * x - 1)


@pytest.mark.parametrize("name", ["MaxPool", "AvgPool"])
@pytest.mark.parametrize("package", PACKAGES)
def test_pools_refuse_a_window_of_padding(package, name):
    more = {"count_include_pad": True} if name == "AvgPool" else {}
    with pytest.raises(ValueError, match="padding=2, but should be at most half of kernel_size=3"):
        make(package, name, 3, 1, 2, **more)


@pytest.mark.parametrize(
    "name", ["MaxPool", "AvgPool", "AdaptiveAvgPool", "LocalResponseNorm", "Resize", "Flatten"]
)
def test_keras_layers_work_where_height_and_width_are_unknown(name):
    import tensorflow as tf

    arguments = {
        "MaxPool": ((3, 2, 1), {"ceil_mode": True}),
        "AvgPool": ((3, 2, 1), {"count_include_pad": False}),
        "AdaptiveAvgPool": ((4,), {}),
        "LocalResponseNorm": ((5, 1e-4, 0.75, 1.0), {}),
        "Resize": ((7,), {}),
        "Flatten": ((), {}),
    }
    args, kwargs = arguments[name]
    module = next(m for m in MODULES["tf"] if hasattr(m, name))
    layer = getattr(module, name)(*args, **kwargs)
    compiled = tf.function(layer, input_signature=[tf.TensorSpec((None, None, None, 2))])
    for size in (1, 6, 11):
        x = tf.constant(to_nhwc(images(size)), tf.float32)
        np.testing.assert_array_equal(compiled(x), layer(x))
