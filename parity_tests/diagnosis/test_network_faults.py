"""Faults planted in the networks with heads: none passes, and each is reported where it starts."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import pytest

from ..conftest import chosen_backends
from ..faults.in_networks import CASES
from ..faults.planting import Fault
from ..support.harness import Bench
from ..support.selection import SMALL_NETWORKS, slow_unless, takes_turn

FRAMEWORKS = tuple(name for name in chosen_backends() if name != "np")
OUTPUTS = ("logits", "aux_logits", "aux1_logits", "aux2_logits")


@lru_cache(maxsize=1)  # cases of one network come in a row, and a network is large
def bench_of(number: int) -> Bench:
    network, options, size, _ = CASES[number]
    return Bench.make(network, options, (size, size), 1 if size > 200 else 2)


PLANTED = [(n, fault) for n, (_, _, _, faults) in enumerate(CASES) for fault in faults]


# Faults that GoogLeNet can have too are in test_faults.py: quick, and in every framework.
ELSEWHERE = ("BN eps", "SAME padding", "average for max", "missing ReLU", "one kernel element",
             "shifted bias", "swapped branches")  # fmt: skip
OWN = [
    (number, fault)
    for number, fault in PLANTED
    if CASES[number][2] < 299 and not fault.name.startswith(ELSEWHERE)
]


def quick(p: dict[str, Any]) -> bool:
    """Each fault that needs such a network, in one framework, taking the frameworks in turn.

    Those of networks that Keras and MXNet take seconds to build are slow.
    """
    planted = (p["number"], p["fault"])
    network, _, size, _ = CASES[p["number"]]
    if planted not in OWN or network not in SMALL_NETWORKS or size > 97:
        return False
    return takes_turn(FRAMEWORKS, p["framework"], OWN.index(planted))


@slow_unless(quick, "whole networks, of which a run takes a second or more")
@pytest.mark.parametrize("framework", FRAMEWORKS)  # the inner loop, so that they share a bench
@pytest.mark.parametrize(
    ("number", "fault"),
    PLANTED,
    ids=[f"{CASES[number][0]}-{CASES[number][2]}-{fault.name}" for number, fault in PLANTED],
)
def test_planted_fault_is_named_where_it_starts(number: int, fault: Fault, framework: str) -> None:
    bench = bench_of(number)
    report = bench.run(framework, plant=fault.plant)
    outputs = [e for e in report.endpoints if e.name in OUTPUTS]
    assert any(e.problem or (e.rel_l2 or 0) > 1e-10 for e in outputs), "it changes no output"
    assert report.fails
    assert report.first is not None
    assert report.first.name == fault.first
    found = [line for line in report.loader if line.startswith(f"{fault.loader}:")]
    assert bool(found) == bool(fault.loader)
