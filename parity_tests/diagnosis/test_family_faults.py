"""Faults of the residual networks, v4, BN-Inception and the FID's network: found and explained."""

from __future__ import annotations

from functools import lru_cache

import pytest

from ..conftest import chosen_backends
from ..faults.in_family import CASES, Explained
from ..support.harness import Bench
from .test_diagnosis_live import diagnosed

FRAMEWORKS = tuple(name for name in chosen_backends() if name != "np")
PLANTED = [(n, each) for n, (*_, faults) in enumerate(CASES) for each in faults]


@lru_cache(maxsize=1)  # cases of one network come in a row, and a network is large
def bench_of(number: int) -> Bench:
    network, options, size, _ = CASES[number]
    return Bench.make(network, options, size, 2)


@pytest.mark.slow  # whole networks, of which a run takes a second or more
@pytest.mark.parametrize("framework", FRAMEWORKS)  # the inner loop, so that they share a bench
@pytest.mark.parametrize(
    ("number", "planted"),
    PLANTED,
    ids=[f"{CASES[number][0]}-{number}-{each.fault.name}" for number, each in PLANTED],
)
def test_cause_is_named_first(number: int, planted: Explained, framework: str) -> None:
    report, found = diagnosed(bench_of(number), framework, planted.fault.plant)
    assert report.fails
    assert report.first is not None
    assert report.first.name == planted.fault.first
    lines = [line for line in report.loader if line.startswith(f"{planted.fault.loader}:")]
    assert bool(lines) == bool(planted.fault.loader)
    assert found is not None and found.cause is not None, found
    assert planted.explained_by(found.cause.cause), [(f.cause, f.text) for f in found.findings[:4]]
    assert planted.says in found.cause.text
    assert found.cause.fix
