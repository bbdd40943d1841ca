"""Networks written as ONNX files, from what the oracle does with an empty batch.

A file holds every weight of the network as an initialiser under its shared name, also
those of heads that don't run, and batch norms as they are. Its metadata say which network
it is, with which options, where the weights come from, and which tensor each endpoint is.
No framework is needed: one file stands for all of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError, needs
from ..files import write_whole
from ..networks import catalogue
from ..networks.empty_batch import Call, calls_of, require_size
from ..traces.weights import SharedWeights, require_match, shapes
from ..versions import __version__, recorded
from .layers import Operators, write_layer
from .sealing import FORMAT, entry, sealed, unsealed

if TYPE_CHECKING:
    from inception_np.module import Module

OPSET = 18  # the newest operators that are used are older; older runtimes read it
IR_VERSION = 8  # the one that goes with this opset
LARGEST_MODEL = (1 << 31) - 1  # bytes in a protobuf message
LARGEST_GRAPH = 1 << 24  # bytes of all but the weights; 0.2 MB in the networks here
PRODUCER = "inception-parity"
BATCH = "batch"  # the name of the free dimension
INPUT = "input"  # the name of the images


@dataclass(frozen=True)
class Graph:
    """What a network computes, for images of one size and batches of any.

    Args:
        shape: (channels, height, width) of an image.
        nodes: ONNX's operators, constants first, then in execution order.
        outputs: name -> shape without the batch.
        endpoints: dotted path -> tensor, in execution order.
    """

    shape: tuple[int, int, int]
    nodes: list[Any]
    outputs: dict[str, tuple[int, ...]]
    endpoints: dict[str, str]


def write(weights: SharedWeights, size: tuple[int, int], path: Path) -> None:
    """Write the network of `weights` to an ONNX file, which appears whole or not at all.

    The batch is free, the size of the images isn't.

    Args:
        weights: all arrays of the network.
        size: (height, width) of the images.
        path: the file.

    Raises:
        InputError: the onnx package isn't installed, the arrays aren't the network's, it
            doesn't take images of that size, or the file can't be written there.
    """
    network = catalogue.network(weights.network)
    require_match(weights.arrays, shapes(weights.network, weights.options), "the weights")
    require_size(network, weights.options, size)
    net = network.build("inception_np", weights.options)
    with needs(f"{path.name}: only the onnx package writes such files", "onnx"):
        import onnx  # noqa: F401
    graph = graph_of(
        net, network.outputs_with(weights.options), (int(weights.options["in_channels"]), *size)
    )
    write_whole(path, sealed(model_of(graph, weights)))


def note(path: Path, key: str, text: str) -> None:
    """Add an entry to the metadata of a file, and seal it anew."""
    write_whole(path, sealed(unsealed(path.read_bytes()) + entry(key, text)))


def graph_of(net: Module, outputs: Sequence[str], shape: tuple[int, int, int]) -> Graph:
    """Return the ONNX operators of a network of the oracle.

    A tensor is called as the output or the layer that it is; what a layer needs inside,
    as that layer and the operator.

    Args:
        net: the network, in inference mode.
        outputs: names for what it returns, in its order.
        shape: (channels, height, width) of an image.

    Raises:
        InputError: the network has a layer that isn't known here, or computes something
            outside of its layers.
    """
    *calls, whole = calls_of(net, shape)
    returned = whole.output if isinstance(whole.output, tuple) else (whole.output,)
    output_names = {id(array): name for name, array in zip(outputs, returned, strict=False)}
    tensors = {id(whole.inputs[0]): INPUT}  # the calls keep the arrays, so no id is used twice
    constants, nodes = list[Any](), list[Any]()
    for call in calls:
        if call.leaf and id(call.output) not in tensors:
            tensor = output_names.get(id(call.output), call.path)
            operators = Operators(call.path, tensor, call.inputs[0].shape[2:])
            write_layer(call.module, operators, [_tensor(tensors, x, call) for x in call.inputs])
            constants += operators.constants
            nodes += operators.nodes
            tensors[id(call.output)] = tensor
    endpoints = {call.path: _tensor(tensors, call.output, call) for call in calls}
    shapes_out = {_tensor(tensors, array, whole): array.shape[1:] for array in returned}
    return Graph(shape, [*constants, *nodes], shapes_out, endpoints)


def _tensor(tensors: Mapping[int, str], array: Any, call: Call) -> str:
    if id(array) not in tensors:
        raise InputError(
            f"{call.path or 'the network'}: {type(call.module).__name__} uses or returns what "
            "no layer has made, which can't be written as ONNX; make a layer of that computation"
        )
    return tensors[id(array)]


def model_of(graph: Graph, weights: SharedWeights) -> bytes:
    """Return the ONNX model of a graph, which has passed ONNX's own checker in full.

    Raises:
        InputError: it would exceed the 2 GiB that one file may have.
    """
    import onnx
    from onnx import TensorProto, checker, helper, numpy_helper

    total = sum(array.nbytes for array in weights.arrays.values())
    if total > LARGEST_MODEL - LARGEST_GRAPH:
        raise InputError(
            f"{total:,} bytes of weights, but an ONNX file in one piece has under "
            f"{LARGEST_MODEL - LARGEST_GRAPH:,}; give a smaller num_classes"
        )

    def described(name: str, shape: tuple[int, ...]) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, (BATCH, *shape))

    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            weights.network,
            [described(INPUT, graph.shape)],
            [described(name, shape) for name, shape in graph.outputs.items()],
            [numpy_helper.from_array(array, name) for name, array in weights.arrays.items()],
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name=PRODUCER,
        producer_version=__version__,
    )
    metadata = {
        "format": FORMAT,
        "network": weights.network,
        "options": json.dumps(weights.options, sort_keys=True),
        "provenance": weights.provenance,
        "size": "{}x{}".format(*graph.shape[1:]),
        "sha256": weights.sha256,
        "endpoints": json.dumps(graph.endpoints),
        "backend": catalogue.ORACLE,
        "versions": json.dumps(recorded({"onnx": onnx.__version__})),
    }
    helper.set_model_props(model, metadata)
    checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString()
    return content
