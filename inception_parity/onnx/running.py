"""How ONNX is run: onnx's reference in float64, and what ONNX Runtime is always told.

The reference is the specification in NumPy: slow, and the only one of the two that
computes in float64. An attribute of ONNX is a float32 number, so that an eps of 0.001 is
0.0010000000474974513 in every file; in float64 attributes and constants stand for the
shortest decimals that round to them, which is what was meant.
"""

from __future__ import annotations

import os
from typing import Any

# Unless it is told so before it is loaded, ONNX Runtime reports what it does to its makers.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import AttributeProto, TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun


class LRN(OpRun):  # type: ignore[misc]
    """Local response normalisation as the specification has it.

    onnx's own, up to 1.23.2, goes over the images where it should over the
    channels (onnx#7805).
    """

    def _run(
        self, x: Any, alpha: Any = None, beta: Any = None, bias: Any = None, size: Any = None
    ) -> tuple[Any]:
        before, after = (size - 1) // 2, size // 2
        squares = np.pad(x**2, ((0, 0), (before, after), (0, 0), (0, 0)))
        total = sum(squares[:, i : i + x.shape[1]] for i in range(size))
        return ((x / (bias + alpha / size * total) ** beta).astype(x.dtype),)


class BatchNormalization(OpRun):  # type: ignore[misc]
    """Batch norm as every version of the specification has it.

    onnx's own, up to 1.23.2, mixes in the batch's statistics in opsets 9 to 13, and fails in
    opsets 7 and 8.
    """

    def _run(
        self, x: Any, scale: Any, bias: Any, mean: Any, var: Any, epsilon: Any = None,
        momentum: Any = None, spatial: Any = None, training_mode: Any = None,
    ) -> tuple[Any, ...]:  # fmt: skip
        shape = (-1, *[1] * (x.ndim - 2))
        own, spread = mean, var
        if training_mode:
            axes = (0, *range(2, x.ndim))
            own, spread = x.mean(axis=axes), x.var(axis=axes)
        factor = scale / np.sqrt(spread + (1e-5 if epsilon is None else epsilon))
        y = x * factor.reshape(shape) + (bias - own * factor).reshape(shape)
        if not training_mode:
            return (y.astype(x.dtype),)
        kept = 0.9 if momentum is None else momentum
        running = (own * (1 - kept) + mean * kept, spread * (1 - kept) + var * kept)
        return (y.astype(x.dtype), *(array.astype(x.dtype) for array in running))


def session_options() -> Any:
    """Return options for ONNX Runtime that leave the neighbours their cores, and the terminal."""
    options = onnxruntime.SessionOptions()
    threads = os.environ.get("OMP_NUM_THREADS", "")  # a worker's share of the cores
    options.intra_op_num_threads = int(threads) if threads.isdigit() else 0
    options.log_severity_level = 4  # an error is raised, and not printed as well
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def reference(model: Any) -> Any:
    """Return what runs a model that `as_float64` gave, by the specification."""
    evaluator = ReferenceEvaluator(model, new_ops=[LRN, BatchNormalization])
    for node in evaluator.rt_nodes_:
        for attribute in node.onnx_node.attribute:
            if attribute.type == AttributeProto.FLOAT:
                setattr(node, attribute.name, meant(attribute.f))
    return evaluator


FLOATING = {
    TensorProto.DOUBLE: "float64", TensorProto.FLOAT: "float32",
    TensorProto.FLOAT16: "float16", TensorProto.BFLOAT16: "bfloat16",
}  # fmt: skip


def as_float64(model: Any) -> Any:
    """Return the model in float64: weights as they are, constants as the decimals they mean."""
    return as_dtype(model, "float64")


def as_dtype(model: Any, dtype: str) -> Any:
    """Return the model with all that it computes in floating point computed in one dtype.

    In float64 weights are as they are, and constants the decimals that they mean.
    """
    wanted = next(number for number, name in FLOATING.items() if name == dtype)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    _convert(copy.graph, wanted)
    return copy


def _convert(graph: Any, wanted: int) -> None:
    for tensor in graph.initializer:
        _convert_tensor(tensor, wanted, meaning=False)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                _convert_tensor(attribute.t, wanted, meaning=True)
            if attribute.HasField("g"):
                _convert(attribute.g, wanted)
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i in FLOATING:
                attribute.i = wanted
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type in FLOATING:
            value.type.tensor_type.elem_type = wanted
    del graph.value_info[:]


def _convert_tensor(tensor: Any, wanted: int, meaning: bool) -> None:
    """Convert a tensor in place; `meaning`: to the decimals that it means, in float64."""
    if tensor.data_type not in FLOATING or tensor.data_type == wanted:
        return
    with np.errstate(invalid="ignore", over="ignore"):  # a NaN is the comparison's to name
        array = numpy_helper.to_array(tensor)
        if meaning and tensor.data_type == TensorProto.FLOAT and wanted == TensorProto.DOUBLE:
            array = decimals(array)
        array = array.astype(onnx.helper.tensor_dtype_to_np_dtype(wanted))
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def decimals(array: Any) -> NDArray[np.float64]:
    """Turn float32 numbers into the float64 ones nearest to their shortest decimals."""
    flat = [meant(number) for number in np.asarray(array).reshape(-1)]
    return np.array(flat, np.float64).reshape(np.shape(array))


def meant(number: Any) -> float:
    """Return the shortest decimal that a float32 number is the nearest to: 0.001, say."""
    return float(str(np.float32(number)))
