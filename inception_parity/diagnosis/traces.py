"""The diagnosis of two traces: the first guilty endpoint, and what the oracle knows of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..comparison.comparing import Comparison, Report
from ..comparison.floors import Floors
from ..comparison.limits import LIMIT_FLOAT64, LIMIT_FLOORS
from ..networks import catalogue
from ..numerics import to_dtype
from ..traces.trace import INPUT, Trace
from .fixes import fix
from .forward import compute
from .outputs import missing
from .search import diagnose
from .suspect import Array, Diagnosis, Finding, SuspectLayer, distance

MOST_LATER = 12  # endpoints after a layer that it may have been fed from
MOST_ALIKE = 8  # further guilty endpoints at which the same cause is tried
_KINDS = {
    "Conv2d": "conv", "BatchNorm2d": "norm", "ReLU": "act", "MaxPool": "max_pool",
    "AvgPool": "avg_pool", "AdaptiveAvgPool": "adaptive_pool", "GlobalAvgPool": "global_pool",
    "Concat": "concat", "Flatten": "flatten", "Linear": "dense", "LocalResponseNorm": "lrn",
    "Dropout": "dropout", "TransformInput": "affine", "Rescale": "affine", "Resize": "resize",
    "ScaledAdd": "add",
}  # fmt: skip


def diagnose_trace(
    report: Report,
    trace: Trace,
    oracle: Trace,
    weights: Mapping[str, NDArray[Any]],
    floors: Floors | None = None,
    sources: Sequence[Any] = (),
) -> Diagnosis | None:
    """Return what the mistake at the first guilty endpoint is; None if nothing is wrong.

    Args:
        report: the comparison of the two.
        trace: the run that is wrong.
        oracle: the oracle's run of the same task.
        weights: shared weights that both were given.
        floors: the noise floors, below float64.
        sources: the image files, if known.
    """
    first = report.first
    if first is None:
        return None
    layers = _Suspects(trace, oracle, weights, floors, sources)
    if first.name not in trace.endpoints:
        return _missing(first, report, layers)
    if first.name not in oracle.endpoints:
        return Diagnosis(first.name, first.kind, note="the oracle has no such endpoint")
    found = diagnose(layers.at(first.name))
    if found.cause is not None:
        others = [e.name for e in report.guilty[1:] if e.name in trace.endpoints]
        for name in others[:MOST_ALIKE]:
            if name in oracle.endpoints and layers.kind(name) == found.kind:
                again = diagnose(layers.at(name), pairs=False).cause
                if again is not None and again.cause == found.cause.cause:
                    found.also.append(name)
    return found


def best_report(reports: Sequence[Report]) -> Report | None:
    """Return the most telling of a backend's failing reports: float64, else an isolated one."""
    failing = [r for r in reports if r.fails and r.first is not None]
    order = (("float64", "propagated"), ("float32", "isolated"), ("float32", "propagated"))
    known = [r for key in order for r in failing if (r.dtype, r.mode) == key]
    return next(iter([*known, *failing]), None)


class _Suspects:
    """Describes the endpoints of one trace as suspect layers."""

    def __init__(
        self, trace: Trace, oracle: Trace, weights: Mapping[str, NDArray[Any]],
        floors: Floors | None, sources: Sequence[Any],
    ) -> None:  # fmt: skip
        self.trace, self.oracle = trace, oracle
        self.weights, self.floors, self.sources = weights, floors, tuple(sources)
        run = trace.run
        net = catalogue.network(run.network).build("inception_np", run.options)
        self.modules: dict[str, Any] = dict(net.named_modules())

    def kind(self, name: str) -> str:
        """Return the kind of layer that an endpoint is."""
        if name == INPUT:
            return "input"
        if name not in self.modules or not self.oracle.endpoints[name].leaf:
            return "output"
        return _KINDS.get(type(self.modules[name]).__name__, "")

    def at(self, name: str, observed: bool = True) -> SuspectLayer:
        """Return the layer of an endpoint."""
        endpoint, run = self.oracle.endpoints[name], self.trace.run
        kind = self.kind(name)
        names = (INPUT,) if kind == "input" else endpoint.inputs
        inputs = tuple(self._given(n) for n in names)
        weights = {
            key.rpartition(".")[2]: self._rounded(array)
            for key, array in self.weights.items()
            if key.rpartition(".")[0] == name
        }
        held = {
            role: np.asarray(array, dtype=np.float64)
            for role, given in weights.items()
            if (array := self.trace.held(f"{name}.{role}")) is not None
            and array.shape == given.shape
        }
        seen = self._seen(name) if observed else None
        layer = SuspectLayer(
            name, kind, inputs, np.asarray(self.oracle.array(name)), seen,
            self._attributes(name, kind), weights, run.backend, run.dtype,
            self._limit(name), self._others(names), held,
            self.sources if kind == "input" else (),
        )  # fmt: skip
        layer = replace(layer, later=self._later(name, names))
        if run.dtype == "float64":
            return layer
        # The output has to be compared with what the layer makes of rounded numbers.
        return replace(layer, reference=compute(layer))

    def _given(self, name: str) -> Array:
        return self._rounded(np.asarray(self.oracle.array(name)))

    def _rounded(self, array: NDArray[Any]) -> Array:
        dtype = self.trace.run.dtype
        wide = np.asarray(array, dtype=np.float64)
        return wide if dtype == "float64" else to_dtype(wide, dtype).astype(np.float64)

    def _limit(self, name: str) -> float:
        run = self.trace.run
        if run.dtype == "float64" or self.floors is None:
            return LIMIT_FLOAT64
        return LIMIT_FLOORS * self.floors[run.mode].get(name, 0.0)

    def _others(self, names: Sequence[str]) -> dict[str, Callable[[], Array]]:
        """Return the endpoints that have the shape of one of the inputs."""
        shapes = {self.oracle.endpoints[n].shape for n in names}
        return {
            name: partial(self._given, name)
            for name, endpoint in self.oracle.endpoints.items()
            if endpoint.shape in shapes and name not in names
            and (endpoint.leaf or name == INPUT) and endpoint.kind != "output"
        }  # fmt: skip

    def _later(self, name: str, names: Sequence[str]) -> dict[str, Callable[[], Array]]:
        """Return the run's own next few endpoints that have the shape of one of the inputs."""
        shapes = {self.oracle.endpoints[n].shape for n in names}
        order = list(self.oracle.endpoints)
        after = [
            n for n in order[order.index(name) + 1 :]
            if self.oracle.endpoints[n].leaf and self.trace.endpoints.get(n) is not None
            and self.trace.endpoints[n].shape in shapes
        ]  # fmt: skip
        return {n: partial(self._seen, n) for n in after[:MOST_LATER]}

    def _seen(self, name: str) -> Array:
        return np.asarray(self.trace.array(name), dtype=np.float64)

    def _attributes(self, name: str, kind: str) -> dict[str, Any]:
        module = self.modules.get(name)
        if module is None:
            return {}
        found: dict[str, Any] = {}
        if kind in ("conv", "max_pool", "avg_pool"):
            pads = module.padding
            found.update(kernel=module.kernel_size, stride=module.stride,
                         pads=((pads[0], pads[0]), (pads[1], pads[1])))  # fmt: skip
        for theirs in (
            "ceil_mode", "count_include_pad", "eps", "output_size", "p", "size", "alpha", "beta",
            "k", "scale", "shift",
        ):  # fmt: skip
            if hasattr(module, theirs):
                ours = {"ceil_mode": "ceil", "output_size": "output"}.get(theirs, theirs)
                found[ours] = getattr(module, theirs)
        if kind == "add":
            found["residual_scale"] = found.pop("scale")
        if kind == "resize":
            found["rule"] = "centres" if module.half_pixel_centres else "corners"
        if kind == "dense":
            found["grid"] = self._grid(name)
        return found

    def _grid(self, name: str) -> tuple[int, ...] | None:
        """Return the (C, H, W) that was flattened before a dense layer."""
        features: tuple[str, ...] = self.oracle.endpoints[name].inputs
        while features:
            endpoint = self.oracle.endpoints[features[0]]
            if len(endpoint.shape) == 4:
                return endpoint.shape[1:]
            if "flatten" not in endpoint.kind and "dropout" not in endpoint.kind:
                return None
            features = endpoint.inputs
        return None


def _missing(first: Comparison, report: Report, layers: _Suspects) -> Diagnosis:
    """Say what became of a layer that left no output: what it feeds tells."""
    result = Diagnosis(first.name, layers.kind(first.name))
    fed = [
        e for e in report.endpoints
        if e.name in layers.oracle.endpoints and e.name in layers.trace.endpoints
        and first.name in layers.oracle.endpoints[e.name].inputs
    ]  # fmt: skip
    result.tried = (2, 0)
    if not fed:
        result.note = "nothing that it feeds was recorded either"
        return result
    layer = layers.at(first.name, observed=False)
    if not any(e.fails for e in fed):
        shown = ", ".join(e.name for e in fed[:3])
        after = max(e.rel_l2 or 0.0 for e in fed)
        text = f"it is computed, but not by a layer of this name: what it feeds is right ({shown})"
        line = fix(layer, "name-layer", name=first.name)
        result.findings = [Finding("inlined", text, None, after, line)]
        return result
    consumer = next(e for e in fed if e.fails)
    for candidate in missing(layer):
        skipped = compute(candidate.layer)
        target = layers.at(consumer.name)
        names = layers.oracle.endpoints[consumer.name].inputs
        without = target.fed(*(
            skipped if n == first.name else x for n, x in zip(names, target.inputs, strict=True)
        ))  # fmt: skip
        after = distance(target.seen, compute(without))
        if after <= target.limit:
            before = distance(target.seen, target.reference)
            result.findings.append(
                Finding(candidate.cause, candidate.text, before, after, candidate.fix)
            )
    if not result.findings:
        result.note = f"{consumer.name}, which it feeds, is wrong, and not only for lack of it"
    return result
