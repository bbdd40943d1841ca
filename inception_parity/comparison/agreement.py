"""Compares backends with each other: for information, and to notice when the oracle is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from ..numerics import UNIT_ROUNDOFF
from ..traces.trace import Trace
from .comparing import Report
from .limits import LIMIT_FLOAT64


@dataclass(frozen=True)
class Pair:
    """Two backends' runs in one dtype."""

    first: str
    second: str
    dtype: str
    identical: int  # endpoints that are the same bit for bit
    endpoints: int  # endpoints that both have
    ulp: (
        float | None
    )  # largest distance of the logits, in units of their largest value's last place
    cosine: float | None
    sqnr: float | None  # in dB; None if the logits are identical
    top1: tuple[int, int]  # images with the same class, of all


def pairs(traces: Mapping[tuple[str, str, str], Trace], output: str) -> list[Pair]:
    """Return every pair of backends that ran in the same dtype, from the images.

    Args:
        traces: (backend, dtype, mode) -> trace.
        output: the endpoint to measure.
    """
    found = []
    dtypes = dict.fromkeys(dtype for _, dtype, mode in traces if mode == "propagated")
    for dtype in dtypes:
        backends = [b for b, d, mode in traces if d == dtype and mode == "propagated"]
        for first, second in combinations(backends, 2):
            a, b = traces[first, dtype, "propagated"], traces[second, dtype, "propagated"]
            if output in a.endpoints and output in b.endpoints:
                found.append(_pair(a, b, output))
    return found


def _pair(a: Trace, b: Trace, output: str) -> Pair:
    common = [name for name in a if name in b.endpoints]
    identical = sum(a.endpoints[n].sha256 == b.endpoints[n].sha256 for n in common)
    x = np.asarray(a.array(output), dtype=np.float64)
    y = np.asarray(b.array(output), dtype=np.float64)
    ulp = cosine = sqnr = None
    agree = 0
    if x.shape == y.shape and np.isfinite(x).all() and np.isfinite(y).all():
        size = float(np.linalg.norm(x) * np.linalg.norm(y))
        noise, largest = float(np.linalg.norm(x - y)), float(np.abs(y).max())
        cosine = float((x * y).sum()) / size if size else None
        sqnr = 20 * float(np.log10(np.linalg.norm(y) / noise)) if noise and size else None
        last_place = 2 * UNIT_ROUNDOFF[a.run.dtype] * 2.0 ** np.floor(np.log2(largest or 1.0))
        ulp = float(np.abs(x - y).max()) / last_place
        agree = int((x.argmax(axis=1) == y.argmax(axis=1)).sum())
    return Pair(
        a.run.backend, b.run.backend, a.run.dtype, identical, len(common),
        ulp, cosine, sqnr, (agree, len(x)),
    )  # fmt: skip


def oracle_suspected(
    reports: Sequence[Report], traces: Mapping[tuple[str, str, str], Trace]
) -> str:
    """Return the endpoint where two or more backends agree with each other, against the oracle.

    All backends that ran in float64 have to fail first at the same endpoint,
    with the same values.
    """
    structural = [r for r in reports if r.dtype == "float64" and r.mode == "propagated"]
    if len(structural) < 2 or any(r.loader for r in structural):
        return ""
    firsts = {r.first.name if r.first else "" for r in structural}
    if len(firsts) != 1 or "" in firsts:
        return ""
    name = firsts.pop()
    arrays = [
        np.asarray(traces[r.backend, r.dtype, r.mode].array(name))
        for r in structural
        if name in traces[r.backend, r.dtype, r.mode].endpoints
    ]
    if len(arrays) < len(structural) or any(a.shape != arrays[0].shape for a in arrays):
        return ""
    norm = float(np.linalg.norm(arrays[0]))
    near = all(np.linalg.norm(a - arrays[0]) <= LIMIT_FLOAT64 * norm for a in arrays[1:])
    return name if near else ""
