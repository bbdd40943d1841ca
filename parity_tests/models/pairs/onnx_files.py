"""ONNX models written node by node, as an exporter would."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def onnx_model(
    nodes: Sequence[tuple[str, str, str, Mapping[str, Any]]],
    constants: Mapping[str, Any],
    inputs: Mapping[str, Sequence[int | str]],
    opset: int = 17,
    integers: Sequence[str] = (),
) -> Any:
    """Return a model.

    Args:
        nodes: (operator, inputs, outputs, attributes), names separated by spaces; `-` stands
            for an input or output that isn't given. The last node gives the output.
        constants: arrays by name; those of floating-point numbers in float32.
        inputs: shapes by name.
        opset: the version of the operators.
        integers: the inputs that are int64.
    """
    from onnx import TensorProto, helper, numpy_helper

    def names(text: str) -> list[str]:
        return ["" if name == "-" else name for name in text.split()]

    made = [
        helper.make_node(kind, names(given), names(gives), **attributes)
        for kind, given, gives, attributes in nodes
    ]
    held = []
    for name, value in constants.items():
        array = np.asarray(value)
        array = array.astype(np.float32) if array.dtype.kind == "f" else array
        held.append(numpy_helper.from_array(np.array(array, order="C"), name))
    given = [
        helper.make_tensor_value_info(
            name, TensorProto.INT64 if name in integers else TensorProto.FLOAT, list(shape)
        )
        for name, shape in inputs.items()
    ]
    output = helper.make_tensor_value_info(made[-1].output[0], TensorProto.FLOAT, None)
    graph = helper.make_graph(made, "port", given, [output], held)
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)
