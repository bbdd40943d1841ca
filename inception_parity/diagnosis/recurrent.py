"""Mistakes of recurrent layers: gates, biases, direction, states; and which step is taken."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import permutations

import numpy as np

from .fixes import fix
from .recurrences import GATES
from .suspect import Array, Candidate, SuspectLayer

_BIASES = ("bias_ih", "bias_hh")
_PACKING = {"lstm": "gates-lstm", "gru": "gates-gru", "rnn": "as-reference"}
_LOADING = {"lstm": "biases-lstm", "gru": "biases-gru", "rnn": "biases-rnn"}


def _gates(layer: SuspectLayer) -> str:
    return GATES[layer.kind]


def _reordered(layer: SuspectLayer, order: tuple[int, ...], roles: tuple[str, ...]) -> SuspectLayer:
    """Return the layer with the gates of some arrays in another order."""
    count = len(order)
    moved = {
        role: np.concatenate([np.split(layer.weights[role], count)[i] for i in order])
        for role in roles
        if role in layer.weights
    }
    return layer.weighing(**moved)


def gates(layer: SuspectLayer) -> Iterator[Candidate]:
    """Gates packed in another order, in all arrays or in some."""
    names = _gates(layer)
    right = tuple(range(len(names)))
    matrices = ("weight_ih", "weight_hh")
    mistake = partial(Candidate, "gate-order", fix=fix(layer, _PACKING[layer.kind]))
    for order in permutations(right):
        if order == right:
            continue
        what, cost = _said(names, order)
        for roles, of in (
            ((*matrices, *_BIASES), ""), (matrices, " of the weights, but not of the biases"),
            (_BIASES, " of the biases, but not of the weights"),
            (("weight_ih",), " of the input's weights only"),
            (("weight_hh",), " of the recurrent weights only"),
        ):  # fmt: skip
            text = what.replace("gates", f"gates{of}", 1)
            yield mistake(text, _reordered(layer, order, roles), cost + bool(of))


def _said(names: str, order: tuple[int, ...]) -> tuple[str, int]:
    moved = [i for i, j in enumerate(order) if i != j]
    if len(moved) == 2:
        return f"gates {names[moved[0]]} and {names[moved[1]]} exchanged", 1
    given = ", ".join(names[i] for i in order)
    return f"gates in the order {given}, but should be {', '.join(names)}", 1


def biases(layer: SuspectLayer) -> Iterator[Candidate]:
    """One of the two biases missing, both exchanged, one counted twice, a forget bias too many."""
    held = {role: layer.weights[role] for role in _BIASES if role in layer.weights}
    mistake = partial(Candidate, "recurrent-bias", fix=fix(layer, _LOADING[layer.kind]))
    for role, what in zip(_BIASES, ("input's", "recurrent"), strict=True):
        if role in held:
            text = f"the {what} bias ({role}) is missing"
            yield mistake(text, layer.weighing(**{role: None}))
    if len(held) == 2:
        one, other = held["bias_ih"], held["bias_hh"]
        none = layer.weighing(bias_ih=None, bias_hh=None)
        yield mistake("both biases are missing", none, 2)
        swapped = layer.weighing(bias_ih=other, bias_hh=one)
        yield mistake("bias_ih and bias_hh exchanged", swapped)
        summed = layer.weighing(bias_ih=one + other, bias_hh=None)
        yield mistake("the sum of both biases as the input's bias, and no recurrent one", summed)
        text = "the sum of both biases as the recurrent bias, and none of the input"
        yield mistake(text, layer.weighing(bias_ih=None, bias_hh=one + other), 2)
        doubled = layer.weighing(bias_ih=one + other, bias_hh=one + other)
        yield mistake("the sum of both biases is added twice", doubled, 2)
    for role, array in held.items():
        twice = layer.weighing(**{role: 2 * array})
        yield mistake(f"{role} is added twice", twice, 2)
    if layer.kind == "lstm" and held:
        role = next(iter(held))
        for size in (1.0, -1.0):
            more = np.array(held[role])
            forget = slice(len(more) // 4, len(more) // 2)
            more[forget] += size
            said = "1 is added to" if size > 0 else "1 is missing in"
            text = f"{said} the forget gate's bias, as where it is initialised to 1"
            yield mistake(text, layer.weighing(**{role: more}), 2)


def reset(layer: SuspectLayer) -> Iterator[Candidate]:
    """The reset gate applied before the recurrent product instead of after it, or vice versa."""
    after = bool(layer.get("reset_after"))
    line = fix(layer, "reset-after" if after else "reset-before")
    is_, should = ("before", "after") if after else ("after", "before")
    text = f"the reset gate is applied {is_} the recurrent product, but should be {should} it"
    yield Candidate("reset-after", text, layer.but(reset_after=not after), fix=line)


def update(layer: SuspectLayer) -> Iterator[Candidate]:
    """A GRU whose update gate means the opposite: how much is new."""
    held = dict(layer.weights)
    for role, array in held.items():
        parts = np.split(array, 3)
        held[role] = np.concatenate([parts[0], -parts[1], parts[2]])
    text = "the update gate is inverted: z multiplies the new state, but should the old one"
    line = fix(layer, "as-reference")
    yield Candidate("update-inverted", text, layer.weighing(**held), fix=line)


def direction(layer: SuspectLayer) -> Iterator[Candidate]:
    """Run in the other direction, or its steps in the order in which they were computed."""
    backwards = bool(layer.get("reverse"))
    is_, should = ("forwards", "backwards") if backwards else ("backwards", "forwards")
    text = f"it runs {is_} over the sequence, but should run {should}"
    line = fix(layer, "run-backwards" if backwards else "run-forwards")
    other = layer.but(reverse=not backwards)
    yield Candidate("direction", text, other, fix=line)

    def turned(y: Array) -> Array:
        return y[:, ::-1]

    text = "its steps come out in reverse order"
    if backwards:
        text = "its steps come out in the order in which they were computed: the last one first"
    line = fix(layer, "turn-steps")
    yield Candidate("direction", text, layer.then("turned", turned, False), fix=line)
    text = f"{is_} over the sequence, with the steps of its output in reverse order"
    yield Candidate("direction", text, other.then("turned", turned, False), 2, fix=line)


def states(layer: SuspectLayer) -> Iterator[Candidate]:
    """Another initial state than given."""
    x, *given = layer.inputs
    mistake = partial(Candidate, "initial-state", fix=fix(layer, "initial-state"))
    if given:
        text = "the initial state isn't used: zeros instead"
        yield mistake(text, layer.fed(x))
    if len(given) == 2:
        yield mistake("h and c of the initial state exchanged", layer.fed(x, *given[::-1]))
        zeros = np.zeros_like(given[0])
        yield mistake("the initial h isn't used: zeros instead", layer.fed(x, zeros, given[1]))
        yield mistake("the initial c isn't used: zeros instead", layer.fed(x, given[0]))


def matrices(layer: SuspectLayer) -> Iterator[Candidate]:
    """The matrices not transposed, gate by gate or as a whole."""
    count = len(_gates(layer))
    mistake = partial(Candidate, "recurrent-weights", fix=fix(layer, "recurrent-kernel"))
    for role, what in (("weight_hh", "recurrent weights"), ("weight_ih", "input's weights")):
        array = layer.weights[role]
        if array.shape[0] == count * array.shape[1]:
            each = np.concatenate([part.T for part in np.split(array, count)])
            text = f"the {what} of every gate aren't transposed"
            yield mistake(text, layer.weighing(**{role: each}))
        if count > 1 or array.shape[0] != array.shape[1]:
            reshaped = array.T.reshape(array.shape)
            text = f"the {what} are reshaped, but should be transposed"
            yield mistake(text, layer.weighing(**{role: reshaped}))
    if layer.weights["weight_ih"].shape == layer.weights["weight_hh"].shape:
        swapped = layer.weighing(
            weight_ih=layer.weights["weight_hh"], weight_hh=layer.weights["weight_ih"]
        )
        yield mistake("the input's and the recurrent weights exchanged", swapped)


def functions(layer: SuspectLayer) -> Iterator[Candidate]:
    """Another activation of the gates or of the state."""
    line = fix(layer, "as-reference")
    usual: Mapping[str, tuple[str, ...]] = {
        "function": ("tanh", "relu", "linear", "sigmoid", "hard_sigmoid"),
        "recurrent_function": ("sigmoid", "hard_sigmoid", "hard_sigmoid_0.2"),
    }
    for name, known in usual.items():
        right = layer.get(name)
        for other in known if name == "function" or layer.kind != "rnn" else ():
            if other != right:
                what = "" if name == "function" else "for the gates, "
                shown = "a hard sigmoid of slope 0.2" if other == "hard_sigmoid_0.2" else other
                text = f"{what}{shown}, but should be {right}"
                yield Candidate("other-activation", text, layer.but(**{name: other}), 2, fix=line)


def steps(layer: SuspectLayer) -> Iterator[Candidate]:
    """Another step of a sequence taken than should be: the first for the last, say."""
    where, right = int(layer.get("axis")), int(layer.get("index"))
    count = layer.inputs[0].shape[where]
    usual = {0: "the first", count - 1: "the last"}
    right %= count
    line = fix(layer, "take-step", index=-1 if right == count - 1 else right, axis=where)
    for other in range(count):
        if other != right:
            said = usual.get(other, f"number {other}")
            text = f"{said} along axis {where} is taken, but should be "
            text += usual.get(right, f"number {right}")
            cost = 1 if other in usual else 2
            yield Candidate("step-taken", text, layer.but(index=other), cost, fix=line)
    for what, reduced in (("mean", np.mean), ("maximum", np.max), ("sum", np.sum)):

        def over(y: Array, x: Array = layer.inputs[0], reduced: object = reduced) -> Array:
            assert callable(reduced)
            return np.asarray(reduced(x, axis=where))

        text = f"the {what} over axis {where}, but should be {usual.get(right, right)}"
        yield Candidate("step-taken", text, layer.then("reduced", over, False), 2, fix=line)
    half = layer.inputs[0].shape[-1] // 2
    if layer.inputs[0].ndim == 3 and where == 1 and layer.inputs[0].shape[-1] == 2 * half:
        x = layer.inputs[0]
        ends = np.concatenate([x[:, right, :half], x[:, count - 1 - right, half:]], axis=1)
        text = "each direction's own final step, but should be one step of both"
        yield Candidate("step-taken", text, layer.then("ends", lambda y: ends, False), fix=line)


RECURRENT = (gates, biases, direction, states, matrices, functions)
GRU = (*RECURRENT, reset, update)
SLICE = (steps,)
