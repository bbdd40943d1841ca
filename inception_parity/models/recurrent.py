"""Recurrent layers, taken apart: a stack is a layer for each direction of each of its layers.

So a GRU of two layers and two GRUs have the same layers, whichever framework fuses what. What
each of them gives is computed by the framework itself, and the stack's own output has to be that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .layers import Settings
from .recorder import Recorder, Slot

Array = NDArray[Any]

KINDS = ("lstm", "gru", "rnn")
_ROUNDING = 1e-5  # relative, in float32


@dataclass(frozen=True)
class Direction:
    """One direction of one layer.

    Args:
        weights: weight_ih, weight_hh, bias_ih and bias_hh.
        run: takes the sequences, (N, T, features), and returns (N, T, hidden), in their order.
        states: the first states that are given to it, unless they are zeros.
        reverse: whether it goes from the last step to the first.
    """

    weights: Mapping[str, Slot]
    run: Callable[[Any], Any]
    states: Sequence[Any] = ()
    reverse: bool = False


@dataclass(frozen=True)
class Stack:
    """A recurrent layer of a framework, and what it consists of.

    Args:
        recorder: is told of every part.
        name: the layer's name.
        kind: lstm, gru or rnn.
        settings: those that all parts have.
        block: the block that it is in.
        own: the framework's name for it.
        layers: the directions of each layer.
        join: joins what two directions give along their features.
    """

    recorder: Recorder
    name: str
    kind: str
    settings: Settings
    block: str
    own: str
    layers: Sequence[Sequence[Direction]]
    join: Callable[[Sequence[Any]], Any]

    def record(self, x: Any, joining: bool = True) -> tuple[Any, list[Any]]:
        """Record all parts.

        Args:
            x: the sequences, (N, T, features), an endpoint.
            joining: whether two directions are joined step by step.

        Returns:
            The last layer's output, and every direction's own, in order; all (N, T, …).
        """
        single = len(self.layers) == len(self.layers[0]) == 1
        every = []
        for i, directions in enumerate(self.layers):
            made = []
            for direction in directions:
                y = direction.run(x)
                self._constants(f"l{i}{'_reverse' * direction.reverse}", direction.states)
                part = f"{self.name}.l{i}{'_reverse' * direction.reverse}"
                settings = {**self.settings, "reverse": direction.reverse}
                self.recorder.layer(
                    self.name if single else part, self.kind, settings, [x, *direction.states],
                    [y], direction.weights, self.block, self.own,
                )  # fmt: skip
                made.append(y)
            every += made
            x = made[0]
            if len(made) > 1 and joining:
                x = self.join(made)
                self.part(f"l{i}.concat", "concat", {"axis": 2}, made, x)
        return x, every

    def _constants(self, name: str, states: Sequence[Any]) -> None:
        """Record first states that no layer gives."""
        for which, state in zip("hc", states, strict=False):
            if self.recorder.producer(state) is None:
                self.part(f"{name}.{which}0", "constant", {}, (), state)

    def part(
        self, name: str, kind: str, settings: Settings, inputs: Sequence[Any], output: Any
    ) -> None:
        """Record something that the layer does besides."""
        self.recorder.layer(
            f"{self.name}.{name}", kind, settings, inputs, [output], {}, self.block, self.own
        )

    def final(self, name: str, y: Any, reverse: bool, last: Any) -> None:
        """Record the last step that a direction computed."""
        self.part(name, "slice", {"axis": 1, "index": 0 if reverse else -1}, [y], last)


def agrees(computed: Array, actual: Array) -> bool:
    """Return whether what the parts give is what the layer gave."""
    return computed.shape == actual.shape and bool(
        np.allclose(computed, actual, rtol=_ROUNDING, atol=_ROUNDING, equal_nan=True)
    )


def given(states: Sequence[Any], convert: Callable[[Any], Array]) -> Sequence[Any]:
    """Return the first states, unless all are zeros."""
    return states if any(convert(state).any() for state in states) else ()


def gates_moved(order: Sequence[int]) -> Callable[[Array], Array]:
    """Return what puts the gates, blocks along the first axis, into another order."""

    def moved(array: Array) -> Array:
        parts = np.split(array, len(order))
        return np.concatenate([parts[i] for i in order])

    return moved


# Where the gates r, z, n and i, f, g, o are in frameworks that have them in another order.
FROM_ZRN = gates_moved((1, 0, 2))  # and back
FROM_IOFG = gates_moved((0, 2, 3, 1))
TO_IOFG = gates_moved((0, 3, 1, 2))


def comparable(kind: str, settings: Settings, weights: Mapping[str, Array]) -> dict[str, Array]:
    """Return a layer's arrays so that those of equal layers are equal: two biases as their sum.

    Where the reset gate comes after the recurrent product, the new gate's are apart.
    """
    if kind not in KINDS:
        return dict(weights)
    found = {role: array for role, array in weights.items() if not role.startswith("bias")}
    biases = [weights[role] for role in ("bias_ih", "bias_hh") if role in weights]
    if not biases:
        return found
    total = np.sum([np.asarray(array, np.float64) for array in biases], axis=0)
    if kind == "gru" and settings.get("reset_after", True):
        size = len(total) // 3
        new = weights.get("bias_hh", np.zeros_like(total))[2 * size :]
        total = total.copy()
        total[2 * size :] -= new
        found["bias_hn"] = np.asarray(new, np.float64)
    return {**found, "bias": total}
