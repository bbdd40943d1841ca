"""`capture`: run any model once, and keep what every layer is and computes."""

from __future__ import annotations

import contextlib
import importlib
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from ..errors import InputError
from ..files import digest
from ..networks.catalogue import BACKENDS
from ..traces.trace import Run, TraceWriter
from ..versions import recorded
from .capturer import CannotRunError, Capturer, Conditions
from .inputs import Arguments, arranged, given, shapes_of
from .layouts import possible_turns
from .recorder import Called, Home, ModelTrace, Recorder

LAYOUTS = ("NCHW", "NHWC")
DTYPES = ("float64", "float32", "float16", "bfloat16")
DEFAULT_DTYPES = ("float64", "float32")  # the first in which the model can be run

_MODELS = "a PyTorch module, a Keras 3 model, a Gluon block, or the path of an ONNX file"


class _Framework(NamedTuple):
    """Our file, the class in it, and a method that all the framework's models have."""

    file: str
    capturer: str
    method: str


_CAPTURERS = {  # by the framework's module
    "torch": _Framework("pt", "TorchCapturer", "named_modules"),
    "keras": _Framework("tf", "KerasCapturer", "_flatten_layers"),
    "mxnet": _Framework("mx", "GluonCapturer", "collect_params"),
}


def capture(
    model: Any,
    inputs: Any,
    *,
    dtype: str | None = None,
    layout: str | None = None,
    training: bool = False,
    weights: Mapping[tuple[str, str], NDArray[Any]] | None = None,
    like: ModelTrace | None = None,
    forced: Mapping[str, NDArray[Any]] | None = None,
    out: Path | str | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> ModelTrace:
    """Run `model` once on `inputs`, and return what every layer is and what it computed.

    The model is left as it was: parameters and buffers are replaced by copies, and the
    very same objects are put back; no hook stays; a hybridized block stays compiled. A
    model that creates its parameters in its first call is called once before.

    Args:
        model: a PyTorch module, a Keras 3 model (functional, sequential or subclassed), a
            Gluon block (hybridized or not), or an ONNX file.
        inputs: an array; a sequence of arrays if the model takes several; a dictionary of
            arrays by the names of the model's parameters (`a/b`: `a`, or `b` in a model that
            has no `a`); lists and dictionaries of arrays where the model takes these; or
            `Arguments`, for some by position and some by name. Images are (N, C, H, W),
            whatever the model's own layout. Floating-point values are rounded to float32 once,
            so that every dtype starts from the same numbers; integers and booleans stay.
        dtype: `float64`, `float32`, `float16` or `bfloat16`, in which the model is run; by
            default float64 if possible, else float32, and `notes` says so.
        layout: `NHWC` if the model takes its inputs channels-last, `NCHW` if as they are given.
            By default what shapes its inputs state; else images, with four axes, are turned
            for a model whose layers are channels-last, and nothing else is. If the model can't
            be run so but can with its inputs in the other layout, it is, and `notes` says so.
        training: run in training mode. Batch norm then uses the batch's statistics and
            dropout is random; statistics that it updates are thrown away.
        weights: (layer, role) -> values in the shared layout, to be used in this run instead
            of the model's own.
        like: an earlier trace of this model, with the names that `weights` uses.
        forced: a layer -> values in the shared layout, which the layers after it are given
            instead of its output. The trace has the layer's own output.
        out: a folder to create and keep; by default the trace is removed with the object.
        progress: called with the name of each layer as it is recorded.

    Returns:
        The trace: `layers`, `array(name)`, `weight(layer, role)`, `inputs`, `outputs`.

    Raises:
        InputError: not a model, wrong inputs, or the model can't be run.
    """
    capturer = _capturer(model)
    arguments = given(inputs)
    if dtype is not None and dtype not in DTYPES:
        raise InputError(f"dtype {dtype!r}, but should be one of {', '.join(DTYPES)}")
    if layout is not None and layout not in LAYOUTS:
        raise InputError(f"layout {layout!r}, but should be one of {', '.join(LAYOUTS)}")
    title = capturer.title(model)
    parameters = capturer.parameters(model)
    arguments, notes = arranged(arguments, parameters, title)
    last = capturer.channels_last(model) if layout is None else frozenset()
    ways = possible_turns(arguments.leaves(), shapes_of(arguments, parameters), last, layout)
    inside = layout or ("NHWC" if last or any(ways[0]) else "NCHW")
    replaced = _replaced(weights or {}, like)
    if forced and not capturer.forces:
        raise InputError(f"{title}: nothing can be forced on a model of this framework")

    def run(dtype: str, turned: tuple[bool, ...], *more: str) -> ModelTrace:
        how = Conditions(dtype, turned, inside, training, replaced, forced or {})
        with attempt(title, arguments.leaves()):
            capturer.build(model, replace(how, dtype="float32").arguments(arguments))
        return _run(capturer, model, arguments, how, (*notes, *more), out, progress)

    errors: dict[str, CannotRunError] = {}
    try:
        for wanted in DEFAULT_DTYPES if dtype is None else (dtype,):
            said = [f"run in {wanted}: in {tried} {error}" for tried, error in errors.items()]
            for turned in ways:
                told = said if turned is ways[0] else [*said, _otherwise(turned)]
                try:
                    return run(wanted, turned, *told)
                except CannotRunError as error:
                    errors.setdefault(wanted, error)
        raise list(errors.values())[-1]
    finally:
        errors.clear()  # as they hold this frame, and it them; and what was recorded goes with it


def _otherwise(turned: tuple[bool, ...]) -> str:
    how = "turned to channels-last" if any(turned) else "left channels-first"
    return f"inputs {how}, since it can't be run otherwise"


def _run(
    capturer: Capturer, model: Any, arguments: Arguments, how: Conditions,
    notes: Sequence[str], out: Path | str | None, progress: Callable[[str], None],
) -> ModelTrace:  # fmt: skip
    folder, home = _place(out)
    title, inputs = capturer.title(model), arguments.leaves()
    with TraceWriter(folder) as writer:
        recorder = Recorder(writer, capturer.convert, progress, how.turned, how.forced)
        recorder.notes += notes
        start = time.perf_counter()
        with attempt(title, inputs):
            capturer.run(model, how.arguments(arguments), how, recorder)
        if not recorder.outputs:
            raise InputError(f"{title}: it returns no array, so that there is nothing to compare")
        if recorder.forced:
            raise InputError(f"{title} has no layer {', '.join(recorder.forced)} to be forced")
        recorder.save()
        seconds = time.perf_counter() - start
        given = digest({f"input {i}": array for i, array in enumerate(inputs)})
        held = digest({f"{name}.{role}": s.shared for (name, role), s in recorder.slots.items()})
        own = Run(title, {}, capturer.name, how.dtype, "cpu", "propagated", given, held)
        writer.close(own, recorded(capturer.versions()), seconds)
    read = ModelTrace.read(folder)
    called = Called(arguments, how.turned, how.layout, tuple(recorder.tags), how.replaced)
    more = {"slots": recorder.slots, "forced": how.forced, "home": home, "called": called}
    return ModelTrace(**{**vars(read), **more})


def _replaced(
    weights: Mapping[tuple[str, str], NDArray[Any]], like: ModelTrace | None
) -> dict[Any, NDArray[Any]]:
    """Return values in the model's own layout, by what the framework knows its parameters by."""
    slots = {} if like is None else like.slots
    found: dict[Any, NDArray[Any]] = {}
    for key, array in weights.items():
        slot = slots.get(key)
        if slot is None:
            raise InputError(
                f"weights for {'.'.join(key)}, which isn't in the trace given as `like`"
            )
        if slot.shared.shape != array.shape:
            raise InputError(
                f"weights for {'.'.join(key)} of shape {array.shape}, "
                f"but should be {slot.shared.shape}"
            )
        slot.put(array, found)
    return found


def _capturer(model: Any) -> Capturer:
    """Return what captures a model, by the bases of its class; no framework is imported."""
    if isinstance(model, (str, Path)) and not Path(model).is_file():
        raise InputError(f"{model}: no such ONNX file")
    if isinstance(model, (str, Path)) or type(model).__module__.startswith("onnx"):
        return _load("onnx", "OnnxCapturer")
    bases = {base.__module__.partition(".")[0] for base in type(model).__mro__}
    found = next((_CAPTURERS[name] for name in _CAPTURERS if name in bases), None)
    if found is None or not callable(model):
        kind = "a class; give an instance" if isinstance(model, type) else type(model).__name__
        raise InputError(f"not a model ({kind}), but should be {_MODELS}")
    capturer = _load(found.file, found.capturer)
    if not hasattr(model, found.method):  # a tensor, a loss, …
        own = f"{type(model).__module__}.{type(model).__name__}"
        raise InputError(f"a {own}, but should be a model: {_MODELS}")
    return capturer


def _load(module: str, name: str) -> Capturer:
    try:
        found: Capturer = getattr(importlib.import_module(f".{module}", __package__), name)()
    except ImportError as error:
        info = BACKENDS.get(module)
        hint = f"; pip install 'inception-parity[{info.extra if info else module}]'"
        raise InputError(f"{info.title if info else module}: {error}{hint}") from error
    return found


@contextlib.contextmanager
def attempt(title: str, inputs: Sequence[NDArray[Any]]) -> Iterator[None]:
    """Return a context in which the user's model runs, which may raise anything."""
    try:
        yield
    except (InputError, MemoryError):
        raise
    except Exception as error:
        shapes = ", ".join(str(array.shape) for array in inputs)
        text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))  # Keras' messages are bold in places
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        said = f"{type(error).__name__}: {' '.join(lines[:3])[:500]}"
        raise CannotRunError(f"{title} can't be run on inputs of shape {shapes}: {said}") from error


def _place(out: Path | str | None) -> tuple[Path, Home | None]:
    if out is None:
        home = Home()
        return home.path / "trace", home
    folder = Path(out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: exists and isn't empty; give another folder")
    if folder.is_dir():
        folder.rmdir()
    return folder, None
