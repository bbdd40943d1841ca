"""Tries explanations, alone and in pairs, and keeps those that make the difference vanish.

Every explanation is a function from a layer to candidates: changed copies of the
layer, which `forward.compute` computes in float64. Candidates are computed on a few
channels first; only what agrees there is computed whole.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from . import (
    attention,
    convolutions,
    inputs,
    layer_norms,
    norms,
    outputs,
    pools,
    precision,
    rearranged,
    recurrent,
    resizing,
    windows,
    wiring,
)
from .arrays import CannotComputeError, take
from .forward import compute, output_of
from .suspect import Candidate, Diagnosis, Explanation, Finding, SuspectLayer, distance

_LOG = logging.getLogger(__name__)

BY_KIND: dict[str, tuple[Explanation, ...]] = {
    "conv": (*windows.EVERY, *convolutions.CONVOLUTION),
    "dense": convolutions.DENSE,
    "norm": (*norms.NORM, convolutions.held),
    "layer_norm": layer_norms.NORMS,
    "rms_norm": layer_norms.NORMS,
    "group_norm": layer_norms.NORMS,
    "instance_norm": layer_norms.NORMS,
    "max_pool": (*windows.EVERY, *pools.MAX),
    "avg_pool": (*windows.EVERY, *pools.AVERAGE),
    "adaptive_pool": pools.WHOLE,
    "global_pool": pools.WHOLE,
    "act": (outputs.other_activation, outputs.slopes, outputs.other_axis),
    "prelu": (outputs.prelu,),
    "concat": wiring.CONCAT,
    "add": wiring.ADD,
    "flatten": wiring.FLATTEN,
    "lrn": norms.LRN,
    "conv_transpose": rearranged.TRANSPOSED,
    "depth_to_space": rearranged.BLOCKS,
    "space_to_depth": rearranged.BLOCKS,
    "l2_normalize": rearranged.LENGTH,
    "mean": rearranged.REDUCED,
    "max": rearranged.REDUCED,
    "sum": rearranged.REDUCED,
    "pad": rearranged.PAD,
    "attention": attention.ATTENTION,
    "attention_core": attention.CORE,
    "embedding": attention.EMBEDDING,
    "lstm": recurrent.RECURRENT,
    "gru": recurrent.GRU,
    "rnn": recurrent.RECURRENT,
    "slice": recurrent.SLICE,
    "dropout": (outputs.dropout_scale,),
    "affine": inputs.AFFINE,
    "resize": resizing.RESIZE,
    "input": inputs.INPUT,
}
# Kinds of which frameworks compute something in float32 even in a float64 run: a constant, a
# slope, the sum of two biases. That is up to 3e-7 off, and doesn't make another mistake likelier.
SINGLE_INSIDE = (
    "act", "prelu", "attention", "attention_core", "lstm", "gru", "rnn", "layer_norm",
    "group_norm", "instance_norm", "rms_norm",
)  # fmt: skip
SINGLE = 5e-7
FARFETCHED = 6  # from this cost on, two simple mistakes are likelier than one
MOST_PAIRS = 4000
WORK = 6e9  # numbers that all pairs together may look at
CHANNELS = 4  # on which candidates are computed first
# Not tried as the second of two mistakes: too expensive, or able to explain too much.
ALONE = (
    wiring.fed_from_elsewhere, convolutions.other_weights, convolutions.held, outputs.times,
    outputs.twice,
)  # fmt: skip


@dataclass
class _Tried:
    candidate: Candidate
    screened: float  # what it leaves on a few channels
    after: float | None = None  # what it leaves in all


def explanations(layer: SuspectLayer) -> tuple[Explanation, ...]:
    """Return all explanations for a layer of its kind, likelier ones first."""
    first: tuple[Explanation, ...] = ()
    if layer.kind not in ("input", "affine") and inputs.is_first(layer):
        first = inputs.FIRST_LAYER
    own = BY_KIND.get(layer.kind, ())
    return (*own, *first, *precision.ANY, *outputs.ANY, wiring.fed_from_elsewhere)


def candidates(
    layer: SuspectLayer, some: Iterable[Explanation], failed: set[str] | None = None
) -> Iterator[Candidate]:
    """Yield what the explanations propose.

    One that can't be computed for this layer proposes nothing. One that fails
    costs itself, not the diagnosis: its name goes into `failed`, its error into the log.
    """
    for explanation in some:
        try:
            yield from explanation(layer)
        except CannotComputeError:
            continue
        except Exception:  # of somebody's layer that nobody thought of
            _LOG.debug("explanation %s failed", explanation.__name__, exc_info=True)
            if failed is not None:
                failed.add(explanation.__name__)


def diagnose(layer: SuspectLayer, pairs: bool = True) -> Diagnosis:
    """Return what explains the difference between a layer's observed output and its reference.

    Args:
        layer: the layer, what it was given, what came out and should have.
        pairs: whether to try two mistakes at once if no single one explains the difference.
    """
    result = Diagnosis(layer.name, layer.kind)
    if layer.observed is None:
        result.note = "no output was observed"
        return result
    with np.errstate(all="ignore"):  # what a mistake makes may be huge, or not a number
        return _search(layer, result, pairs)


def _search(layer: SuspectLayer, result: Diagnosis, pairs: bool) -> Diagnosis:
    layer, note = _described(layer)
    notes = [note] if note else []
    before = distance(layer.seen, layer.reference)
    if before == 0:
        result.note = "there is no difference"
        return result
    chosen = _channels(layer)
    failed: set[str] = set()
    tried = [_screen(c, chosen) for c in candidates(layer, explanations(layer), failed)]
    found = _confirmed(tried, before)
    singles, count = len(tried), 0
    if pairs and all(one.candidate.cost >= FARFETCHED for one in found):
        second, count = _pairs(tried, chosen, failed)
        tried += second
        found += _confirmed(second, before)
    result.tried = singles, count
    result.findings = _ranked(found, before)
    if not found:
        result.closest = _closest(tried, before)
        notes.append(outputs.clue(layer))
    if failed:
        notes.append(f"explanations that failed on this layer: {', '.join(sorted(failed))}")
    result.note = "; ".join(notes)
    return result


def _described(layer: SuspectLayer) -> tuple[SuspectLayer, str]:
    """Return the layer, as an unknown layer if its description doesn't give its reference."""
    try:
        apart = distance(output_of(layer), layer.reference)
        why = f"off by {apart:.1e}"
    except CannotComputeError as error:
        apart, why = float("inf"), str(error)
    except (KeyError, TypeError):
        apart, why = float("inf"), "settings or weights are missing"
    if apart <= max(layer.limit, _inside(layer)):
        return layer, ""
    if layer.kind not in BY_KIND and layer.kind not in ("dropout", "output"):
        return layer, f"nothing is known of a layer of kind {layer.kind or 'unknown'}"
    note = f"its description doesn't give the reference's output ({why}), so only what can be "
    note += "seen on the output was tried"
    return replace(layer, kind="unknown", inputs=()), note


def _channels(layer: SuspectLayer) -> list[int]:
    """Return a few channels: those that differ most, and one that differs least."""
    assert layer.observed is not None
    count = layer.seen.shape[1] if layer.seen.ndim > 1 else 1
    if not layer.same_shape:
        return sorted({0, count // 2, count - 1})
    axes = (0, *range(2, layer.seen.ndim))
    apart = np.nan_to_num(np.abs(layer.seen - layer.reference).sum(axis=axes), nan=np.inf)
    order = np.argsort(apart)[::-1]
    return sorted({int(i) for i in (*order[: CHANNELS - 1], order[-1])})


def _limit(candidate: Candidate) -> float:
    return max(_own_limit(candidate), _inside(candidate.layer))


def _own_limit(candidate: Candidate) -> float:
    return candidate.layer.limit if candidate.limit is None else candidate.limit


def _inside(layer: SuspectLayer) -> float:
    """Return what frameworks that compute a part of such a layer in float32 may be off by."""
    return SINGLE if layer.dtype == "float64" and layer.kind in SINGLE_INSIDE else 0.0


def _left(candidate: Candidate, channels: list[int] | None = None) -> float:
    """Return what a candidate leaves of the difference, in all channels or some."""
    layer = candidate.layer
    try:
        return distance(take(layer.seen, channels), compute(layer, channels))
    except (CannotComputeError, KeyError):
        return float("inf")


def _screen(candidate: Candidate, chosen: list[int]) -> _Tried:
    seen = candidate.layer.seen
    if seen.ndim < 2 or seen.shape[1] <= 2 * len(chosen):
        left = _left(candidate)
        return _Tried(candidate, left, left)
    return _Tried(candidate, _left(candidate, chosen))


def _confirmed(tried: list[_Tried], before: float) -> list[_Tried]:
    """Return what makes the difference vanish; only what agrees on a few channels is computed."""
    found = []
    for one in tried:
        if one.screened > 1e3 * _limit(one.candidate):
            continue
        if one.after is None:
            one.after = _left(one.candidate)
        # If little was wrong, anything leaves little: the difference has to become far smaller.
        if one.after <= _limit(one.candidate) and _less(one, before):
            found.append(one)
    return found


def _less(one: _Tried, before: float) -> bool:
    assert one.after is not None
    if one.candidate.cause == "downcast" and one.candidate.limit is not None:
        return one.after <= 2 * before  # such rounding can't be repeated; the evidence is elsewhere
    return one.after < 0.1 * before


def _exact(one: _Tried) -> bool:
    return one.after is not None and one.after <= _own_limit(one.candidate)


def _ranked(found: list[_Tried], before: float) -> list[Finding]:
    """Return findings, one for each text: the simplest first, then those that leave least.

    What leaves no more than rounding comes before the same mistake with another number that leaves
    as much as float32 inside the layer may: a rounded number isn't likelier than the exact one.
    """
    exact = {one.candidate.cause for one in found if _exact(one)}
    findings: dict[tuple[str, str], Finding] = {}

    def order(one: _Tried) -> tuple[bool, int, float | None]:
        less = one.candidate.cause in exact and not _exact(one)
        return less, one.candidate.cost, one.after

    for one in sorted(found, key=order):
        key = one.candidate.cause, one.candidate.text
        findings.setdefault(key, _finding(one, before))
    return list(findings.values())


def _finding(one: _Tried, before: float) -> Finding:
    c = one.candidate
    after = one.after if one.after is not None else one.screened
    finite = before if np.isfinite(before) else None
    return Finding(c.cause, c.text, finite, after, c.fix, c.cost, c.evidence)


def _closest(tried: list[_Tried], before: float) -> Finding | None:
    """Return what leaves least, if it is a tenth of what there was, or less."""
    for one in sorted(tried, key=lambda one: one.screened)[:3]:
        if one.after is None:
            one.after = _left(one.candidate)
    known = [one for one in tried if one.after is not None and np.isfinite(one.after)]
    best = min(known, key=lambda one: one.after or 0.0, default=None)
    if best is None or best.after is None or best.after > min(0.1 * before, 0.1):
        return None
    return _finding(best, before)


def _thin(layer: SuspectLayer, chosen: list[int]) -> SuspectLayer:
    """Return a convolution or dense layer with a few of its output channels, others as they are.

    A copy in any case, so that what is kept of it doesn't outlive it.
    """
    if (
        layer.kind not in ("conv", "dense") or layer.get("groups") != 1 or layer.seen.ndim < 2
        or not all(post.elementwise for post in layer.post)
        or len(layer.weights["weight"]) != layer.seen.shape[1]
    ):  # fmt: skip
        return replace(layer)
    kept = [i for i in chosen if i < len(layer.weights["weight"])]
    return replace(
        layer,
        weights={name: array[kept] for name, array in layer.weights.items()},
        reference=take(layer.reference, kept),
        observed=take(layer.seen, kept),
    )


def _pairs(tried: list[_Tried], chosen: list[int], failed: set[str]) -> tuple[list[_Tried], int]:
    """Try a second mistake after each first one, up to some number."""
    usual = [one for one in tried if one.candidate.cost <= 2 and one.candidate.cause not in (
        "wired-otherwise", "not-finite", "constant", "downcast"
    )]  # fmt: skip
    usual.sort(key=lambda one: (one.candidate.cost, one.screened))
    found: list[_Tried] = []
    count, work = 0, 0.0
    for first in usual:
        thin = _thin(first.candidate.layer, chosen)
        with contextlib.suppress(CannotComputeError):
            output_of(thin)  # what is done to an output is then done to this one
        for explanation in explanations(thin):
            if explanation in ALONE:
                continue
            work += 2 * _work(thin)  # what it computes to propose anything
            hits = []
            for second in candidates(thin, (explanation,), failed):
                if second.cause == first.candidate.cause or second.cost > 3:
                    continue
                count += 1
                work += _work(second.layer)
                left = _screen(second, chosen).screened
                if left <= 1e3 * _limit(second):
                    hits.append(second.cause)
            if hits:
                whole = candidates(first.candidate.layer, (explanation,))
                found += [
                    _Tried(_both(first.candidate, second), 0.0)
                    for second in whole
                    if second.cause in hits
                ]
        if any(one.candidate.cost <= 4 and _left(one.candidate) <= _limit(one.candidate)
               for one in found) or count > MOST_PAIRS or work > WORK:  # fmt: skip
            break
    return found, count


def _work(layer: SuspectLayer) -> float:
    """Return roughly how many numbers computing a layer looks at."""
    size = float(sum(x.size for x in layer.inputs))
    if layer.kind == "conv":
        weight = layer.weights["weight"]
        return size * weight.shape[2] * weight.shape[3] / max(1, np.prod(layer.get("stride")))
    if layer.kind in ("max_pool", "avg_pool"):
        return size * float(np.prod(layer.get("kernel")))
    return size


def _both(first: Candidate, second: Candidate) -> Candidate:
    return Candidate(
        f"{first.cause} + {second.cause}",
        f"two mistakes: {first.text}; and {second.text}",
        second.layer,
        first.cost + second.cost + 2,
        fix="; ".join(dict.fromkeys((first.fix, second.fix))),
        limit=second.limit,
    )
