"""Commands whose options come in groups: a dataclass in a signature stands for its fields.

    @dataclass(frozen=True)
    class Workers:
        device: Annotated[str, Option(help="`cpu` or `gpu`.")] = "cpu"
        timeout: Annotated[float, Option(help="Time limit, in seconds.")] = 600

    @command("run")
    def run_command(network: NetworkName, workers: Workers) -> None: ...

gives `run NETWORK --device … --timeout …`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

from typer.core import TyperCommand

from . import app


def command(
    name: str, cls: type[TyperCommand] | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register the decorated function as the command `name`, with the fields of its groups."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        app.command(name, cls=cls)(flattened(function))
        return function

    return register


def flattened(function: Callable[..., None]) -> Callable[..., None]:
    """Return `function` with the fields of each dataclass in its signature as parameters.

    Raises:
        ValueError: two of them have the same name.
    """
    groups: dict[str, type[Any]] = {}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        if is_dataclass(parameter.annotation):
            groups[parameter.name] = parameter.annotation  # type: ignore[assignment]
            parameters += _fields(parameter.annotation)
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

    @functools.wraps(function)
    def call(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{field.name: values.pop(field.name) for field in fields(group)})
        function(**values)

    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return call


def _fields(group: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[name])
        for name, parameter in inspect.signature(group).parameters.items()
    ]
