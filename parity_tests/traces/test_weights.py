"""Shared weights in the four packages: names, exact round trips, strict loading."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from inception_parity import InputError, load, save
from inception_parity.networks import catalogue
from inception_parity.traces import seeding, weights

from ..conftest import chosen_backends
from ..support.harness import LARGE
from ..support.helpers import images, relative_l2, shared_weights, variants
from ..support.selection import slow_unless

VARIANTS = [(network, i) for network in catalogue.NETWORKS for i in range(len(variants(network)))]
all_variants = pytest.mark.parametrize(
    ("network", "variant"), VARIANTS, ids=[f"{network}-{i}" for network, i in VARIANTS]
)
googlenet_is_quick = slow_unless(
    lambda p: p["network"] == "googlenet", "copying is the same code whatever the network"
)

BROKEN = (
    "b1.0.conv.bias: missing",
    "b2.0.conv.bias: shape (63,), but should be (64,)",
    "b2.1.conv.bias: dtype int64, but should be floating point",
    "fc.weight: has NaN or infinite values",
    "fc.bias: has NaN or infinite values",
    "b9.weight: unexpected",
)


def random_weights(network, options, dtype):
    """Return values that use every bit of the mantissa; variances are positive."""
    rng = np.random.default_rng(3)
    return {
        name: rng.uniform(0.5, 1.5, shape).astype(dtype)
        for name, shape in weights.shapes(network, options).items()
    }


def broken_weights(arrays):
    """Return `arrays` with one array wrong in each of the ways of BROKEN."""
    arrays = {name: array.copy() for name, array in arrays.items()}
    del arrays["b1.0.conv.bias"]
    arrays["b2.0.conv.bias"] = arrays["b2.0.conv.bias"][1:]
    arrays["b2.1.conv.bias"] = np.arange(192)
    arrays["fc.weight"][3, 5] = np.nan
    arrays["fc.bias"][-1] = np.inf
    arrays["b9.weight"] = np.ones(1, np.float32)
    return arrays


def copies(arrays):
    return {name: array.copy() for name, array in arrays.items()}


def build(load_adapter, backend, network, settings=(), dtype=None):
    adapter = load_adapter(backend)
    dtype = dtype or ("float64" if backend == catalogue.ORACLE else "float32")
    if dtype not in adapter.dtypes:
        pytest.skip(f"{backend} has no {dtype}")
    net = catalogue.network(network)
    return adapter, adapter.build(net, net.resolve(dict(settings)), dtype)


def forward(adapter, net, x):
    if adapter.name == "pt":
        net.eval()
    dtype = "float64" if adapter.name == "np" else "float32"
    return adapter.to_shared(adapter.forward(net, adapter.to_native(x, dtype)))


def assert_same(found, expected):
    assert list(found) == list(expected)
    assert [n for n in found if found[n].shape != expected[n].shape] == []
    assert [n for n in found if found[n].dtype != expected[n].dtype] == []
    assert [n for n in found if found[n].tobytes() != expected[n].tobytes()] == []


def quick_round_trip(p):
    """The smallest network in every backend and dtype; the others but the largest in PyTorch."""
    if p["variant"] > 0 or p["network"] in LARGE:
        return False
    return p["network"] == "googlenet" or (p["backend"], p["dtype"]) == ("pt", "float32")


@slow_unless(quick_round_trip, "whole networks, with all options, in both dtypes")
@all_variants
def test_round_trip_is_exact(load_adapter, backend, network, variant, dtype):
    settings = variants(network)[variant]
    adapter, net = build(load_adapter, backend, network, settings, dtype)
    options = catalogue.network(network).resolve(settings)
    expected = random_weights(network, options, dtype)
    adapter.set_weights(net, expected)
    assert_same(adapter.get_weights(net), expected)


@googlenet_is_quick
def test_get_weights_returns_copies(load_adapter, backend, network):
    adapter, net = build(load_adapter, backend, network)
    before = copies(adapter.get_weights(net))
    for array in adapter.get_weights(net).values():
        array[...] = 7
    assert_same(adapter.get_weights(net), before)


@googlenet_is_quick
def test_set_weights_takes_copies(load_adapter, backend, network):
    adapter, net = build(load_adapter, backend, network)
    given = random_weights(network, catalogue.network(network).resolve({}), "float32")
    adapter.set_weights(net, given)
    before = copies(adapter.get_weights(net))
    for array in given.values():
        array[...] = 7
    assert_same(adapter.get_weights(net), before)


@slow_unless(
    lambda p: (p["network"], p["variant"]) == ("googlenet", 0),
    "a round trip asserts the same of a loaded network",
)
@all_variants
def test_names_and_shapes_are_the_oracles(load_adapter, framework, network, variant):
    settings = variants(network)[variant]
    adapter, net = build(load_adapter, framework, network, settings)
    found = {name: array.shape for name, array in adapter.get_weights(net).items()}
    expected = weights.shapes(network, catalogue.network(network).resolve(settings))
    assert list(found.items()) == list(expected.items())


def test_set_weights_lists_all_that_is_wrong_and_loads_nothing(load_adapter, backend):
    adapter, net = build(load_adapter, backend, "googlenet")
    before = copies(adapter.get_weights(net))
    with pytest.raises(ValueError, match="the weights don't fit the network") as caught:
        adapter.set_weights(net, broken_weights(shared_weights("googlenet", ()).arrays))
    assert sorted(str(caught.value).split("\n  ")[1:]) == sorted(BROKEN)
    assert_same(adapter.get_weights(net), before)


def test_set_weights_lists_every_missing_array(load_adapter, backend):
    adapter, net = build(load_adapter, backend, "googlenet")
    names = list(adapter.get_weights(net))
    with pytest.raises(ValueError, match="don't fit") as caught:
        adapter.set_weights(net, {})
    assert str(caught.value).split("\n  ")[1:] == [f"{name}: missing" for name in names]


@slow_unless(
    lambda p: p["batch_norm"] and p["backend"] == "pt", "each builds a network in every backend"
)
@pytest.mark.parametrize("batch_norm", [False, True], ids=["plain", "bn"])
def test_saved_network_loads_into_every_backend(load_adapter, backend, batch_norm, tmp_path):
    options = {"in_channels": 3, "num_classes": 7, "batch_norm": batch_norm}
    adapter, net = build(load_adapter, backend, "googlenet", options)
    given = seeding.seeded("googlenet", options, 11).arrays
    adapter.set_weights(net, given)
    file = tmp_path / "googlenet.safetensors"
    save(net, file)
    x = images((2, 3, 48, 33))
    expected = forward(adapter, net, x)
    for other in map(load_adapter, chosen_backends()):
        loaded = load(file, other.name)
        found = other.get_weights(loaded)
        assert_same({n: a.astype(np.float32) for n, a in found.items()}, given)
        # Float32 rounding only; another network's logits are off by about 1.
        assert relative_l2(forward(other, loaded, x), expected) < 1e-3


def test_save_keeps_options_and_says_where_from(load_adapter, backend, tmp_path):
    options = {"in_channels": 3, "num_classes": 7, "batch_norm": True}
    _, net = build(load_adapter, backend, "googlenet", options)
    save(net, tmp_path / "w.safetensors")
    found = weights.read(tmp_path / "w.safetensors")
    assert (found.network, found.options) == ("googlenet", options)
    assert found.provenance == f"saved from {catalogue.BACKENDS[backend].title}"


def test_save_refuses_a_part_of_a_network(load_adapter, backend, tmp_path):
    load_adapter(backend)
    package = importlib.import_module(catalogue.BACKENDS[backend].package)
    block = package.Inception(8, 4, (4, 4), (4, 4), 4)
    with pytest.raises(InputError, match="Inception is a part, not a network of the catalogue"):
        save(block, tmp_path / "w.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_save_refuses_what_is_not_ours(tmp_path):
    with pytest.raises(InputError, match="object comes from 'builtins', not from one of our"):
        save(object(), tmp_path / "w.safetensors")


def test_save_refuses_a_network_with_nan(load_adapter, tmp_path):
    net = catalogue.network("googlenet").build("inception_np", {})
    net.fc.weight[0, 0] = np.nan
    with pytest.raises(InputError, match=r"fc\.weight: has NaN or infinite values"):
        save(net, tmp_path / "w.safetensors")
    assert list(tmp_path.iterdir()) == []
