"""The comparison itself: what it lets pass, and what it never may."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inception_parity.comparison.comparing import (
    IDENTICAL,
    ROUNDING,
    SUSPICIOUS,
    UNJUDGED,
    WRONG,
    Report,
    compare,
)
from inception_parity.comparison.limits import LIMIT_FLOORS, SUSPICION
from inception_parity.errors import InputError
from inception_parity.files import digest
from inception_parity.traces.trace import Run, Trace, TraceWriter

RNG = np.random.default_rng(5)
IMAGES = np.round(RNG.normal(size=(2, 3, 5, 4)) * 64) / 256  # exact in every dtype
GRAPH = {
    "input": (),
    "a": ("input",),
    "b": ("a",),
    "c": ("input",),
    "d": ("b", "c"),
    "logits": ("d",),
}
TRUTH = {
    "input": IMAGES,
    **{name: RNG.normal(size=(2, 4, 3, 3)) for name in ("a", "b", "c", "d")},
    "logits": RNG.normal(size=(2, 7)),
}


def trace_of(
    folder: Path,
    arrays: dict[str, np.ndarray[Any, Any]],
    *,
    dtype: str = "float64",
    mode: str = "propagated",
    loader: tuple[str, ...] = (),
    **changes: Any,
) -> Trace:
    run = {
        "network": "googlenet", "options": {"in_channels": 3}, "backend": "pt", "dtype": dtype,
        "device": "cpu", "mode": mode, "images": digest({"images": IMAGES}), "weights": "w",
        **changes,
    }  # fmt: skip
    with TraceWriter(folder) as writer:
        for name, array in arrays.items():
            kind = "output" if name == "logits" else "conv"
            writer.add(name, array, kind=kind, dtype=dtype, inputs=GRAPH.get(name, ()))
        return writer.close(Run(**run), {}, 0.0, loader)


@pytest.fixture
def oracle(tmp_path: Path) -> Trace:
    return trace_of(tmp_path / "oracle", TRUTH, backend="np")


def judge(tmp_path: Path, oracle: Trace, floor: float | None = None, **arrays: Any) -> Report:
    """Compare a trace that has the truth, but for `arrays`; None takes one away."""
    dtype = "float64" if floor is None else "float32"
    changed = {**{k: v.astype(dtype) for k, v in TRUTH.items()}, **arrays}
    changed = {k: v for k, v in changed.items() if v is not None}
    trace = trace_of(tmp_path / "trace", changed, dtype=dtype)
    floors = None if floor is None else {"propagated": dict.fromkeys(TRUTH, floor)}
    return compare(trace, oracle, floors)


def moved(array: np.ndarray[Any, Any], rel_l2: float) -> np.ndarray[Any, Any]:
    """Return `array` with an error of this relative L2 size."""
    noise = np.random.default_rng(1).normal(size=array.shape)
    return array + noise * (rel_l2 * np.linalg.norm(array) / np.linalg.norm(noise))


def one_value(value: float) -> np.ndarray[Any, Any]:
    """Return the truth of `b` with one value replaced."""
    return np.where(np.arange(72).reshape(2, 4, 3, 3) == 5, value, TRUTH["b"])


def test_equal_traces_are_bit_identical(tmp_path: Path, oracle: Trace) -> None:
    report = judge(tmp_path, oracle)
    assert not report.fails
    assert report.verdict == IDENTICAL
    assert report.tolerance == 0
    assert report.top1 == (2, 2)


def test_float64_difference_is_rounding_below_the_limit(tmp_path: Path, oracle: Trace) -> None:
    report = judge(tmp_path, oracle, b=moved(TRUTH["b"], 0.9e-10))
    assert not report.fails
    assert report.verdict == ROUNDING
    assert report.tolerance == pytest.approx(0.9e-10, rel=1e-3)


def test_float64_difference_is_wrong_above_the_limit(tmp_path: Path, oracle: Trace) -> None:
    report = judge(tmp_path, oracle, b=moved(TRUTH["b"], 1.1e-10))
    assert report.fails
    assert [e.name for e in report.guilty] == ["b"]
    assert report.tolerance == pytest.approx(1.1e-10, rel=1e-3)


def test_endpoint_that_carries_an_error_on_is_not_guilty(tmp_path: Path, oracle: Trace) -> None:
    wrong = {name: moved(TRUTH[name], 1e-3) for name in ("b", "d", "logits")}
    report = judge(tmp_path, oracle, **wrong)
    assert [e.name for e in report.endpoints if e.fails] == ["b", "d", "logits"]
    assert [e.name for e in report.guilty] == ["b"]


def test_errors_in_parallel_branches_are_both_guilty(tmp_path: Path, oracle: Trace) -> None:
    wrong = {name: moved(TRUTH[name], 1e-3) for name in ("b", "c", "d")}
    assert [e.name for e in judge(tmp_path, oracle, **wrong).guilty] == ["b", "c"]


@pytest.mark.parametrize(
    ("array", "problem"),
    [
        (None, "missing"),
        (np.zeros((2, 4, 3, 2)), r"shape (2, 4, 3, 2), but should be (2, 4, 3, 3)"),
        (np.zeros((0, 4, 3, 3)), "shape"),
        (np.full((2, 4, 3, 3), 0.25), "constant: every value is 0.25"),
        (one_value(np.nan), "1 NaN and 0 infinite of 72"),
        (one_value(-np.inf), "0 NaN and 1 infinite of 72"),
    ],
    ids=["missing", "misshapen", "empty", "constant", "NaN", "infinite"],
)
def test_endpoint_without_usable_values_is_wrong(
    tmp_path: Path, oracle: Trace, array: Any, problem: str
) -> None:
    report = judge(tmp_path, oracle, b=array)
    assert report.fails
    assert report.first is not None
    assert report.first.name == "b"
    assert report.first.verdict == WRONG
    assert problem in report.first.problem
    assert report.tolerance is None


def test_empty_endpoint_is_wrong_even_where_the_oracle_is_empty(tmp_path: Path) -> None:
    truth = {**TRUTH, "b": np.zeros((0, 4, 3, 3))}
    report = compare(trace_of(tmp_path / "t", truth), trace_of(tmp_path / "o", truth))
    assert [(e.name, e.problem) for e in report.guilty] == [("b", "empty")]


def test_constant_endpoint_shows_nothing_even_where_the_oracle_is_constant(tmp_path: Path) -> None:
    truth = {**TRUTH, "b": np.zeros((2, 4, 3, 3))}
    report = compare(trace_of(tmp_path / "t", truth), trace_of(tmp_path / "o", truth))
    assert [e.name for e in report.guilty] == ["b"]
    assert "in the oracle too" in report.guilty[0].problem


def test_surplus_endpoint_is_wrong(tmp_path: Path, oracle: Trace) -> None:
    report = judge(tmp_path, oracle, e=TRUTH["a"])
    assert [(e.name, e.problem) for e in report.guilty] == [("e", "surplus: the oracle has none")]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_endpoint_in_another_dtype_is_wrong(tmp_path: Path, oracle: Trace, dtype: str) -> None:
    with TraceWriter(tmp_path / "trace") as writer:
        for name, array in TRUTH.items():
            writer.add(name, array, dtype=dtype if name == "c" else "float64")
        trace = writer.close(Run(**{**vars(oracle.run), "backend": "pt"}), {}, 0.0)
    report = compare(trace, oracle)
    assert [e.name for e in report.guilty] == ["c"]
    assert f"computed in {dtype}, but should be float64" in report.guilty[0].problem


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x[:, ::-1],
        lambda x: x.transpose(0, 1, 3, 2),
        lambda x: np.sort(x, axis=None).reshape(x.shape),
        lambda x: -x,
        lambda x: x.mean() + 0 * x + np.where(np.arange(x.size).reshape(x.shape) == 0, 1e-9, 0),
    ],
    ids=["channels reversed", "transposed", "sorted", "negated", "means"],
)
def test_permutations_and_means_do_not_pass(tmp_path: Path, oracle: Trace, change: Any) -> None:
    report = judge(tmp_path, oracle, b=np.ascontiguousarray(change(TRUTH["b"])))
    assert [e.name for e in report.guilty] == ["b"]


@pytest.mark.parametrize(
    ("floors", "verdict", "fails"),
    [
        (0.9 * LIMIT_FLOORS, ROUNDING, False),
        (1.1 * LIMIT_FLOORS, SUSPICIOUS, True),
        (0.9 * SUSPICION * LIMIT_FLOORS, SUSPICIOUS, True),
        (1.1 * SUSPICION * LIMIT_FLOORS, WRONG, True),
    ],
)
def test_float32_is_judged_in_floors(
    tmp_path: Path, oracle: Trace, floors: float, verdict: str, fails: bool
) -> None:
    floor = 1e-5
    b = moved(TRUTH["b"], floors * floor).astype(np.float32)
    report = judge(tmp_path, oracle, floor, b=b)
    found = next(e for e in report.endpoints if e.name == "b")
    assert found.floors == pytest.approx(floors, rel=1e-2)
    assert (found.verdict, report.fails) == (verdict, fails)


def test_float32_without_floors_is_shown_and_not_judged(tmp_path: Path, oracle: Trace) -> None:
    arrays = {k: v.astype(np.float32) for k, v in TRUTH.items()}
    arrays["b"] = moved(TRUTH["b"], 1e-3).astype(np.float32)
    report = compare(trace_of(tmp_path / "trace", arrays, dtype="float32"), oracle)
    assert report.verdict == UNJUDGED
    assert not report.fails
    assert report.tolerance == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize(
    "change",
    [{"images": "other"}, {"weights": "other"}, {"options": {"in_channels": 1}}, {"network": "x"}],
    ids=lambda change: next(iter(change)),
)
def test_trace_of_another_run_is_refused(tmp_path: Path, oracle: Trace, change: Any) -> None:
    other = trace_of(tmp_path / "trace", TRUTH, **change)
    with pytest.raises(InputError, match=f"different runs \\({next(iter(change))}"):
        compare(other, oracle)


def test_weights_that_were_not_held_fail_with_their_names(tmp_path: Path, oracle: Trace) -> None:
    trace = trace_of(tmp_path / "t", TRUTH, weights="read back", loader=("b.weight: 1 of 9 …",))
    report = compare(trace, oracle)
    assert report.fails
    assert report.verdict == WRONG
    assert report.tolerance is None


def test_input_that_is_not_the_images_fails_at_the_input(tmp_path: Path, oracle: Trace) -> None:
    """Also where both traces have it: the hash in the run says what was to be fed."""
    shifted = {**TRUTH, "input": IMAGES + 0.25}
    wrong_oracle = trace_of(tmp_path / "wrong", shifted, backend="np")
    report = compare(trace_of(tmp_path / "trace", shifted), wrong_oracle)
    assert report.first is not None
    assert report.first.name == "input"


def test_isolated_mode_compares_layers_and_blames_each_for_itself(tmp_path: Path) -> None:
    with TraceWriter(tmp_path / "oracle") as writer:
        for name, array in TRUTH.items():
            writer.add(name, array, inputs=GRAPH[name], leaf=name != "d")
        run = Run("googlenet", {}, "np", "float64", "cpu", "propagated", "i", "w")
        run = Run(**{**vars(run), "images": digest({"images": IMAGES})})
        oracle = writer.close(run, {}, 0.0)
    arrays = {k: v for k, v in TRUTH.items() if k != "d"}
    arrays |= {k: moved(TRUTH[k], 1e-3) for k in ("a", "b")}
    trace = trace_of(tmp_path / "trace", arrays, mode="isolated", options={})
    report = compare(trace, oracle)
    assert [e.name for e in report.endpoints] == [n for n in TRUTH if n != "d"]
    assert [e.name for e in report.guilty] == ["a", "b"]


def test_top1_counts_only_images_that_noise_cannot_decide(tmp_path: Path) -> None:
    logits = np.array([[1.0, 3.0, 2.0], [1.0, 2.0, 2.0 + 1e-7]])
    truth = {**TRUTH, "logits": logits}
    oracle = trace_of(tmp_path / "oracle", truth, backend="np")
    swapped = np.array([[1.0, 3.0, 2.0], [1.0, 2.0 + 1e-7, 2.0]])
    arrays = {k: v.astype(np.float32) for k, v in {**truth, "logits": swapped}.items()}
    trace = trace_of(tmp_path / "trace", arrays, dtype="float32")
    report = compare(trace, oracle, {"propagated": dict.fromkeys(truth, 1e-6)})
    assert report.top1 == (1, 1)


def test_information_is_right(tmp_path: Path, oracle: Trace) -> None:
    b = TRUTH["b"].copy()
    b[1, 2, 0, 1] += 1e-3
    found = next(e for e in judge(tmp_path, oracle, b=b).endpoints if e.name == "b")
    largest = np.abs(TRUTH["b"]).max()
    assert found.worst == (1, 2, 0, 1)
    assert found.max_abs == pytest.approx(1e-3)
    assert found.ulp == pytest.approx(1e-3 / np.spacing(largest))
    assert found.sqnr == pytest.approx(20 * np.log10(np.linalg.norm(TRUTH["b"]) / 1e-3))
    cosine = (b * TRUTH["b"]).sum() / np.linalg.norm(b) / np.linalg.norm(TRUTH["b"])
    assert found.cosine == pytest.approx(cosine)
