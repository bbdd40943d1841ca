"""A training step of any PyTorch module."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from ...errors import InputError
from ..capturer import Array, Conditions, flattened
from ..inputs import Arguments
from ..pt import eager, held, tensors_of, training_mode
from ..pt_recurrent import as_array
from .losses import Loss
from .optimizers import Optimizer
from .stepper import Stepped, Stepper, Task

_OWN = {"SGD": torch.optim.SGD, "Adam": torch.optim.Adam, "RMSProp": torch.optim.RMSprop}
_FUNCTIONS = (
    "dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout",
    "feature_dropout",
)  # fmt: skip


class TorchStepper(Stepper):
    """PyTorch, by its autograd and its optimizers."""

    def without_dropout(self, model: Any) -> AbstractContextManager[list[float]]:
        return _without_dropout(eager(model))

    def step(self, model: Any, given: Arguments, task: Task) -> Stepped:
        model = eager(model)
        how = Conditions("float64", tuple(task.turned), replaced=task.replaced)
        with (
            training_mode(model, True), _without_gradients(model), held(model, how),
            _without_dropout(model) as rates, torch.enable_grad(),
        ):  # fmt: skip
            parameters = dict(model.named_parameters())
            for path, parameter in parameters.items():
                parameter.data = torch.from_numpy(task.moved(path, as_array(parameter.data)))
            before = _arrays(model)
            leaves = [
                x.double().requires_grad_() if x.is_floating_point() else x
                for x in tensors_of(how.arguments(task.arguments(given)).leaves(), model)
            ]
            arguments = given.filled(leaves)
            result = model(*arguments.positional, **arguments.named)
            outputs = [x for x in flattened(result, torch.Tensor) if x.is_floating_point()]
            values = [as_array(x).copy() for x in outputs]
            if not isinstance(task.loss, Loss):
                loss, shared = _own_loss(task, result, outputs)
            else:
                loss, own, shared = task.named(values)
                _back(outputs, own)
            gradients = {k: as_array(p.grad).copy() for k, p in parameters.items()
                         if p.grad is not None}  # fmt: skip
            _optimizer(task.optimizer, parameters).step()
            return Stepped(
                loss, task.shared_outputs(values), shared,
                task.shared_inputs([None if x.grad is None else as_array(x.grad) for x in leaves]),
                gradients, before, _arrays(model),
                {k for k, p in parameters.items() if not p.requires_grad}, tuple(rates),
            )  # fmt: skip


def _arrays(model: Any) -> dict[Any, Array]:
    both = [*model.named_parameters(), *model.named_buffers()]
    return {path: as_array(tensor).copy() for path, tensor in both}


def _back(outputs: list[Any], gradients: list[Array | None]) -> None:
    pairs = [
        (x, torch.from_numpy(g).to(x))
        for x, g in zip(outputs, gradients, strict=True)
        if g is not None and x.requires_grad
    ]
    if not pairs:
        raise InputError("no output depends on a trained array: everything is frozen or detached")
    torch.autograd.backward([x for x, _ in pairs], [g for _, g in pairs])


def _own_loss(task: Task, result: Any, outputs: list[Any]) -> tuple[float, list[Array]]:
    assert not isinstance(task.loss, Loss)
    target = task.own_target(outputs[0].shape)
    loss = task.loss(result, None if target is None else torch.from_numpy(target))
    if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
        raise InputError("a loss for PyTorch should return a tensor with one number")
    found = torch.autograd.grad(loss, outputs, retain_graph=True, allow_unused=True)
    torch.autograd.backward(loss)
    arrays = [torch.zeros_like(x) if g is None else g for x, g in zip(outputs, found, strict=True)]
    return float(loss.detach()), task.shared_outputs([as_array(x) for x in arrays])


def _optimizer(optimizer: Any, parameters: dict[str, Any]) -> Any:
    trained = [p for p in parameters.values() if p.requires_grad]
    if not isinstance(optimizer, Optimizer):
        return optimizer(trained)
    settings = dict(optimizer.settings)
    if optimizer.kind == "Adam":
        settings["betas"] = settings.pop("beta1", 0.9), settings.pop("beta2", 0.999)
    elif optimizer.kind == "RMSProp":
        settings["alpha"] = settings.pop("decay")
    return _OWN[optimizer.kind](trained, **settings)


@contextlib.contextmanager
def _without_gradients(model: Any) -> Iterator[None]:
    """Put the gradients away that the model has, and back."""
    before = [(p, p.grad) for p in model.parameters()]
    try:
        for parameter, _ in before:
            parameter.grad = None
        yield
    finally:
        for parameter, gradient in before:
            parameter.grad = None
            parameter.grad = gradient


@contextlib.contextmanager
def _without_dropout(model: Any) -> Iterator[list[float]]:
    """Set all rates of dropout to 0, and each back; yield those that were higher."""
    kept: list[tuple[Any, str, float]] = []
    for module in model.modules():
        name = "p" if isinstance(module, torch.nn.modules.dropout._DropoutNd) else "dropout"
        rate = vars(module).get(name)
        if isinstance(rate, float) and rate > 0:
            kept.append((module, name, rate))
    watch = _Dropout()
    watch.rates = [rate for _, _, rate in kept]
    try:
        for module, name, _ in kept:
            setattr(module, name, 0.0)
        with watch:
            yield watch.rates
    finally:
        for module, name, rate in kept:
            setattr(module, name, rate)


class _Dropout(TorchFunctionMode):
    """Returns what dropout is given, where it is called as a function."""

    rates: list[float]

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        name = str(getattr(func, "__name__", "")).rstrip("_")
        if name == "scaled_dot_product_attention" and (len(args) > 4 or kwargs.get("dropout_p")):
            self.rates += [float(kwargs.pop("dropout_p", args[4] if len(args) > 4 else 0.0))]
            args = args[:4] if len(args) <= 5 else (*args[:4], 0.0, *args[5:])
        if name in _FUNCTIONS:
            rate = kwargs.get("p", args[1] if len(args) > 1 else 0.5)
            on = kwargs.get("training", args[2] if len(args) > 2 else True)
            self.rates += [float(rate)] if on and rate else []
            return args[0] if args else kwargs["input"]
        return func(*args, **kwargs)
