"""Captures any ONNX file: onnx's reference in float64 and bfloat16, ONNX Runtime in float32."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..onnx.running import as_dtype, meant, reference, session_options  # first

# isort: split
import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

from ..errors import InputError
from . import onnx_files, onnx_recurrent
from .capturer import Array, Capturer, Conditions
from .inputs import Arguments, Parameters
from .onnx_ops import OPERATORS
from .operations import ROLES, Call
from .recorder import Recorder, Slot


class OnnxCapturer(Capturer):
    """ONNX: the model is a path, or what `onnx.load` gives. Neither is changed."""

    name = "onnx"

    def __init__(self) -> None:
        self._read: tuple[Any, Any] = (None, None)

    def versions(self) -> dict[str, str]:
        return {"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__}

    def title(self, model: Any) -> str:
        return (
            str(model) if isinstance(model, (str, Path)) else str(model.graph.name or "ONNX model")
        )

    def parameters(self, model: Any) -> Parameters:
        wanted = onnx_files.inputs(self._load(model))
        names = tuple(given.name for given in wanted)
        return Parameters(names, len(names), shapes=tuple(map(onnx_files.shape, wanted)))

    def channels_last(self, model: Any) -> frozenset[int]:
        """Return 4 if images' last axis, not the second, is stated as a number of channels."""
        for shape in map(onnx_files.shape, onnx_files.inputs(self._load(model))):
            if shape and len(shape) == 4 and shape[3] in (1, 3, 4) and shape[1] not in (1, 3, 4):
                return frozenset({4})
        return frozenset()

    def run(self, model: Any, given: Arguments, how: Conditions, recorder: Recorder) -> None:
        if how.training:
            raise InputError("an ONNX file has no training mode")
        loaded, title = self._load(model), self.title(model)
        names = [each.name for each in onnx_files.inputs(loaded)]
        # In the order in which they were given, as those of the other model are.
        places = [*names[: len(given.positional)], *given.named]
        fed = dict(zip(places, given.leaves(), strict=True))
        proto = _as_dtype(onnx_files.runnable(loaded, fed, title), how)
        values = {
            each.name: onnx_files.typed(each, fed[each.name], title)
            for each in onnx_files.inputs(proto)
            if each.name in fed
        }
        feed = dict(values)
        for name in places:
            values[name] = _held(values[name])
            recorder.input(values[name])
        found = _everything(proto, feed, how.dtype)
        constants = _constants(proto)
        for node in proto.graph.node:
            _record(node, found, values, constants, recorder)
        for output in proto.graph.output:
            recorder.output(values[output.name] if output.name in values else found[output.name])

    def convert(self, tensor: Any) -> Array:
        array: Array = tensor
        return array

    def _load(self, model: Any) -> Any:
        if not isinstance(model, (str, Path)):
            return model
        if self._read[0] != model:
            self._read = (model, onnx_files.read(Path(model)))
        return self._read[1]


def _as_dtype(proto: Any, how: Conditions) -> Any:
    """Return a copy that computes in a dtype, with some weights replaced."""
    copy = as_dtype(proto, how.dtype)
    for tensor in copy.graph.initializer:
        if tensor.name in how.replaced:
            dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
            new = np.ascontiguousarray(how.replaced[tensor.name]).astype(dtype)
            tensor.CopyFrom(numpy_helper.from_array(new, tensor.name))
    onnx_recurrent.name_outputs(copy.graph)
    return copy


def _everything(proto: Any, arrays: dict[str, Array], dtype: str) -> dict[str, Array]:
    """Run the model, and return every array that a node gives."""
    names = [name for node in proto.graph.node for name in node.output if name]
    if dtype in ("float64", "bfloat16"):
        ran = reference(proto).run(None, arrays, intermediate=True)
        return {name: _held(ran[name]) for name in names if ran.get(name) is not None}
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


def _held(value: Any) -> Array:
    """Return an array, bfloat16 as float32: only ONNX has it, NumPy hasn't."""
    array = np.asarray(value)
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


def _constants(proto: Any) -> dict[str, Array]:
    found = {t.name: _held(numpy_helper.to_array(t)) for t in proto.graph.initializer}
    for node in proto.graph.node:
        if node.op_type == "Constant":
            value = next((a.t for a in node.attribute if a.name == "value"), None)
            if value is not None:
                found[node.output[0]] = _held(numpy_helper.to_array(value))
    return found


def _record(
    node: Any, found: Mapping[str, Array], values: dict[str, Array],
    constants: dict[str, Array], recorder: Recorder,
) -> None:  # fmt: skip
    fed = [values[name] for name in node.input if name in values]
    output = node.output[0] if node.output else ""
    if output not in found:
        return
    array = found[output]
    if not fed or node.op_type in ("Shape", "Size"):  # a constant being made, or a size
        constants[output] = array
        return
    value = values[output] = array.view()  # what is recorded is known by its id
    if array.dtype.kind != "f":  # indices or a mask, of which something may also read settings
        constants[output] = array
        recorder.whole(str(node.op_type), fed, value)
        return
    own = node.op_type
    attributes = {a.name: _attribute(a) for a in node.attribute}
    if own in onnx_recurrent.KINDS:
        name = _name(node, {})
        called = onnx_recurrent.Called(node, name, attributes, values, constants, found)
        if onnx_recurrent.taken_apart(called):
            onnx_recurrent.record(recorder, called)
            return
    named = OPERATORS.named(own, node.input)
    if own == "Add":
        named = _as_bias(node, constants) or named
    weights = {
        role: _slot(own, role, name, constants[name], attributes)
        for role, name in named.items()
        if role in ROLES and name in constants
    }
    given = attributes | {k: constants[name] for k, name in named.items() if name in constants}
    call = Call(own, given, fed, value, recorder.tag(fed[0]), weights)
    kind, settings = OPERATORS.describe(call)
    name = _name(node, weights)
    block = name.rpartition(".")[0]
    recorder.layer(name, kind, settings, fed, [value], weights, block, own)


def _as_bias(node: Any, constants: Mapping[str, Array]) -> dict[str, str]:
    """Return the inputs of an addition of one number per channel, or nothing."""
    held = [name for name in node.input if name in constants]
    if len(held) != 1 or constants[held[0]].size < 2:
        return {}
    sides = [side for side in constants[held[0]].shape if side != 1]
    other = next(name for name in node.input if name != held[0])
    return {"x": other, "bias": held[0]} if len(sides) == 1 else {}


def _attribute(attribute: Any) -> Any:
    if attribute.type == onnx.AttributeProto.FLOAT:
        return meant(attribute.f)
    value = onnx.helper.get_attribute_value(attribute)
    return value.decode() if isinstance(value, bytes) else value


def _slot(op: str, role: str, name: str, array: Array, attributes: Mapping[str, Any]) -> Slot:
    if role == "weight" and (op == "MatMul" or (op == "Gemm" and not attributes.get("transB", 0))):
        return Slot.transposed(name, array, range(array.ndim)[::-1])
    if role == "weight" and op == "ConvTranspose":
        return Slot.transposed(name, array, (1, 0, *range(2, array.ndim)))
    flat = array.size == array.shape[0] if array.ndim else False
    if ((role == "bias" and op == "Add") or (op == "PRelu" and flat)) and array.ndim > 1:
        return Slot(name, array.reshape(-1), lambda shared: shared.reshape(array.shape))
    return Slot(name, array)


def _name(node: Any, weights: Mapping[str, Slot]) -> str:
    """Return a node's name: its weights' own without `.weight`; else the node's or output's."""
    if "weight" in weights:
        key = str(weights["weight"].key)
        for end in (".weight", "/kernel", "/gamma", "_weight", ".gamma"):
            if key.endswith(end):
                return key.removesuffix(end).replace("/", ".")
    return str(node.name or node.output[0]).strip("/").replace("/", ".")
