"""`compare`: two models layer by layer, where they begin to differ, and why."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..comparison.comparing import (
    IDENTICAL,
    ROUNDING,
    SUSPICIOUS,
    WRONG,
    Report,
)
from ..errors import InputError
from .capturer import CannotRunError
from .capturing import capture
from .explaining import explain
from .graph import ComparedLayer, graph_of
from .inputs import rounded
from .judging import Judge
from .layers import plain
from .match import Corrections, Match, match_graphs
from .matched_weights import (
    Copied,
    WeightDifference,
    count_compared,
    to_copy,
    weight_differences,
)
from .points import Points
from .recorder import ModelTrace
from .report import ModelReport, SettingDifference
from .running_again import Again
from .steps.comparing import compare_steps
from .steps.plan import MODES, StepOptions
from .steps.running import require_trainable, stepper_of

Array = NDArray[Any]

NARROW = ("float16", "bfloat16")


def compare(
    a: Any,
    b: Any,
    inputs: Any = None,
    *,
    match: Corrections | None = None,
    dtype: str | None = None,
    layout_a: str | None = None,
    layout_b: str | None = None,
    copy_weights: bool = False,
    diagnosis: bool = True,
    mode: str = "inference",
    step: StepOptions | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> ModelReport:
    """Compare a model with the one that it was made from, layer by layer.

    Args:
        a: the original: a model as `capture` takes it, or a trace from `capture`.
        b: the port, likewise. It is b that is judged.
        inputs: what both are fed, as `capture` takes it; not needed for two traces.
        match: corrections of the match that is found: a's layer -> b's; a's layer -> None,
            if it needs no counterpart; and under the key None a list of b's layers that
            need none.
        dtype: of b's run: `float64`, `float32`, `float16` or `bfloat16`; by default float64
            wherever a framework can. Below float64, a runs in float64, and in b's dtype too,
            which shows how far rounding takes it: b is judged in units of that.
        layout_a: a's layout, `NCHW` or `NHWC`, if it isn't recognised.
        layout_b: b's.
        copy_weights: give b the weights of a for the comparison, in matched layers whose
            shapes allow it; afterwards b has its own weights again.
        diagnosis: look for the cause at the first layers that are wrong in themselves.
        mode: `training` to compare, in addition, one training step of both models: the loss,
            gradients, running statistics and weights, with dropout switched off.
        step: the loss, the targets and the optimizer of that step.
        progress: called with a line that says what is being done.

    Returns:
        The report; `fails` says whether they differ, and `str()` of it says it all.

    Raises:
        InputError: something given can't be used, or a model can't be run.
    """
    if mode != "inference" or step is not None:
        _require_training(a, b, mode, dtype)
    wanted = dtype if dtype == "float64" else None  # the reference is as exact as possible
    if dtype in NARROW and inputs is not None:
        inputs = rounded(inputs, dtype)
    one = _traced(a, inputs, wanted, layout_a, lambda name: progress(f"first model: {name}"))
    other = _traced(b, inputs, dtype, layout_b, lambda name: progress(f"second model: {name}"))
    _require_same_inputs(one, other)
    copied, like, values = None, other, None
    if copy_weights:
        values, copied = _copied(one, other, b, match)
        progress("second model, with the first one's weights")
        other = capture(
            b, inputs, dtype=other.run.dtype, layout=layout_b, weights=values, like=other
        )
    floors = None
    dtypes = one.run.dtype, other.run.dtype
    if dtypes[0] == "float64" != dtypes[1] and not isinstance(a, ModelTrace):
        with contextlib.suppress(CannotRunError):  # in that dtype; the limit is then a wider one
            floors = capture(a, inputs, dtype=dtypes[1], layout=layout_a)
    again = Again(
        None if isinstance(a, ModelTrace) else lambda forced: capture(
            a, inputs, dtype=one.run.dtype, layout=layout_a, forced=forced
        ),
        None if isinstance(b, ModelTrace) else lambda forced: capture(
            b, inputs, dtype=other.run.dtype, layout=layout_b, weights=values, like=like,
            forced=forced,
        ),
    )  # fmt: skip
    progress("comparing")
    made = compare_traces(one, other, match, floors, copied, again, diagnosis, progress)
    if mode == "training" and not made.fails:

        def forward() -> str:
            with stepper_of(one).without_dropout(a):
                first = capture(a, inputs, dtype="float64", layout=layout_a, training=True)
            with stepper_of(other).without_dropout(b):
                second = capture(
                    b, inputs, dtype="float64", layout=layout_b, training=True, weights=values,
                    like=like,
                )  # fmt: skip
            found = _judged(first, second, match, None)
            return next((e.name for e in found.all if e.guilty), "")

        made.step = compare_steps(
            made.match, a, b, step or StepOptions(), bool(made.inside), forward, progress
        )
    return made


def _require_training(a: Any, b: Any, mode: str, dtype: str | None) -> None:
    if mode not in MODES:
        raise InputError(f"mode {mode!r}, but should be one of {', '.join(MODES)}")
    if mode != "training":
        raise InputError("a training step's options need mode training")
    if dtype not in (None, "float64"):
        raise InputError(f"a training step is judged in float64 only, but dtype {dtype} was given")
    for model in (a, b):
        require_trainable(model)


def compare_traces(
    a: ModelTrace,
    b: ModelTrace,
    corrections: Corrections | None = None,
    floors: ModelTrace | None = None,
    copied: Copied | None = None,
    again: Again | None = None,
    diagnosis: bool = True,
    progress: Callable[[str], None] = lambda text: None,
) -> ModelReport:
    """Compare two traces.

    Args:
        a: the original's.
        b: the port's.
        corrections: as `match` in `compare`.
        floors: a's trace in b's dtype.
        copied: which of a's weights b was given.
        again: runs the models again, without which nothing that follows a layer with float32
            inside agrees.
        diagnosis: as in `compare`.
        progress: as in `compare`.
    """
    first = _judged(a, b, corrections, floors)
    points = first if again is None else _behind_float32(first, corrections, again, progress)
    match, judge, endpoints = points.match, points.judge, points.all
    order = (WRONG, SUSPICIOUS, ROUNDING, IDENTICAL)
    verdict = min((e.verdict for e in endpoints), key=order.index)
    report = Report(
        b.run.backend, b.run.dtype, "propagated", verdict, endpoints, [],
        versions={**a.versions, **b.versions}, seconds=a.seconds + b.seconds,
    )  # fmt: skip
    made = ModelReport(
        report, match, _weights(match), count_compared(match), _settings(match), points,
        points.regions(), copied, inside=points.inside(),
        apart=max((e.rel_l2 or 0.0 for e in first.outputs), default=0.0),
    )  # fmt: skip
    if diagnosis:
        explain(made, judge, progress)
    return made


def _traced(
    model: Any, inputs: Any, dtype: str | None, layout: str | None, progress: Callable[[str], None]
) -> ModelTrace:
    if isinstance(model, ModelTrace):
        return model
    if inputs is None:
        raise InputError("no inputs were given, but a model needs them; two traces don't")
    return capture(model, inputs, dtype=dtype, layout=layout, progress=progress)


def _require_same_inputs(a: ModelTrace, b: ModelTrace) -> None:
    if len(a.inputs) != len(b.inputs):
        raise InputError(f"the first model took {len(a.inputs)} inputs, the second {len(b.inputs)}")
    for one, other in zip(a.inputs, b.inputs, strict=True):
        mine, theirs = a.array(one), b.array(other)
        if mine.shape != theirs.shape or not np.array_equal(mine, theirs):
            raise InputError(
                f"the two were not fed the same: {one} of shapes {mine.shape} and {theirs.shape}; "
                "capture both with the same inputs"
            )


def _judged(
    a: ModelTrace, b: ModelTrace, corrections: Corrections | None, floors: ModelTrace | None
) -> Points:
    of_a, of_b = graph_of(a), graph_of(b)
    judge = Judge(a, b, floors)

    def folds(one: str, other: str, before: str) -> bool:
        mine, theirs = of_a.nodes[one], of_b.nodes[other]
        return judge.folds(mine, theirs, (of_a if mine.kind == "norm" else of_b).nodes[before])

    return Points.of(match_graphs(of_a, of_b, corrections, folds), judge)


def _behind_float32(
    points: Points, corrections: Corrections | None, again: Again, progress: Callable[[str], None]
) -> Points:
    """Judge what follows layers with float32 inside without the error that these make.

    One model goes on with the other's values behind such layers: first behind all that may be, then
    behind those that turn out to be. Behind a mistake it keeps its own, so that it shows: also
    behind one that showed no more, since it had been given the other's values.
    """
    names = points.maybe_inside()
    if not names or not points.fails:
        return points
    progress("running one again, with the other's values behind layers with float32 inside")
    traces = again.with_others_values(points.match, names)
    if traces is None:
        return points
    found = _judged(*traces, corrections, None)
    wrong = [e.name for e in found.all if e.guilty]
    wrong += [n for n in names if n not in found.layers or found.layers[n].fails]
    spoilt = found.match.a.reached(wrong)
    kept = [name for name in names if name in found.judge.inside and name not in spoilt]
    if kept == names:
        return found
    traces = again.with_others_values(points.match, kept) if kept else None
    return points if traces is None else _judged(*traces, corrections, None)


def _copied(
    a: ModelTrace, b: ModelTrace, model: Any, match: Corrections | None
) -> tuple[dict[tuple[str, str], Array], Copied]:
    if isinstance(model, ModelTrace):
        raise InputError("weights can't be copied into a trace; give the second model itself")
    return to_copy(match_graphs(graph_of(a), graph_of(b), match))


def _weights(match: Match) -> list[WeightDifference]:
    """Return what differs, except between unlike layers that only their values or place match."""
    unlike = {one.name for one, other in match.layers()
              if one.kind != other.kind and not match.matched_by_graph(one.name)}  # fmt: skip
    return [found for found in weight_differences(match) if found.a not in unlike]


def _settings(match: Match) -> list[SettingDifference]:
    found = []
    for one, other in match.layers():
        if not match.matched_by_graph(one.name) and one.kind != other.kind:
            continue
        if one.kind == other.kind:
            names = [n for n in one.settings if n in other.settings and not _same(n, one, other)]
            pairs = {n: (plain(one.settings[n]), plain(other.settings[n])) for n in names}
        else:
            alike = match.holds_fold(one, other) or (one.is_dense and other.is_dense)
            pairs = {} if alike else {"kind": (one.kind, other.kind)}
        found += [SettingDifference(one.name, other.name, n, *both) for n, both in pairs.items()]
    return found


def _same(name: str, mine: ComparedLayer, theirs: ComparedLayer) -> bool:
    one, other = mine.settings[name], theirs.settings[name]
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= 1e-6 * max(abs(one), abs(other))  # 1e-5 kept in float32
    unpadded = not any(s for n in (mine, theirs) for p in n.settings.get("pads", ()) for s in p)
    if name == "count_include_pad" and unpadded:
        return True
    return bool(one == other)
