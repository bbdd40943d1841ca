"""ONNX: a file, run by ONNX Runtime in float32 and by onnx's reference in float64."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..onnx.running import as_float64, reference, session_options  # before ONNX Runtime

# isort: split
import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, checker, helper, numpy_helper, shape_inference

from ..errors import InputError
from ..networks import catalogue
from ..onnx import reading, writing
from ..traces.weights import SharedWeights
from ..workers.request import Job
from .base import Adapter, After, Before, UnavailableError

MOST_VALUES = 1 << 30  # of one tensor for one image; those of the networks here are under 2^21
PROVIDERS = {
    "cpu": ["CPUExecutionProvider"],
    "gpu": [("CUDAExecutionProvider", {"use_tf32": "0"}), "CPUExecutionProvider"],
}


@dataclass(eq=False)
class Layer:
    """One endpoint of a file: a layer, a block, or the whole network."""

    path: str
    tensor: str
    leaf: bool
    inputs: list[str] = field(default_factory=list)  # tensors that a leaf gets
    nodes: list[Any] = field(default_factory=list)
    hooks: list[tuple[Before, After]] = field(default_factory=list)

    def before(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        for hook, _ in self.hooks:
            args = hook(args)
        return args

    def after(self, args: tuple[Any, ...], output: Any) -> None:
        for _, hook in self.hooks:
            hook(args, output)


class FileNetwork:
    """A file that can be run, whole or layer by layer.

    Args:
        model: the model, checked.
        endpoints: dotted path -> tensor, in execution order.
        dtype: float32, or float64 for the reference.
        device: `cpu` or `gpu`.
    """

    def __init__(self, model: Any, endpoints: Mapping[str, str], dtype: str, device: str) -> None:
        self.model = model if dtype == "float32" else as_float64(model)
        self.dtype = dtype
        self.device = device
        self.input = self.model.graph.input[0].name
        self.outputs = [value.name for value in self.model.graph.output]
        self.initializers = {t.name: t for t in self.model.graph.initializer}
        inner = {path.rpartition(".")[0] for path in endpoints}
        self.root = Layer("", self.outputs[0], leaf=False)
        self.layers = [Layer(path, t, path not in inner) for path, t in endpoints.items()]
        self._cut()
        self.run_all = self._runner(self.model, [t for t in endpoints.values() if t != self.input])
        self.run_plain = self._runner(self.model, []) if dtype == "float32" else None

    def _cut(self) -> None:
        """Give every leaf the operators between its inputs and its output."""
        made_by = {output: node for node in self.model.graph.node for output in node.output}
        order = {id(node): n for n, node in enumerate(self.model.graph.node)}
        leaves = [layer for layer in self.layers if layer.leaf]
        borders = {self.input, *(layer.tensor for layer in leaves)}
        claimed = {self.input}
        for layer in leaves:
            if layer.tensor in claimed:  # it changes nothing in inference: a dropout
                layer.inputs = [layer.tensor]
                continue
            claimed.add(layer.tensor)
            waiting, found = [layer.tensor], {}
            while waiting:
                node = made_by.get(waiting.pop())
                if node is None or id(node) in found:
                    continue
                found[id(node)] = node
                waiting += [name for name in node.input if name not in borders]
            layer.nodes = sorted(found.values(), key=lambda node: order[id(node)])
            used = [name for node in layer.nodes for name in node.input if name in borders]
            layer.inputs = list(dict.fromkeys(used))

    def _runner(self, model: Any, more: list[str]) -> Callable[[dict[str, Any]], dict[str, Any]]:
        """Return what runs a model, and returns its outputs and the tensors `more`."""
        names = list(dict.fromkeys([*(value.name for value in model.graph.output), *more]))
        fine = self.dtype == "float64"
        who = "onnx's reference" if fine else "ONNX Runtime"
        with _blamed(f"{who} refuses the model"):
            engine = reference(model) if fine else self._session(model, names)

        def run(feeds: dict[str, Any]) -> dict[str, Any]:
            with _blamed(f"{who} can't run the model"):
                return dict(zip(names, engine.run(names, feeds), strict=True))

        return run

    def _session(self, model: Any, names: list[str]) -> Any:
        shown = onnx.ModelProto()
        shown.CopyFrom(model)
        del shown.graph.output[:]
        shown.graph.output.extend(
            helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names
        )
        return onnxruntime.InferenceSession(
            shown.SerializeToString(), session_options(), providers=PROVIDERS[self.device]
        )

    def __call__(self, x: Any) -> Any:
        """Run all, and let every layer's hooks see it, in order.

        A layer whose inputs a hook has replaced is run once more, by itself. The
        network's outputs are those of the file as it stands, which ONNX Runtime may
        simplify where nothing inside is asked for; the reference doesn't.
        """
        (x,) = self.root.before((x,))
        tensors = {self.input: x, **self.run_all({self.input: x})}
        for layer in self.layers:
            args = tuple(tensors[name] for name in layer.inputs)
            given = layer.before(args)
            output = tensors[layer.tensor]
            if layer.leaf and any(a is not b for a, b in zip(given, args, strict=True)):
                output = self._alone(layer, given)
            layer.after(given, output)
        plain = tensors if self.run_plain is None else self.run_plain({self.input: x})
        outputs = tuple(plain[name] for name in self.outputs)
        self.root.after((x,), outputs)
        return outputs

    def _alone(self, layer: Layer, args: tuple[Any, ...]) -> Any:
        """Run one layer on inputs of its own."""
        if not layer.nodes:
            return args[0]
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(self.dtype))
        weights = [self.initializers[name] for node in layer.nodes for name in node.input
                   if name in self.initializers]  # fmt: skip
        graph = helper.make_graph(
            layer.nodes,
            layer.path,
            [helper.make_tensor_value_info(n, kind, a.shape)
             for n, a in zip(layer.inputs, args, strict=True)],
            [helper.make_tensor_value_info(layer.tensor, kind, None)],
            weights,
        )  # fmt: skip
        model = helper.make_model(
            graph, opset_imports=self.model.opset_import, ir_version=self.model.ir_version
        )
        return self._runner(model, [])(dict(zip(layer.inputs, args, strict=True)))[layer.tensor]


class Backend(Adapter):
    """A file on the CPU or the first GPU; in float64, the reference, on the CPU.

    The file is given, or written by `prepare`.
    """

    name = "onnx"

    def __init__(self, device: str) -> None:
        super().__init__(device)
        self.file: Path | None = None
        self.described: reading.Description | None = None
        available = onnxruntime.get_available_providers()
        if device == "gpu" and "CUDAExecutionProvider" not in available:
            raise UnavailableError(
                "this ONNX Runtime has no CUDAExecutionProvider; install onnxruntime-gpu"
            )

    def prepare(
        self, job: Job, weights: Mapping[str, NDArray[Any]], size: tuple[int, int], folder: Path,
        file: Path | None,
    ) -> None:  # fmt: skip
        if file is None:
            file = folder / "network.onnx"
            shared = SharedWeights(job.network, dict(job.options), "the check's own", dict(weights))
            writing.write(shared, size, file)
        self.file = file

    def versions(self) -> dict[str, str]:
        versions = {"onnxruntime": onnxruntime.__version__, "onnx": onnx.__version__}
        if self.described is not None:
            versions["exported from"] = self.described.backend
        return versions

    def build(self, network: catalogue.Network, options: Mapping[str, Any], dtype: str) -> Any:
        if dtype == "float64" and self.device == "gpu":
            raise UnavailableError(
                "onnx computes in float64 on the CPU only, with the reference evaluator"
            )
        if self.file is None:
            raise UnavailableError("no ONNX file to run; give one with --onnx")
        self.described = reading.describe(self.file)
        self.described.require(network.name, options, str(self.file))
        try:
            model = checked(self.file)
            return FileNetwork(model, self.described.endpoints, dtype, self.device)
        except InputError as error:
            raise InputError(f"{self.file}: {error}") from error

    def modules(self, net: Any) -> Iterator[tuple[str, Any, bool]]:
        yield "", net.root, False
        for layer in net.layers:
            yield layer.path, layer, layer.leaf

    def attach(self, module: Any, before: Before, after: After) -> Callable[[], None]:
        hooks = (before, after)
        module.hooks.append(hooks)
        return lambda: module.hooks.remove(hooks)

    def to_native(self, array: NDArray[Any], dtype: str) -> Any:
        return np.array(array, dtype=dtype, order="C")

    def to_shared(self, tensor: Any) -> NDArray[Any]:
        return np.array(tensor)

    def get_weights(self, net: Any) -> dict[str, NDArray[Any]]:
        return {name: numpy_helper.to_array(t) for name, t in net.initializers.items()}

    def set_weights(self, net: Any, weights: Mapping[str, NDArray[Any]]) -> None:
        """Do nothing: a file has its weights, and the trace says which of them differ."""


def checked(file: Path) -> Any:
    """Return a file's model, which ONNX's checker has passed and whose tensors have sane sizes.

    Raises:
        InputError: it hasn't, they haven't, or there is data outside the file.
    """
    with _blamed("ONNX's checker refuses the model"):
        model = onnx.load_model_from_string(file.read_bytes())
        inside = [a.t for n in model.graph.node for a in n.attribute if a.HasField("t")]
        for tensor in (*model.graph.initializer, *inside):
            if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
                raise InputError(
                    f"{tensor.name}: its data is outside the file, where nothing is read"
                )
        checker.check_model(model, full_check=True)
        inferred = shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    graph = inferred.graph
    for value in (*graph.input, *graph.value_info, *graph.output):
        sides = [side.dim_value for side in value.type.tensor_type.shape.dim if side.dim_value]
        if any(side < 0 for side in sides) or np.prod(sides, dtype=np.float64) > MOST_VALUES:
            raise InputError(f"{value.name}: shape {sides} for one image, which can't be right")
    return model


@contextlib.contextmanager
def _blamed(what: str) -> Iterator[None]:
    """Turn whatever a library raises about a model into an InputError of one line."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # a class for each of ONNX Runtime's codes, protobuf's, …
        text = " ".join(str(error).split()) or type(error).__name__
        text = text if len(text) <= 300 else f"{text[:300]}…"
        raise InputError(f"{what}: {text}") from error
