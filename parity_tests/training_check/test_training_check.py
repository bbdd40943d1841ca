"""Training in three frameworks, compared with each other and with the oracle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from inception_parity.backends import adapter
from inception_parity.backends.recipe import Recipe
from inception_parity.checking.task import Settings, make_task
from inception_parity.comparison.limits import (
    LIMIT_GRADIENT_NOISES,
    LIMIT_TRAINING_STEP,
    MOST_GRADIENT_NOISE,
)
from inception_parity.traces import seeding
from inception_parity.traces.trace import Trace
from inception_parity.training_check import steps
from inception_parity.training_check.judging import (
    EACH_OTHER,
    IDENTICAL,
    ROUNDING,
    SHOWN,
    Comparer,
    judge,
)
from inception_parity.training_check.limits import (
    LATER,
    PERTURBED,
    QUANTITIES,
    Arrays,
    steepness,
)
from inception_parity.training_check.runner import check_training
from inception_parity.training_check.trial import PRESETS, Trial, make_trial

from ..support import headed
from ..support.selection import slow_unless

FRAMEWORKS = ("pt", "tf", "mx")


def trained(
    trial: Trial, folder: Path, dtypes: tuple[str, ...] = ("float64",), graph: bool = False
) -> tuple[dict[tuple[str, str], Trace], Trace]:
    traces = {
        (name, dtype): headed.train(name, trial, folder / f"{name}-{dtype}", dtype, graph=graph)
        for name in FRAMEWORKS
        for dtype in dtypes
    }
    return traces, headed.oracle(trial, folder / "np")


@slow_unless(lambda p: p["preset"] in ("momentum", "adam"), "six of the same kind")
@pytest.mark.parametrize("preset", PRESETS)
def test_frameworks_agree_in_training(preset: str, tmp_path: Path) -> None:
    trial = headed.trial(preset, frozen=("conv3.conv.weight",))
    traces, oracle = trained(trial, tmp_path, graph=preset == "momentum")
    rows = judge(traces, oracle, headed.arrays(trial), trial)
    assert {row.quantity for row in rows} == set(QUANTITIES)
    assert [row for row in rows if row.verdict not in (ROUNDING, IDENTICAL)] == []
    # Adam moves a bias before batch norm by rounding, and the running mean takes it along.
    bound = LIMIT_TRAINING_STEP if preset == "adam" else 1e-12
    assert max(row.worst or 0.0 for row in rows) < bound
    for trace in traces.values():
        assert trace.loader == []
        # Trained at all: weights have moved, and the loss with them.
        assert len(set(trace.array("loss").tolist())) == trial.steps
        moved = trace.array("weights.K fc.weight") - headed.weights()["fc.weight"]
        assert np.abs(moved).max() > 1e-3


STEM = ("stem.conv.weight", "stem.norm.weight", "stem.norm.bias")


@slow_unless(lambda p: p["preset"] == "momentum", "two of the same kind")
@pytest.mark.parametrize("preset", ["momentum", "adam"])
def test_frozen_batch_norm_keeps_its_statistics_in_every_framework(
    preset: str, tmp_path: Path
) -> None:
    trial = headed.trial(preset, frozen=STEM)
    traces, oracle = trained(trial, tmp_path, ("float64", "float32"), graph=preset == "momentum")
    rows = judge(traces, oracle, headed.arrays(trial), trial)
    assert [row for row in rows if row.fails] == []
    frozen = [row for row in rows if row.quantity == "frozen"]
    assert {(row.total, row.verdict) for row in frozen} == {(5, IDENTICAL)}
    for trace in (*traces.values(), oracle):
        for name, loaded in headed.weights().items():
            endpoint = f"statistics.1 {name}"
            if endpoint in trace.endpoints:
                same = np.array_equal(trace.array(endpoint), loaded)
                assert same == name.startswith("stem."), (trace.run.backend, name)


def test_frozen_batch_norm_that_moved_is_reported(tmp_path: Path) -> None:
    trial = headed.trial(frozen=STEM)
    trace = headed.train("pt", trial, tmp_path / "pt")
    oracle = headed.oracle(trial, tmp_path / "np")
    loaded = headed.weights()
    changed = {**loaded, "stem.norm.running_mean": loaded["stem.norm.running_mean"] + 1e-6}
    rows = judge({("pt", "float64"): trace}, oracle, Arrays(changed, trial.recipe), trial)
    (frozen,) = [row for row in rows if row.quantity == "frozen"]
    assert frozen.wrong == ("stem.norm.running_mean",)


def test_float32_is_shown_next_to_float64(tmp_path: Path) -> None:
    trial = headed.trial()
    traces, oracle = trained(trial, tmp_path, ("float64", "float32"))
    rows = [r for r in judge(traces, oracle, headed.arrays(trial), trial) if r.dtype == "float32"]
    assert {row.verdict for row in rows} == {SHOWN}
    for quantity in EACH_OTHER:
        own = [r.worst for r in rows if r.quantity == quantity and r.against == "its float64 run"]
        others = [r.worst for r in rows if r.quantity == quantity and r.against == "each other"]
        assert len(own) == len(others) == len(FRAMEWORKS)
        assert all(1e-9 < worst < 1e-4 for worst in own)
        assert all(0 <= worst < 1e-4 for worst in others)


def test_array_that_float64_lacks_is_a_problem_of_the_row(tmp_path: Path) -> None:
    trial = headed.trial()
    traces, oracle = trained(trial, tmp_path, ("float64", "float32"))
    del traces["tf", "float64"].endpoints["gradient.1 fc.weight"]
    rows = judge(traces, oracle, headed.arrays(trial), trial)
    problems = {(r.backend, r.dtype, r.quantity, r.against): r.problem for r in rows if r.problem}
    assert problems == {
        ("tf", "float64", "gradient.1", "each other"): "fc.weight: missing",
        ("tf", "float64", "derivative", "the oracle"): "fc.weight: missing",
        ("tf", "float32", "gradient.1", "its float64 run"): (
            "fc.weight: missing from its float64 run"
        ),
    }


def test_bias_whose_kernel_is_frozen_has_nothing_to_be_judged_by(tmp_path: Path) -> None:
    """A bias before batch norm: its gradient is rounding, and its kernel has none."""
    trial = headed.trial(frozen=("conv2.conv.weight",))
    traces, oracle = trained(trial, tmp_path, ("float64", "float32"))
    rows = judge(traces, oracle, headed.arrays(trial), trial)
    assert [row for row in rows if row.fails] == []
    totals = {row.quantity: row.total for row in rows}
    trained_arrays = len([n for n in headed.weights() if ".running_" not in n])
    assert totals["update"] == trained_arrays - 1
    assert totals["gradient.1"] == totals["gradient.K"] == trained_arrays - 2


def test_single_backend_is_judged_by_the_oracle_alone(framework: str, tmp_path: Path) -> None:
    trial = headed.trial()
    traces = {(framework, "float64"): headed.train(framework, trial, tmp_path / "trace")}
    rows = judge(traces, headed.oracle(trial, tmp_path / "np"), headed.arrays(trial), trial)
    assert [row.quantity for row in rows] == ["loss", "statistics.1", "derivative", "update"]
    assert not any(row.fails for row in rows)


def test_oracles_derivative_is_the_limit_of_differences(tmp_path: Path) -> None:
    """By central differences of the loss, extrapolated to a step of 0 after Richardson."""
    import inception_np
    from inception_parity.training_check.derivatives import IMAGES, direction, spread
    from inception_parity.training_check.trial import batches, dropout_factors

    trial = headed.trial()
    oracle = headed.oracle(trial, tmp_path / "np")
    weights = {name: w.astype(np.float64) for name, w in headed.weights().items()}
    net = headed.in_numpy()
    net.dropout.draw = lambda shape: dropout_factors(trial.recipe.seed, 0, "dropout", shape, 0.4)
    net.train()
    x, labels = next(batches(headed.images(), headed.CLASSES, trial))
    loss = inception_np.TrainingLoss(trial.recipe.label_smoothing, trial.recipe.aux_weight)

    def at(step: float, along: int | None) -> float:
        moved = {
            name: w
            if along is None or name.endswith(("mean", "var"))
            else w + step * spread(w) * direction(name, w.shape, along)
            for name, w in weights.items()
        }
        inception_np.set_weights(net, moved)
        shifted = x + step * direction(IMAGES, x.shape, 0) if along is None else x
        return loss(net(shifted), labels)

    for along in (0, 1, 2, None):
        h = 1e-5
        near, far = ((at(s, along) - at(-s, along)) / (2 * s) for s in (h, 2 * h))
        found = oracle.array(f"derivative {IMAGES if along is None else along}")[0]
        assert found == pytest.approx((4 * near - far) / 3, rel=1e-7)


def statistics(net: object, framework: str) -> dict[str, np.ndarray]:
    found = adapter(framework).get_weights(net)
    return {n: a for n, a in found.items() if n.startswith("stem.norm.running")}


def forward_in_torch(net: Callable[..., object], x: np.ndarray) -> Callable[[], object]:
    import torch

    net.train()  # type: ignore[attr-defined]
    net(torch.from_numpy(x))
    return lambda: None


def forward_in_keras(net: Callable[..., object], x: np.ndarray) -> Callable[[], object]:
    net(np.ascontiguousarray(x.transpose(0, 2, 3, 1)), training=True)
    return lambda: None


def forward_in_mxnet(net: Callable[..., object], x: np.ndarray) -> Callable[[], object]:
    from inception_mx._mxnet import mxnet

    with mxnet.autograd.record():
        logits, _ = net(mxnet.np.array(x, dtype="float64"))  # type: ignore[misc]
    return logits.backward


FORWARD = {"pt": forward_in_torch, "tf": forward_in_keras, "mx": forward_in_mxnet}


def test_forward_pass_in_training_moves_statistics_as_stated(framework: str) -> None:
    """A tenth of the way to the batch's; PyTorch's variance by n - 1; MXNet in the backward."""
    x = np.random.default_rng(0).standard_normal((4, 3, headed.SIZE, headed.SIZE)) + 1.0
    net = headed.build(framework)
    before = statistics(net, framework)
    outputs: list[np.ndarray] = []
    backend = adapter(framework)
    stem = next(m for path, m, _ in backend.modules(net) if path == "stem.conv")
    undo = backend.attach(
        stem, lambda args: args, lambda _, y: outputs.append(backend.to_shared(y).copy())
    )
    backward = FORWARD[framework](net, x)
    undo()
    if framework == "mx":
        after = statistics(net, framework)
        assert all(np.array_equal(after[name], before[name]) for name in before)
        backward()
    after = statistics(net, framework)
    batch = outputs[0]
    ddof = 1 if framework == "pt" else 0
    mean, var = batch.mean(axis=(0, 2, 3)), batch.var(axis=(0, 2, 3), ddof=ddof)
    m = float(np.float32(0.9)) if framework == "mx" else 0.9
    for name, part in (("stem.norm.running_mean", mean), ("stem.norm.running_var", var)):
        expected = m * before[name] + (1 - m) * part
        np.testing.assert_allclose(after[name], expected, rtol=1e-12)


def test_oracle_in_training_is_its_formulas() -> None:
    import inception_np.layers as layers

    x = np.random.default_rng(0).standard_normal((4, 2, 3, 5)) * 3 + 1
    norm = layers.BatchNorm2d(2, 1e-3)
    norm.weight[:], norm.bias[:] = (2.0, 3.0), (0.5, -0.5)
    norm.train()
    y = norm(x)
    flat = x.transpose(1, 0, 2, 3).reshape(2, -1)
    scaled = (flat - flat.mean(1, keepdims=True)) / np.sqrt(flat.var(1, keepdims=True) + 1e-3)
    expected = scaled * [[2.0], [3.0]] + [[0.5], [-0.5]]
    np.testing.assert_allclose(y.transpose(1, 0, 2, 3).reshape(2, -1), expected, rtol=1e-12)
    np.testing.assert_allclose(norm.running_mean, 0.1 * flat.mean(1), rtol=1e-12)
    np.testing.assert_allclose(norm.running_var, 0.9 + 0.1 * flat.var(1), rtol=1e-12)
    dropout = layers.Dropout(0.5)
    assert dropout(x) is x
    dropout.train()
    with pytest.raises(ValueError, match="no `draw` is given"):
        dropout(x)
    dropout.draw = lambda shape: np.full(shape, 2.0)
    assert np.array_equal(dropout(x), 2 * x)


def test_weights_may_be_apart_by_what_the_optimizer_makes_of_noise(tmp_path: Path) -> None:
    """By hand: with g << eps Adam's first step is lr g / eps, and so is that of a difference."""
    lr, eps, noise = 2.0**-7, 1e-8, 1e-14
    adam, plain = (Recipe(kind, {"lr": lr}, 0.1, 0.3, 4) for kind in ("Adam", "SGD"))
    weights = {"fc.weight": np.array([3.0, 4.0])}
    g = [1e-16, 1.0]  # steep at the first element, flat at the second
    each = noise / np.sqrt(2)  # of a gradient of length 1
    allowed = lr * each / (each + eps) / 5
    torchs = headed.trace_of(tmp_path, "pt", gradient=g, weights=[3.0, 4.0])
    oracle = headed.trace_of(tmp_path, "np", noise=[noise / LIMIT_GRADIENT_NOISES])

    def steep(recipe: Recipe, noise: float, *others: Trace) -> float:
        return steepness("fc.weight", [torchs, *others], Arrays(weights, recipe), noise)

    assert steep(adam, noise) == pytest.approx(allowed, rel=1e-2)
    assert steep(plain, 1e-9) == pytest.approx(lr * 1e-9 / 5, rel=1e-2)
    assert steep(adam, 1e-9) == MOST_GRADIENT_NOISE
    for share, equal in ((0.5, True), (2.0, False)):
        moved = [3.0 + share * 5 * allowed, 4.0]
        keras = headed.trace_of(tmp_path, f"tf{share}", gradient=g, weights=moved)
        known = {"weights.1": LIMIT_TRAINING_STEP}
        for recipe, agrees in ((adam, equal), (plain, False)):
            comparer = Comparer({}, oracle, Arrays(weights, recipe), Trial(recipe, 1), known)
            rows = comparer.each_other("weights.1", {"pt": torchs, "tf": keras})
            assert len(rows) == 2
            for row in rows:
                assert row.worst == pytest.approx(share * allowed, rel=1e-3)
                assert row.worst > LIMIT_TRAINING_STEP == row.limit
                assert row.fails is not agrees
                assert row.above == (("fc.weight",) if agrees else ())
                assert (row.allowed is not None) is agrees
    # A backend whose gradient is 0 doesn't widen the limit for all.
    zero = headed.trace_of(tmp_path, "zero", gradient=[0.0, 0.0], weights=[3.0, 4.0])
    assert steep(adam, noise, zero) == 0.0


def test_lr_that_float32_rounds_is_seen_where_mxnet_fuses(tmp_path: Path) -> None:
    """0.1 in float32 is off by 1.5e-8 of itself, and so is every step."""
    trial = headed.trial("sgd", settings={"lr": 0.1}, steps=1)
    traces, oracle = trained(trial, tmp_path)
    rows = {(r.backend, r.quantity): r for r in judge(traces, oracle, headed.arrays(trial), trial)}
    for name in ("pt", "tf"):
        assert not rows[name, "update"].fails
        assert not rows[name, "weights.1"].fails
    step = abs(float(np.float32(0.1)) - 0.1) / 0.1
    assert 1.4e-8 < step < 1.6e-8
    assert rows["mx", "update"].worst is not None
    assert LIMIT_TRAINING_STEP < rows["mx", "update"].worst < 10 * step
    assert rows["mx", "weights.1"].fails


def test_steps_on_a_gpu_are_judged_by_the_oracle(
    framework: str, load_adapter: Callable[..., object]
) -> None:
    load_adapter(framework, "gpu")  # without a GPU, skips
    shared = seeding.seeded("googlenet", {"in_channels": 3, "batch_norm": True}, 0)
    task = make_task(shared, None, (64, 64), 4)
    trial = make_trial("googlenet", shared.options, batch=4, steps=2)
    settings = Settings((framework,), ("float64",), device="gpu")
    result = check_training(task, trial, settings)
    assert [row.quantity for row in result.judgements] == [
        "loss",
        "statistics.1",
        "derivative",
        "update",
    ]
    assert [row for row in result.judgements if row.fails] == []
    assert result.exit_code == 0


def test_trained_again_from_the_same_weights_a_network_comes_to_the_same(
    framework: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Otherwise the effect of another last digit would be measured together with another effect."""
    monkeypatch.setattr(steps, "_perturbed", lambda name, array: array)
    for preset in ("nesterov", "adam"):
        trace = headed.train(framework, headed.trial(preset), tmp_path / preset)
        for kind in (*(quantity for quantity in PERTURBED if quantity != "loss"), *LATER):
            assert trace.array(f"perturbed {kind}").size > 0
            assert not trace.array(f"perturbed {kind}").any()
