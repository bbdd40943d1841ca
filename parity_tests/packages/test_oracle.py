"""The oracle's layers compared with loops that spell out each formula, index by index."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inception_np import ConvBlock, GoogLeNet, Inception
from inception_np.googlenet import Concat, Flatten, GlobalAvgPool, Linear, MaxPool, Module
from inception_np.layers import BatchNorm2d, Conv2d, ReLU

SHORT = settings(max_examples=40, deadline=None, derandomize=True, database=None)


def values(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def slow_windows(height, width, kernel, stride, padding):
    """Yield (output row, output column, [(row, column, i, j) of each place in the window])."""
    rows = range(-padding[0], height + padding[0] - kernel[0] + 1, stride[0])
    columns = range(-padding[1], width + padding[1] - kernel[1] + 1, stride[1])
    for (out_row, top), (out_column, left) in itertools.product(
        enumerate(rows), enumerate(columns)
    ):
        places = [
            (top + i, left + j, i, j)
            for i in range(kernel[0])
            for j in range(kernel[1])
            if 0 <= top + i < height and 0 <= left + j < width
        ]
        yield out_row, out_column, places


def slow_size(size, kernel, stride, padding):
    return tuple(
        (s + 2 * p - k) // d + 1 for s, k, d, p in zip(size, kernel, stride, padding, strict=True)
    )


def slow_conv(x, weight, bias, stride, padding):
    n, _, height, width = x.shape
    out, channels, *kernel = weight.shape
    y = np.zeros((n, out, *slow_size((height, width), kernel, stride, padding)))
    for image, o in itertools.product(range(n), range(out)):
        for row, column, places in slow_windows(height, width, kernel, stride, padding):
            products = [
                float(weight[o, c, i, j]) * float(x[image, c, r, s])
                for c in range(channels)
                for r, s, i, j in places
            ]
            y[image, o, row, column] = math.fsum(products) + bias[o]
    return y


def slow_max_pool(x, kernel, stride, padding):
    n, channels, height, width = x.shape
    y = np.zeros((n, channels, *slow_size((height, width), kernel, stride, padding)))
    for image, c in itertools.product(range(n), range(channels)):
        for row, column, places in slow_windows(height, width, kernel, stride, padding):
            y[image, c, row, column] = max(x[image, c, r, s] for r, s, _, _ in places)
    return y


pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
paddings = st.tuples(st.integers(0, 2), st.integers(0, 2))
sizes = st.tuples(st.integers(3, 7), st.integers(3, 7))


@SHORT
@given(kernel=pairs, stride=pairs, padding=paddings, size=sizes, bias=st.booleans())
def test_convolution_equals_the_loops(kernel, stride, padding, size, bias):
    layer = Conv2d(2, 3, kernel, stride, padding, bias)
    layer.weight[...] = values(3, 2, *kernel)
    shift = np.zeros(3)
    if bias:
        layer.bias[...] = shift = values(3, seed=1)
    x = values(2, 2, *size, seed=2)
    expected = slow_conv(x, layer.weight, shift, stride, padding)
    np.testing.assert_allclose(layer(x), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [((7, 7), (2, 2), (3, 3)), ((1, 5), (1, 1), (0, 2))]
)
def test_convolution_with_a_large_window_equals_the_loops(kernel, stride, padding):
    layer = Conv2d(1, 2, kernel, stride, padding)
    layer.weight[...] = values(2, 1, *kernel)
    x = values(1, 1, 10, 8, seed=2)
    expected = slow_conv(x, layer.weight, np.zeros(2), stride, padding)
    np.testing.assert_allclose(layer(x), expected, rtol=0, atol=1e-14)


def test_convolution_does_not_flip_the_kernel():
    layer = Conv2d(1, 1, (1, 2))
    layer.weight[...] = [[[[1.0, 10.0]]]]
    assert layer(np.array([[[[1.0, 2.0, 3.0]]]])).tolist() == [[[[21.0, 32.0]]]]


@SHORT
@given(kernel=pairs, stride=pairs, size=sizes, data=st.data())
def test_max_pool_equals_the_loops(kernel, stride, size, data):
    # A window that lies entirely in the padding has no maximum.
    padding = tuple(data.draw(st.integers(0, k // 2)) for k in kernel)
    x = values(2, 2, *size)
    found = MaxPool(kernel, stride, padding)(x)
    np.testing.assert_array_equal(found, slow_max_pool(x, kernel, stride, padding))


def test_max_pool_never_takes_the_padding():
    x = -1.0 - np.arange(20.0).reshape(1, 1, 4, 5)
    found = MaxPool(3, stride=2, padding=1)(x)
    assert found.tolist() == [[[[-1.0, -2.0, -4.0], [-6.0, -7.0, -9.0]]]]


def test_batch_norm_equals_the_formula():
    layer = BatchNorm2d(3, eps=0.25)
    layer.weight[...], layer.bias[...] = [1.0, 2.0, -3.0], [0.5, -0.5, 0.0]
    layer.running_mean[...], layer.running_var[...] = [1.0, 0.0, -2.0], [0.0, 2.0, 6.0]
    x = values(2, 3, 4, 5)
    found = layer(x)
    for n, c, i, j in np.ndindex(x.shape):
        root = math.sqrt(layer.running_var[c] + 0.25)
        y = (x[n, c, i, j] - layer.running_mean[c]) / root * layer.weight[c] + layer.bias[c]
        assert found[n, c, i, j] == pytest.approx(y, rel=1e-14, abs=1e-15)


def test_relu_equals_the_formula():
    x = np.array([-2.0, -0.0, 0.0, 1e-300, 3.0])
    assert ReLU()(x).tolist() == [0.0, 0.0, 0.0, 1e-300, 3.0]


def test_global_average_pool_equals_the_loops():
    x = values(2, 3, 4, 5)
    found = GlobalAvgPool()(x)
    assert found.shape == (2, 3, 1, 1)
    for n, c in np.ndindex(2, 3):
        mean = math.fsum(x[n, c, i, j] for i in range(4) for j in range(5)) / 20
        assert found[n, c, 0, 0] == pytest.approx(mean, rel=1e-14)


def test_flatten_goes_through_width_first_and_channels_last():
    x = np.zeros((2, 3, 4, 5))
    for n, c, i, j in np.ndindex(x.shape):
        x[n, c, i, j] = 1000 * n + 20 * c + 5 * i + j
    found = Flatten()(x)
    assert found.tolist() == [list(range(60)), list(range(1000, 1060))]


def test_concat_joins_channels_in_order():
    parts = [np.full((2, c, 1, 2), float(c)) for c in (2, 1, 3)]
    found = Concat()(*parts)
    assert found[:, :, 0, 0].tolist() == [[2.0, 2.0, 1.0, 3.0, 3.0, 3.0]] * 2


def test_linear_equals_the_loops():
    layer = Linear(4, 3)
    layer.weight[...], layer.bias[...] = values(3, 4), values(3, seed=1)
    x = values(2, 4, seed=2)
    found = layer(x)
    for n, o in np.ndindex(2, 3):
        y = math.fsum(layer.weight[o, k] * x[n, k] for k in range(4)) + layer.bias[o]
        assert found[n, o] == pytest.approx(y, rel=1e-13, abs=1e-15)


def filled(net):
    """Fill every array of `net`; variances stay positive."""
    for seed, (_, module) in enumerate(net.named_modules()):
        for name, array in module.arrays().items():
            drawn = values(*array.shape, seed=seed) / max(1, array.ndim)
            array[...] = np.abs(drawn) + 0.5 if name == "running_var" else drawn
    return net


def slow_block(block, x):
    """Compute a ConvBlock with these loops."""
    conv, norm = block.conv, block.norm
    y = slow_conv(x, conv.weight, conv.bias, conv.stride, conv.padding)
    if norm is not None:
        for c in range(y.shape[1]):
            root = math.sqrt(norm.running_var[c] + norm.eps)
            y[:, c] = (y[:, c] - norm.running_mean[c]) / root * norm.weight[c] + norm.bias[c]
    return np.where(y > 0, y, 0.0)


@pytest.mark.parametrize("batch_norm", [False, True], ids=["plain", "bn"])
def test_conv_block_is_convolution_norm_activation(batch_norm):
    block = filled(ConvBlock(2, 3, (3, 2), 2, (1, 0), batch_norm=batch_norm, bn_eps=0.1))
    x = values(1, 2, 6, 5, seed=9)
    np.testing.assert_allclose(block(x), slow_block(block, x), rtol=0, atol=1e-13)


def test_batch_norm_eps_is_that_of_the_source():
    assert ConvBlock(1, 1, 1, batch_norm=True).norm.eps == 1e-3


@pytest.mark.parametrize("batch_norm", [False, True], ids=["plain", "bn"])
def test_inception_block_is_four_paths_joined_in_order(batch_norm):
    block = filled(Inception(3, 2, (2, 3), (1, 2), 1, batch_norm))
    x = values(1, 3, 5, 4, seed=9)
    paths = [
        slow_block(block.p1_1, x),
        slow_block(block.p2_2, slow_block(block.p2_1, x)),
        slow_block(block.p3_2, slow_block(block.p3_1, x)),
        slow_block(block.p4_2, slow_max_pool(x, (3, 3), (1, 1), (1, 1))),
    ]
    assert [block.p2_2.conv.kernel_size, block.p3_2.conv.kernel_size] == [(3, 3), (5, 5)]
    assert [block.p2_2.conv.padding, block.p3_2.conv.padding] == [(1, 1), (2, 2)]
    np.testing.assert_allclose(block(x), np.concatenate(paths, 1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 3)], ids=str)
def test_googlenet_takes_any_size(size):
    assert GoogLeNet()(values(1, 1, *size)).shape == (1, 10)


def test_convolution_refuses_other_channels():
    layer = Conv2d(3, 2, 1)
    with pytest.raises(ValueError, match=r"input shape \(1, 2, 5, 5\), but should be \(N, 3, H, W"):
        layer(values(1, 2, 5, 5))


@pytest.mark.parametrize("layer", [Conv2d(2, 1, (3, 4)), MaxPool((3, 4), 1)])
@pytest.mark.parametrize("size", [(2, 9), (9, 3)], ids=str)
def test_windows_refuse_an_input_smaller_than_they_are(layer, size):
    with pytest.raises(ValueError, match=r"padded input \(\d, \d\) is smaller than the 3x4 window"):
        layer(values(1, 2, *size))


def test_module_without_a_forward_says_so():
    with pytest.raises(TypeError, match="Module defines no forward"):
        Module()()


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (Conv2d(1, 1, 7, 2, 3), "conv 7x7/2 pad 3"),
        (Conv2d(1, 1, (1, 7), 1, (0, 3)), "conv 1x7/1 pad 0x3"),
        (Conv2d(1, 1, 1), "conv 1x1/1"),
        (MaxPool(3, (2, 1), 1), "max pool 3x3/2x1 pad 1"),
        (ConvBlock(1, 1, 5, padding=2), "conv 5x5/1 pad 2"),
    ],
)
def test_description_states_the_window(layer, text):
    assert layer.describe() == text
