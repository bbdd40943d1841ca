"""What a model is called with: arrays by position and by name, in lists and dictionaries too."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..numerics import to_dtype
from .layouts import Shape

Array = NDArray[Any]


@dataclass(frozen=True)
class Arguments:
    """The arguments of a call: arrays, or lists and dictionaries of arrays.

    Args:
        positional: those given by position.
        named: those given by name. `a/b` is the parameter `a`, or `b` in a model that has no `a`.
    """

    positional: tuple[Any, ...] = ()
    named: Mapping[str, Any] = field(default_factory=dict)

    def leaves(self) -> list[Any]:
        """Return all arrays, in order."""
        return [leaf for part in (*self.positional, *self.named.values()) for leaf in _leaves(part)]

    def filled(self, leaves: Sequence[Any]) -> Arguments:
        """Return the same arguments with other arrays in their place."""
        rest = iter(leaves)
        positional = tuple(_filled(part, rest) for part in self.positional)
        return Arguments(positional, {k: _filled(part, rest) for k, part in self.named.items()})

    def by_position(self, names: Sequence[str]) -> list[Any]:
        """Return all arguments by position, those with a name in the place that `names` gives it.

        Those that come after the last argument given are left out.

        Raises:
            InputError: one before it is missing.
        """
        found = dict(zip(names, self.positional, strict=False)) | dict(self.named)
        extra = self.positional[len(names) :]
        last = max((i for i, name in enumerate(names) if name in found), default=-1)
        missing = [name for name in names[: last + 1] if name not in found]
        if missing:
            raise InputError(f"the input {missing[0]} is missing; give it too")
        return [*(found[name] for name in names[: last + 1]), *extra]

    def words(self) -> str:
        """Return what was given, in words."""
        given = [f"{len(self.positional)} by position"] if self.positional else []
        return ", ".join([*given, *self.named])


@dataclass(frozen=True)
class Parameters:
    """What a model takes.

    Args:
        names: of its parameters, in order.
        required: how many of them have no default.
        several: whether it takes any number of arguments.
        any_name: whether it takes arguments of any name.
        packs: whether its only parameter, given several arguments, takes them as a list.
        shapes: the shapes that it states for them, None where it doesn't.
    """

    names: tuple[str, ...] = ()
    required: int = 0
    several: bool = False
    any_name: bool = False
    packs: bool = False
    shapes: tuple[Shape | None, ...] = ()


def parameters_of(function: Callable[..., Any], skip: int = 0) -> Parameters:
    """Return the parameters of a function, but for the first `skip`."""
    try:
        found = list(inspect.signature(function).parameters.values())[skip:]
    except (TypeError, ValueError):
        return Parameters(several=True, any_name=True)
    own = [p for p in found if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return Parameters(
        tuple(p.name for p in own),
        sum(p.default is p.empty and p.kind is not p.KEYWORD_ONLY for p in own),
        several=any(p.kind is p.VAR_POSITIONAL for p in found),
        any_name=any(p.kind is p.VAR_KEYWORD for p in found),
    )


def given(inputs: Any) -> Arguments:
    """Return what `capture` was given as arguments.

    Floating-point values come as float64 that float32 holds exactly; integers and booleans
    as they are.

    Raises:
        InputError: something isn't an array of numbers, is empty, or has NaN or infinite values.
    """
    if isinstance(inputs, Arguments):
        found = inputs
    elif isinstance(inputs, Mapping):
        found = Arguments((), {str(name): value for name, value in inputs.items()})
    elif isinstance(inputs, (list, tuple)) and any(_nested(part) for part in inputs):
        found = Arguments(tuple(inputs))
    else:
        found = Arguments((inputs,))
    leaves = found.leaves()
    if not leaves:
        raise InputError("no input was given; a model needs at least one array")
    return found.filled([_array(leaf) for leaf in leaves])


def rounded(inputs: Any, dtype: str) -> Arguments:
    """Return inputs with floating-point values that a narrow dtype holds exactly."""
    found = given(inputs)
    leaves = [x if x.dtype.kind != "f" else to_dtype(x, dtype) for x in found.leaves()]
    return found.filled(leaves)


def _nested(value: Any) -> bool:
    """Return whether it is an array, or something that holds arrays."""
    if isinstance(value, (list, tuple)):
        return any(_nested(part) for part in value)
    return hasattr(value, "shape") or isinstance(value, Mapping)


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        for part in value.values():
            yield from _leaves(part)
    elif isinstance(value, (list, tuple)) and _nested(value):
        for part in value:
            yield from _leaves(part)
    else:
        yield value


def _filled(value: Any, leaves: Iterator[Any]) -> Any:
    if isinstance(value, Mapping):
        return {key: _filled(part, leaves) for key, part in value.items()}
    if isinstance(value, (list, tuple)) and _nested(value):
        parts = [_filled(part, leaves) for part in value]
        return tuple(parts) if isinstance(value, tuple) else parts
    return next(leaves)


def _array(value: Any) -> Array:
    array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    scalar = array.ndim == 0 and not hasattr(value, "shape")  # a number of Python's
    if array.dtype == object or array.dtype.kind not in "fiub" or scalar:
        raise InputError(
            f"an input of type {type(value).__name__}, but should be an array of numbers, "
            "(N, C, H, W) for images"
        )
    if array.size == 0:
        raise InputError(f"an input of shape {array.shape}, which is empty")
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise InputError("an input with NaN or infinite values, which would show nothing")
        return array.astype(np.float32).astype(np.float64)
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:  # which not every framework has
        return array.astype(np.int64)
    return array


def arranged(
    arguments: Arguments, parameters: Parameters, title: str
) -> tuple[Arguments, tuple[str, ...]]:
    """Return the arguments as a model takes them, and notes on what isn't obvious about that.

    If the model has none of the names, the arguments are given by position; or as one
    dictionary, if it has a single parameter.

    Raises:
        InputError: the model has only some of the names, or takes more or fewer arguments.
    """
    known = set(parameters.names)
    chosen = {name: _alternative(name, known) for name in arguments.named}
    strange = [name for name, own in chosen.items() if own is None]
    takes = ", ".join(parameters.names) or "arguments of any name"
    notes: tuple[str, ...] = ()
    if not strange or parameters.any_name:
        named = {own or k.partition("/")[0]: arguments.named[k] for k, own in chosen.items()}
        found = Arguments(arguments.positional, named)
    elif len(strange) < len(chosen):
        raise InputError(
            f"{title}: no input is called {strange[0]}; it takes {takes}. "
            f"Where the two models differ, name both: {parameters.names[-1]}/{strange[0]}=…"
        )
    elif len(parameters.names) == 1 and len(chosen) > 1 and not arguments.positional:
        found = Arguments(({k.partition("/")[0]: v for k, v in arguments.named.items()},))
    else:
        found = Arguments((*arguments.positional, *arguments.named.values()))
        notes = (f"takes {takes}: inputs given by position, in the order {', '.join(chosen)}",)
    if parameters.packs and len(parameters.names) == 1 and len(found.positional) > 1:
        found = Arguments((list(found.positional),), found.named)
    _require_fitting(found, parameters, title, takes)
    return found, notes


def _alternative(name: str, known: set[str]) -> str | None:
    return next((part for part in name.split("/") if part in known), None)


def _require_fitting(found: Arguments, parameters: Parameters, title: str, takes: str) -> None:
    count = len(found.positional)
    first = parameters.names[:count]
    twice = [name for name in found.named if name in first]
    if twice:
        raise InputError(
            f"{title}: {twice[0]} is given by position and by name; it takes {takes}. "
            "Give it once, or name all inputs"
        )
    missing = [n for n in parameters.names[count : parameters.required] if n not in found.named]
    if missing:
        raise InputError(
            f"{title}: takes {takes}, but {', '.join(missing)} isn't given "
            f"(given: {found.words()}); add it: --input {missing[0]}=…"
        )
    if count > len(parameters.names) and not parameters.several:
        raise InputError(f"{title}: takes {takes}, but {count} inputs are given by position")


def shapes_of(arguments: Arguments, parameters: Parameters) -> list[Shape | None]:
    """Return the shape that a model states for each array, None where it states none."""
    stated = dict(zip(parameters.names, parameters.shapes, strict=False))
    by_place = zip(parameters.names, arguments.positional, strict=False)
    found: list[Shape | None] = []
    for name, part in (*by_place, *arguments.named.items()):
        leaves = list(_leaves(part))
        found += [stated.get(name)] if len(leaves) == 1 else [None] * len(leaves)
    return found + [None] * (len(arguments.leaves()) - len(found))
