"""The catalogue: what it builds, what it refuses, and with which words."""

from __future__ import annotations

import pytest

from inception_parity import InputError
from inception_parity.backends import UnavailableError, adapter
from inception_parity.networks import catalogue

from ..support.selection import slow_unless

GOOGLENET = catalogue.network("googlenet")


@slow_unless(
    lambda p: p["network"] == "googlenet", "test_network_tables asserts the same of all networks"
)
def test_defaults_are_the_constructors_own(load_adapter, backend, network):
    load_adapter(backend)
    known = catalogue.network(network)
    net = known.build(catalogue.BACKENDS[backend].package, {})
    assert net.options == known.resolve({})


def test_googlenet_defaults_are_the_books():
    expected = {"in_channels": 1, "num_classes": 10, "batch_norm": False}
    assert GOOGLENET.resolve({}) == expected


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"in_channels": "3"}, 3),
        ({"in_channels": 3}, 3),
        ({"batch_norm": "true"}, True),
        ({"batch_norm": "False"}, False),
        ({"batch_norm": "1"}, True),
        ({"batch_norm": "0"}, False),
        ({"batch_norm": True}, True),
    ],
    ids=str,
)
def test_options_are_read_as_words_or_values(settings, expected):
    found = GOOGLENET.resolve(settings)[next(iter(settings))]
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"in_channels": 0},
            "in_channels=0, but should be a positive whole number, at most 100,000",
        ),
        (
            {"in_channels": "-1"},
            "in_channels=-1, but should be a positive whole number, at most 100,000",
        ),
        (
            {"in_channels": "three"},
            "in_channels='three', but should be a positive whole number, at most 100,000",
        ),
        (
            {"in_channels": 3.0},
            "in_channels=3.0, but should be a positive whole number, at most 100,000",
        ),
        (
            {"in_channels": True},
            "in_channels=True, but should be a positive whole number, at most 100,000",
        ),
        ({"batch_norm": "yes"}, "batch_norm='yes', but should be true or false"),
        ({"batch_norm": 1}, "batch_norm=1, but should be true or false"),
        ({"batch_norm": None}, "batch_norm=None, but should be true or false"),
    ],
    ids=str,
)
def test_options_of_another_type_are_refused(settings, message):
    with pytest.raises(InputError) as caught:
        GOOGLENET.resolve(settings)
    assert str(caught.value) == f"{message} [option of googlenet]"


def test_unknown_option_is_refused_with_the_nearest():
    with pytest.raises(InputError) as caught:
        GOOGLENET.resolve({"batchnorm": True})
    assert str(caught.value) == (
        "googlenet has no option 'batchnorm' (did you mean batch_norm?); "
        "it has in_channels, num_classes, batch_norm"
    )


@pytest.mark.parametrize(
    ("name", "hint"), [("GoogleNet", r" \(did you mean googlenet\?\)"), ("zebra", "")]
)
def test_unknown_network_is_refused_with_the_nearest(name, hint):
    with pytest.raises(InputError, match=f"^no network '{name}'{hint}; there are: googlenet"):
        catalogue.network(name)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("pytorch", r" \(did you mean pt\?\)"),
        ("keras", r" \(did you mean tf\?\)"),
        ("mxnet", r" \(did you mean mx\?\)"),
        ("numpy", r" \(did you mean np\?\)"),
        ("zebra", ""),
    ],
)
def test_unknown_backend_is_refused_with_the_nearest(name, hint):
    with pytest.raises(InputError, match=f"^no backend '{name}'{hint}; there are: np, pt, tf, mx"):
        catalogue.backend(name)


def test_backend_of_a_network_is_found(load_adapter, backend):
    load_adapter(backend)
    net = GOOGLENET.build(catalogue.BACKENDS[backend].package, {})
    assert catalogue.backend_of(net).name == backend


def test_the_oracle_has_no_gpu():
    with pytest.raises(UnavailableError, match="NumPy computes on the CPU only"):
        adapter("np", "gpu")
