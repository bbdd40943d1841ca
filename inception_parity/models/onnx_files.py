"""ONNX files of any age and type, made such that they can be run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
from onnx import TensorProto, helper, inliner, shape_inference, version_converter

from ..errors import InputError
from ..onnx.running import FLOATING, session_options
from .capturer import Array
from .layouts import Shape

OLDEST = 9  # ONNX Runtime and onnx's reference run this opset and later ones
CONVERTED = 13  # to which older files are converted
# In two steps, between which shapes are inferred: older operators don't say what shape they give.
HALFWAY = 6


def read(file: Path) -> Any:
    """Return what a file holds; what local functions compute is part of the graph.

    A file without the shapes that onnx's checker asks for is one that can be read if the shapes
    can be inferred, or if ONNX Runtime takes it as it is.

    Raises:
        InputError: it isn't there, or not an ONNX file.
    """
    if not file.is_file():
        raise InputError(f"{file}: no such ONNX file")
    try:
        proto = onnx.load(file)
        onnx.checker.check_model(str(file))
    except onnx.checker.ValidationError as error:
        if not _lacks_shapes_only(proto):
            _require_runnable(file, error)
    except Exception as error:  # protobuf raises its own, of no common base
        raise InputError(f"{file}: not an ONNX file that can be read ({_short(error)})") from error
    if not proto.graph.node:
        raise InputError(f"{file}: not an ONNX file that can be read (its graph has no nodes)")
    return inliner.inline_local_functions(proto) if proto.functions else proto


def _lacks_shapes_only(proto: Any) -> bool:
    """Return whether the checker would be content if inputs and outputs had shapes."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    for value in (*copy.graph.input, *copy.graph.output):
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.shape.SetInParent()
    try:
        onnx.checker.check_model(copy)
    except (onnx.checker.ValidationError, ValueError):  # the latter for more than 2 GB
        return False
    return True


def _require_runnable(file: Path, why: Exception) -> None:
    try:
        onnxruntime.InferenceSession(
            str(file), session_options(), providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # ONNX Runtime raises its own
        raise InputError(
            f"{file}: not an ONNX file that can be read ({_short(why)}; ONNX Runtime: "
            f"{_short(error)})"
        ) from error


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def opset(proto: Any) -> int:
    """Return the version of ONNX's own operators that a model uses."""
    return max((o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")), default=1)


def inputs(proto: Any) -> list[Any]:
    """Return a model's inputs, without those that are weights, as in files before IR version 4."""
    held = {tensor.name for tensor in proto.graph.initializer}
    return [given for given in proto.graph.input if given.name not in held]


def shape(given: Any) -> Shape | None:
    """Return the shape that an input states, None if it states none."""
    tensor = given.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return tuple(d.dim_value if d.dim_value > 0 else None for d in tensor.shape.dim)


def typed(given: Any, array: Array, title: str) -> Array:
    """Return an array in the type that an input states.

    Raises:
        InputError: the input isn't a tensor of numbers, or the array has other values than
            that type can hold.
    """
    wanted = given.type.tensor_type.elem_type
    if not given.type.HasField("tensor_type") or wanted == TensorProto.STRING:
        kind = given.type.WhichOneof("value") or "of no type"
        kind = "of texts" if wanted == TensorProto.STRING else kind.removesuffix("_type")
        raise InputError(
            f"{title}: its input {given.name} is {kind}, but should be a tensor of numbers"
        )
    if wanted == TensorProto.UNDEFINED:
        return array
    dtype = helper.tensor_dtype_to_np_dtype(wanted)
    floating = wanted in FLOATING
    if array.dtype.kind == "f" and not floating and (array != array.astype(dtype)).any():
        raise InputError(
            f"{title}: its input {given.name} is {dtype}, but was given fractions; give integers, "
            f"as in --input {given.name}=tokens:2x16:0..1000, or an .npy file of them"
        )
    if array.dtype.kind in "iu" and dtype.kind in "iu" and (array != array.astype(dtype)).any():
        raise InputError(
            f"{title}: its input {given.name} is {dtype}, which can't hold {array.min()} to "
            f"{array.max()}"
        )
    return array.astype(dtype)


def runnable(proto: Any, arrays: Mapping[str, Array], title: str) -> Any:
    """Return the model, or a copy of it in an opset that can be run.

    Raises:
        InputError: its opset is too old, and can't be converted.
    """
    age = opset(proto)
    if age >= OLDEST:
        return proto
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    for given in copy.graph.input:
        if given.name in arrays:
            dims = given.type.tensor_type.shape
            del dims.dim[:]
            for side in arrays[given.name].shape:
                dims.dim.add().dim_value = side
    del copy.graph.value_info[:]
    for output in copy.graph.output:
        output.type.tensor_type.ClearField("shape")
    try:
        if age < HALFWAY:
            copy = version_converter.convert_version(copy, HALFWAY)
        copy = shape_inference.infer_shapes(copy, data_prop=True)
        return version_converter.convert_version(copy, CONVERTED)
    except Exception as error:  # onnx raises its own
        if age > HALFWAY:  # ONNX Runtime may run it all the same
            return proto
        raise InputError(
            f"{title}: opset {age}, which can't be run, and can't be converted to {CONVERTED} "
            f"({_short(error)[-150:]}); export it again with opset {OLDEST} or later"
        ) from error
