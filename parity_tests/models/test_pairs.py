"""Small models of other people's kinds: right ports pass, and faulty ones are explained."""

from __future__ import annotations

import pytest

from ..conftest import chosen_backends
from .pairs import Fault, Pair, all_pairs, compared, judged

pytestmark = pytest.mark.skipif(
    not {"pt", "tf", "mx"} <= set(chosen_backends()), reason="holds three frameworks together"
)
PAIRS = list(all_pairs())
FAULTS = [pytest.param(p, f, id=f"{p}-{f.name}") for p in PAIRS for f in p.faults]


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_a_right_port_passes(pair: Pair) -> None:
    outcome = judged(pair)
    assert not outcome.fails, outcome.text


@pytest.mark.parametrize(("pair", "fault"), FAULTS)
def test_a_faulty_port_is_explained_at_the_right_layer(pair: Pair, fault: Fault) -> None:
    outcome = judged(pair, fault)
    assert outcome.fails
    assert outcome.place == fault.place, outcome.text
    assert fault.cause in outcome.causes, outcome.text


WITH_WEIGHTS = [p for p in PAIRS if not p.options.get("copy_weights")]


@pytest.mark.parametrize("pair", WITH_WEIGHTS, ids=str)
def test_copied_weights_are_what_a_right_port_holds(pair: Pair) -> None:
    made = compared(pair, pair.port, copy_weights=True)
    assert not made.fails, made.text()
    assert made.copied is not None
    assert not made.copied.left
