"""Optimisers: one weight, updated with given gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .topic import Answer, Topic

Step = tuple[float, float]  # gradient, learning rate


def _steps_pt(make: Callable[..., Any], steps: Sequence[Step], **options: Any) -> float:
    import torch

    w = torch.ones(1, dtype=torch.float64, requires_grad=True)
    optimizer = make([w], lr=steps[0][1], **options)
    for gradient, lr in steps:
        optimizer.param_groups[0]["lr"] = lr
        w.grad = torch.full_like(w, gradient)
        optimizer.step()
    return float(w)


def _steps_tf(make: Callable[..., Any], steps: Sequence[Step], rate: str, **options: Any) -> float:
    import keras

    w = keras.Variable(1.0, dtype="float64")
    optimizer = make(**{rate: steps[0][1]}, **options)
    for gradient, lr in steps:
        optimizer.learning_rate = lr
        optimizer.apply([keras.ops.convert_to_tensor(gradient, "float64")], [w])
    return float(w)


def _steps_mx(optimizer: Any, steps: Sequence[Step]) -> float:
    from inception_mx._mxnet import mxnet

    w = mxnet.np.ones((1,), dtype="float64")
    update = mxnet.optimizer.get_updater(optimizer)
    for gradient, lr in steps:
        optimizer.set_learning_rate(lr)
        update(0, mxnet.np.full((1,), gradient, dtype="float64"), w)
    return float(w.item())


def _experiment(
    steps: Sequence[Step],
    native: tuple[str, dict[str, Any]],
    ours: tuple[str, dict[str, Any]],
    says: dict[str, str],
    mx_native: tuple[str, dict[str, Any]] | None = None,
) -> dict[str, Callable[[], Answer]]:
    """Return the experiment in each framework: its own optimiser and ours, with the same steps.

    Args:
        steps: gradients and learning rates.
        native: name in PyTorch and Keras, and options by the names that Keras and
            PyTorch share.
        ours: name and options in our packages.
        says: framework -> what the number means.
        mx_native: name and options in MXNet, where they differ.
    """
    name, options = native
    our_name, our_options = ours

    def seen(framework: str, found: float, equal: float) -> Answer:
        return Answer(f"{found:.4f}: {says[framework]}", {"weight": found}, f"{equal:.4f}")

    def pt() -> Answer:
        import torch

        import inception_pt.optimizers as packaged

        found = _steps_pt(getattr(torch.optim, name), steps, **options.get("pt", options))
        equal = _steps_pt(getattr(packaged, our_name), steps, **our_options)
        return seen("pt", found, equal)

    def tf() -> Answer:
        import keras

        import inception_tf.optimizers as packaged

        make = getattr(keras.optimizers, name)
        found = _steps_tf(make, steps, "learning_rate", **options.get("tf", options))
        equal = _steps_tf(getattr(packaged, our_name), steps, "lr", **our_options)
        return seen("tf", found, equal)

    def mx() -> Answer:
        import inception_mx.optimizers as packaged
        from inception_mx._mxnet import mxnet

        kind, settings = mx_native or (name, options.get("mx", options))
        own = getattr(mxnet.optimizer, kind)(learning_rate=steps[0][1], **settings)
        equal = getattr(packaged, our_name)(lr=steps[0][1], **our_options)
        return seen("mx", _steps_mx(own, steps), _steps_mx(equal, steps))

    return {"pt": pt, "tf": tf, "mx": mx}


TOPICS = (
    Topic(
        "sgd-momentum",
        "SGD with momentum, when the learning rate drops",
        "A weight of 1, gradient 1, momentum 0.9: one step with lr 0.1, one with lr 0.01.",
        "Where the buffer holds lr times the gradient, a drop in the learning rate takes effect "
        "only as the buffer fades: the two agree at a constant rate and diverge at every drop.",
        "`SGD` of all packages keeps lr out of the velocity, as d2l, PyTorch and TF-slim's "
        "optimiser do.",
        _experiment(
            [(1.0, 0.1), (1.0, 0.01)],
            ("SGD", {"momentum": 0.9}),
            ("SGD", {"momentum": 0.9}),
            {
                "pt": "lr outside the buffer",
                "tf": "lr inside the buffer",
                "mx": "lr inside the buffer",
            },
        ),
    ),
    Topic(
        "nesterov",
        "Nesterov's momentum",
        "A weight of 1, gradient 1, momentum 0.9, three steps with lr 0.1.",
        "At a constant rate all three use the same formula, under different names; MXNet has a "
        "separate optimiser for it.",
        "`SGD(nesterov=True)` is the same formula in all packages, even when the rate changes.",
        _experiment(
            [(1.0, 0.1)] * 3,
            ("SGD", {"momentum": 0.9, "nesterov": True}),
            ("SGD", {"momentum": 0.9, "nesterov": True}),
            {"pt": "`nesterov=True`", "tf": "`nesterov=True`", "mx": "the optimiser `NAG`"},
            ("NAG", {"momentum": 0.9}),
        ),
    ),
    Topic(
        "weight-decay",
        "Weight decay of SGD",
        "A weight of 1, gradient 0, momentum 0.9, decay 0.1, three steps with lr 0.1.",
        "Decay added to the gradient goes through the momentum; decay of the weight itself "
        "doesn't. At momentum 0.9 the same number then regularises ten times as strongly.",
        "`weight_decay` is added to the gradient in all packages, as in the papers and d2l.",
        _experiment(
            [(0.0, 0.1)] * 3,
            ("SGD", {"momentum": 0.9, "weight_decay": 0.1}),
            ("SGD", {"momentum": 0.9, "weight_decay": 0.1}),
            {
                "pt": "coupled, through the momentum",
                "tf": "decoupled, 0.99 each step",
                "mx": "coupled, through the momentum",
            },
            ("SGD", {"momentum": 0.9, "wd": 0.1}),
        ),
    ),
    Topic(
        "rmsprop",
        "RMSProp: where eps goes",
        "A weight of 1, gradient 0.01, eps 0.001, decay 0.9, one step with lr 0.1.",
        "An eps of 1, as in TF-slim's Inception v3, means something else inside the root than "
        "outside it. The default eps and decay differ too: PyTorch 1e-8 and 0.99, Keras 1e-7 "
        "and 0.9, MXNet 1e-8 and 0.9.",
        "`RMSProp` has eps inside the root in all packages, as TensorFlow's optimiser had it "
        "when Inception v3 was trained.",
        _experiment(
            [(0.01, 0.1)],
            ("RMSprop", {"pt": {"alpha": 0.9, "eps": 1e-3}, "tf": {"rho": 0.9, "epsilon": 1e-3}}),
            ("RMSProp", {"decay": 0.9, "eps": 1e-3}),
            {"pt": "outside the root", "tf": "inside the root", "mx": "inside the root"},
            ("RMSProp", {"gamma1": 0.9, "epsilon": 1e-3, "centered": False}),
        ),
    ),
    Topic(
        "adam",
        "Adam: what eps is added to",
        "A weight of 1, gradient 1e-7, eps 1e-8, one step with lr 0.1.",
        "Keras and MXNet correct the bias of the step as a whole, so their effective eps is larger "
        "at the beginning: by 1 / sqrt(1 - beta2), which is 32 at the first step. Keras' default "
        "eps is 1e-7, ten times that of the others.",
        "`Adam` of all packages adds eps to the corrected root, as the paper's algorithm and "
        "PyTorch do.",
        _experiment(
            [(1e-7, 0.1)],
            ("Adam", {"pt": {"eps": 1e-8}, "tf": {"epsilon": 1e-8}, "mx": {"epsilon": 1e-8}}),
            ("Adam", {"eps": 1e-8}),
            {
                "pt": "to the corrected root",
                "tf": "before the correction",
                "mx": "before the correction",
            },
        ),
    ),
)
