"""Mistakes of training to plant in a live network and its Training, in every framework.

A plant is done once the optimiser is made and before the first step. Networks are
made anew for each, so nothing has to be undone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from inception_parity.backends import adapter
from inception_parity.training_check.trial import Trial

from ..support import headed

Plant = Callable[[Any, Any], None]


@dataclass(frozen=True)
class Fault:
    """One mistake.

    `quantity` is the first row that has to fail, `names` what it has to name, if not
    everything. MXNet's loss is one per image: what is summed there is the gradient.
    """

    name: str
    quantity: str
    plants: dict[str, Plant]  # by framework
    names: tuple[str, ...] = ()
    preset: str = "momentum"
    frozen: tuple[str, ...] = ()
    elsewhere: dict[str, str] = field(default_factory=dict)  # framework -> another quantity

    def trial(self) -> Trial:
        return headed.trial(self.preset, frozen=self.frozen)


def norm_of(net: Any, framework: str) -> Any:
    return next(m for path, m, _ in adapter(framework).modules(net) if path == "stem.norm")


def before(thing: Any, method: str, action: Callable[..., tuple[Any, ...]]) -> None:
    """Let `action` see a method's arguments first, and return those that it gets."""
    native = getattr(thing, method)
    setattr(thing, method, lambda *args: native(*action(*args)))


# The gradient of one layer doubled.


def doubled_in_torch(net: Any, training: Any) -> None:
    net.conv3.conv.weight.register_hook(lambda gradient: 2 * gradient)


def doubled_in_keras(net: Any, training: Any) -> None:
    doubled = net.conv3.conv.kernel

    def double(gradients: Any, variables: Any) -> tuple[Any, Any]:
        pairs = zip(gradients, variables, strict=True)
        return [2 * g if v is doubled else g for g, v in pairs], variables

    before(training.optimizer, "apply", double)


def doubled_in_mxnet(net: Any, training: Any) -> None:
    def double(images: int) -> tuple[int]:
        net.conv3.conv.weight.grad()[:] *= 2
        return (images,)

    before(training.trainer, "step", double)


# Weight decay beside the step.


def decoupled_in_torch(net: Any, training: Any) -> None:
    group = training.optimizer.param_groups[0]
    decay, group["weight_decay"] = group["weight_decay"], 0.0

    def shrink() -> tuple[()]:
        for parameter in net.parameters():
            parameter.data.mul_(1 - group["lr"] * decay)
        return ()

    before(training.optimizer, "step", shrink)


def decoupled_in_keras(net: Any, training: Any) -> None:
    """Keras' own way."""
    training.optimizer.weight_decay = training.optimizer.coupled_decay
    training.optimizer.coupled_decay = 0.0


def decoupled_in_mxnet(net: Any, training: Any) -> None:
    optimizer = training.optimizer
    decay, optimizer.wd = optimizer.wd, 0.0

    def shrink(index: int, weight: Any, *rest: Any) -> tuple[Any, ...]:
        weight[:] *= 1 - optimizer.lr * decay
        return index, weight, *rest

    before(optimizer, "update", shrink)


# Label smoothing that shares epsilon among one class too many.


def smoothed_in_torch(net: Any, training: Any) -> None:
    import torch

    def smoothing(logits: Any, labels: Any) -> Any:
        log_p = torch.log_softmax(logits, 1)
        of_label = log_p[torch.arange(len(labels)), labels]
        return (-0.9 * of_label - 0.1 / (headed.CLASSES + 1) * log_p.sum(1)).mean()

    del training.loss.smoothing  # a module: nothing else may take its name
    training.loss.smoothing = smoothing


def smoothed_in_keras(net: Any, training: Any) -> None:
    from keras import ops

    def smoothing(labels: Any, logits: Any) -> Any:
        log_p = ops.log_softmax(logits)
        target = 0.9 * ops.one_hot(ops.cast(labels, "int32"), headed.CLASSES, dtype=log_p.dtype)
        return -ops.sum((target + 0.1 / (headed.CLASSES + 1)) * log_p, axis=1)

    training.loss.smoothing.call = smoothing


def smoothed_in_mxnet(net: Any, training: Any) -> None:
    def smoothing(F: Any, logits: Any, labels: Any) -> Any:  # noqa: N803
        log_p = F.npx.log_softmax(logits, axis=-1)
        of_label = F.npx.pick(log_p, labels, axis=-1)
        return -0.9 * of_label - 0.1 / (headed.CLASSES + 1) * log_p.sum(axis=-1)

    training.loss.smoothing.hybrid_forward = smoothing


# The other convention of the running variance.


def other_variance(framework: str) -> Plant:
    """The batch's part by n where it is by n - 1, and the reverse."""
    n = headed.COUNTS["stem.norm"]
    factor = (n - 1) / n if framework == "pt" else n / (n - 1)
    name = "stem.norm.running_var"

    def plant(net: Any, training: Any) -> None:
        by = adapter(framework)
        m = by.bn_momentum
        epoch = training.epoch

        def changed(batches: Any, on_step: Any) -> None:
            old = by.get_weights(net)[name]

            def corrected(*args: Any) -> None:
                nonlocal old
                weights = by.get_weights(net)
                old = weights[name] = m * old + (weights[name] - m * old) * factor
                by.set_weights(net, weights)
                on_step(*args)

            epoch(batches, corrected)

        training.epoch = changed

    return plant


# A gradient that isn't cleared.


def stale_in_torch(net: Any, training: Any) -> None:
    training.optimizer.zero_grad = lambda *args, **kwargs: None


def stale_in_keras(net: Any, training: Any) -> None:
    held: list[Any] = []

    def add(gradients: Any, variables: Any) -> tuple[Any, Any]:
        held[:] = [a + b for a, b in zip(held, gradients, strict=True)] if held else gradients
        return list(held), variables

    before(training.optimizer, "apply", add)


def stale_in_mxnet(net: Any, training: Any) -> None:
    def begin(*args: Any) -> tuple[Any, ...]:
        for parameter in net.collect_params().values():
            if parameter.grad_req == "write":
                parameter.grad_req = "add"
                parameter.grad()[:] = 0  # of the pass that gave the images' gradient
        return args

    before(training, "epoch", begin)


# A frozen batch norm that uses the batch's statistics, and keeps them.

STEM = ("stem.conv.weight", "stem.norm.weight", "stem.norm.bias")


def unfrozen_in_torch(net: Any, training: Any) -> None:
    net.stem.norm.frozen = False


def unfrozen_in_keras(net: Any, training: Any) -> None:
    net.stem.norm.trainable = True
    net.stem.norm.gamma.trainable = net.stem.norm.beta.trainable = False


def unfrozen_in_mxnet(net: Any, training: Any) -> None:
    net.stem.norm._kwargs["use_global_stats"] = False


# A frozen layer that is trained.

FROZEN = "conv3.conv.weight"


def thawed_in_torch(net: Any, training: Any) -> None:
    net.conv3.conv.weight.requires_grad_(True)


def thawed_in_keras(net: Any, training: Any) -> None:
    net.conv3.conv.kernel.trainable = True
    training.optimizer.built = False
    training.optimizer.build(net.trainable_variables)


def thawed_in_mxnet(net: Any, training: Any) -> None:
    net.conv3.conv.weight.grad_req = "write"


def setting(thing: Callable[[Any, Any], Any], attribute: str, value: Any) -> Plant:
    """Return a plant that sets an attribute of what `thing` returns."""
    return lambda net, training: setattr(thing(net, training), attribute, value)


def option(thing: Callable[[Any, Any], dict[str, Any]], key: str, value: Any) -> Plant:
    """Return a plant that sets an entry of the dictionary that `thing` returns."""
    return lambda net, training: thing(net, training).update({key: value})


FAULTS = (
    Fault(
        "gradient of one layer doubled",
        "gradient.1",
        {"pt": doubled_in_torch, "tf": doubled_in_keras, "mx": doubled_in_mxnet},
        ("conv3.conv.weight",),
    ),
    Fault(
        "momentum formula swapped for Nesterov's",
        "update",
        {
            "pt": option(lambda net, t: t.optimizer.param_groups[0], "nesterov", True),
            "tf": setting(lambda net, t: t.optimizer, "nesterov", True),
            "mx": setting(lambda net, t: t.optimizer, "nesterov", True),
        },
    ),
    Fault(
        "weight decay decoupled",
        "update",
        {"pt": decoupled_in_torch, "tf": decoupled_in_keras, "mx": decoupled_in_mxnet},
        preset="decay",
    ),
    Fault(
        "loss summed for averaged",
        "loss",
        {
            "pt": setting(lambda net, t: t.loss.smoothing, "reduction", "sum"),
            "tf": setting(lambda net, t: t.loss, "reduction", "sum"),
            "mx": lambda net, t: before(t.trainer, "step", lambda images: (1,)),
        },
        elsewhere={"mx": "gradient.1"},
    ),
    Fault(
        "label smoothing on the wrong class count",
        "loss",
        {"pt": smoothed_in_torch, "tf": smoothed_in_keras, "mx": smoothed_in_mxnet},
    ),
    Fault(
        "batch norm's momentum 0.1 for 0.9",
        "statistics.1",
        {
            "pt": setting(lambda net, t: norm_of(net, "pt"), "momentum", 0.9),
            "tf": setting(lambda net, t: norm_of(net, "tf"), "momentum", 0.1),
            "mx": option(lambda net, t: norm_of(net, "mx")._kwargs, "momentum", 0.1),
        },
        ("stem.norm.running_mean", "stem.norm.running_var"),
    ),
    Fault(
        "running variance of the other convention",
        "statistics.1",
        {name: other_variance(name) for name in ("pt", "tf", "mx")},
        ("stem.norm.running_var",),
    ),
    Fault(
        "weight of the auxiliary head omitted",
        "loss",
        {name: setting(lambda net, t: t.loss, "aux_weight", 1.0) for name in ("pt", "tf", "mx")},
    ),
    Fault(
        "stale gradient not cleared",
        "gradient.K",
        {"pt": stale_in_torch, "tf": stale_in_keras, "mx": stale_in_mxnet},
    ),
    Fault(
        "frozen batch norm in training mode",
        "loss",
        {"pt": unfrozen_in_torch, "tf": unfrozen_in_keras, "mx": unfrozen_in_mxnet},
        frozen=STEM,
    ),
    Fault(
        "frozen layer trained",
        "frozen",
        {"pt": thawed_in_torch, "tf": thawed_in_keras, "mx": thawed_in_mxnet},
        (FROZEN,),
        frozen=(FROZEN,),
    ),
)
