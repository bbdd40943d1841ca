"""Records what a model computes as it runs: values, dataflow, settings, weights."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..files import save_array
from ..traces.trace import INPUT, Trace, TraceWriter
from .layers import TRANSPARENT, CapturedLayer, Settings, frozen, plain

FORMAT = "inception-parity model 1"
OUTPUT = "output"

Array = NDArray[Any]


@dataclass(frozen=True)
class Slot:
    """A parameter of a model, and how it looks in the shared layout.

    Args:
        key: what the framework knows it by.
        shared: its value, in the shared layout.
        native: from the shared layout back to the framework's.
    """

    key: Any
    shared: Array
    native: Callable[[Array], Array] = lambda array: array


class Home:
    """A temporary folder that is removed with the last trace in it."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="inception-parity-"))
        weakref.finalize(self, shutil.rmtree, self.path, True)


@dataclass(frozen=True)
class ModelTrace(Trace):
    """A trace of any model: every layer's output, and what each layer is.

    Its folder is removed with the object, unless it was captured into a folder of
    the caller's.
    """

    layers: dict[str, CapturedLayer] = field(default_factory=dict, repr=False)
    outputs: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    slots: Mapping[tuple[str, str], Slot] = field(default_factory=dict, repr=False)
    home: Home | None = field(default=None, repr=False)

    @classmethod
    def read(cls, folder: Path) -> ModelTrace:
        """Read a folder that `capture(…, out=folder)` left.

        Raises:
            InputError: it isn't a trace of a model, or not whole.
        """
        base = Trace.read(folder)
        file = folder / "layers.json"
        if not file.is_file():
            raise InputError(f"{folder}: a trace, but not of a captured model (no layers.json)")
        try:
            record = json.loads(file.read_text())
            if record["format"] != FORMAT:
                raise InputError(
                    f"{file}: format {record['format']!r}, but should be {FORMAT!r}; "
                    "capture it again with this version"
                )
            layers = [_layer(fields) for fields in record["layers"]]
            unknown = [layer.name for layer in layers if layer.name not in base.endpoints]
            if unknown:
                raise ValueError(f"layers without an endpoint: {', '.join(unknown)}")
            return cls(
                **vars(base),
                layers={layer.name: layer for layer in layers},
                outputs=tuple(record["outputs"]),
                inputs=tuple(record["inputs"]),
                notes=tuple(record["notes"]),
            )
        except KeyError as error:
            raise InputError(f"{file}: not a record of layers (it has no {error})") from error
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise InputError(f"{file}: not a record of layers ({error})") from error

    def weight(self, layer: str, role: str) -> Array:
        """Return an array of a layer's weights, in the shared layout."""
        file = self.folder / self.layers[layer].weights[role]
        try:
            return np.asarray(np.load(file, allow_pickle=False))
        except (OSError, ValueError) as error:
            raise InputError(f"{file}: can't read {layer}'s {role} ({error})") from error


def _layer(fields: dict[str, Any]) -> CapturedLayer:
    settings, inputs = frozen(fields["settings"]), tuple(fields["inputs"])
    for file in fields["weights"].values():
        if "/" in file.removeprefix("weights/") or not file.startswith("weights/"):
            raise ValueError(f"layer {fields['name']}: file {file!r}")
    return CapturedLayer(**{**fields, "settings": settings, "inputs": inputs})


class Recorder:
    """Takes what a framework reports, in order of execution.

    Args:
        writer: where arrays go.
        convert: a tensor -> its value as a NumPy array, not yet in the shared layout.
        progress: called with the name of what was recorded.
    """

    def __init__(
        self,
        writer: TraceWriter,
        convert: Callable[[Any], Array],
        progress: Callable[[str], None] = lambda name: None,
    ) -> None:
        self.writer = writer
        self.convert = convert
        self.progress = progress
        self.layers: dict[str, CapturedLayer] = {}
        self.slots: dict[tuple[str, str], Slot] = {}
        self.inputs: list[str] = []
        self.outputs: list[str] = []
        self.notes: list[str] = []
        # id -> (tensor, endpoint). The tensor is kept, so that its id isn't given away.
        self._known: dict[int, tuple[Any, str]] = {}
        self._files: dict[str, str] = {}
        self._calls: dict[str, int] = {}

    def producer(self, tensor: Any) -> str | None:
        """Return the endpoint that a tensor is, if it is one."""
        known = self._known.get(id(tensor))
        return known[1] if known is not None and known[0] is tensor else None

    def input(self, tensor: Any, array: Array) -> None:
        """Record what the model is fed."""
        name = INPUT if not self.inputs else f"{INPUT}.{len(self.inputs)}"
        self.inputs.append(name)
        self._write(name, tensor, array, "images", (), True)
        self.layers[name] = CapturedLayer(name, "input")

    def layer(
        self,
        name: str,
        kind: str,
        settings: Settings,
        inputs: Sequence[Any],
        output: Any,
        array: Array,
        weights: Mapping[str, Slot] | None = None,
        block: str = "",
        own: str = "",
    ) -> str:
        """Record a computation.

        Args:
            name: its name; a second one of that name becomes `name:2`.
            kind: what it is.
            settings: what it is set to.
            inputs: the tensors that it was given, without weights.
            output: the tensor that it gave.
            array: that tensor's value, in the shared layout.
            weights: role -> parameter.
            block: the path of what it is in.
            own: the framework's name for it.

        Returns:
            The name under which it is recorded.
        """
        name = self._unique(name)
        sources = self._sources(inputs)
        files = {}
        for role, slot in (weights or {}).items():
            files[role] = self._weight(slot.shared)
            self.slots[name, role] = slot
        settings = frozen(plain(settings))
        made = CapturedLayer(name, kind, settings, files, sources, block, own)
        self.layers[name] = made
        leaf = kind not in TRANSPARENT
        self._write(name, output, array, made.describe(), sources, leaf)
        self.progress(name)
        return name

    def block(self, name: str, tensor: Any, kind: str, value: Callable[[Any], Array]) -> None:
        """Record what a block returned, if it is a layer's output and the name isn't taken."""
        producer = self.producer(tensor)
        if name and producer and name not in self.writer.endpoints:
            self.writer.add(name, value(tensor), kind=kind, inputs=(producer,), leaf=False)

    def output(self, tensor: Any, array: Array) -> None:
        """Record what the model returns."""
        name = OUTPUT if not self.outputs else f"{OUTPUT}.{len(self.outputs)}"
        self.outputs.append(name)
        producer = self.producer(tensor)
        sources = (producer,) if producer else ()
        self.layers[name] = CapturedLayer(name, OUTPUT, inputs=sources)
        self.writer.add(name, array, kind=OUTPUT, inputs=sources, leaf=False)

    def alias(self, tensor: Any, like: Any) -> None:
        """Note that a tensor holds what another one does."""
        name = self.producer(like)
        if name is not None:
            self._known[id(tensor)] = (tensor, name)

    def save(self) -> None:
        """Write what isn't in `trace.json`: what the layers are."""
        record = {
            "format": FORMAT,
            "inputs": self.inputs,
            "outputs": self.outputs,
            "notes": self.notes,
            "layers": [plain(asdict(layer)) for layer in self.layers.values()],
        }
        (self.writer.partial / "layers.json").write_text(json.dumps(record, indent=1) + "\n")

    def _unique(self, name: str) -> str:
        name = name or "model"
        count = self._calls[name] = self._calls.get(name, 0) + 1
        return name if count == 1 and name not in self.writer.endpoints else f"{name}:{count}"

    def _sources(self, tensors: Sequence[Any]) -> tuple[str, ...]:
        """Name what was given; a tensor of unknown origin is known by its content."""
        found = [self.producer(tensor) or self._same_content(tensor) for tensor in tensors]
        return tuple(name for name in found if name is not None)

    def _same_content(self, tensor: Any) -> str | None:
        array = self.convert(tensor)
        if array.size < 2:
            return None
        for known, name in reversed(self._known.values()):
            if tuple(known.shape) == array.shape and np.array_equal(self.convert(known), array):
                return name
        return None

    def _weight(self, array: Array) -> str:
        array = np.ascontiguousarray(array)
        key = f"{array.dtype} {array.shape} {_sha(array)}"
        if key not in self._files:
            folder = self.writer.partial / "weights"
            folder.mkdir(exist_ok=True)
            self._files[key] = f"weights/{len(self._files):04d}.npy"
            save_array(self.writer.partial / self._files[key], array)
        return self._files[key]

    def _write(
        self, name: str, tensor: Any, array: Array, kind: str, sources: tuple[str, ...], leaf: bool
    ) -> None:
        self.writer.add(name, array, kind=kind, inputs=sources, leaf=leaf)
        self._known[id(tensor)] = (tensor, name)


def _sha(array: Array) -> str:
    return hashlib.sha256(array.data if array.size else b"").hexdigest()
