"""The weight mapping that a comparison found: as a table, and as a function that loads weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..files import write_whole
from .graph import ComparedLayer, ModelGraph
from .matched_weights import NEUTRAL, NORMS
from .rearranging import expression
from .recorder import Slot
from .report import ModelReport

FORMAT = "inception-parity map 1"


@dataclass(frozen=True)
class MapRow:
    """What one of the second model's arrays is made of.

    Args:
        a: the first's layer.
        b: the second's.
        role: weight, bias, running_mean, …
        given: the first's array, by the name that its framework has for it; None if it has none.
        taken: the second's.
        shape: of the first's array.
        becomes: of the second's, or of that part of it.
        code: how it is made of `w`, in NumPy.
        part: which part of the second's array it is, if not the whole.
        plus: another of the first's arrays, which is added to it: a second bias.
    """

    a: str
    b: str
    role: str
    given: str | None
    taken: str
    shape: tuple[int, ...]
    becomes: tuple[int, ...]
    code: str
    part: str = ""
    plus: str | None = None


@dataclass(frozen=True)
class WeightMap:
    """A whole mapping; `left` says what couldn't be mapped, and why."""

    first: str
    second: str
    frameworks: tuple[str, str]
    layers: dict[str, str]
    weights: list[MapRow]
    left: list[str]

    def record(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {"format": FORMAT, **asdict(self)}

    def write(self, file: Path) -> None:
        """Write it: as a table to `.json`, as a module with a function `load` to `.py`."""
        if file.suffix == ".json":
            text = json.dumps(self.record(), indent=1) + "\n"
        elif file.suffix == ".py":
            text = _module(self)
        else:
            raise InputError(f"--map {file}: should end in .json, a table, or .py, a function")
        write_whole(file, text.encode())


def weight_map(made: ModelReport, a: Any, b: Any) -> WeightMap:
    """Return which of a's weights is which of b's, and how it is rearranged.

    Args:
        made: the comparison of the two.
        a: the first model itself, whose names for its parameters are used.
        b: the second.

    Raises:
        InputError: one of the two is a kept trace, which doesn't know its model's parameters.
    """
    if not made.a.slots or not made.b.slots:
        raise InputError(
            "a mapping needs both models themselves, with weights, and not traces of them"
        )
    names = _names(a, made.a.run.backend), _names(b, made.b.run.backend)
    rows: dict[tuple[str, str], MapRow] = {}
    left = []
    for one, other in made.match.layers():
        for role, place in other.weights.items():
            slot = made.b.slots[place]
            taken = names[1].get(slot.key, str(slot.key))
            key = taken, str(slot.place)
            if key in rows:
                continue  # a layer that is called twice, or a weight that several share
            found = _row(made.match.a, one, other, role, slot, names[0], taken)
            if isinstance(found, str):
                left.append(f"{other.name}.{role} ({taken}): {found}")
            else:
                rows[key] = found
    for name in made.match.only_b:
        roles = made.match.b.nodes[name].weights
        left += [f"{name}.{role}: its layer has no counterpart" for role in roles]
    return WeightMap(
        made.a.run.network, made.b.run.network, (made.a.run.backend, made.b.run.backend),
        dict(made.match.pairs), list(rows.values()), left,
    )  # fmt: skip


def _row(
    graph: ModelGraph, one: ComparedLayer, other: ComparedLayer, role: str, slot: Slot,
    names: Mapping[Any, str], taken: str,
) -> MapRow | str:  # fmt: skip
    """Return the row of one of b's arrays, or why there is none."""
    part = "" if slot.whole is None else _index(slot.place)
    place = one.weights.get(role)
    mine = None if place is None else graph.trace.slots[place]
    numbers = np.arange(slot.shared.size).reshape(slot.shared.shape)
    wanted = np.asarray(slot.native(numbers))
    if mine is None:
        if role not in NEUTRAL or (role == "weight" and one.kind not in NORMS):
            return "the first has none"
        code = f"np.full({wanted.shape}, {NEUTRAL[role]})"
        return MapRow(one.name, other.name, role, None, taken, (), tuple(wanted.shape), code, part)
    plus = None
    if role == "bias_ih" and "bias_hh" in one.weights and "bias_hh" not in other.weights:
        second = graph.trace.slots[one.weights["bias_hh"]]
        if mine.whole is not None or second.whole is not None or second.key == mine.key:
            return "the sum of two parts of one of the first's arrays"
        plus = names.get(second.key, str(second.key))
    if mine.shared.shape != slot.shared.shape:
        return f"shape {slot.shared.shape}, but the first's is {mine.shared.shape}"
    held = np.asarray(mine.native(numbers))
    name = "w" if mine.whole is None else f"w[{_index(mine.place)}]"
    made = expression(held, wanted, name)
    if made is None:
        return "no simple rearrangement of the first's"
    whole = held.shape if mine.whole is None else mine.whole.shape
    return MapRow(
        one.name, other.name, role, names.get(mine.key, str(mine.key)), taken,
        tuple(whole), tuple(wanted.shape), made, part, plus,
    )  # fmt: skip


def _index(place: Any) -> str:
    """Return an index as it is written: `0`, `0, :48`."""
    parts = place if isinstance(place, tuple) else (place,)
    return ", ".join(
        f"{p.start if p.start is not None else ''}:{p.stop if p.stop is not None else ''}"
        if isinstance(p, slice) else str(p)
        for p in parts
    )  # fmt: skip


def _names(model: Any, backend: str) -> dict[Any, str]:
    """Return what the module that is written calls each parameter, by the slot's key."""
    if backend == "tf":  # names have numbers that differ from one build to the next: places don't
        return {id(v): f"{i} {v.path}" for i, v in enumerate(model.variables)}
    if backend == "mx":
        return {p.name: path for path, p in model._collect_params_with_prefix().items()}
    return {}


_READ = {
    "pt": """\
    tensors = dict([*model.named_parameters(), *model.named_buffers()])
    return {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}
""",
    "tf": """\
    return {str(place): np.array(v) for place, v in enumerate(model.variables)}
""",
    "mx": """\
    parameters = model._collect_params_with_prefix()
    return {name: p.data().asnumpy() for name, p in parameters.items()}
""",
    "onnx": """\
    import onnx
    from onnx import numpy_helper

    graph = (model if hasattr(model, "graph") else onnx.load(model)).graph
    found = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].HasField("t"):
            found[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    return found
""",
}

_WRITE = {
    "pt": """\
    import torch

    tensors = dict([*model.named_parameters(), *model.named_buffers()])
    with torch.no_grad():
        for name, array in arrays.items():
            tensors[name].copy_(torch.from_numpy(np.array(array)))
    return model
""",
    "tf": """\
    for place, array in arrays.items():
        model.variables[int(place)].assign(array)
    return model
""",
    "mx": """\
    import mxnet

    parameters = model._collect_params_with_prefix()
    make = mxnet.np.array if mxnet.util.is_np_array() else mxnet.nd.array
    for name, array in arrays.items():
        parameters[name].set_data(make(array))
    return model
""",
    "onnx": """\
    import onnx
    from onnx import numpy_helper

    model = model if hasattr(model, "graph") else onnx.load(model)
    for tensor in model.graph.initializer:
        if tensor.name in arrays:
            dtype = numpy_helper.to_array(tensor).dtype
            array = np.ascontiguousarray(arrays[tensor.name], dtype=dtype)
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    return model
""",
}


def _module(found: WeightMap) -> str:
    """Return a module that needs NumPy and the two frameworks only."""
    one, other = found.frameworks
    lines = []
    begun: set[str] = set()
    for row in found.weights:
        taken, given = _key(row.taken, other), _key(row.given or "", one)
        words = [name.partition(" ")[2] for name in (row.given or "", row.taken)]  # of Keras
        comment = f"  # {', '.join(filter(None, words))}" if any(words) else ""
        source = f"a[{given!r}]"
        if row.plus is not None:
            source = f"({source} + a[{_key(row.plus, one)!r}])"
        code = row.code if row.given is None else source + row.code.removeprefix("w")
        if row.part and taken not in begun:
            begun.add(taken)
            lines.append(f"b[{taken!r}] = held[{taken!r}].copy()")
        target = f"b[{taken!r}]" + (f"[{row.part}]" if row.part else "")
        lines.append(f"{target} = {code}{comment}")
    left = "".join(f"\n    # not mapped: {line}" for line in found.left)
    body = "".join(f"    {line}\n" for line in lines)
    return f'''"""Loads the weights of {found.first} into {found.second}.

    load(first, second)

Written by inception-parity; needs NumPy and the models' frameworks only.
"""

import numpy as np


def read(model):
    """Return the first model's arrays by name."""
{_READ[one]}

def read_second(model):
    """Return the second model's arrays by name."""
{_READ[other]}

def converted(a, held):
    """Return the second model's arrays, made of the first's, `a`; `held` has its present ones."""
    b = {{}}{left}
{body}    return b


def write(model, arrays):
    """Give the second model its arrays, and return it."""
{_WRITE[other]}

def load(first, second):
    """Load the first model's weights into the second, and return it."""
    return write(second, converted(read(first), read_second(second)))
'''


def _key(name: str, backend: str) -> str:
    return name.partition(" ")[0] if backend == "tf" else name
