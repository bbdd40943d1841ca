"""Small models of other people's kinds: right ports pass, and faulty ones are explained."""

from __future__ import annotations

from typing import Any

import pytest

from inception_parity.models import compare

from ..conftest import chosen_backends
from .pairs import Fault, Pair, all_pairs, judged

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


@pytest.mark.parametrize("pair", [p for p in PAIRS if p.faults], ids=str)
def test_copied_weights_mend_a_port_whose_weights_are_wrong(pair: Pair) -> None:
    """Into the right port: what is copied has to be what it holds."""
    made: Any = compare(
        pair.original(), pair.port(), pair.inputs(), copy_weights=True, **pair.options
    )
    assert not made.fails, made.text()
    assert made.copied is not None
    assert not made.copied.left
