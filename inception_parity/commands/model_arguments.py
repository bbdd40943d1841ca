"""Words that stand for somebody's model, or for pairs of layers."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..backends.quiet import import_tensorflow
from ..errors import InputError, nearest


def build(text: str) -> Any:
    """Return the model that `module:name`, `file.py:name` or an ONNX file stands for.

    Raises:
        InputError: there is no such module or name, or what makes the model raises.
    """
    if text.endswith(".onnx"):
        if not Path(text).is_file():
            raise InputError(f"{text}: no such file")
        return text
    if _parts(text) is None:
        raise InputError(
            f"{text!r}, but should be module:name, file.py:name, a file that ends in .onnx, "
            "a folder that --keep left, or arrays: .npz, .safetensors, a folder of .npy files"
        )
    found = attribute(text)
    is_model = any(
        hasattr(found, mark) for mark in ("named_modules", "collect_params", "variables")
    )
    if isinstance(found, type) or not is_model:
        if not callable(found):
            raise InputError(
                f"{text}: a {type(found).__name__}, but should be a model, "
                "or a function that makes one"
            )
        return _called(text, found)
    return found


def _parts(text: str) -> tuple[str, str] | None:
    place, colon, name = text.rpartition(":")
    return (place, name) if colon and place and name else None


def attribute(text: str) -> Any:
    """Return what `module:name` or `file.py:name` stands for.

    Raises:
        InputError: it isn't of that form, or there is no such module or name.
    """
    parts = _parts(text)
    if parts is None:
        raise InputError(f"{text!r}, but should be module:name or file.py:name")
    place, name = parts
    found: Any = _module(place)
    for part in name.split("."):
        if not hasattr(found, part):
            known = nearest(part, [n for n in dir(found) if not n.startswith("_")])
            raise InputError(f"{text}: {place} has no {part!r}{known}")
        found = getattr(found, part)
    return found


def _called(text: str, function: Any) -> Any:
    try:
        return function()
    except (InputError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        raise InputError(f"{text} raised {_where(error)}") from error


def _where(error: BaseException) -> str:
    """Return an error with the line of source that it came from."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = ""
    if trace is not None:
        place = f" ({Path(trace.tb_frame.f_code.co_filename).name}, line {trace.tb_lineno})"
    said = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {said}{place}"


def _module(place: str) -> Any:
    """Import a module by name, from here or from what is installed, or by its file."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        if not place.endswith(".py"):
            return importlib.import_module(place)
        file = Path(place)
        if not file.is_file():
            raise InputError(f"{file}: no such file")
        if re.search(rb"^\s*(import|from)\s+(tensorflow|keras)\b", file.read_bytes(), re.M):
            with contextlib.suppress(ImportError):  # which the file itself then meets
                import_tensorflow()
        spec = importlib.util.spec_from_file_location(file.stem, file)
        if spec is None or spec.loader is None:
            raise InputError(f"{file}: can't be imported")
        module = importlib.util.module_from_spec(spec)
        sys.modules[file.stem] = module
        spec.loader.exec_module(module)
        return module
    except (InputError, MemoryError):
        raise
    except ModuleNotFoundError as error:
        missing = str(error.name or "")
        if missing and (place == missing or place.startswith(f"{missing}.")):
            raise InputError(
                f"no module {place!r}; give one that is installed or in this folder, "
                "or file.py:name"
            ) from error
        raise InputError(f"{place} needs {missing!r}, which isn't installed") from error
    except (Exception, SystemExit) as error:
        raise InputError(f"{place} can't be imported: {_where(error)}") from error


def parse_match(texts: Sequence[str]) -> dict[str | None, Any]:
    """Return corrections from `a=b`, `a=`, `=b` and JSON files.

    Raises:
        InputError: a text isn't of that form, or a file can't be read.
    """
    found: dict[str | None, Any] = {None: []}
    for text in texts:
        pairs = _pairs_in(Path(text)) if text.endswith(".json") else dict([_pair(text)])
        found[None] += pairs.pop("", [])
        found.update(pairs.items())
    return found


def _pair(text: str) -> tuple[str, Any]:
    one, equals, other = text.partition("=")
    if not equals or not (one or other):
        raise InputError(f"--match {text}: should be a=b, a=, =b, or a file that ends in .json")
    return (one, other or None) if one else ("", [other])


def _pairs_in(file: Path) -> dict[str, Any]:
    """Return the pairs of a JSON file; "" stands for all layers without a counterpart."""
    try:
        pairs = json.loads(file.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{file}: not JSON that can be read ({error})") from error
    if not isinstance(pairs, dict):
        raise InputError(f'{file}: should be an object, {{"a": "b", "c": null, "": ["d"]}}')
    for one, other in pairs.items():
        names = other if isinstance(other, list) else [other]
        if not all(name is None or isinstance(name, str) for name in names):
            raise InputError(
                f'{file}: {one!r}: should be a layer\'s name, null, or a list under ""'
            )
        if not one:
            pairs[one] = [name for name in names if name]
    return pairs
