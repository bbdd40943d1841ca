"""ONNX's recurrent operators, taken apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .layers import Settings
from .operations import activation_called
from .recorder import Recorder, Slot
from .recurrent import FROM_IOFG, FROM_ZRN, TO_IOFG, Direction, Stack, given

Array = NDArray[Any]
_Change = Callable[[Array], Array]

KINDS = {"LSTM": "lstm", "GRU": "gru", "RNN": "rnn"}
INPUTS = "x W R B sequence_lens initial_h initial_c P"
_USUAL = {"lstm": ("Sigmoid", "Tanh"), "gru": ("Sigmoid", "Tanh"), "rnn": ("Tanh",)}
_GATES: Mapping[str, tuple[_Change, _Change]] = {  # to our order, and back
    "lstm": (FROM_IOFG, TO_IOFG),
    "gru": (FROM_ZRN, FROM_ZRN),
    "rnn": (lambda array: array, lambda array: array),
}


@dataclass(frozen=True)
class Called:
    """A recurrent node, and its arrays.

    Args:
        node: the node.
        name: its name.
        attributes: its attributes.
        values: the arrays of this run, by their names in the file.
        constants: those that don't depend on the input.
        found: what every node gives.
    """

    node: Any
    name: str
    attributes: Mapping[str, Any]
    values: dict[str, Array]
    constants: Mapping[str, Array]
    found: Mapping[str, Array]

    @property
    def kind(self) -> str:
        """Our name of it."""
        return KINDS[self.node.op_type]

    def given(self, name: str) -> str:
        """Return the name of an input in the file; empty if it isn't given."""
        names = dict(zip(INPUTS.split(), self.node.input, strict=False))
        return names.get(name, "")

    def array(self, name: str) -> Array | None:
        """Return an input, or None."""
        own = self.given(name)
        return self.values.get(own, self.constants.get(own)) if own else None


def name_outputs(graph: Any) -> None:
    """Name the sequences of recurrent nodes of which only the final states are used."""
    for i, node in enumerate(graph.node):
        if node.op_type in KINDS and node.output and not node.output[0]:
            node.output[0] = f"{node.name or node.op_type}_{i}_sequences"


def taken_apart(called: Called) -> bool:
    """Return whether a node is recorded in parts: all steps valid, and constant weights."""
    held = all(
        called.given(name) in called.constants for name in ("W", "R", "B") if called.given(name)
    )
    others = called.given("sequence_lens") or called.given("P") or called.attributes.get("clip")
    return held and not others and called.node.output[0] in called.found


def record(recorder: Recorder, called: Called) -> None:
    """Record a recurrent node's parts."""
    node, attributes = called.node, called.attributes
    time_first = not attributes.get("layout", 0)
    fed = called.values[node.input[0]]
    x = fed.swapaxes(0, 1) if time_first else fed
    y = called.found[node.output[0]]  # (T, directions, N, hidden)
    y = y.transpose(1, 2, 0, 3) if time_first else y.transpose(2, 0, 1, 3)
    way = attributes.get("direction", "forward")
    reverses = [False, True] if way == "bidirectional" else [way == "reverse"]
    directions = [
        _direction(recorder, called, i, np.ascontiguousarray(y[i]), reverse)
        for i, reverse in enumerate(reverses)
    ]
    sequences = [direction.run(x) for direction in directions]
    joined = np.concatenate(sequences, axis=2)
    stack = Stack(
        recorder, called.name, called.kind, _settings(called), called.name.rpartition(".")[0],
        node.op_type, [directions], lambda made: joined,
    )  # fmt: skip
    if time_first:
        stack.part("batch_first", "permute", {"order": (1, 0, 2)}, [fed], x)
    last, _ = stack.record(x)
    whole = called.values[node.output[0]] = called.found[node.output[0]].view()
    stack.part("output", "reshape", {}, [last], whole)
    ends = [y[:, 0 if r else -1] for y, r in zip(sequences, reverses, strict=True)]
    for name, output in zip(("h_n", "c_n"), node.output[1:], strict=False):
        if not output:
            continue
        value = called.values[output] = called.found[output].view()
        if name == "c_n":
            stack.part(name, "cell_state", {}, [x], value)
            continue
        for i, (made, reverse) in enumerate(zip(sequences, reverses, strict=True)):
            stack.final(f"h{i}", made, reverse, ends[i])
        single = len(ends) == 1
        stack.part(name, "reshape" if single else "stack", {} if single else {"axis": 0},
                   ends, value)  # fmt: skip


def _direction(recorder: Recorder, called: Called, i: int, y: Array, reverse: bool) -> Direction:
    states = _states(recorder, called, i)
    return Direction(_weights(called, i), lambda x: y, states, reverse)


def _states(recorder: Recorder, called: Called, i: int) -> Sequence[Array]:
    states = []
    for name in ("initial_h", "initial_c"):
        whole = called.array(name)
        if whole is None:
            continue
        state = whole[:, i] if called.attributes.get("layout", 0) else whole[i]
        if recorder.producer(whole):
            single = len(whole) == 1
            kind, settings = ("reshape", {}) if single else ("slice", {"axis": 0, "index": i})
            recorder.layer(f"{called.name}.{name}.{i}", kind, settings, [whole], [state])
        states.append(state)
    return given(states, lambda state: np.asarray(state))


def _weights(called: Called, i: int) -> dict[str, Slot]:
    ours, theirs = _GATES[called.kind]
    found = {}
    for name, role in (("W", "weight_ih"), ("R", "weight_hh")):
        whole = called.constants[called.given(name)]
        found[role] = Slot(called.given(name), ours(whole[i]), theirs, whole, i)
    if called.given("B"):
        whole = called.constants[called.given("B")]
        half = whole.shape[1] // 2
        for role, at in (("bias_ih", slice(None, half)), ("bias_hh", slice(half, None))):
            found[role] = Slot(called.given("B"), ours(whole[i, at]), theirs, whole, (i, at))
    return found


def _settings(called: Called) -> Settings:
    names = [str(name) for name in _texts(called.attributes.get("activations"))]
    names = names or list(_USUAL[called.kind])
    ours = [activation_called(name) or name for name in names]
    found: Settings = {"function": ours[-1 if called.kind == "rnn" else 1]}
    if called.kind != "rnn":
        found["recurrent_function"] = ours[0]
    if called.kind == "gru":
        found["reset_after"] = bool(called.attributes.get("linear_before_reset", 0))
    return found


def _texts(values: Any) -> list[str]:
    return [v.decode() if isinstance(v, bytes) else str(v) for v in values or ()]
