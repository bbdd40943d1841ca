"""Captures any ONNX file: ONNX Runtime in float32, onnx's reference implementation in float64."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..onnx.running import as_float64, meant, reference, session_options  # first

# isort: split
import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

from ..errors import InputError
from .capturer import Array, Capturer, Replacements
from .layouts import LAST, Layouts
from .onnx_ops import WEIGHTS, settings_of
from .recorder import Recorder, Slot


@dataclass(frozen=True, eq=False)
class Value:
    """An array that a node gave, or the model was fed."""

    name: str
    array: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """The array's shape."""
        return tuple(self.array.shape)


class OnnxCapturer(Capturer):
    """ONNX: the model is a path, or what `onnx.load` gives. Neither is changed."""

    name = "onnx"

    def __init__(self) -> None:
        self._read: tuple[Any, Any] = (None, None)
        self._replaced: Replacements = {}

    def versions(self) -> dict[str, str]:
        return {"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__}

    def title(self, model: Any) -> str:
        return (
            str(model) if isinstance(model, (str, Path)) else str(model.graph.name or "ONNX model")
        )

    def layout(self, model: Any) -> str:
        """Return NHWC for images whose last axis, not the second, is a number of channels."""
        for given in _inputs(self._load(model)):
            sides = [d.dim_value for d in given.type.tensor_type.shape.dim]
            if len(sides) == 4 and sides[3] in (1, 3, 4) and sides[1] not in (1, 3, 4):
                return "NHWC"
        return "NCHW"

    def build(self, model: Any, inputs: Sequence[Array], layout: str) -> None:
        wanted = _inputs(self._load(model))
        if len(wanted) != len(inputs):
            names = ", ".join(given.name for given in wanted)
            raise InputError(f"{self.title(model)}: {len(inputs)} inputs, but it takes {names}")

    @contextlib.contextmanager
    def held(
        self, model: Any, dtype: str, training: bool, replaced: Replacements
    ) -> Iterator[None]:
        if training:
            raise InputError("an ONNX file has no training mode")
        self._replaced = replaced
        try:
            yield
        finally:
            self._replaced = {}

    def run(
        self, model: Any, inputs: Sequence[Array], layout: str, dtype: str, recorder: Recorder
    ) -> None:
        proto = _as_dtype(self._load(model), dtype, self._replaced)
        arrays = {}
        layouts = Layouts(None)
        values: dict[str, Value] = {}
        for given, array in zip(_inputs(proto), inputs, strict=True):
            native = np.moveaxis(array, 1, -1) if layout == "NHWC" and array.ndim > 2 else array
            whole = native.dtype if native.dtype.kind != "f" else np.dtype(dtype)
            arrays[given.name] = np.ascontiguousarray(native, dtype=whole)
            value = values[given.name] = Value(given.name, arrays[given.name])
            if layout == "NHWC" and array.ndim > 2:
                layouts.set(value, LAST)
            recorder.input(value, layouts.shared(value.array, layouts.of(value)))
        found = _everything(proto, arrays, dtype)
        constants = _constants(proto)
        for node in proto.graph.node:
            _record(node, found, values, constants, layouts, recorder)
        for output in proto.graph.output:
            value = values.get(output.name) or Value(output.name, found[output.name])
            recorder.output(value, layouts.shared(value.array, layouts.of(value)))

    def convert(self, tensor: Any) -> Array:
        array: Array = tensor.array
        return array

    def _load(self, model: Any) -> Any:
        if not isinstance(model, (str, Path)):
            return model
        if self._read[0] != model:
            file = Path(model)
            if not file.is_file():
                raise InputError(f"{file}: no such ONNX file")
            try:
                proto = onnx.load(file)
                onnx.checker.check_model(str(file))
            except Exception as error:  # protobuf raises its own, of no common base
                text = " ".join(str(error).split())[:300]
                raise InputError(f"{file}: not an ONNX file that can be read ({text})") from error
            self._read = (model, proto)
        return self._read[1]


def _inputs(proto: Any) -> list[Any]:
    held = {tensor.name for tensor in proto.graph.initializer}
    return [given for given in proto.graph.input if given.name not in held]


def _as_dtype(proto: Any, dtype: str, replaced: Replacements) -> Any:
    """Return a copy that computes in `dtype`, with some weights replaced."""
    if dtype == "float64":
        copy = as_float64(proto)
    else:
        copy = onnx.ModelProto()
        copy.CopyFrom(proto)
    for tensor in copy.graph.initializer:
        if tensor.name in replaced:
            wide = np.ascontiguousarray(replaced[tensor.name], dtype=dtype)
            tensor.CopyFrom(numpy_helper.from_array(wide, tensor.name))
    return copy


def _everything(proto: Any, arrays: dict[str, Array], dtype: str) -> dict[str, Array]:
    """Run the model, and return every array that a node gives."""
    names = [name for node in proto.graph.node for name in node.output if name]
    if dtype == "float64":
        ran = reference(proto).run(None, arrays, intermediate=True)
        return {name: np.asarray(ran[name]) for name in names if ran.get(name) is not None}
    known = {output.name for output in proto.graph.output}
    proto.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names if n not in known)
    options = session_options()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    wanted = [output.name for output in session.get_outputs()]
    ran = dict(zip(wanted, session.run(wanted, arrays), strict=True))
    del proto.graph.output[len(known) :]
    return ran


def _constants(proto: Any) -> dict[str, Array]:
    found = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    for node in proto.graph.node:
        if node.op_type == "Constant":
            value = next((a.t for a in node.attribute if a.name == "value"), None)
            if value is not None:
                found[node.output[0]] = numpy_helper.to_array(value)
    return found


def _record(
    node: Any, found: Mapping[str, Array], values: dict[str, Value],
    constants: dict[str, Array], layouts: Layouts, recorder: Recorder,
) -> None:  # fmt: skip
    fed = [values[name] for name in node.input if name in values]
    output = node.output[0] if node.output else ""
    if output not in found:
        return
    array = found[output]
    if not fed or array.dtype.kind != "f":  # a constant being made, or a size
        constants[output] = array
        return
    value = values[output] = Value(output, array)
    attributes = {
        a.name: meant(a.f) if a.type == onnx.AttributeProto.FLOAT else
        onnx.helper.get_attribute_value(a) for a in node.attribute
    }  # fmt: skip
    given = [constants.get(name) for name in node.input]
    tag = layouts.of(fed[0])
    kind, settings = settings_of(node.op_type, attributes, given, fed[0].array, array, tag)
    layouts.follow(value, kind, settings, fed, None)
    weights = {}
    for role, name in zip(WEIGHTS.get(node.op_type, ()), list(node.input)[1:], strict=False):
        if name in constants:
            weights[role] = _slot(node.op_type, role, name, constants[name], attributes)
    name = _name(node, weights)
    block = name.rpartition(".")[0]
    shared = layouts.shared(array, layouts.of(value))
    recorder.layer(name, kind, settings, fed, value, shared, weights, block, node.op_type)


def _slot(op: str, role: str, name: str, array: Array, attributes: Mapping[str, Any]) -> Slot:
    if role == "weight" and (op == "MatMul" or (op == "Gemm" and not attributes.get("transB", 0))):
        return Slot(name, array.T, lambda a: a.T)
    if role == "weight" and op == "ConvTranspose":
        return Slot(name, array.swapaxes(0, 1), lambda a: a.swapaxes(0, 1))
    return Slot(name, array)


def _name(node: Any, weights: Mapping[str, Slot]) -> str:
    """Return a node's name: its weights' own without `.weight`; else the node's or output's."""
    if "weight" in weights:
        key = str(weights["weight"].key)
        for end in (".weight", "/kernel", "/gamma", "_weight", ".gamma"):
            if key.endswith(end):
                return key.removesuffix(end).replace("/", ".")
    return str(node.name or node.output[0]).strip("/").replace("/", ".")
