"""GoogLeNet in every framework compared with the float64 oracle, endpoint by endpoint."""

from __future__ import annotations

import numpy as np
import pytest

from ..support.helpers import Case, images, relative_l2, trace_of

STRUCTURE = 1e-10  # in float64 anything above is a mistake, not rounding

# Even sizes show a wrong SAME padding, odd and unequal ones a wrong rounding or a
# swapped axis; several images and channels reveal anything that mixes them up.
CASES = (
    Case("googlenet", (), (1, 1, 96, 96)),
    Case("googlenet", (("batch_norm", True),), (3, 1, 51, 38)),
)
MORE = (
    Case("googlenet", (("num_classes", 7),), (3, 3, 64, 80)),
    Case("googlenet", (("batch_norm", True),), (1, 3, 97, 97)),
)
PLAIN = Case("googlenet", (), (2, 3, 107, 96))
NORM = Case("googlenet", (("batch_norm", True),), (2, 3, 107, 96))
slow = pytest.mark.slow
cases = pytest.mark.parametrize(
    "case", [*CASES, *(pytest.param(case, marks=slow) for case in MORE)], ids=str
)
few_cases = pytest.mark.parametrize("case", [pytest.param(PLAIN, marks=slow), NORM], ids=str)


def worst(trace, oracle):
    """Return the endpoint that differs most from the oracle's, and by how much."""
    errors = {name: relative_l2(trace.array(name), oracle.array(name)) for name in oracle}
    name = max(errors, key=lambda name: np.inf if np.isnan(errors[name]) else errors[name])
    return errors[name], name


@cases
def test_float64_endpoints_equal_the_oracles(
    load_adapter, framework, device, case, oracle_trace, tmp_path
):
    oracle = oracle_trace(case)
    trace = trace_of(load_adapter(framework, device), case, "float64", tmp_path / "trace")
    assert trace.loader == []
    assert trace.run.task() == oracle.run.task()
    assert list(trace) == list(oracle)
    assert {e.dtype for e in trace.endpoints.values()} == {"float64"}
    error, name = worst(trace, oracle)
    assert error <= STRUCTURE, f"{name}: relative L2 {error:.1e}"


@few_cases
def test_float64_layers_fed_by_the_oracle_equal_its_own(
    load_adapter, framework, device, case, oracle_trace, tmp_path
):
    oracle = oracle_trace(case)
    trace = trace_of(load_adapter(framework, device), case, "float64", tmp_path / "trace", oracle)
    assert trace.run.mode == "isolated"
    assert list(trace) == list(oracle)
    error, name = worst(trace, oracle)
    assert error <= STRUCTURE, f"{name}: relative L2 {error:.1e}"


@few_cases
def test_float32_endpoints_are_finite_and_not_constant(
    load_adapter, framework, device, case, oracle_trace, tmp_path
):
    trace = trace_of(load_adapter(framework, device), case, "float32", tmp_path / "trace")
    assert trace.loader == []
    assert list(trace) == list(oracle_trace(case))
    assert {e.dtype for e in trace.endpoints.values()} == {"float32"}
    arrays = {name: trace.array(name) for name in trace}
    assert {array.dtype for array in arrays.values()} == {np.dtype("float32")}
    assert [name for name, array in arrays.items() if not np.isfinite(array).all()] == []
    assert [name for name, array in arrays.items() if np.ptp(array) == 0] == []


@few_cases
def test_oracle_endpoints_are_finite_and_not_constant(case, oracle_trace):
    """A constant endpoint would hide a permutation of whatever precedes it."""
    oracle = oracle_trace(case)
    arrays = {name: oracle.array(name) for name in oracle}
    assert [name for name, array in arrays.items() if not np.isfinite(array).all()] == []
    assert [name for name, array in arrays.items() if np.ptp(array) == 0] == []


@few_cases
def test_oracle_tells_images_apart(case, oracle_trace):
    logits = oracle_trace(case).array("logits")
    assert relative_l2(logits[0], logits[1]) > 0.01


@pytest.mark.parametrize("axes", [(2,), (3,), (2, 3), (0,), (1,)], ids=str)
def test_inputs_are_asymmetric(axes):
    for case in (*CASES, *MORE):
        array = images(case.shape)
        if all(array.shape[axis] > 1 for axis in axes):
            assert relative_l2(np.flip(array, axes), array) > 0.1


@pytest.mark.parametrize(("found", "error"), [([1.0, 2.0], 0.0), ([1.0, 2.5], 0.5 / 5**0.5)])
def test_relative_l2_is_the_norm_of_the_difference_over_the_norm(found, error):
    assert relative_l2(np.array(found), np.array([1.0, 2.0])) == pytest.approx(error, abs=1e-15)


def test_relative_l2_refuses_other_shapes():
    with pytest.raises(AssertionError, match=r"shape \(1,\), but should be \(2,\)"):
        relative_l2(np.ones(1), np.ones(2))
