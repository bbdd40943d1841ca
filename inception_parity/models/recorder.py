"""Records what a model computes as it runs: values, dataflow, settings, weights."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..files import save_array
from ..traces.trace import INPUT, Trace, TraceWriter
from .inputs import Arguments
from .layers import TRANSPARENT, CapturedLayer, Settings, frozen, plain
from .layouts import FIRST, LAST, Tag, in_own_layout, in_shared_layout, permuted

FORMAT = "inception-parity model 1"
OUTPUT = "output"

Array = NDArray[Any]


@dataclass(frozen=True)
class Slot:
    """A parameter of a model, and how it looks in the shared layout.

    Args:
        key: identifies it in its framework.
        shared: its value, in the shared layout.
        native: converts from the shared layout to the framework's.
        whole: the parameter that this is a part of, if it holds several things.
        place: where in it.
    """

    key: Any
    shared: Array
    native: Callable[[Array], Array] = lambda array: array
    whole: Array | None = None
    place: Any = ()

    @classmethod
    def transposed(cls, key: Any, array: Array, order: Sequence[int]) -> Slot:
        """Return the slot of a parameter whose axes the shared layout has in another order."""
        back = np.argsort(order)
        return cls(key, array.transpose(order), lambda shared: shared.transpose(back))

    def plain(self) -> Slot:
        """Return the slot with an array of NumPy's: float32 for bfloat16, which it lacks."""
        if self.shared.dtype.name != "bfloat16":
            return self
        whole = None if self.whole is None else self.whole.astype(np.float32)
        return replace(self, shared=self.shared.astype(np.float32), whole=whole)

    def put(self, array: Array, found: dict[Any, Array]) -> None:
        """Add a value to `found`, which has parameters in their framework's layout by their key."""
        native = self.native(array)
        if self.whole is None:
            found[self.key] = np.ascontiguousarray(native)
        else:
            found.setdefault(self.key, np.array(self.whole))[self.place] = native


@dataclass(frozen=True)
class Called:
    """How a model was called in the run that left a trace.

    Args:
        arguments: what it was given, in the shared layout.
        turned: of each array whether the model took it channels-last.
        layout: of the images inside the model, NCHW or NHWC.
        tags: the layouts of its outputs.
        replaced: a parameter's key -> a value, in the model's layout, instead of its own.
    """

    arguments: Arguments
    turned: tuple[bool, ...]
    layout: str
    tags: tuple[Tag, ...]
    replaced: Mapping[Any, Array]


class Home:
    """A temporary folder that is removed with the last trace in it."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="inception-parity-"))
        weakref.finalize(self, shutil.rmtree, self.path, True)


@dataclass(frozen=True)
class ModelTrace(Trace):
    """A trace of any model: every layer's output, and what each layer is.

    Its folder is removed with the object, unless the caller named the folder.
    """

    layers: dict[str, CapturedLayer] = field(default_factory=dict, repr=False)
    outputs: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    slots: Mapping[tuple[str, str], Slot] = field(default_factory=dict, repr=False)
    forced: Mapping[str, Array] = field(default_factory=dict, repr=False)
    home: Home | None = field(default=None, repr=False)
    called: Called | None = field(default=None, repr=False)  # None of a kept trace

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

    def given_on(self, name: str) -> Array:
        """Return what follows an endpoint was given: its value, unless another one was forced."""
        value = self.array(name)
        return self.forced[name].reshape(value.shape) if name in self.forced else value

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
        progress: called with the name of each layer.
        turned: of each input whether it is channels-last.
        forced: an endpoint -> the value, in the shared layout, that what follows it is given.
    """

    def __init__(
        self,
        writer: TraceWriter,
        convert: Callable[[Any], Array],
        progress: Callable[[str], None] = lambda name: None,
        turned: Sequence[bool] = (),
        forced: Mapping[str, Array] | None = None,
    ) -> None:
        self.writer = writer
        self.convert = convert
        self.progress = progress
        self.turned = turned
        self.forced = dict(forced or {})
        self._instead: dict[int, Array] = {}  # id of an output -> a forced value in its layout
        self.unknown: Tag = None  # the layout of a tensor with four axes that isn't known
        self.layers: dict[str, CapturedLayer] = {}
        self.slots: dict[tuple[str, str], Slot] = {}
        self.inputs: list[str] = []
        self.outputs: list[str] = []
        self.tags: list[Tag] = []  # the outputs' layouts
        self.notes: list[str] = []
        # id -> (tensor, endpoint, layout). The tensor is kept, so that its id isn't given away.
        self._known: dict[int, tuple[Any, str, Tag]] = {}
        self._files: dict[str, str] = {}
        self._calls: dict[str, int] = {}

    def producer(self, tensor: Any) -> str | None:
        """Return the endpoint that a tensor is, if it is one."""
        known = self._known.get(id(tensor))
        return known[1] if known is not None and known[0] is tensor else None

    def tag(self, tensor: Any) -> Tag:
        """Return what is known of a tensor's layout."""
        known = self._known.get(id(tensor))
        if known is not None:
            return known[2]
        return self.unknown if len(tensor.shape) == 4 else None

    def shared(self, tensor: Any) -> Array:
        """Return a tensor's value in the shared layout."""
        return in_shared_layout(self.convert(tensor), self.tag(tensor))

    def input(self, tensor: Any) -> None:
        """Record what the model is fed."""
        name = INPUT if not self.inputs else f"{INPUT}.{len(self.inputs)}"
        self.inputs.append(name)
        self.layers[name] = CapturedLayer(name, "input")
        number = len(self.inputs) - 1
        tag = LAST if number < len(self.turned) and self.turned[number] else None
        self._write(name, tensor, tag, "images", (), True)

    def layer(
        self,
        name: str,
        kind: str,
        settings: Settings,
        inputs: Sequence[Any],
        outputs: Sequence[Any],
        weights: Mapping[str, Slot] | None = None,
        block: str = "",
        own: str = "",
        data_format: Any = None,
    ) -> None:
        """Record a computation.

        Args:
            name: its name; a second one of that name becomes `name:2`. Several outputs are
                `name.0`, `name.1`, …
            kind: its kind.
            settings: its settings.
            inputs: the tensors that it takes, without weights.
            outputs: the tensors that it returned; None instead of one that is an input itself.
            weights: role -> parameter.
            block: the path of the part of the model that it is in.
            own: the framework's name for it.
            data_format: the layout of its output, if the framework states one.
        """
        settings = frozen(plain(settings))
        for index, output in enumerate(outputs):
            if output is None:
                continue
            endpoint = self._unique(name if len(outputs) == 1 else f"{name}.{index}")
            sources = self._sources(inputs)
            tag = self._tag_after(output, kind, settings, inputs, data_format)
            files = {}
            for role, slot in (weights or {}).items():
                slot = slot.plain()
                files[role] = self._weight(slot.shared)
                self.slots[endpoint, role] = slot
            made = CapturedLayer(endpoint, kind, settings, files, sources, block, own)
            self.layers[endpoint] = made
            leaf = kind not in TRANSPARENT
            self._write(endpoint, output, tag, made.describe(), sources, leaf)
            if endpoint in self.forced:
                value = self.forced.pop(endpoint).reshape(self.shared(output).shape)
                self._instead[id(output)] = in_own_layout(value, tag)
            self.progress(endpoint)

    def given_on(self, output: Any, put: Callable[[Any, Array], Any]) -> Any:
        """Return what follows a layer instead of its output, which was recorded; usually the same.

        Args:
            output: what the layer returned.
            put: makes a tensor like it that holds an array, or puts it into that tensor.
        """
        array = self._instead.pop(id(output), None)
        if array is None:
            return output
        _, name, tag = self._known[id(output)]
        made = put(output, np.ascontiguousarray(array))
        self._known[id(made)] = (made, name, tag)
        return made

    def whole(self, name: str, inputs: Sequence[Any], output: Any) -> None:
        """Record integers or booleans that were computed from an input: indices, a mask, …

        They pass on what they come from, and aren't compared.
        """
        if self.producer(output) is None:
            self.layer(name, "index", {}, inputs, [output], own=name)

    def block(self, name: str, tensor: Any, kind: str) -> None:
        """Record what a block returned, if it is a layer's output and the name isn't taken."""
        producer = self.producer(tensor)
        if name and producer and name not in self.writer.endpoints:
            self.writer.add(name, self.shared(tensor), kind=kind, inputs=(producer,), leaf=False)

    def output(self, tensor: Any) -> None:
        """Record what the model returns."""
        name = OUTPUT if not self.outputs else f"{OUTPUT}.{len(self.outputs)}"
        self.outputs.append(name)
        self.tags.append(self.tag(tensor))
        producer = self.producer(tensor)
        sources = (producer,) if producer else ()
        self.layers[name] = CapturedLayer(name, OUTPUT, inputs=sources)
        self.writer.add(name, self.shared(tensor), kind=OUTPUT, inputs=sources, leaf=False)

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
        """Return the inputs' endpoints; a tensor of unknown origin is recognised by its values."""
        found = [self.producer(tensor) or self._same_values(tensor) for tensor in tensors]
        return tuple(name for name in found if name is not None)

    def _same_values(self, tensor: Any) -> str | None:
        array = self.convert(tensor)
        if array.size < 2:
            return None
        for known, name, _ in reversed(self._known.values()):
            if tuple(known.shape) == array.shape and np.array_equal(self.convert(known), array):
                return name
        return None

    def _tag_after(
        self, output: Any, kind: str, settings: Settings, inputs: Sequence[Any], data_format: Any
    ) -> Tag:
        """Return the layout of a layer's output, from that of its first input."""
        shape = tuple(output.shape)
        if data_format is not None and len(shape) > 2:
            return LAST if data_format in ("channels_last", "NHWC", "NDHWC") else FIRST
        if not inputs or len(shape) < 2:
            return None
        tag, before = self.tag(inputs[0]), tuple(inputs[0].shape)
        if kind in ("flatten", "reshape") and len(shape) != len(before):
            if len(shape) == 2:
                return before[1:] if tag == LAST else None
            return self.unknown if len(shape) == 4 else None
        if len(shape) == 2 and tag == LAST:
            return None
        if kind == "permute":
            return permuted(tag, settings.get("order", ()))
        if isinstance(tag, tuple) and shape != before:
            return None  # a dense layer: features, in no order
        return tag

    def _weight(self, array: Array) -> str:
        array = np.ascontiguousarray(array)
        key = f"{array.dtype} {array.shape} {hashlib.sha256(array.tobytes()).hexdigest()}"
        if key not in self._files:
            folder = self.writer.partial / "weights"
            folder.mkdir(exist_ok=True)
            self._files[key] = f"weights/{len(self._files):04d}.npy"
            save_array(self.writer.partial / self._files[key], array)
        return self._files[key]

    def _write(
        self, name: str, tensor: Any, tag: Tag, kind: str, sources: tuple[str, ...], leaf: bool
    ) -> None:
        self._known[id(tensor)] = (tensor, name, tag)
        self.writer.add(name, self.shared(tensor), kind=kind, inputs=sources, leaf=leaf)
