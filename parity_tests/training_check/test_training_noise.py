"""What rounding permits: many times what another last digit in each weight leads to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inception_parity.backends.recipe import Recipe
from inception_parity.comparison.limits import LIMIT_GRADIENT_NOISES, LIMIT_TRAINING_STEP
from inception_parity.traces.trace import Trace
from inception_parity.training_check import limits as limits_module
from inception_parity.training_check.judging import SHOWN, Comparer, Judgement, judge
from inception_parity.training_check.limits import (
    LATER,
    PERTURBED,
    Arrays,
    from_itself,
    limits_by_quantity,
    noise_by_array,
)
from inception_parity.training_check.trial import Trial

from ..conftest import chosen_backends
from ..faults.in_training import FAULTS
from ..support import headed

FRAMEWORKS = tuple(name for name in chosen_backends() if name != "np")
PLAIN = Recipe("SGD", {"lr": 2.0**-7}, 0.1, 0.3, 4)


def by_hand(oracle: Trace, **limits: float) -> Comparer:
    arrays = Arrays({"fc.weight": np.array([3.0, 4.0])}, PLAIN)
    return Comparer({}, oracle, arrays, Trial(PLAIN, 1), limits)


@pytest.mark.parametrize(
    ("itself", "permitted"),
    [
        ((1e-9, 2e-9, 3e-9), 2e-9),
        ((1e-9, 2e-9, 1.0), 2e-9),  # one backend alone doesn't widen it
        ((0.0, 2e-9, 3e-9), 2e-9),  # nor narrow it
    ],
)
def test_gradients_may_be_apart_by_many_times_what_a_last_digit_does(
    itself: tuple[float, ...], permitted: float, tmp_path: Path
) -> None:
    for share in (0.5, 2.0):
        apart = share * LIMIT_GRADIENT_NOISES * permitted
        traces = {
            name: headed.trace_of(
                tmp_path / str(share), name, gradient=[1.0, apart if name == "tf" else 0.0],
                apart=[own],
            )
            for name, own in zip(("pt", "tf", "mx"), itself, strict=True)
        }  # fmt: skip
        rows = by_hand(traces["pt"], **{"gradient.1": 1e-10}).each_other("gradient.1", traces)
        assert [row.backend for row in rows if row.fails] == ([] if share < 1 else ["tf"])
        (row,) = (row for row in rows if row.backend == "tf")
        assert row.above == (("fc.weight",) if share < 1 else ())
        if share < 1:
            assert row.allowed == pytest.approx(64 * permitted)


def test_loss_may_be_apart_by_many_times_what_a_last_digit_does_to_the_oracles(
    tmp_path: Path,
) -> None:
    oracle = headed.trace_of(tmp_path, "np", loss=[2.0], loss_apart=[4e-9])
    assert noise_by_array("loss", [oracle]) == {"": pytest.approx(64 * 4e-9)}
    for share, wrong in ((0.5, False), (2.0, True)):
        trace = headed.trace_of(tmp_path / str(share), "pt", loss=[2.0 + share * 64 * 4e-9, 1.0])
        comparer = replace(
            by_hand(oracle, loss=LIMIT_TRAINING_STEP), traces={("pt", "float64"): trace}
        )
        (row,) = comparer.all_of("loss", "float64")
        assert row.fails is wrong
        assert row.above == (() if wrong else ("loss",))


@pytest.fixture
def badly_conditioned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the network a bias of 2^26 that batch norm subtracts again, with eight digits lost."""
    weights = headed.weights()
    weights["conv2.conv.bias"] += np.float32(2.0**26)
    monkeypatch.setattr(headed, "weights", lambda: dict(weights))


def rows_of(trial: Trial, folder: Path, **plants: object) -> list[Judgement]:
    traces = {
        (name, "float64"): headed.train(name, trial, folder / name, plant=plants.get(name))
        for name in FRAMEWORKS
    }
    return judge(traces, headed.oracle(trial, folder / "np"), headed.arrays(trial), trial)


@pytest.mark.usefixtures("badly_conditioned")
def test_badly_conditioned_network_is_judged_by_its_own_noise(tmp_path: Path) -> None:
    rows = rows_of(headed.trial(steps=1), tmp_path)
    assert [row for row in rows if row.fails] == []
    above = {row.quantity for row in rows if row.above}
    assert {"loss", "statistics.1"} <= above
    if len(FRAMEWORKS) > 1:
        assert {"gradient.1", "weights.1"} <= above
    assert not any(row.verdict == SHOWN for row in rows)


@pytest.mark.usefixtures("badly_conditioned")
def test_fault_in_a_badly_conditioned_network_is_found(framework: str, tmp_path: Path) -> None:
    fault = next(fault for fault in FAULTS if fault.name == "gradient of one layer doubled")
    rows = rows_of(headed.trial(steps=1), tmp_path, **{framework: fault.plants[framework]})
    assert {row.backend for row in rows if row.fails} == {framework}
    wrong = next(row for row in rows if row.fails)
    assert wrong.quantity in (fault.quantity, fault.elsewhere.get(framework), "derivative")
    assert set(fault.names) <= set(wrong.wrong)


def trained(trial: Trial, folder: Path) -> tuple[dict[tuple[str, str], Trace], Trace]:
    names = ("pt", "tf", "mx")
    traces = {(name, "float64"): headed.train(name, trial, folder / name) for name in names}
    return traces, headed.oracle(trial, folder / "np")


def test_first_step_is_not_judged_where_rounding_leads_too_far(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trial = headed.trial("momentum")
    traces, oracle = trained(trial, tmp_path)
    double, arrays = list(traces.values()), headed.arrays(trial)
    apart = {
        quantity: from_itself(quantity, [oracle] if by_oracle else double, arrays)
        for quantity, by_oracle in PERTURBED.items()
    }
    apart["derivative"] = float(oracle.array("noise")[0])
    assert all(1e-18 < one < 1e-12 for one in apart.values())
    for most in (
        0.99 * min(apart.values()),
        1.01 * max(apart.values()),
        float(np.median([*apart.values()])),
    ):
        monkeypatch.setattr(limits_module, "MOST_PERTURBED_FIRST", most)
        known = limits_by_quantity(oracle, double, arrays)
        unjudged = {quantity for quantity, one in apart.items() if one > most}
        assert {quantity for quantity, limit in known.items() if limit is None} == unjudged
        rows = judge(traces, oracle, arrays, trial)
        assert {row.quantity for row in rows if row.verdict == SHOWN} == unjudged


def test_limit_of_later_steps_is_what_rounding_does_to_the_steadiest(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trial = headed.trial("momentum")
    traces, oracle = trained(trial, tmp_path)
    double = list(traces.values())
    least = from_itself("weights.K", double, headed.arrays(trial))
    each = [from_itself("weights.K", [trace], headed.arrays(trial)) for trace in double]
    assert least == min(each)
    assert 1e-17 < least < 1e-12
    known = limits_by_quantity(oracle, double, headed.arrays(trial))
    assert known["weights.K"] == max(known["gradient.1"] or 0.0, 64 * least)
    # Where one quantity goes further than the most, nothing of that step is judged.
    furthest = max(from_itself(name, double, headed.arrays(trial)) for name in LATER)
    monkeypatch.setattr(limits_module, "MOST_PERTURBED", 1.01 * furthest)
    assert None not in limits_by_quantity(oracle, double, headed.arrays(trial)).values()
    monkeypatch.setattr(limits_module, "MOST_PERTURBED", 0.99 * furthest)
    known = limits_by_quantity(oracle, double, headed.arrays(trial))
    assert [quantity for quantity, limit in known.items() if limit is None] == list(LATER)
    rows = judge(traces, oracle, headed.arrays(trial), trial)
    assert {r.quantity for r in rows if r.verdict == SHOWN} == set(LATER)
