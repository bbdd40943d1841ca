"""Compares a trace with the oracle's: a verdict for every endpoint, and where an error starts.

In float64 a relative L2 difference above 1e-10 is a mistake, and not rounding. In
the smaller dtypes the difference is judged in units of the endpoint's noise
floor (`floors.py`). An endpoint that is wrong although all its inputs agree is guilty;
other wrong ones inherit its error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..numerics import UNIT_ROUNDOFF, blocks, dot, to_dtype
from ..traces.trace import INPUT, Endpoint, Trace
from .floors import Floors
from .limits import LIMIT_FLOAT64, LIMIT_FLOORS, SUSPICION

IDENTICAL, ROUNDING, SUSPICIOUS, WRONG = "bit-identical", "rounding", "suspicious", "wrong"
UNJUDGED = "no floor"  # a small dtype without a floor: shown, not judged


@dataclass
class Comparison:
    """One endpoint of a trace, compared with the oracle's."""

    name: str
    kind: str
    leaf: bool
    verdict: str
    problem: str = ""  # why there is no number: missing, NaN, misshapen, …
    rel_l2: float | None = None
    floor: float | None = None
    floors: float | None = None  # rel_l2 in units of the floor
    max_abs: float | None = None
    worst: tuple[int, ...] = ()  # the index of max_abs
    ulp: float | None = None  # max_abs in units of the last place of the largest value
    cosine: float | None = None
    sqnr: float | None = None  # signal to difference, in dB; None where there is none
    guilty: bool = False

    @property
    def fails(self) -> bool:
        """Whether this endpoint doesn't agree."""
        return self.verdict in (SUSPICIOUS, WRONG)

    def numbers(self, limit: str) -> str:
        """Return the difference in words, with the `limit` that it is judged by."""
        if self.problem:
            return self.problem
        index = ", ".join(map(str, self.worst))
        most = f"largest difference {self.max_abs:.3g} at [{index}]"
        return f"rel L2 {self.rel_l2:.1e}, {limit}; {most}"


@dataclass
class Report:
    """A whole trace, compared with the oracle's."""

    backend: str
    dtype: str
    mode: str
    verdict: str
    endpoints: list[Comparison] = field(repr=False)
    loader: list[str]  # arrays that the network didn't hold as they were loaded
    top1: tuple[int, int] | None = None  # agreeing, of the images whose margin exceeds the noise
    versions: dict[str, str] = field(default_factory=dict, repr=False)
    seconds: float = 0.0

    @property
    def cell(self) -> tuple[str, str, str]:
        """Which run of a check this is: (backend, dtype, mode)."""
        return self.backend, self.dtype, self.mode

    @property
    def fails(self) -> bool:
        """Whether anything in the trace doesn't agree."""
        return bool(self.loader) or any(e.fails for e in self.endpoints)

    @property
    def guilty(self) -> list[Comparison]:
        """The endpoints where an error starts, in execution order."""
        return [e for e in self.endpoints if e.guilty]

    @property
    def first(self) -> Comparison | None:
        """The first endpoint that is wrong in itself."""
        return next(iter(self.guilty), None)

    @property
    def worst(self) -> Comparison | None:
        """The endpoint with the largest relative difference."""
        measured = [e for e in self.endpoints if e.rel_l2 is not None]
        return max(measured, key=lambda e: e.rel_l2 or 0.0, default=None)

    @property
    def tolerance(self) -> float | None:
        """The smallest relative L2 tolerance that would pass, if one would."""
        if self.loader or any(e.rel_l2 is None for e in self.endpoints):
            return None
        return max((e.rel_l2 or 0.0 for e in self.endpoints), default=None)


def require_same_task(trace: Trace, reference: Trace) -> None:
    """Raise InputError unless both traces are of the same network, options, images and weights.

    A trace whose weights weren't those that it was given says so itself, and is
    compared: the report names the arrays.
    """
    ours, theirs = trace.run.task(), reference.run.task()
    differ = [k for k in ours if ours[k] != theirs[k] and not (k == "weights" and trace.loader)]
    if differ:
        found = "; ".join(f"{k}: {_short(ours[k])} and {_short(theirs[k])}" for k in differ)
        raise InputError(
            f"{trace.folder} and {reference.folder} are traces of different runs ({found}); "
            "run both with the same network, options, images and weights"
        )


def compare(trace: Trace, oracle: Trace, floors: Floors | None = None) -> Report:
    """Compare every endpoint of `trace` with the oracle's.

    Args:
        trace: the run to be judged.
        oracle: the float64 run of the same task by NumPy, or another reference.
        floors: the noise floors of the trace's dtype; without them, a dtype
            below float64 is measured but not judged.

    Raises:
        InputError: the two are not of the same task, or a file can't be read.
    """
    require_same_task(trace, oracle)
    run = trace.run
    isolated = run.mode == "isolated"
    known = floors[run.mode] if floors is not None else {}
    names = [n for n, e in oracle.endpoints.items() if e.leaf or not isolated]
    endpoints = _compare_all(trace, oracle, names, known)
    for name, surplus in trace.endpoints.items():
        if name not in oracle.endpoints:
            endpoints.append(
                Comparison(name, surplus.kind, surplus.leaf, WRONG, "surplus: the oracle has none")
            )
    _check_input(trace, endpoints)
    _find_guilty(endpoints, oracle, isolated)
    order = (WRONG, SUSPICIOUS, UNJUDGED, ROUNDING, IDENTICAL)
    verdict = WRONG if trace.loader else min((e.verdict for e in endpoints), key=order.index)
    report = Report(
        run.backend, run.dtype, run.mode, verdict, endpoints, trace.loader,
        versions=trace.versions, seconds=trace.seconds,
    )  # fmt: skip
    if not isolated:
        report.top1 = _top1(trace, oracle, known)
    return report


def _compare_all(
    trace: Trace, oracle: Trace, names: list[str], floors: Mapping[str, float]
) -> list[Comparison]:
    """Compare endpoint by endpoint; a block that is its last layer's output is not read twice."""
    done: dict[tuple[str, str, str, float | None], Comparison] = {}
    compared = []
    for name in names:
        expected, found = oracle.endpoints[name], trace.endpoints.get(name)
        if found is None:
            compared.append(_compare_one(trace, oracle, name, None, trace.run.dtype))
            continue
        seen = (found.file, found.dtype, expected.file, floors.get(name))
        if seen not in done:
            done[seen] = _compare_one(trace, oracle, name, floors.get(name), trace.run.dtype)
        compared.append(replace(done[seen], name=name, kind=expected.kind, leaf=expected.leaf))
    return compared


def _compare_one(
    trace: Trace, oracle: Trace, name: str, floor: float | None, dtype: str
) -> Comparison:
    expected = oracle.endpoints[name]
    result = Comparison(name, expected.kind, expected.leaf, WRONG, floor=floor)
    found = trace.endpoints.get(name)
    result.problem = _structural_problem(found, expected, dtype)
    if result.problem or found is None:
        return result
    reference = oracle.array(name)
    array = trace.array(name)
    result.problem = value_problem(array, reference)
    if result.problem:
        return result
    measure(result, array, reference, dtype)
    assert result.rel_l2 is not None
    if floor is not None and dtype != "float64":
        result.floors = result.rel_l2 / floor if floor else np.inf
    if result.verdict == IDENTICAL:
        return result
    if dtype == "float64":
        result.verdict = ROUNDING if result.rel_l2 <= LIMIT_FLOAT64 else WRONG
    elif result.floors is None:
        result.verdict = UNJUDGED
    else:
        result.verdict = (
            ROUNDING if result.floors <= LIMIT_FLOORS
            else SUSPICIOUS if result.floors <= SUSPICION * LIMIT_FLOORS
            else WRONG
        )  # fmt: skip
    return result


def _structural_problem(found: Endpoint | None, expected: Endpoint, dtype: str) -> str:
    if found is None:
        return "missing"
    if found.shape != expected.shape:
        return f"shape {found.shape}, but should be {expected.shape}"
    if 0 in found.shape:
        return "empty"
    if found.dtype != dtype:
        return f"computed in {found.dtype}, but should be {dtype}"
    return ""


def value_problem(array: NDArray[Any], reference: NDArray[Any]) -> str:
    """Return why two arrays of the same shape can't be measured: NaN, constant; or nothing."""
    with np.errstate(over="ignore", invalid="ignore"):
        total = array.sum()  # finite only if everything is
    finite = array.size if np.isfinite(total) else int(np.isfinite(array).sum())
    if finite < array.size:
        nans = int(np.isnan(array).sum())
        return f"{nans} NaN and {array.size - finite - nans} infinite of {array.size} values"
    if array.size > 1 and _constant(array):
        if _constant(reference):
            return "constant, in the oracle too: it shows nothing; give other images or weights"
        return f"constant: every value is {array.flat[0]:.6g}"
    return ""


def _constant(array: NDArray[Any]) -> bool:
    head = array.reshape(-1)[:64]
    return bool((head == head[0]).all() and (array == head[0]).all())


def measure(result: Comparison, array: NDArray[Any], reference: NDArray[Any], dtype: str) -> None:
    """Fill in by how much an array differs from a float64 reference, but for the verdict."""
    norm = noise = size = product = largest = most = 0.0
    identical, worst, done = True, -1, 0
    with np.errstate(over="ignore", invalid="ignore"):  # what a mistake makes may be huge
        for found, truth in blocks(array, reference):
            wide = found.astype(np.float64)
            identical = identical and np.array_equal(found, to_dtype(truth, dtype))
            norm, size = norm + dot(truth, truth), size + dot(wide, wide)
            product += dot(wide, truth)
            largest = max(largest, -truth.min(), truth.max())
            wide -= truth
            noise += dot(wide, wide)
            np.abs(wide, out=wide)
            here = int(wide.argmax())
            if worst < 0 or wide[here] > most:
                most, worst = float(wide[here]), done + here
            done += wide.size
        rel_l2 = float(np.sqrt(noise / norm)) if norm else (np.inf if noise else 0.0)
        result.cosine = product / float(np.sqrt(size) * np.sqrt(norm)) if size * norm else None
        result.sqnr = -20 * float(np.log10(rel_l2)) if noise and norm else None
    result.rel_l2 = rel_l2
    if identical:
        result.verdict = IDENTICAL
    result.worst = tuple(int(i) for i in np.unravel_index(worst, reference.shape))
    ulp = float(_ulp(largest, dtype))
    result.max_abs, result.ulp = most, most / ulp if ulp else None


def _ulp(largest: float, dtype: str) -> float:
    """Return the distance between neighbouring numbers of the dtype near `largest`."""
    return 2 * UNIT_ROUNDOFF[dtype] * 2.0 ** np.floor(np.log2(largest)) if largest else 0.0


def _check_input(trace: Trace, endpoints: list[Comparison]) -> None:
    """Mark the input as wrong unless it is the images that the run names."""
    fed = next((e for e in endpoints if e.name == INPUT), None)
    if fed is not None and not fed.problem and not trace.fed_its_images():
        fed.verdict = WRONG
        fed.problem = "not the images that the run names"


def _find_guilty(endpoints: list[Comparison], oracle: Trace, isolated: bool) -> None:
    """Mark the endpoints that are wrong although all their inputs agree.

    In isolated mode every layer's inputs are the oracle's own values.
    """
    fails = {e.name for e in endpoints if e.fails}
    for endpoint in endpoints:
        if endpoint.name in fails:
            known = oracle.endpoints.get(endpoint.name)
            inputs = () if known is None or isolated else known.inputs
            endpoint.guilty = not any(name in fails for name in inputs)


def _top1(trace: Trace, oracle: Trace, floors: Mapping[str, float]) -> tuple[int, int] | None:
    """Count the images that get the oracle's class, among those where noise can't decide."""
    name = next((n for n, e in oracle.endpoints.items() if e.kind == "output"), None)
    if name is None or name not in trace.endpoints:
        return None
    truth, found = np.asarray(oracle.array(name)), np.asarray(trace.array(name))
    if truth.ndim != 2 or truth.shape != found.shape or truth.shape[1] < 2:
        return None
    ordered = np.sort(truth, axis=1)
    relative = LIMIT_FLOAT64 if trace.run.dtype == "float64" else LIMIT_FLOORS * floors.get(name, 0)
    sure = ordered[:, -1] - ordered[:, -2] > 2 * relative * np.linalg.norm(truth, axis=1)
    agree = (truth.argmax(axis=1) == found.argmax(axis=1)) & sure
    return int(agree.sum()), int(sure.sum())


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:12] + "…"
