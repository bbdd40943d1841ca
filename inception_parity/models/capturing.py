"""`capture`: run any model once, and keep what every layer is and computes."""

from __future__ import annotations

import importlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..files import digest
from ..networks.catalogue import BACKENDS
from ..traces.trace import Run, TraceWriter
from ..versions import recorded
from .capturer import Capturer
from .recorder import Home, ModelTrace, Recorder

LAYOUTS = ("NCHW", "NHWC")
DTYPES = ("float64", "float32")

_CAPTURERS = {  # a framework's module -> ours, and the class in it
    "torch": ("pt", "TorchCapturer"),
    "keras": ("tf", "KerasCapturer"),
    "mxnet": ("mx", "GluonCapturer"),
}


class CannotRunError(InputError):
    """The model itself raised an error when it was run."""


def capture(
    model: Any,
    inputs: Any,
    *,
    dtype: str | None = None,
    layout: str | None = None,
    training: bool = False,
    weights: Mapping[tuple[str, str], NDArray[Any]] | None = None,
    like: ModelTrace | None = None,
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
        inputs: an array, or a sequence of arrays if the model takes several. Images are
            (N, C, H, W), whatever the model's own layout. Floating-point values are
            rounded to float32 once, so that every dtype starts from the same numbers.
        dtype: `float64` or `float32`, in which the model is run; by default float64 if
            possible, else float32, and `notes` says so.
        layout: the model's own, `NCHW` or `NHWC`; by default what its layers say.
        training: run in training mode. Batch norm then uses the batch's statistics and
            dropout is random; statistics that it updates are thrown away.
        weights: (layer, role) -> values in the shared layout, to be used in this run instead
            of the model's own.
        like: an earlier trace of this model, with the names that `weights` uses.
        out: a folder to create and keep; by default the trace is removed with the object.
        progress: called with the name of each layer as it is recorded.

    Returns:
        The trace: `layers`, `array(name)`, `weight(layer, role)`, `inputs`, `outputs`.

    Raises:
        InputError: not a model, wrong inputs, or the model can't be run.
    """
    capturer = _capturer(model)
    arrays = _arrays(inputs)
    if dtype is not None and dtype not in DTYPES:
        raise InputError(f"dtype {dtype!r}, but should be one of {', '.join(DTYPES)}")
    if layout is not None and layout not in LAYOUTS:
        raise InputError(f"layout {layout!r}, but should be one of {', '.join(LAYOUTS)}")
    layout = layout or capturer.layout(model)
    title = capturer.title(model)
    _attempt(title, arrays, lambda: capturer.build(model, arrays, layout))
    replaced = _replaced(weights or {}, like)
    prepared = _Capture(capturer, model, arrays, layout, training, replaced, progress)
    if dtype is not None:
        return prepared.run(dtype, _place(out))
    try:
        return prepared.run("float64", _place(out))
    except CannotRunError as error:
        return prepared.run("float32", _place(out), f"run in float32: in float64 {error}")


@dataclass(frozen=True)
class _Capture:
    """What a model is run with, whatever the dtype."""

    capturer: Capturer
    model: Any
    inputs: list[NDArray[Any]]
    layout: str
    training: bool
    replaced: Mapping[Any, NDArray[Any]]
    progress: Callable[[str], None]

    def run(self, dtype: str, place: tuple[Path, Home | None], note: str = "") -> ModelTrace:
        capturer, model = self.capturer, self.model
        folder, home = place
        title = capturer.title(model)
        with TraceWriter(folder) as writer:
            recorder = Recorder(writer, capturer.convert, self.progress)
            if note:
                recorder.notes.append(note)
            start = time.perf_counter()

            def run() -> None:
                with capturer.held(model, dtype, self.training, self.replaced):
                    capturer.run(model, self.inputs, self.layout, dtype, recorder)

            _attempt(title, self.inputs, run)
            if not recorder.outputs:
                raise InputError(
                    f"{title}: it returns no array, so that there is nothing to compare"
                )
            recorder.save()
            seconds = time.perf_counter() - start
            given = {f"input {i}": array for i, array in enumerate(self.inputs)}
            held = {f"{name}.{role}": s.shared for (name, role), s in recorder.slots.items()}
            own = Run(
                title, {}, capturer.name, dtype, "cpu", "propagated", digest(given), digest(held)
            )
            writer.close(own, recorded(capturer.versions()), seconds)
        read = ModelTrace.read(folder)
        return ModelTrace(**{**vars(read), "slots": recorder.slots, "home": home})


def _replaced(
    weights: Mapping[tuple[str, str], NDArray[Any]], like: ModelTrace | None
) -> dict[Any, NDArray[Any]]:
    """Return values in the model's own layout, by what the framework knows its parameters by."""
    slots = {} if like is None else like.slots
    found = {}
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
        found[slot.key] = np.ascontiguousarray(slot.native(array))
    return found


def _capturer(model: Any) -> Capturer:
    """Return what captures a model, by the bases of its class; no framework is imported."""
    if isinstance(model, (str, Path)) and not Path(model).is_file():
        raise InputError(f"{model}: no such ONNX file")
    if isinstance(model, (str, Path)) or type(model).__module__.startswith("onnx"):
        return _load("onnx", "OnnxCapturer")
    bases = {base.__module__.partition(".")[0] for base in type(model).__mro__}
    names = [name for name in _CAPTURERS if name in bases]
    if not names or not callable(model):
        kind = "a class; give an instance" if isinstance(model, type) else type(model).__name__
        raise InputError(
            f"not a model ({kind}), but should be a PyTorch module, a Keras 3 model, "
            "a Gluon block, or the path of an ONNX file"
        )
    found = _load(*_CAPTURERS[names[0]])
    _require_model(model, found.name)
    return found


def _require_model(model: Any, name: str) -> None:
    """Raise InputError for what is of a framework but isn't a model: a tensor, a loss, …"""
    wanted = {"pt": "named_modules", "tf": "_flatten_layers", "mx": "collect_params"}[name]
    if not hasattr(model, wanted):
        raise InputError(
            f"a {type(model).__module__}.{type(model).__name__}, but should be a model: "
            "a PyTorch module, a Keras 3 model, a Gluon block, or the path of an ONNX file"
        )


def _load(module: str, name: str) -> Capturer:
    try:
        found: Capturer = getattr(importlib.import_module(f".{module}", __package__), name)()
    except ImportError as error:
        info = BACKENDS.get(module)
        hint = f"; pip install 'inception-parity[{info.extra if info else module}]'"
        raise InputError(f"{info.title if info else module}: {error}{hint}") from error
    return found


def _arrays(inputs: Any) -> list[NDArray[Any]]:
    """Return the inputs as arrays; floating-point ones as float64 that float32 holds exactly."""
    several = isinstance(inputs, (list, tuple)) and len(inputs) > 0 and hasattr(inputs[0], "shape")
    found = []
    for given in inputs if several else [inputs]:
        array = np.asarray(given.detach().cpu() if hasattr(given, "detach") else given)
        if array.dtype == object or array.dtype.kind not in "fiub" or array.ndim < 1:
            raise InputError(
                f"an input of type {type(given).__name__}, but should be an array of numbers, "
                "(N, C, H, W) for images"
            )
        if array.size == 0:
            raise InputError(f"an input of shape {array.shape}, which is empty")
        if array.dtype.kind == "f":
            if not np.isfinite(array).all():
                raise InputError("an input with NaN or infinite values, which would show nothing")
            array = array.astype(np.float32).astype(np.float64)
        found.append(array)
    return found


def _attempt(title: str, inputs: Sequence[NDArray[Any]], run: Callable[[], Any]) -> None:
    """Run something of the user's model, which may raise anything."""
    try:
        run()
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
