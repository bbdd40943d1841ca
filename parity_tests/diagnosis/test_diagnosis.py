"""Diagnosis of small layers: every mistake is named first, and noise alone names nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from inception_parity.diagnosis import Candidate, SuspectLayer, diagnose, search
from inception_parity.diagnosis.activations import erf
from inception_parity.diagnosis.arrays import CannotComputeError
from inception_parity.diagnosis.forward import compute, output_of

from ..faults import mistakes
from ..faults.mistake_table import MISTAKES
from ..faults.mistakes import Mistake


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda m: m.name)
def test_mistake_is_named_first(mistake: Mistake) -> None:
    layer = mistake.layer()
    found = diagnose(layer)
    assert found.cause is not None, (found.note, found.closest)
    assert found.cause.cause in mistake.causes, [(f.cause, f.text) for f in found.findings[:4]]
    assert mistake.says in found.cause.text
    assert found.cause.fix
    assert found.cause.before is None or found.cause.after < found.cause.before
    assert "failed" not in found.note


LAYERS = {
    "conv": mistakes.conv, "norm": mistakes.norm, "max_pool": mistakes.max_pool,
    "avg_pool": mistakes.avg_pool, "act": mistakes.act, "dense": mistakes.dense,
    "concat": mistakes.concat, "flatten": mistakes.flatten, "lrn": mistakes.lrn,
    "input": mistakes.fed, "add": mistakes.residual, "resize": mistakes.resize,
    "affine": mistakes.rescale,
}  # fmt: skip


PAIRED = ("conv", "norm", "act")  # two mistakes at once take longest, so one kind has to do


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("size", [1.0, 1e-6])
def test_noise_is_not_explained(kind: str, size: float) -> None:
    layer = LAYERS[kind]()
    noise = np.random.default_rng(99).standard_normal(layer.reference.shape)
    found = diagnose(
        replace(layer, observed=layer.reference + size * noise),
        pairs=size == 1.0 and kind in PAIRED,
    )
    assert found.findings == []
    assert found.tried[0] > 5
    assert "values differ" in found.note
    assert "failed" not in found.note


@pytest.mark.parametrize("kind", ["act", "resize", "affine"])
def test_a_layer_is_not_said_to_be_fed_from_its_own_output(kind: str) -> None:
    layer = LAYERS[kind]()
    y = layer.reference + np.abs(np.random.default_rng(98).standard_normal(layer.reference.shape))
    found = diagnose(replace(layer, observed=y, later={"dropout": lambda: y}), pairs=False)
    assert found.findings == []


def test_mistake_that_leaves_fewer_channels_is_none_that_can_be_computed() -> None:
    layer = mistakes.conv().then("fewer channels", lambda y: y[:, :2], elementwise=False)
    assert compute(layer).shape[1] == 2
    with pytest.raises(CannotComputeError):
        compute(layer, [3])


def test_findings_are_ranked_by_how_far_fetched_they_are() -> None:
    mistake = next(m for m in MISTAKES if m.name == "no bias")
    found = diagnose(mistake.layer())
    costs = [f.cost for f in found.findings]
    assert costs == sorted(costs)
    assert costs[0] < costs[-1]  # fitted single biases explain it too
    assert len({(f.cause, f.text) for f in found.findings}) == len(costs)


def test_wrong_description_is_said_and_the_output_still_looked_at() -> None:
    layer = mistakes.conv().but(stride=(2, 2))
    found = diagnose(replace(layer, observed=np.maximum(layer.reference, 0)))
    assert "its description doesn't give the reference's output" in found.note
    assert found.cause is not None
    assert found.cause.cause == "activation-surplus"


def test_unknown_kind_of_layer_is_held_against_what_any_may_suffer() -> None:
    y = mistakes.images(5, 6, 7)
    found = diagnose(SuspectLayer("x", "attention", (), y, y[:, ::-1]))
    assert found.cause is not None
    assert found.cause.cause == "channel-order"


def test_missing_output_and_no_difference_are_said() -> None:
    layer = mistakes.conv()
    assert diagnose(layer).note == "there is no difference"
    assert diagnose(replace(layer, observed=None)).note == "no output was observed"


def test_explanation_that_fails_costs_itself_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")

    def broken(layer: SuspectLayer) -> Iterator[Candidate]:
        raise RuntimeError("no such layer")
        yield

    monkeypatch.setitem(search.BY_KIND, "conv", (broken, *search.BY_KIND["conv"]))
    found = diagnose(next(m for m in MISTAKES if m.name == "no bias").layer())
    assert found.cause is not None
    assert found.note == "explanations that failed on this layer: broken"
    assert "RuntimeError: no such layer" in caplog.text


def test_layer_with_windows_along_one_axis_gets_a_plain_note() -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 9))
    y = np.random.default_rng(1).standard_normal((2, 4, 9))
    weights = {"weight": np.ones((4, 3, 3))}
    settings = {"stride": (1,), "pads": ((1, 1),), "dilation": (1,)}
    found = diagnose(SuspectLayer("c", "conv", (x,), y, y[:, ::-1], settings, weights))
    assert "(its arrays and settings don't fit each other)" in found.note
    assert "unpack" not in found.note


@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [
    (3, 2, 0), (3, 2, 1), (2, 2, 0), (2, 3, 1), (3, 1, 1), (5, 3, 2), (1, 2, 0),
])  # fmt: skip
def test_pools_are_computed_as_the_oracle_does(
    kernel: int, stride: int, padding: int, ceil: bool
) -> None:
    for size in ((5, 6), (7, 8), (9, 11), (6, 10)):
        layer = mistakes.max_pool(kernel, stride, padding, ceil, size)
        assert np.array_equal(compute(layer), layer.reference)
    for counted in (False, True):
        layer = mistakes.avg_pool(kernel, stride, padding, counted, (9, 8))
        assert np.allclose(compute(layer), layer.reference, rtol=1e-13)


def test_a_tiny_difference_is_not_taken_for_other_weights() -> None:
    layer = mistakes.conv((14, 14), 3)
    wrong = layer.reference.copy()
    wrong[:, :, 0, 0] += 1e-8
    found = diagnose(replace(layer, observed=wrong), pairs=False)
    assert found.findings == []
    assert "at the border only" in found.note


def test_erf_is_that_of_the_c_library() -> None:
    x = np.concatenate([np.linspace(-7, 7, 4001), [1e-300, 0.0, np.inf, -np.inf]])
    truth = np.array([math.erf(v) for v in x])
    assert np.abs(erf(x) - truth).max() <= 2.3e-16
    assert np.isnan(erf(np.array([np.nan])))


@pytest.mark.parametrize("elementwise", [True, False])
def test_what_is_done_to_a_known_output_is_as_if_all_were_computed(elementwise: bool) -> None:
    layer = mistakes.conv().but(stride=(2, 2))
    done = layer.then("halved", lambda y: y / 2).then("cut", np.tanh, elementwise)
    whole, some = compute(done), compute(done, [2, 0])
    known = layer.then("halved", lambda y: y / 2)
    for each in (layer, known):
        output_of(each)
    again = known.then("cut", np.tanh, elementwise)
    assert np.array_equal(compute(again), whole)
    assert np.array_equal(compute(again, [2, 0]), some)
    assert np.array_equal(whole, np.tanh(compute(layer) / 2))
    assert compute(again.but(stride=(1, 1))).shape != whole.shape  # unknown: a different layer
