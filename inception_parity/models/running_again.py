"""Runs one of two models again, which goes on with the other's values behind some layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .graph import squeezed
from .match import Match
from .recorder import ModelTrace

Array = NDArray[Any]
Run = Callable[[Mapping[str, Array]], ModelTrace]  # by its layers, what follows them is given

PREFERRED = ("pt", "mx", "tf")  # TensorFlow keeps some values in float32; ONNX can't be given any


@dataclass(frozen=True)
class Again:
    """How two models are run again.

    Args:
        a: runs the first, None if there is nothing but its trace.
        b: runs the second.
    """

    a: Run | None
    b: Run | None

    def with_others_values(
        self, match: Match, names: list[str]
    ) -> tuple[ModelTrace, ModelTrace] | None:
        """Return both traces, one of them new; None if neither model can be run again.

        Args:
            match: which layers correspond.
            names: a's layers, behind which one model goes on with the other's values.
        """
        a, b = match.a.trace, match.b.trace
        values = [(match.a.nodes[n].value, match.b.nodes[match.pairs[n]].value) for n in names]
        runs: list[tuple[str, str, Run]] = []
        for which, trace, run in (("b", b, self.b), ("a", a, self.a)):
            if run is not None and trace.run.backend in PREFERRED:
                runs.append((which, trace.run.backend, run))
        for which, _, run in sorted(runs, key=lambda each: PREFERRED.index(each[1])):
            own, others = (b, a) if which == "b" else (a, b)
            pairs = [(y, x) if which == "b" else (x, y) for x, y in values]
            if any(squeezed(own.endpoints[x].shape) != squeezed(others.endpoints[y].shape)
                   for x, y in pairs):  # fmt: skip
                continue
            try:
                new = run({x: np.asarray(others.array(y)) for x, y in pairs})
            except InputError:
                continue
            if new.layers.keys() == own.layers.keys():
                return (a, new) if which == "b" else (new, b)
        return None
