"""Commands: functions whose parameters `options.toml` describes, and which may come in groups.

    @dataclass(frozen=True)
    class Workers:
        device: str = "cpu"
        timeout: float = 600

    @command("run")
    def run_command(network: str, workers: Workers) -> None: ...

gives `run NETWORK --device … --timeout …`: a dataclass in a signature stands for its fields.
"""

from __future__ import annotations

import functools
import inspect
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from typer import Argument, Option
from typer.core import TyperCommand

from . import app

Description = str | Mapping[str, Any]  # of a parameter, as it stands in options.toml

DESCRIPTIONS: Mapping[str, Mapping[str, Description]] = tomllib.loads(
    Path(__file__).with_name("options.toml").read_text(encoding="utf-8")
)


def command(
    name: str, cls: type[TyperCommand] | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register the decorated function as the command `name`, whose help is its docstring."""
    described = {**DESCRIPTIONS["shared"], **DESCRIPTIONS.get(name, {})}

    def register(function: Callable[..., None]) -> Callable[..., None]:
        app.command(name, cls=cls)(flattened(function, described))
        return function

    return register


def flattened(
    function: Callable[..., None], described: Mapping[str, Description]
) -> Callable[..., None]:
    """Return `function` with the fields of each dataclass in its signature as parameters.

    Raises:
        KeyError: a parameter isn't described.
        ValueError: two of them have the same name.
    """
    groups: dict[str, type[Any]] = {}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        if is_dataclass(parameter.annotation):
            groups[parameter.name] = parameter.annotation  # type: ignore[assignment]
            hints = get_type_hints(parameter.annotation)
            parameters += [
                field.replace(annotation=hints[name])
                for name, field in inspect.signature(groups[parameter.name]).parameters.items()
            ]
        else:
            parameters.append(parameter)
    parameters = [_described(parameter, described[parameter.name]) for parameter in parameters]

    @functools.wraps(function)
    def call(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{field.name: values.pop(field.name) for field in fields(group)})
        function(**values)

    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return call


def _described(parameter: inspect.Parameter, said: Description) -> inspect.Parameter:
    """Return a parameter with what Typer has to know about it."""
    more = {"help": said} if isinstance(said, str) else said
    flag = more.get("flag", f"--{parameter.name.replace('_', '-')}")
    info = Argument(help=more["help"]) if "argument" in more else Option(flag, help=more["help"])
    return parameter.replace(
        kind=inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[parameter.annotation, info]
    )
