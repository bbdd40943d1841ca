"""A layer computed in a narrower dtype than it should be, or with TF32's short products."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from ..numerics import UNIT_ROUNDOFF, to_dtype
from .fixes import fix
from .suspect import Array, Candidate, SuspectLayer, distance

TF32_BITS = 10  # of the mantissa, as float16; the exponent is float32's


def to_tf32(array: Array, ties_to_even: bool) -> Array:
    """Round to TF32, to the nearest; between two, to the even one or away from zero.

    cuDNN rounds ties to even (measured on an H100); the conversion that CUDA offers to
    kernels, `cvt.rna`, away from zero. Weights of few bits have many ties.
    """
    bits = array.astype(np.float32).view(np.uint32)
    shift = np.uint32(23 - TF32_BITS)
    half = np.full_like(bits, 1 << (23 - TF32_BITS - 1))
    if ties_to_even:
        half += (bits >> shift & np.uint32(1)) - np.uint32(1)
    return ((bits + half) >> shift << shift).view(np.float32).astype(np.float64)


def rounded(array: Array, dtype: str) -> Array:
    """Round to a dtype, and come back as float64."""
    return to_dtype(array, dtype).astype(np.float64)


def _narrow(layer: SuspectLayer, rounding: Callable[[Array], Array]) -> SuspectLayer:
    weights = {name: rounding(array) for name, array in layer.weights.items()}
    return layer.fed(*(rounding(x) for x in layer.inputs)).weighing(**weights)


def narrower(layer: SuspectLayer) -> Iterator[Candidate]:
    """Computed in float32, bfloat16 or float16: every output value fits into that dtype."""
    own = UNIT_ROUNDOFF.get(layer.dtype, 0.0)
    name = "float64" if layer.dtype == "float64" else "dtype"
    mistake = partial(Candidate, "downcast", fix=fix(layer, name, dtype=layer.dtype))
    for dtype, roundoff in UNIT_ROUNDOFF.items():
        if roundoff <= own or not layer.same_shape:
            continue
        # Zeros, and one value everywhere, fit into any dtype, and show nothing.
        fits = np.ptp(layer.seen) > 0 and np.array_equal(rounded(layer.seen, dtype), layer.seen)
        text = f"computed in {dtype}, but should be in {layer.dtype}"
        inside = _narrow(layer, partial(rounded, dtype=dtype))
        if fits:
            evidence = f"every value of its output is a number of {dtype}"
            out = inside.then("rounded", partial(rounded, dtype=dtype))
            before = distance(layer.seen, layer.reference)
            # Sums in the narrow dtype can't be repeated; their rounding is of this size.
            count = max([w[0].size for w in layer.weights.values() if w.ndim > 1], default=1)
            limit = min(4 * roundoff * max(4.0, float(np.sqrt(count))), 0.05)
            limit = max(layer.limit, min(limit, 2 * before))
            yield mistake(text, out, limit=limit, evidence=evidence)
            last = layer.then("rounded", partial(rounded, dtype=dtype))
            said = f"its output is rounded to {dtype}, but should be {layer.dtype}"
            yield mistake(said, last, 2, evidence=evidence)
        parts = {"input and weights are": inside}
        if layer.weights:
            weights = {name: rounded(array, dtype) for name, array in layer.weights.items()}
            parts["weights are"] = layer.weighing(**weights)
        if "weight" in layer.weights:
            parts["weight is"] = layer.weighing(weight=rounded(layer.weights["weight"], dtype))
        if len(layer.inputs) == 1:
            parts["input is"] = layer.fed(rounded(layer.inputs[0], dtype))
        for part, changed in parts.items():
            said = f"its {part} rounded to {dtype}, but should be {layer.dtype}"
            yield mistake(said, changed, 2)


def tf32(layer: SuspectLayer) -> Iterator[Candidate]:
    """Factors of 10 mantissa bits, as tensor cores make of float32 by default."""
    if layer.dtype != "float32" or layer.kind not in ("conv", "dense") or not layer.same_shape:
        return
    b = layer.weights.get("bias")
    text = "TF32: the factors are rounded to 10 bits of mantissa, but should be float32"
    limit = max(layer.limit, distance(layer.seen, layer.reference) / 30)
    for ties_to_even in (True, False):
        short = _narrow(layer, partial(to_tf32, ties_to_even=ties_to_even)).weighing(bias=b)
        yield Candidate("tf32", text, short, fix=fix(layer, "no-tf32"), limit=limit)


ANY = (narrower, tf32)
