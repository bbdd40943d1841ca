"""One layer under suspicion: what it is, what it was given, what came out, what should have."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..comparison.limits import LIMIT_FLOAT64

Array = NDArray[np.float64]
Pads = tuple[tuple[int, int], tuple[int, int]]  # (top, bottom), (left, right)


@dataclass(frozen=True)
class Post:
    """Something done to a layer's output. `elementwise`: each channel can be computed alone."""

    name: str
    apply: Callable[[Array], Array]
    elementwise: bool = True


@dataclass(frozen=True)
class SuspectLayer:
    """A layer of the reference, and what another implementation made of it.

    All arrays are float64 in the shared layout: (N, C, H, W) or (N, features), OIHW
    kernels, (out, in) dense. A mistake is described by a changed copy of the layer
    (`but`), which `forward.compute` then computes.

    Kinds and their attributes (defaults in brackets; sizes are (height, width), pads
    ((top, bottom), (left, right))):

    - conv: kernel, stride, pads, dilation (1, 1), groups 1; weights weight, bias
    - dense: weights weight, bias; grid (C, H, W) of what was flattened before it, if known
    - norm: eps; weights weight, bias, running_mean, running_var
    - max_pool: kernel, stride, pads, dilation, ceil False
    - avg_pool: kernel, stride, pads, count_include_pad, ceil False
    - adaptive_pool: output; global_pool
    - act: function "relu" (others: `activations.ACTIVATIONS`), with slope, axis, low and high
      where it has them; prelu: weight, for each channel, or as an input without its batch
    - add: shortcut_scale 1, the factor of the first input; residual_scale 1, of all others
    - concat, flatten, dropout (p), lrn (size, alpha, beta, k), affine (scale, shift)
    - resize: size; rule, one of `interpolation.RULES`
    - layer_norm, rms_norm: eps, axes (-1,), whose sizes weight and bias have; group_norm: eps,
      groups; instance_norm: eps; weights weight and bias
    - lstm, gru, rnn: one direction of one layer (`recurrences`): function "tanh", reverse False,
      recurrent_function "sigmoid", reset_after True; inputs x (N, T, features), then the first
      states, if any; weights weight_ih, weight_hh, bias_ih, bias_hh
    - attention: heads, causal False, scale (by default of the size of a head), additive False;
      inputs query, key, value (N, T, features), and a mask, 1 where to attend; weights q_weight,
      q_bias, k_weight, …, out_bias. attention_core: the same without heads and weights
    - conv_transpose: stride, dilation, groups, pads, which are cut off; weights weight and bias
    - depth_to_space, space_to_depth: block, order; l2_normalize: axes, eps, rule; mean, max, sum:
      axes, keep; pad: pads, mode, fill
    - embedding: weight; the input has numbers of rows
    - slice: axis, index of the one that is taken
    - input, output: what goes in, or a block's or the network's output: the identity
    - anything else: nothing is known of it but its output

    Args:
        name: the endpoint's name.
        kind: one of the above.
        inputs: what the reference's layer was given.
        reference: what it made of it.
        observed: what the other implementation gives; None where it has no such endpoint.
        attributes: as above.
        weights: by role, as above.
        backend: whose mistake it is: pt, tf, mx, onnx or another name.
        dtype: in which the observed output was computed.
        limit: relative L2 that counts as rounding: 1e-10 in float64, some noise
            floors below.
        others: name -> function that loads another endpoint of the reference, from
            which the layer may have been fed by mistake.
        held: weights, by role, that the other implementation is known to hold otherwise
            than they were given.
        sources: image files, where the layer is the input.
        later: name -> function that loads another endpoint of the other implementation, which
            the reference computes after the layer.
    """

    name: str
    kind: str
    inputs: tuple[Array, ...]
    reference: Array
    observed: Array | None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, Array] = field(default_factory=dict)
    backend: str = ""
    dtype: str = "float64"
    limit: float = LIMIT_FLOAT64
    others: Mapping[str, Callable[[], Array]] = field(default_factory=dict)
    held: Mapping[str, Array] = field(default_factory=dict)
    sources: tuple[Any, ...] = ()
    later: Mapping[str, Callable[[], Array]] = field(default_factory=dict)
    post: tuple[Post, ...] = ()  # done to the output
    # What `forward` keeps: the output, and the layer that `then` was called on.
    kept: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def but(self, **attributes: Any) -> SuspectLayer:
        """Return the layer with other attributes."""
        return replace(self, attributes={**self.attributes, **attributes})

    def weighing(self, **weights: Array | None) -> SuspectLayer:
        """Return the layer with other weights; None takes one away."""
        changed = {**self.weights, **weights}
        return replace(self, weights={k: w for k, w in changed.items() if w is not None})

    def fed(self, *inputs: Array) -> SuspectLayer:
        """Return the layer with other inputs."""
        return replace(self, inputs=inputs)

    def then(
        self, name: str, apply: Callable[[Array], Array], elementwise: bool = True
    ) -> SuspectLayer:
        """Return the layer with something done to its output."""
        done = replace(self, post=(*self.post, Post(name, apply, elementwise)))
        done.kept["before"] = self
        return done

    def get(self, name: str) -> Any:
        """Return an attribute, or its default."""
        return self.attributes.get(name, _DEFAULTS.get(name))

    @property
    def seen(self) -> Array:
        """The observed output, which has to be there."""
        if self.observed is None:
            raise ValueError(f"{self.name}: no output was observed")
        return self.observed

    @property
    def rough(self) -> float:
        """What a single value may be off by, in units of the largest, and still be rounding."""
        return 0.1 * self.limit if self.dtype == "float64" else 32 * self.limit

    @property
    def same_shape(self) -> bool:
        """Whether the observed output has the reference's shape."""
        return self.observed is not None and self.observed.shape == self.reference.shape


_DEFAULTS: dict[str, Any] = {
    "stride": (1, 1),
    "pads": ((0, 0), (0, 0)),
    "dilation": (1, 1),
    "offset": (0, 0),  # rows and columns skipped before the first window
    "groups": 1,
    "ceil": False,
    "count_include_pad": False,
    "fill": None,  # value of the padding; None: 0, or -infinity in max pools
    "pad_mode": "constant",  # or reflect, edge, wrap, as NumPy calls them
    "function": "relu",
    "shortcut_scale": 1.0,
    "residual_scale": 1.0,
    "recurrent_function": "sigmoid",
    "reset_after": True,
}


@dataclass(frozen=True)
class Candidate:
    """A mistake that may have been made, and the layer as it would be with it."""

    cause: str  # a short name: `padding`, `kernel-flipped`, …
    text: str  # what is done, and what should be
    layer: SuspectLayer
    cost: int = 1  # how far-fetched: roughly, numbers that had to be chosen or fitted
    _: KW_ONLY
    fix: str  # the line that fixes it, in the backend's own words
    limit: float | None = None  # a remaining difference that is still rounding, if not the layer's
    evidence: str = ""  # further evidence


Explanation = Callable[[SuspectLayer], Iterator[Candidate]]


@dataclass(frozen=True)
class Finding:
    """An explanation with its evidence.

    Args:
        cause: its short name; of two mistakes, joined by " + ".
        text: what is done, and what should be, in a sentence.
        before: relative L2 between the observed output and the reference; None where
            the shapes differ or there are values that aren't finite.
        after: relative L2 between the observed output and the reference with this mistake.
        fix: the line that fixes it, in the backend's own words.
        cost: how far-fetched it is; findings with the same effect are ranked by it.
        evidence: further evidence.
    """

    cause: str
    text: str
    before: float | None
    after: float
    fix: str
    cost: int = 1
    evidence: str = ""


@dataclass
class Diagnosis:
    """What the search for a cause found.

    Args:
        endpoint: where.
        kind: what kind of layer that is.
        findings: explanations that make the difference vanish, best first.
        closest: if none does, the one that leaves least, if it leaves a tenth or less.
        tried: how many single explanations, and how many pairs, were computed.
        note: why nothing, or not everything, could be tried.
        also: other guilty endpoints that the same cause explains.
    """

    endpoint: str
    kind: str
    findings: list[Finding] = field(default_factory=list)
    closest: Finding | None = None
    tried: tuple[int, int] = (0, 0)
    note: str = ""
    also: list[str] = field(default_factory=list)

    @property
    def cause(self) -> Finding | None:
        """The best explanation, if there is one."""
        return self.findings[0] if self.findings else None


def distance(array: Array, reference: Array) -> float:
    """Return the relative L2 difference; infinity if it can't be measured."""
    if array.shape != reference.shape:
        return float("inf")
    with np.errstate(over="ignore", invalid="ignore"):
        noise, norm = float(np.linalg.norm(array - reference)), float(np.linalg.norm(reference))
    if not np.isfinite(noise):
        return float("inf")
    return noise / norm if norm else (0.0 if noise == 0 else float("inf"))
