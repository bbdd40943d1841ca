"""How a framework's operations are described by the kinds and settings that all of them share.

Each framework has a table (`Operations`) from its own names to rows. A row says what the
operation is, what its positional arguments are called, and where each of our settings comes from:

    "BatchNorm": Op("norm", "data weight bias running_mean running_var", eps=arg("eps", 1e-3))

What a row can't say is a function that takes the `Call`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .layers import Settings
from .layouts import Tag, shared_axis

Described = tuple[str, Settings]  # kind, settings

ROLES = ("weight", "bias", "running_mean", "running_var")  # the arguments that are parameters


@dataclass(frozen=True)
class Call:
    """A call of one of a framework's operations.

    Args:
        name: the operation, as the framework's table has it.
        given: its arguments by name, positional ones included.
        fed: the activations among them.
        output: what it returned.
        tag: the layout of the first of `fed`.
        weights: the roles whose arguments are parameters or constants.
    """

    name: str
    given: Mapping[str, Any]
    fed: Sequence[Any]
    output: Any
    tag: Tag = None
    weights: Container[str] = ()

    @property
    def x(self) -> Any:
        """The first activation."""
        return self.fed[0]

    def get(self, names: str, usual: Any = None) -> Any:
        """Return the first of these arguments that isn't None, `usual` if all of them are."""
        values = (self.given.get(name) for name in names.split())
        return next((value for value in values if value is not None), usual)

    def axis(self, axis: Any) -> int:
        """Return an axis of the first activation as one of the shared layout."""
        return shared_axis(int(axis), len(self.x.shape), self.tag)


Reader = Callable[[Call], Any]


class Op:
    """A row of a table: what an operation is.

    Args:
        kind: its kind, or a function that returns the kind and the settings of a call.
        takes: the names of its positional arguments.
        settings: our settings -> a constant, or what reads it from a call; None is left out.
    """

    def __init__(
        self, kind: str | Callable[[Call], Described], takes: str = "", /, **settings: Any
    ) -> None:
        self.kind, self.takes, self.settings = kind, takes, settings

    def describe(self, call: Call) -> Described:
        """Return the kind and the settings of a call."""
        if callable(self.kind):
            return self.kind(call)
        found = {k: v(call) if callable(v) else v for k, v in self.settings.items()}
        return self.kind, {name: value for name, value in found.items() if value is not None}


def arg(names: str, usual: Any = None) -> Reader:
    """Return what reads an argument.

    Args:
        names: its name; several for one whose name depends on the version.
        usual: its default, whose type the value gets; a required argument's type instead.
    """
    required = isinstance(usual, type)
    convert = usual if required else type(usual)

    def read(call: Call) -> Any:
        value = call.get(names, None if required else usual)
        return value if value is None or usual is None else convert(value)

    return read


def axis(names: str, usual: Any = int) -> Reader:
    """Return what reads an argument that is an axis, as one of the shared layout."""
    return lambda call: call.axis(arg(names, usual)(call))


class Operations:
    """A framework's table.

    Args:
        rows: names, separated by spaces -> what they are; a `#` in a name stands for the number
            of spatial axes: `conv#d`. An activation needs a row only if it has settings.
    """

    def __init__(self, rows: Mapping[str, Op | str | Callable[[Call], Described]]) -> None:
        self.rows = {
            name: row if isinstance(row, Op) else Op(row)
            for names, row in rows.items()
            for name in names.split()
        }

    def find(self, name: str) -> Op:
        """Return an operation's row; one that isn't in the table is of its own kind."""
        known = self.rows.get(name) or self.rows.get(re.sub(r"[123](?=[dD])", "#", name))
        if known is not None:
            return known
        function = activation_called(name)
        return Op(name) if function is None else Op("act", function=function)

    def named(self, name: str, positional: Sequence[Any]) -> dict[str, Any]:
        """Return positional arguments by their names."""
        return dict(zip(self.find(name).takes.split(), positional, strict=False))

    def describe(self, call: Call) -> Described:
        """Return a call's kind and settings."""
        return self.find(call.name).describe(call)


# Frameworks' names of activations, in lower case and without underscores.
_ACTIVATIONS = {
    "relu": "relu", "relu6": "relu6", "sigmoid": "sigmoid", "tanh": "tanh", "silu": "silu",
    "swish": "silu", "softplus": "softplus", "softrelu": "softplus", "softsign": "softsign",
    "selu": "selu", "hardsigmoid": "hard_sigmoid", "hardswish": "hard_swish",
    "hardsilu": "hard_swish", "mish": "mish", "elu": "elu", "leakyrelu": "leaky_relu",
    "softmax": "softmax", "logsoftmax": "log_softmax", "gelu": "gelu", "celu": "celu",
    "logsigmoid": "log_sigmoid", "abs": "abs",
}  # fmt: skip


def activation_called(own: str) -> str | None:
    """Return the shared name of an activation, or None if a framework's name isn't one's."""
    return _ACTIVATIONS.get(own.lower().replace("_", ""))
