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
from . import pt_attention, pt_recurrent
from .capturer import Array, Capturer, Conditions, Watch, flattened
from .inputs import Arguments, Parameters, parameters_of
from .operations import ROLES, Call
from .pt_functions import ALIASES, FUNCTIONS
from .pt_recurrent import as_array
from .recorder import Recorder, Slot


class TorchCapturer(Capturer):
    """PyTorch, eager, where the model is: on the CPU or a GPU."""

    name = "pt"
    forces = True

    def versions(self) -> dict[str, str]:
        return {"torch": str(torch.__version__)}

    def title(self, model: Any) -> str:
        return type(eager(model)).__name__

    def parameters(self, model: Any) -> Parameters:
        return parameters_of(eager(model).forward)

    def build(self, model: Any, given: Arguments) -> None:
        model = eager(model)
        for path, module in model.named_modules():
            if isinstance(module, torch.jit.ScriptModule):
                raise InputError(
                    f"{path or type(module).__name__}: a scripted module hides its layers; "
                    "give the module that it was made from, or an ONNX file"
                )
        lazy = torch.nn.parameter.UninitializedParameter
        if any(isinstance(parameter, lazy) for parameter in model.parameters()):
            with training_mode(model, False), torch.no_grad():
                given = given.filled(tensors_of(given.leaves(), model))
                model(*given.positional, **given.named)

    def run(self, model: Any, given: Arguments, how: Conditions, recorder: Recorder) -> None:
        model = eager(model)
        with training_mode(model, how.training), held(model, how), torch.no_grad():
            wanted = getattr(torch, how.dtype)
            tensors = [t.to(wanted) if t.is_floating_point() else t
                       for t in tensors_of(given.leaves(), model)]  # fmt: skip
            given = given.filled(tensors)
            for tensor in tensors:
                recorder.input(tensor)
            watch = _Watch(model, recorder)
            with watch.hooks(), watch:
                output = model(*given.positional, **given.named)
            for tensor in flattened(output, torch.Tensor):
                recorder.output(tensor)

    def convert(self, tensor: Any) -> Array:
        return as_array(tensor)


def eager(model: Any) -> Any:
    """Return the module that `torch.compile` wrapped, which is the same module."""
    return getattr(model, "_orig_mod", model)


@contextlib.contextmanager
def training_mode(model: Any, training: bool) -> Iterator[None]:
    """Put all modules into training or inference, and each back into what it was in."""
    before = [(module, module.training) for module in model.modules()]
    try:
        model.train(training)
        yield
    finally:
        for module, was in before:
            module.training = was


@contextlib.contextmanager
def held(model: Any, how: Conditions) -> Iterator[None]:
    """Let a module compute in a dtype, with copies of its parameters, some of them replaced."""
    wanted, default = getattr(torch, how.dtype), torch.get_default_dtype()
    data = [(path, p, p.data) for path, p in model.named_parameters()]
    buffers = [
        (module, name, f"{path}.{name}".lstrip("."), buffer)
        for path, module in model.named_modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]

    def value(path: str, tensor: Any) -> Any:
        new = how.replaced.get(path)
        if new is not None:
            return torch.from_numpy(np.array(new)).to(tensor.device, wanted)
        return tensor.to(wanted, copy=True) if tensor.is_floating_point() else tensor.clone()

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


def tensors_of(arrays: Sequence[Array], model: Any) -> list[Any]:
    """Return arrays as tensors, where the model is."""
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    return [torch.from_numpy(array).to(device) for array in arrays]


class _Watch(Watch, TorchFunctionMode):
    """Sees every function that is called, and in which module."""

    def __init__(self, model: Any, recorder: Recorder) -> None:
        super().__init__(recorder, model.named_modules())
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
        self.begin(module, type(module).__name__)

    def _end(self, module: Any, args: Any, output: Any) -> None:
        _, path = self.stack.pop()
        made = [t for t in flattened(output, torch.Tensor) if self.recorder.producer(t)]
        if not path or _is_layer(module) or len(made) != 1:
            return
        with self.ignored():
            name = path if path not in self.recorder.writer.endpoints else f"{path}:block"
            self.recorder.block(name, made[0], type(module).__name__)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        if not self.ignoring:
            with self.ignored():
                self._called(func, args, kwargs or {}, output)
        return output

    def _called(self, func: Any, args: Any, kwargs: Any, output: Any) -> None:
        outputs = [
            tensor
            for tensor in flattened(output, torch.Tensor)
            if tensor.is_floating_point() or tensor.is_complex()
        ]
        given = [*flattened(args, torch.Tensor), *flattened(kwargs, torch.Tensor)]
        fed = [t for t in given if id(t) not in self.slots]
        if not any(self.recorder.producer(t) for t in fed):
            return  # a size, or a constant being made
        own = str(getattr(func, "__name__", func))
        if not outputs:
            for tensor in flattened(output, torch.Tensor):  # indices, a mask
                self.recorder.whole(own.strip("_"), fed, tensor)
            return
        if own == "__get__":  # `x.T`, `x.data`
            own = "permute" if outputs[0].shape != fed[0].shape else "identity"
        # `relu_` and `__iadd__` are what `relu` and `add` are.
        base = own.strip("_") if own.startswith("__") else own.rstrip("_")
        base = ALIASES.get(base, base)
        if pt_recurrent.taken_apart(func, args):
            fused = pt_recurrent.Fused(func, args, self.slots)
            name, block = self.name(base, _is_layer(self.current[0]))
            if pt_recurrent.record(self.recorder, fused, name, block, outputs):
                return
        attention = pt_attention.arguments(own, args, kwargs)
        if attention is not None:
            names = self.name(base, _is_layer(self.current[0]))
            if own == "scaled_dot_product_attention":
                pt_attention.record_core(self.recorder, attention, names, outputs)
            else:
                pt_attention.record(self.recorder, attention, self.slots, names, outputs)
            return
        arguments = FUNCTIONS.named(base, args) | kwargs
        weights = {
            role: _slot(base, self.slots[id(value)], as_array(value).copy())
            for role, value in arguments.items()
            if role in ROLES and id(value) in self.slots
        }
        kind, settings = FUNCTIONS.describe(Call(base, arguments, fed, outputs[0], None, weights))
        if kind in ("identity", "dropout") and outputs[0] is fed[0]:
            return
        part = self.current[0]
        preparing = kind == "pad" or isinstance(part, torch.nn.MultiheadAttention)
        name, block = self.name(base, not preparing and _is_layer(part))
        self.recorder.layer(name, kind, settings, fed, outputs, weights, block, own)
        for made in outputs:
            self.recorder.given_on(made, _fill)


def _fill(made: Any, array: Array) -> Any:
    return made.copy_(torch.tensor(array))


def _slot(function: str, path: str, array: Array) -> Slot:
    """Kernels of transposed convolutions are (in, out, …) here; all else is as it is shared."""
    if function.startswith("conv_transpose") and array.ndim > 1:
        return Slot.transposed(path, array, (1, 0, *range(2, array.ndim)))
    return Slot(path, array)


def _is_layer(module: Any) -> bool:
    """Return whether a module is one of torch's own layers, rather than a container of them."""
    own = type(module).__module__.startswith("torch.nn.modules.")
    containers = (torch.nn.Sequential, torch.nn.ModuleList, torch.nn.ModuleDict)
    if not own or isinstance(module, containers):
        return False
    atoms = (torch.nn.MultiheadAttention, torch.nn.RNNBase)
    return isinstance(module, atoms) or next(module.children(), None) is None
