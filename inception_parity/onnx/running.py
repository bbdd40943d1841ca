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
    evaluator = ReferenceEvaluator(model, new_ops=[LRN])
    for node in evaluator.rt_nodes_:
        for attribute in node.onnx_node.attribute:
            if attribute.type == AttributeProto.FLOAT:
                setattr(node, attribute.name, meant(attribute.f))
    return evaluator


def as_float64(model: Any) -> Any:
    """Return the model in float64: weights as they are, constants as the decimals they mean."""
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    graph = wide.graph
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            with np.errstate(invalid="ignore"):  # a NaN in a file is the comparison's to name
                array = numpy_helper.to_array(tensor).astype(np.float64)
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t") and attribute.t.data_type == TensorProto.FLOAT:
                array = decimals(numpy_helper.to_array(attribute.t))
                attribute.t.CopyFrom(numpy_helper.from_array(array, attribute.t.name))
            if node.op_type == "Cast" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.DOUBLE
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.DOUBLE
    del graph.value_info[:]
    return wide


def decimals(array: Any) -> NDArray[np.float64]:
    """Turn float32 numbers into the float64 ones nearest to their shortest decimals."""
    flat = [meant(number) for number in np.asarray(array).reshape(-1)]
    return np.array(flat, np.float64).reshape(np.shape(array))


def meant(number: Any) -> float:
    """Return the shortest decimal that a float32 number is the nearest to: 0.001, say."""
    return float(str(np.float32(number)))
