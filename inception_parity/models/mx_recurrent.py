"""MXNet's recurrent layers, taken apart: those of Gluon, whose parameters have names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .layers import Settings
from .recorder import Recorder, Slot
from .recurrent import Direction, Stack, agrees, given

_FUNCTIONS = {"lstm": "tanh", "gru": "tanh", "rnn_tanh": "tanh", "rnn_relu": "relu"}
_ROLES = {"i2h_weight": "weight_ih", "h2h_weight": "weight_hh", "i2h_bias": "bias_ih",
          "h2h_bias": "bias_hh"}  # fmt: skip


class Fused:
    """A call of MXNet's recurrent operation by one of Gluon's layers.

    Args:
        layer: the Gluon layer.
        given: the operation's arrays: the sequences, (T, N, features), all weights, the states.
    """

    def __init__(self, layer: Any, given: Sequence[Any]) -> None:
        import mxnet

        self.nd = mxnet.nd
        self.layer, self.mode = layer, str(layer._mode)
        self.x, _, *self.states = [_plain(array) for array in given]
        self.kind = self.mode.partition("_")[0]
        self.ways = ("l", "r")[: layer._dir]

    @property
    def settings(self) -> Settings:
        """What all its parts have."""
        found: Settings = {"function": _FUNCTIONS[self.mode]}
        if self.kind != "rnn":
            found["recurrent_function"] = "sigmoid"
        return {**found, "reset_after": True} if self.kind == "gru" else found

    def joined(self, made: Sequence[Any]) -> Any:
        """Return what the directions of a layer give, along their features."""
        return made[0] if len(made) == 1 else self.nd.concat(*made, dim=2)

    def direction(self, layer: int, way: str, states: Sequence[Any]) -> Direction:
        """Return one direction of one layer."""
        reverse = way == "r"
        place = layer * len(self.ways) + reverse
        parameters = {
            role: getattr(self.layer, f"{way}{layer}_{own}") for own, role in _ROLES.items()
        }
        arrays = [_plain(p._data[0]) for p in parameters.values()]
        flat = self.nd.concat(*[array.reshape(-1) for array in arrays], dim=0)
        first = [state[place : place + 1] for state in self.states]

        def run(x: Any) -> Any:
            fed = self.nd.swapaxes(x, 0, 1)
            y = self.nd.RNN(
                self.nd.flip(fed, 0) if reverse else fed, flat, *first,
                state_size=self.layer._hidden_size, num_layers=1, bidirectional=False,
                mode=self.mode, state_outputs=True,
            )[0]  # fmt: skip
            return self.nd.swapaxes(self.nd.flip(y, 0) if reverse else y, 0, 1)

        weights = {
            role: Slot(p.name, array.asnumpy())
            for (role, p), array in zip(parameters.items(), arrays, strict=True)
        }
        return Direction(weights, run, states, reverse)


def _plain(array: Any) -> Any:
    """Return an array of the older interface, which both interfaces can be made from."""
    return array.as_nd_ndarray()


def taken_apart(name: str, layer: Any, attributes: Mapping[str, Any]) -> bool:
    """Return whether an operation is one that is recorded in parts."""
    return (
        name == "rnn"
        and type(layer).__module__.startswith("mxnet.gluon.rnn")
        and layer._projection_size is None
        and not attributes.get("use_sequence_length")
        and attributes.get("lstm_state_clip_min") is None
    )


def record(
    recorder: Recorder, fused: Fused, fed: Sequence[Any], outputs: Sequence[Any],
    names: tuple[str, str],
) -> bool:  # fmt: skip
    """Record a recurrent layer's parts; return False if they don't give what it gave.

    Args:
        recorder: is told of every part.
        fused: the call.
        fed: the operation's arrays, as they came.
        outputs: what it returned: the sequences, (T, N, hidden), and the last states.
        names: the layer's name, and the block that it is in.
    """
    x = fused.nd.swapaxes(fused.x, 0, 1)
    y = x
    for layer in range(fused.layer._num_layers):
        y = fused.joined([fused.direction(layer, way, ()).run(y) for way in fused.ways])
    if not agrees(y.asnumpy(), outputs[0].asnumpy().swapaxes(0, 1)):
        return False
    name, block = names
    count, ways = fused.layer._num_layers, fused.ways
    layers = [
        [fused.direction(i, way, _states(recorder, fused, fed, i * len(ways) + (way == "r")))
         for way in ways]
        for i in range(count)
    ]  # fmt: skip
    stack = Stack(
        recorder, name, fused.kind, fused.settings, block, type(fused.layer).__name__, layers,
        fused.joined,
    )  # fmt: skip
    stack.part("batch_first", "permute", {"order": (1, 0, 2)}, [fed[0]], x)
    last, every = stack.record(x)
    stack.part("output", "permute", {"order": (1, 0, 2)}, [last], outputs[0])
    ends = []
    for place, made in enumerate(every):
        reverse = ways[place % len(ways)] == "r"
        ends.append(made[:, 0] if reverse else made[:, made.shape[1] - 1])
        stack.final(f"h{place}", made, reverse, ends[-1])
    single = len(ends) == 1
    if len(outputs) > 1:
        kind, settings = ("reshape", {}) if single else ("stack", {"axis": 0})
        stack.part("h_n", kind, settings, ends, outputs[1])
    for c in outputs[2:]:
        stack.part("c_n", "cell_state", {}, [x], c)
    return True


def _states(recorder: Recorder, fused: Fused, fed: Sequence[Any], place: int) -> Sequence[Any]:
    found = []
    for which, whole, own in zip("hc", fused.states, fed[2:], strict=False):
        state = whole[place]
        if recorder.producer(own):
            single = whole.shape[0] == 1
            kind, settings = ("reshape", {}) if single else ("slice", {"axis": 0, "index": place})
            recorder.layer(f"{which}0.{place}", kind, settings, [own], [state])
        found.append(state)
    return given(found, lambda state: state.asnumpy())
