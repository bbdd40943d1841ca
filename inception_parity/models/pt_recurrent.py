"""PyTorch's recurrent layers, taken apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .layers import Settings
from .recorder import Recorder, Slot
from .recurrent import Direction, Stack, agrees, given

FUNCTIONS = {"lstm": "tanh", "gru": "tanh", "rnn_tanh": "tanh", "rnn_relu": "relu"}
_ROLES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class Fused:
    """A call of a recurrent layer, with all that is in it.

    Args:
        function: `torch.gru`, …
        args: its arguments.
        slots: id of a parameter -> its path.
    """

    def __init__(self, function: Any, args: Sequence[Any], slots: Mapping[int, str]) -> None:
        self.function, self.own = function, str(function.__name__)
        self.x, hx, self.flat, self.biased, self.count = args[:5]
        self.both, self.first = bool(args[7]), bool(args[8])
        self.kind = self.own.partition("_")[0]
        self.states = list(hx) if isinstance(hx, (tuple, list)) else [hx]
        self.slots = slots
        self.directions = 2 if self.both else 1

    @property
    def settings(self) -> Settings:
        """What all its parts have."""
        found: Settings = {"function": FUNCTIONS[self.own]}
        if self.kind != "rnn":
            found["recurrent_function"] = "sigmoid"
        return {**found, "reset_after": True} if self.kind == "gru" else found

    def arrays(self, place: int) -> Sequence[Any]:
        """Return the parameters of one direction of one layer."""
        each = 4 if self.biased else 2
        return self.flat[place * each : (place + 1) * each]

    def direction(self, place: int, states: Sequence[Any]) -> Direction:
        """Return one direction of one layer."""
        reverse = self.both and place % 2 == 1
        arrays = self.arrays(place)
        first = [self.states[i][place : place + 1] for i in range(len(self.states))]

        def run(x: Any) -> Any:
            start = tuple(first) if self.kind == "lstm" else first[0]
            fed = x.flip(1) if reverse else x
            y = self.function(fed, start, list(arrays), self.biased, 1, 0.0, False, False, True)[0]
            return y.flip(1) if reverse else y

        weights = {
            role: Slot(self.slots.get(id(array)), as_array(array).copy())
            for role, array in zip(_ROLES, arrays, strict=False)
        }
        return Direction(weights, run, states, reverse)


def taken_apart(function: Any, args: Sequence[Any]) -> bool:
    """Return whether a call is one that is recorded in parts: no packed sequence, no projection."""
    if getattr(function, "__name__", "") not in FUNCTIONS or len(args) != 9:
        return False
    x, _, flat, biased, count = args[:5]
    plain = isinstance(biased, bool) and isinstance(count, int) and x.dim() == 3
    directions = 2 if args[7] else 1
    return plain and len(flat) == count * directions * (4 if biased else 2)


def record(recorder: Recorder, fused: Fused, name: str, block: str, outputs: Sequence[Any]) -> bool:
    """Record a recurrent layer's parts; return False if they don't give what it gave.

    Args:
        recorder: is told of every part.
        fused: the call.
        name: the layer's name.
        block: the block that it is in.
        outputs: what it returned: the sequences, the last h and an LSTM's last c.
    """
    x = fused.x if fused.first else fused.x.transpose(0, 1)
    if not agrees(_run(fused, x), recorder.convert(_first(fused, outputs[0]))):
        return False
    stack = Stack(
        recorder, name, fused.kind, fused.settings, block, fused.own,
        [[fused.direction(place, _states(recorder, fused, place)) for place in layer]
         for layer in _places(fused)],
        _joined,
    )  # fmt: skip
    if not fused.first:
        stack.part("batch_first", "permute", {"order": (1, 0, 2)}, [fused.x], x)
    y, every = stack.record(x)
    back = "identity" if fused.first else "permute"
    stack.part("output", back, {} if fused.first else {"order": (1, 0, 2)}, [y], outputs[0])
    ends = []
    for place, made in enumerate(every):
        reverse = fused.both and place % 2 == 1
        ends.append(made[:, 0 if reverse else -1])
        stack.final(f"h{place}", made, reverse, ends[-1])
    joined = "reshape" if len(ends) == 1 else "stack"
    stack.part("h_n", joined, {} if len(ends) == 1 else {"axis": 0}, ends, outputs[1])
    for c in outputs[2:]:
        stack.part("c_n", "cell_state", {}, [x], c)
    return True


def _joined(made: Sequence[Any]) -> Any:
    import torch

    return torch.cat(list(made), 2)


def _places(fused: Fused) -> list[list[int]]:
    each = fused.directions
    return [[layer * each + d for d in range(each)] for layer in range(fused.count)]


def as_array(tensor: Any) -> Any:
    """Return a tensor as NumPy's array, bfloat16, which it lacks, as float32."""
    tensor = tensor.detach().cpu()
    return (tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy()


def _run(fused: Fused, x: Any) -> Any:
    for places in _places(fused):
        x = _joined([fused.direction(place, ()).run(x) for place in places])
    return as_array(x)


def _first(fused: Fused, y: Any) -> Any:
    return y if fused.first else y.transpose(0, 1)


def _states(recorder: Recorder, fused: Fused, place: int) -> Sequence[Any]:
    """Return the first states of a direction, as endpoints if layers give them."""
    found = []
    for which, whole in zip("hc", fused.states, strict=False):
        state = whole[place]
        if recorder.producer(whole):
            kind = "reshape" if len(whole) == 1 else "slice"
            settings = {} if len(whole) == 1 else {"axis": 0, "index": place}
            recorder.layer(f"{which}0.{place}", kind, settings, [whole], [state], own="getitem")
        found.append(state)
    return given(found, recorder.convert)
