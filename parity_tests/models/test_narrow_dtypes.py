"""Two models in float16 and bfloat16, judged by what rounding does to the first itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from inception_parity import InputError
from inception_parity.models import capture, compare

from ..conftest import chosen_backends
from ..support.small_models import functional_keras_net, gluon_net, images, torch_net
from .test_models_onnx import X, exported, original

needs_torch = pytest.mark.skipif("pt" not in chosen_backends(), reason="its models are torch's")
needs_keras = pytest.mark.skipif(
    not {"pt", "tf"} <= set(chosen_backends()), reason="holds torch and Keras together"
)
needs_gluon = pytest.mark.skipif(
    not {"pt", "mx"} <= set(chosen_backends()), reason="holds torch and MXNet together"
)
DTYPES = pytest.mark.parametrize("dtype", ["float16", "bfloat16"])


@needs_torch
@DTYPES
def test_the_same_model_agrees_and_its_rounding_is_the_floor(dtype: str) -> None:
    made = compare(torch_net(), torch_net(), images(), dtype=dtype)
    assert not made.fails, made.text()
    assert (made.a.run.dtype, made.b.run.dtype) == ("float64", dtype)
    floors = [e.floors for e in made.report.endpoints if e.floors is not None]
    assert len(floors) > 10
    assert max(floors) == 1  # b's rounding is a's own
    assert made.weights == []  # those that are only rounded are the same


@needs_keras
@DTYPES
def test_a_right_port_agrees_and_a_wrong_one_is_found(dtype: str) -> None:
    net = torch_net()
    made = compare(net, functional_keras_net(), images(), dtype=dtype, copy_weights=True)
    assert not made.fails, made.text()
    assert made.report.dtype == dtype
    made = compare(net, torch_net(eps=0.5), images(), dtype=dtype)
    assert made.first is not None
    assert made.first.name == "stem.1"
    assert made.diagnosis is not None
    assert made.diagnosis.cause is not None
    assert made.diagnosis.cause.text == "eps 0.5, but should be 0.001"


@needs_torch
@pytest.mark.slow  # tries all explanations, and in vain
@DTYPES
def test_a_wrong_weight_is_found_among_rounded_ones(dtype: str) -> None:
    net, port = torch_net(), torch_net()
    port.stem[0].weight.data[0] *= 1.5
    made = compare(net, port, images(), dtype=dtype)
    assert made.first is not None
    assert made.first.name == "stem.0"
    assert [(d.a, d.role) for d in made.weights] == [("stem.0", "weight")]


@needs_torch
@DTYPES
def test_onnx_files_run_in_narrow_dtypes(tmp_path: Path, dtype: str) -> None:
    net = original()
    trace = capture(exported(net, tmp_path / "net.onnx"), X, dtype=dtype)
    assert trace.run.dtype == dtype
    made = compare(net, tmp_path / "net.onnx", X, dtype=dtype)
    assert not made.fails, made.text()


@needs_gluon
def test_mxnet_says_that_it_has_no_bfloat16() -> None:
    with pytest.raises(InputError, match="MXNet has no bfloat16"):
        compare(torch_net(), gluon_net(), images(), dtype="bfloat16")


@needs_torch
def test_without_floors_the_limit_is_the_dtype_s() -> None:
    """A kept trace can't be run again; what is near is rounding, what isn't is found."""
    net, port = torch_net(), torch_net()
    trace = capture(net, images().astype(np.float16))
    assert not compare(trace, port, images().astype(np.float16), dtype="float16").fails
    port.stem[0].weight.data *= 1.1
    assert compare(trace, port, images().astype(np.float16), dtype="float16").fails
