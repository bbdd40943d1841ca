"""Shapes and parameter counts compared with the figures transcribed in `expected.py`."""

from __future__ import annotations

import functools
import math

import pytest

from inception_parity.networks import catalogue

from .. import expected
from ..support.helpers import Case, trace_of

SIZES = tuple(expected.PARAMETERS)
batch_norms = pytest.mark.parametrize("batch_norm", [False, True], ids=["plain", "bn"])


@functools.lru_cache(maxsize=4, typed=True)  # only one backend's: its tests run one after another
def built(adapter, in_channels=1, num_classes=10, batch_norm=False):
    """Return GoogLeNet with its native initial values; tests must not modify it."""
    options = {"in_channels": in_channels, "num_classes": num_classes, "batch_norm": batch_norm}
    return adapter.build(catalogue.network("googlenet"), options, adapter.dtypes[0])


@pytest.fixture(scope="module")
def trace_at_96(tmp_path_factory):
    """Return a cached function: (backend, whether it has batch norm) -> trace."""
    folder = tmp_path_factory.mktemp("traces")

    @functools.cache
    def trace(adapter, batch_norm):
        settings = (("batch_norm", True),) if batch_norm else ()
        case = Case("googlenet", settings, (1, 1, 96, 96))
        return trace_of(adapter, case, adapter.dtypes[0], folder / f"{adapter.name}-{batch_norm}")

    return trace


def trainable(backend, net):
    """Count the parameters that each framework itself would train."""
    if backend == "pt":
        return sum(p.numel() for p in net.parameters() if p.requires_grad)
    if backend == "tf":
        return sum(math.prod(v.shape) for v in net.trainable_weights)
    if backend == "mx":
        parameters = net.collect_params().values()
        return sum(math.prod(p.shape) for p in parameters if p.grad_req != "null")
    return sum(
        array.size
        for _, module in net.named_modules()
        for name, array in module.arrays().items()
        if name not in module.buffers
    )


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_transcribed_rows_add_up_to_the_published_counts(size):
    assert expected.parameters(*size, batch_norm=False) == expected.PARAMETERS[size]


@pytest.mark.parametrize("block", expected.INCEPTION_ROWS)
def test_transcribed_rows_add_up_to_the_published_sums(block):
    _, c1, c2, c3, c4 = expected.INCEPTION_ROWS[block]
    assert c1 + c2[1] + c3[1] + c4 == expected.INCEPTION_SUMS[block]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_parameter_count_matches_the_source(load_adapter, backend, size):
    net = built(load_adapter(backend), *size)
    assert trainable(backend, net) == expected.PARAMETERS[size]


def test_batch_norm_adds_a_scale_and_a_shift_per_channel(load_adapter, backend):
    net = built(load_adapter(backend), batch_norm=True)
    assert trainable(backend, net) == expected.parameters(1, 10, batch_norm=True)


@batch_norms
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_weights_match_the_source_layer_by_layer(load_adapter, backend, size, batch_norm):
    adapter = load_adapter(backend)
    net = built(adapter, *size, batch_norm)
    found = [(name, array.shape) for name, array in adapter.get_weights(net).items()]
    assert found == list(expected.weight_shapes(*size, batch_norm).items())


@batch_norms
def test_endpoints_match_the_source_in_order(load_adapter, backend, batch_norm, trace_at_96):
    trace = trace_at_96(load_adapter(backend), batch_norm)
    found = [(name, endpoint.shape) for name, endpoint in trace.endpoints.items()]
    assert found == list(expected.endpoints_at_96(batch_norm).items())


def test_stage_shapes_match_the_printed_table(load_adapter, backend, trace_at_96):
    trace = trace_at_96(load_adapter(backend), False)
    found = {stage: trace.array(stage).shape for stage in expected.STAGES_AT_96}
    assert found == expected.STAGES_AT_96


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("in_channels", 0),  # 0 classes are a network without a classifier
        *((name, count) for name in ("in_channels", "num_classes") for count in (-1, 2.0, True)),
    ],
    ids=str,
)
def test_network_refuses_a_count_that_is_not_positive(load_adapter, backend, name, count):
    with pytest.raises(ValueError, match=f"{name}={count}, but should be a positive whole number"):
        built(load_adapter(backend), **{name: count})
