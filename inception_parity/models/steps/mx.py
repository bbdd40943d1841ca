"""A training step of any Gluon block."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import mxnet

from ...errors import InputError
from ..capturer import Array, Conditions, flattened
from ..inputs import Arguments
from ..mx import GluonCapturer, arrays_of, either, held, imperative
from .losses import Loss
from .optimizers import Optimizer
from .stepper import Stepped, Stepper, Task

_OWN = {"SGD": "sgd", "Adam": "adam"}
_NAMES = {"lr": "learning_rate", "eps": "epsilon", "weight_decay": "wd"}


class GluonStepper(Stepper):
    """MXNet Gluon, by autograd and a Trainer."""

    def without_dropout(self, model: Any) -> AbstractContextManager[list[float]]:
        return _without_dropout(model)

    def step(self, model: Any, given: Arguments, task: Task) -> Stepped:
        if isinstance(task.optimizer, Optimizer) and task.optimizer.kind not in _OWN:
            raise InputError(
                f"MXNet's {task.optimizer.kind} keeps its state in float32, so that it can't step "
                "in float64; give another --optimizer"
            )
        how = Conditions("float64", tuple(task.turned), replaced=task.replaced)
        parameters = list(model.collect_params().values())
        with held(model, how), imperative(model), _without_dropout(model) as rates:
            for parameter in parameters:
                if parameter.grad_req != "null":
                    _put(parameter, task.moved(parameter.name, _array(parameter)))
            start = {p.name: _array(p) for p in parameters}
            made: Stepped = either(lambda: _step(model, given, task, how, parameters, start))
            made.dropout = tuple(rates)
            return made


def _step(
    model: Any, given: Arguments, task: Task, how: Conditions, parameters: list[Any],
    before: dict[Any, Array],
) -> Stepped:  # fmt: skip
    trained = [p for p in parameters if p.grad_req != "null"]
    for parameter in trained:
        _put(parameter, before[parameter.name])
        for data in parameter._data:
            data.attach_grad(parameter.grad_req)
        parameter._grad = [data.grad for data in parameter._data]
    arguments = arrays_of(how.arguments(task.arguments(given)), model)
    leaves = arguments.leaves()
    floats = [x for x in leaves if "float" in str(x.dtype)]
    for leaf in floats:
        leaf.attach_grad()
    with mxnet.autograd.record(train_mode=True):
        result = model(*GluonCapturer().call(model, arguments))
        outputs = flattened(result, mxnet.nd.NDArray)
        own = _own_loss(task, result, outputs) if not isinstance(task.loss, Loss) else None
    values = [x.asnumpy() for x in outputs]
    count = 1
    if own is None:
        loss, heads, shared = task.named(values)
        pairs = [(x, _like(x, g)) for x, g in zip(outputs, heads, strict=True) if g is not None]
        mxnet.autograd.backward([x for x, _ in pairs], [g for _, g in pairs])
    else:
        count = own.size  # a loss for each sample, as Gluon's are; its Trainer divides by them
        loss = float(own.asnumpy().mean())
        shared = task.shared_outputs(_output_gradients(task, values, outputs))
        own.backward()
    gradients = {p.name: p._grad[0].asnumpy() / count for p in trained}
    back = {id(x): x.grad.asnumpy() / count for x in floats}
    _trainer(task.optimizer, model).step(count)
    return Stepped(
        loss, task.shared_outputs(values), shared,
        task.shared_inputs([back.get(id(x)) for x in leaves]), gradients, before,
        {p.name: _array(p) for p in parameters},
        {p.name for p in parameters if p.grad_req == "null"},
    )  # fmt: skip


def _array(parameter: Any) -> Array:
    array: Array = parameter._data[0].asnumpy()
    return array


def _put(parameter: Any, array: Array) -> None:
    for data in parameter._data:
        data[:] = array


def _like(tensor: Any, array: Array) -> Any:
    make = mxnet.np.array if isinstance(tensor, mxnet.np.ndarray) else mxnet.nd.array
    return make(array, dtype="float64", ctx=tensor.ctx)


def _own_loss(task: Task, result: Any, outputs: list[Any]) -> Any:
    assert not isinstance(task.loss, Loss)
    target = task.own_target(outputs[0].shape)
    own = None if target is None else _like(outputs[0], target)
    loss = task.loss(result, own)
    if not isinstance(loss, mxnet.nd.NDArray) or loss.ndim > 1:
        raise InputError("a loss for Gluon should return a number, or one for each sample")
    return loss


def _output_gradients(task: Task, values: list[Array], outputs: list[Any]) -> list[Array]:
    """Return an own loss' gradients for the outputs, as if these were the model's inputs."""
    leaves = [_like(x, value) for x, value in zip(outputs, values, strict=True)]
    for leaf in leaves:
        leaf.attach_grad()
    with mxnet.autograd.record(train_mode=True):
        loss = _own_loss(task, leaves[0] if len(leaves) == 1 else leaves, leaves)
    loss.backward()
    return [leaf.grad.asnumpy() / loss.size for leaf in leaves]


def _trainer(optimizer: Any, model: Any) -> Any:
    """Return the Trainer that steps; parameters forget it afterwards."""
    if not isinstance(optimizer, Optimizer):
        return optimizer(model.collect_params())
    settings = dict(optimizer.settings)
    kind = "nag" if settings.pop("nesterov", False) else _OWN[optimizer.kind]
    named = {_NAMES.get(k, k): v for k, v in settings.items()}
    return mxnet.gluon.Trainer(model.collect_params(), kind, named, kvstore=None)


@contextlib.contextmanager
def _without_dropout(model: Any) -> Iterator[list[float]]:
    """Set all rates of dropout to 0, and each back; yield those that were higher."""
    kept: list[tuple[Any, str, float]] = []
    trainers = [(p, p._trainer) for p in model.collect_params().values()]

    def look(block: Any) -> None:
        for name in ("_rate", "_dropout"):
            rate = vars(block).get(name)
            if isinstance(rate, (int, float)) and rate > 0:
                kept.append((block, name, rate))

    model.apply(look)
    try:
        for block, name, _ in kept:
            setattr(block, name, 0.0)
        yield [float(rate) for _, _, rate in kept]
    finally:
        for block, name, rate in kept:
            setattr(block, name, rate)
        for parameter, trainer in trainers:
            parameter._trainer = trainer
