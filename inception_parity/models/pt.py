"""Captures any PyTorch module; a function mode and global hooks see what it calls."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.modules import module as module_hooks
from torch.overrides import TorchFunctionMode

from ..errors import InputError
from .capturer import Array, Capturer, Replacements
from .pt_functions import ALIASES, SIGNATURES, WEIGHTS, settings_of
from .recorder import Recorder, Slot


class TorchCapturer(Capturer):
    """PyTorch, eager, where the model is: on the CPU or a GPU."""

    name = "pt"

    def versions(self) -> dict[str, str]:
        return {"torch": str(torch.__version__)}

    def title(self, model: Any) -> str:
        return type(_eager(model)).__name__

    def build(self, model: Any, inputs: Sequence[Array], layout: str) -> None:
        model = _eager(model)
        for path, module in model.named_modules():
            if isinstance(module, torch.jit.ScriptModule):
                raise InputError(
                    f"{path or type(module).__name__}: a scripted module hides its layers; "
                    "give the module that it was made from, or an ONNX file"
                )
        lazy = torch.nn.parameter.UninitializedParameter
        if any(isinstance(parameter, lazy) for parameter in model.parameters()):
            with _mode(model, False), torch.no_grad():
                model(*(_tensor(array, "float32", model) for array in inputs))

    @contextlib.contextmanager
    def held(
        self, model: Any, dtype: str, training: bool, replaced: Replacements
    ) -> Iterator[None]:
        model, wanted = _eager(model), getattr(torch, dtype)
        data = [(path, p, p.data) for path, p in model.named_parameters()]
        buffers = [
            (module, name, f"{path}.{name}".lstrip("."), buffer)
            for path, module in model.named_modules()
            for name, buffer in module._buffers.items()
            if buffer is not None
        ]
        default = torch.get_default_dtype()

        def value(path: str, tensor: Any) -> Any:
            new = replaced.get(path)
            if new is not None:
                return torch.from_numpy(np.array(new)).to(tensor.device, wanted)
            return tensor.to(wanted, copy=True) if tensor.is_floating_point() else tensor.clone()

        with _mode(model, training):
            try:
                torch.set_default_dtype(wanted)
                with torch.no_grad():
                    for path, parameter, tensor in data:
                        parameter.data = value(path, tensor)
                    # One buffer may be in several modules, and stays one.
                    copies = {id(buffer): value(path, buffer) for _, _, path, buffer in buffers}
                    for module, name, _, buffer in buffers:
                        module._buffers[name] = copies[id(buffer)]
                yield
            finally:
                torch.set_default_dtype(default)
                for _, parameter, tensor in data:
                    parameter.data = tensor
                for module, name, _, buffer in buffers:
                    module._buffers[name] = buffer

    def run(
        self, model: Any, inputs: Sequence[Array], layout: str, dtype: str, recorder: Recorder
    ) -> None:
        model = _eager(model)
        tensors = [_tensor(array, dtype, model) for array in inputs]
        for tensor in tensors:
            recorder.input(tensor, self.convert(tensor))
        watch = _Watch(model, recorder)
        with torch.no_grad(), watch.hooks(), watch:
            output = model(*tensors)
        for tensor in _tensors(output):
            recorder.output(tensor, self.convert(tensor))

    def convert(self, tensor: Any) -> Array:
        tensor = tensor.detach().cpu()
        array: Array = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
        return array


def _eager(model: Any) -> Any:
    """Return the module that `torch.compile` wrapped, which is the same module."""
    return getattr(model, "_orig_mod", model)


@contextlib.contextmanager
def _mode(model: Any, training: bool) -> Iterator[None]:
    """Put all modules into training or inference, and each back into what it was in."""
    before = [(module, module.training) for module in model.modules()]
    try:
        model.train(training)
        yield
    finally:
        for module, was in before:
            module.training = was


def _tensor(array: Array, dtype: str, model: Any) -> Any:
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    tensor = torch.from_numpy(np.array(array))
    return tensor.to(device, getattr(torch, dtype) if tensor.is_floating_point() else None)


def _tensors(value: Any) -> list[Any]:
    """Return the tensors in what a model returns: a tensor, or any nesting of them."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (tuple, list)):
        return [tensor for part in value for tensor in _tensors(part)]
    return []


class _Watch(TorchFunctionMode):
    """Sees every function that is called, and in which module."""

    def __init__(self, model: Any, recorder: Recorder) -> None:
        super().__init__()
        self.recorder = recorder
        self.paths = {id(module): path for path, module in model.named_modules()}
        self.stack: list[tuple[Any, str]] = []
        self.quiet = False
        self.named: set[tuple[str, int]] = set()
        self.calls = 0
        # Parameters and buffers, as they are while the model is held.
        self.slots = {
            id(tensor): path for path, tensor in [*model.named_parameters(), *model.named_buffers()]
        }

    @contextlib.contextmanager
    def hooks(self) -> Iterator[None]:
        """Hear of every module that begins or ends. Nothing is attached to the model."""
        begin = module_hooks.register_module_forward_pre_hook(self._begin)
        end = module_hooks.register_module_forward_hook(self._end)
        try:
            yield
        finally:
            begin.remove()
            end.remove()

    def _begin(self, module: Any, args: Any) -> None:
        above = self.stack[-1][1] if self.stack else ""
        made_here = f"{above}.{type(module).__name__}" if above else type(module).__name__
        self.calls += 1
        self.stack.append((module, self.paths.get(id(module), made_here)))

    def _end(self, module: Any, args: Any, output: Any) -> None:
        _, path = self.stack.pop()
        made = [tensor for tensor in _tensors(output) if self.recorder.producer(tensor)]
        if not path or _is_layer(module) or len(made) != 1:
            return
        self.quiet = True
        try:
            name = path if path not in self.recorder.writer.endpoints else f"{path}:block"
            self.recorder.block(name, made[0], type(module).__name__, self.recorder.convert)
        finally:
            self.quiet = False

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        if not self.quiet:
            self.quiet = True  # what recording itself calls isn't the model's
            try:
                self._called(func, args, kwargs or {}, output)
            finally:
                self.quiet = False
        return output

    def _called(self, func: Any, args: Any, kwargs: Any, output: Any) -> None:
        outputs = [t for t in _tensors(output) if t.is_floating_point() or t.is_complex()]
        given = [*_tensors(args), *_tensors(kwargs)]
        fed = [t for t in given if id(t) not in self.slots]
        if not outputs or not any(self.recorder.producer(t) for t in fed):
            return  # a size, or a constant being made
        own = str(getattr(func, "__name__", func))
        if own == "__get__":  # `x.T`, `x.data`
            own = "permute" if outputs[0].shape != fed[0].shape else "identity"
        # `relu_` and `__iadd__` are what `relu` and `add` are.
        base = own.strip("_") if own.startswith("__") else own.rstrip("_")
        base = ALIASES.get(base, base)
        arguments = dict(zip(SIGNATURES.get(base, ()), args, strict=False)) | kwargs
        kind, settings = settings_of(base, arguments, fed, outputs[0])
        if kind in ("identity", "dropout") and outputs[0] is fed[0]:
            return
        weights = self._weights(base, arguments)
        path, block = self._name(base, kind)
        several = len(outputs) > 1
        for index, tensor in enumerate(outputs):
            name = f"{path}.{index}" if several else path
            array = tensor.detach().cpu().numpy()
            self.recorder.layer(name, kind, settings, fed, tensor, array, weights, block, own)

    def _name(self, function: str, kind: str) -> tuple[str, str]:
        """Return what a call is known by: its module, if that is a layer, or `module.function`."""
        module, path = self.stack[-1] if self.stack else (None, "")
        if module is not None and _is_layer(module) and kind != "pad":
            if (path, self.calls) not in self.named:
                self.named.add((path, self.calls))
                return path, path.rpartition(".")[0]
            return f"{path}.{function}", path.rpartition(".")[0]
        return (f"{path}.{function}" if path else function), path

    def _weights(self, function: str, arguments: dict[str, Any]) -> dict[str, Slot]:
        found = {}
        roles = WEIGHTS.get(function, ("weight", "bias"))
        for role, value in arguments.items():
            if role in roles and isinstance(value, torch.Tensor) and id(value) in self.slots:
                array = value.detach().cpu().numpy().copy()
                found[role] = _slot(function, self.slots[id(value)], array)
        return found


def _slot(function: str, path: str, array: Array) -> Slot:
    """Kernels of transposed convolutions are (in, out, …) here; all else is as it is shared."""
    if function.startswith("conv_transpose") and array.ndim > 1:
        return Slot(path, array.swapaxes(0, 1), lambda kernel: kernel.swapaxes(0, 1))
    return Slot(path, array)


def _is_layer(module: Any) -> bool:
    """Return whether a module is one of torch's own layers, rather than a container of them."""
    own = type(module).__module__.startswith("torch.nn.modules.")
    containers = (torch.nn.Sequential, torch.nn.ModuleList, torch.nn.ModuleDict)
    if not own or isinstance(module, containers):
        return False
    atoms = (torch.nn.MultiheadAttention, torch.nn.RNNBase)
    return isinstance(module, atoms) or next(module.children(), None) is None
