"""Keras' recurrent layers, taken apart: also those that a `Bidirectional` holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .layers import Settings
from .operations import activation_called
from .recorder import Recorder, Slot
from .recurrent import FROM_ZRN, Direction, Stack, agrees, given

Array = NDArray[Any]

_KINDS = {"LSTMCell": "lstm", "GRUCell": "gru", "SimpleRNNCell": "rnn"}
_MERGES = {"concat": "concat", "sum": "add", "ave": "average", "mul": "mul"}


@dataclass(frozen=True)
class Called:
    """A call of a recurrent layer.

    Args:
        layer: an `RNN`, or a `Bidirectional` of two.
        name: the layer's name.
        block: the block that it is in.
        args: what it was called with.
        kwargs: the same, by name.
        output: what it returned.
    """

    layer: Any
    name: str
    block: str
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    output: Any


def taken_apart(layer: Any) -> bool:
    """Return whether a layer is recorded in parts: no state of its own, no cell of the user's."""
    both = type(layer).__name__ == "Bidirectional"
    parts = [layer.forward_layer, layer.backward_layer] if both else [layer]
    return all(
        type(getattr(part, "cell", None)).__name__ in _KINDS and not part.stateful for part in parts
    ) and (not both or (layer.merge_mode in _MERGES and not layer.return_state))


def record(recorder: Recorder, called: Called) -> bool:
    """Record a layer's parts; return False if they don't give what it gave."""
    if type(called.layer).__name__ == "Bidirectional":
        return _record_both(recorder, called)
    layer, x = called.layer, called.args[0]
    states = _states(called)
    direction = _direction(layer, called, states, given(states, recorder.convert))
    reverse = layer.go_backwards
    outputs = _flat(called.output)
    last = outputs[0] if not layer.return_sequences else None
    y = direction.run(x)
    in_order = y[:, ::-1] if reverse and layer.return_sequences else y
    seen = in_order if last is None else _end(y, reverse)
    if not agrees(seen.numpy(), outputs[0].numpy()):
        return False
    stack = _stack(recorder, called, layer, [[_known(direction, y)]])
    stack.record(x)
    if last is not None:
        stack.final("last", y, reverse, last)
    else:
        kind = "flip" if reverse else "identity"
        stack.part("output", kind, {"axis": 1} if reverse else {}, [y], outputs[0])
    if layer.return_state:
        if last is None:
            stack.final("h", y, reverse, outputs[1])
        else:
            stack.part("h", "identity", {}, [last], outputs[1])
        for c in outputs[2:]:
            stack.part("c", "cell_state", {}, [x], c)
    return True


def _record_both(recorder: Recorder, called: Called) -> bool:
    both, x = called.layer, called.args[0]
    states = _states(called)
    half = len(states) // 2
    parts, shares = (both.forward_layer, both.backward_layer), (states[:half], states[half:])
    directions = []
    for layer, share in zip(parts, shares, strict=True):
        made = _direction(layer, called, share, given(share, recorder.convert))
        directions.append(_known(made, made.run(x)))
    sequences = [direction.run(x) for direction in directions]
    reverses = [direction.reverse for direction in directions]
    ends = sequences
    if not both.return_sequences:
        ends = [_end(y, reverse) for y, reverse in zip(sequences, reverses, strict=True)]
    merged = _merged(both.merge_mode, ends)
    if not agrees(merged.numpy(), called.output.numpy()):
        return False
    stack = _stack(recorder, called, parts[0], [directions])
    kind = _MERGES[both.merge_mode]
    settings = {"axis": 2 if both.return_sequences else 1} if kind == "concat" else {}
    if both.return_sequences and kind == "concat":
        joined, _ = stack.record(x)
        stack.part("output", "identity", {}, [joined], called.output)
        return True
    stack.record(x, joining=False)
    if not both.return_sequences:
        for i, (y, reverse) in enumerate(zip(sequences, reverses, strict=True)):
            stack.final(f"h{i}", y, reverse, ends[i])
    stack.part(kind, kind, settings, ends, called.output)
    return True


def _flat(value: Any) -> list[Any]:
    import tensorflow

    return list(tensorflow.nest.flatten(value))


def _joined(made: Sequence[Any]) -> Any:
    import tensorflow

    return tensorflow.concat(list(made), -1)


def _merged(mode: str, ends: Sequence[Any]) -> Any:
    one, other = ends
    if mode == "concat":
        return _joined(ends)
    return {"sum": one + other, "ave": (one + other) / 2, "mul": one * other}[mode]


def _stack(
    recorder: Recorder, called: Called, layer: Any, layers: Sequence[Sequence[Direction]]
) -> Stack:
    own = type(called.layer).__name__
    kind = _KINDS[type(layer.cell).__name__]
    return Stack(
        recorder, called.name, kind, _settings(layer.cell, kind), called.block, own, layers,
        _joined,
    )  # fmt: skip


def _settings(cell: Any, kind: str) -> Settings:
    found: Settings = {"function": _function(cell.activation)}
    if kind != "rnn":
        found["recurrent_function"] = _function(cell.recurrent_activation)
    return {**found, "reset_after": bool(cell.reset_after)} if kind == "gru" else found


def _function(function: Callable[..., Any]) -> str:
    name = getattr(function, "__name__", type(function).__name__)
    return activation_called(name) or name


def _states(called: Called) -> Sequence[Any]:
    found = called.kwargs.get("initial_state")
    found = called.args[1] if found is None and len(called.args) > 1 else found
    return [] if found is None else _flat(found)


def _end(y: Any, reverse: bool) -> Any:
    return y[:, 0 if reverse else -1]


def _known(direction: Direction, y: Any) -> Direction:
    """Return a direction that doesn't compute again what it gave."""
    return Direction(direction.weights, lambda x: y, direction.states, direction.reverse)


def _direction(
    layer: Any, called: Called, states: Sequence[Any], shown: Sequence[Any]
) -> Direction:
    """Return one of Keras' layers, of which every step is returned, in the sequence's order."""
    mask = called.kwargs.get("mask")
    more = {} if mask is None else {"mask": mask}

    def run(x: Any) -> Any:
        with _whole(layer):
            y = layer(x, initial_state=list(states) or None, **more)
        return y[:, ::-1] if layer.go_backwards else y

    return Direction(_weights(layer.cell), run, shown, bool(layer.go_backwards))


@contextmanager
def _whole(layer: Any) -> Iterator[None]:
    before = layer.return_sequences, layer.return_state
    try:
        layer.return_sequences, layer.return_state = True, False
        yield
    finally:
        layer.return_sequences, layer.return_state = before


def _weights(cell: Any) -> dict[str, Slot]:
    kind = _KINDS[type(cell).__name__]
    ours: Callable[[Array], Array] = FROM_ZRN if kind == "gru" else lambda array: array
    found = {}
    for role, variable in (("weight_ih", cell.kernel), ("weight_hh", cell.recurrent_kernel)):
        array = variable.numpy()
        found[role] = Slot(id(variable), ours(array.T), lambda a: ours(a).T)
    if cell.bias is not None:
        array, key = cell.bias.numpy(), id(cell.bias)
        if array.ndim == 1:
            found["bias_ih"] = Slot(key, ours(array), ours)
        else:
            for row, role in enumerate(("bias_ih", "bias_hh")):
                found[role] = Slot(key, ours(array[row]), ours, np.array(array), row)
    return found
