"""One training step of two models: right ports pass, and mistakes are found at the right array."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inception_parity import InputError, StepOptions
from inception_parity.models import ModelReport, capture, compare

from ..conftest import chosen_backends
from ..support.command import call, require_clear_error
from ..support.selection import slow_unless, takes_turn
from ..support.small_models import (
    functional_keras_net,
    gluon_net,
    images,
    keras_net,
    mxnet_module,
    torch_net,
)
from .pairs import Pair, all_pairs, compared

pytestmark = pytest.mark.skipif(
    not {"pt", "tf", "mx"} <= set(chosen_backends()), reason="holds three frameworks together"
)
NETS: dict[str, Callable[[], Any]] = {
    "pt": torch_net, "tf": functional_keras_net, "mx": gluon_net, "subclassed": keras_net,
}  # fmt: skip
PAIRS = [("pt", "pt"), ("pt", "subclassed"), ("pt", "mx"), ("tf", "pt"), ("tf", "mx"), ("mx", "tf")]


def stepped(a: Any, b: Any, **options: Any) -> ModelReport:
    step = StepOptions(**{"loss": "cross-entropy", **options})
    return compare(a, b, images(), copy_weights=True, mode="training", step=step)


def found(made: ModelReport) -> tuple[str, str, str]:
    """Return what differs first, of which array, and why."""
    assert made.fails
    assert made.step is not None
    first, cause = made.step.first, made.step.cause
    assert first is not None, made.text()
    assert cause is not None, made.text()
    return first.quantity, first.name, cause.cause


STEPS = [("cross-entropy", "momentum"), ("projection", "adam"), ("mse", "nesterov")]


@slow_unless(
    lambda p: takes_turn(STEPS, (p["loss"], p["optimizer"]), PAIRS.index((p["a"], p["b"]))),
    "each pair with one loss and optimizer, in turn",
)
@pytest.mark.parametrize(("loss", "optimizer"), STEPS)
@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_right_ports_take_the_same_step(a: str, b: str, loss: str, optimizer: str) -> None:
    made = stepped(NETS[a](), NETS[b](), loss=loss, optimizer=optimizer)
    assert not made.fails, made.text()
    step = made.step
    assert step is not None
    counts = {
        q: sum(row.quantity == q for row in step.rows) for q in (r.quantity for r in step.rows)
    }
    assert counts == {
        "loss": 1, "output gradient": 1, "gradient": 12, "input gradient": 1, "statistic": 2,
        # Adam makes whole steps of a gradient that is only rounding, as a bias' before batch norm.
        "weight": 11 if optimizer == "adam" else 12,
    }  # fmt: skip
    assert len(step.rounding) == 1
    worst = max(row.rel_l2 or 0.0 for row in step.rows)
    assert worst <= 1e-13  # measured: 4e-14 after Adam, 2e-15 before
    assert max(row.limit or 0.0 for row in step.rows if row.quantity != "weight") == 1e-10


# Without momentum alike: Keras' default keeps 0.99 of the old statistics, PyTorch's 0.9. MXNet's
# instance norm doesn't run in float64.
UNLIKE = ("batch-norm-pt-tf", "instance-norm-pt-mx")
QUICK = ("lstm", "attention", "embedding", "gelu", "group-norm")
SMALL = [
    pytest.param(p, marks=() if p.name.startswith(QUICK) else pytest.mark.slow, id=str(p))
    for p in all_pairs()
    if "onnx" not in p.frameworks and str(p) not in UNLIKE
]


@pytest.mark.parametrize("pair", SMALL)
def test_right_ports_of_every_kind_take_the_same_step(pair: Pair) -> None:
    for optimizer in ("momentum", "adam"):
        step = StepOptions(optimizer=optimizer)
        made = compared(pair, pair.port, mode="training", step=step)
        assert not made.fails, made.text()


def test_float32_inside_has_wider_limits_and_says_so() -> None:
    pair = next(p for p in all_pairs() if str(p) == "leaky-relu-pt-mx")
    made = compared(pair, pair.port, mode="training")
    assert made.step is not None
    assert made.step.float32
    limits = [row.limit or 0.0 for row in made.step.rows]
    assert 1e-10 < max(limits) <= 1e-4


def test_conventions_are_named_where_the_two_differ() -> None:
    same = stepped(torch_net(), torch_net(), optimizer="adam").step
    assert same is not None
    assert same.conventions == []
    other = stepped(torch_net(), functional_keras_net(), optimizer="adam").step
    assert other is not None
    assert [text.split()[0] for text in other.conventions] == ["Keras", "PyTorch's"]


def test_models_are_left_as_they_were() -> None:
    net, port, gluon = torch_net(), functional_keras_net(), gluon_net()
    net.fc.weight.grad = gradient = net.fc.weight.detach() * 2
    stepped(net, gluon)
    stepped(net, port)
    assert net.drop.p == 0.5
    assert net.training
    assert net.fc.weight.grad is gradient
    assert net.stem[1].num_batches_tracked == 0
    assert [layer.rate for layer in port.layers if hasattr(layer, "rate")] == [0.5]
    assert {v.dtype for v in port.trainable_variables} == {"float32"}
    parameters = gluon.collect_params().values()
    assert {np.dtype(p.dtype) for p in parameters} == {np.dtype("float32")}
    assert all(p._trainer is None for p in parameters)
    fresh = torch_net().state_dict()
    assert all(bool((value == fresh[name]).all()) for name, value in net.state_dict().items())


def test_dropout_is_off_also_where_it_is_a_function() -> None:
    from torch import nn
    from torch.nn import functional as F

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(6, 4)
            self.attention = nn.MultiheadAttention(4, 2, dropout=0.5, batch_first=True)

        def forward(self, x: Any) -> Any:
            y = F.dropout(self.fc(x), 0.25, self.training)
            y = F.scaled_dot_product_attention(y, y, y, dropout_p=0.1 if self.training else 0.0)
            return self.attention(y, y, y, need_weights=False)[0]

    x = np.random.default_rng(0).standard_normal((2, 5, 6))
    made = compare(Net(), Net(), x, copy_weights=True, mode="training")
    assert not made.fails, made.text()
    assert made.step is not None
    assert made.step.dropout == ((0.5, 0.25, 0.1), (0.5, 0.25, 0.1))


def test_what_is_random_otherwise_is_refused() -> None:
    import torch
    from torch import nn

    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(6, 4)

        def forward(self, x: Any) -> Any:
            y = self.fc(x)
            return y + torch.randn_like(y) if self.training else y

    x = np.random.default_rng(0).standard_normal((2, 6))
    with pytest.raises(InputError, match=r"draws random numbers.*stochastic depth"):
        compare(Noisy(), Noisy(), x, copy_weights=True, mode="training")


# ----------------------------------------------------------------- mistakes in a model


def with_momentum(net: Any, momentum: float) -> Any:
    net.stem[1].momentum = momentum
    return net


def keras_with(change: Callable[[Any], None]) -> Any:
    net = keras_net()
    net(images().transpose(0, 2, 3, 1).astype(np.float32))
    change(net)
    return net


def frozen(net: Any) -> Any:
    net.right1.weight.requires_grad_(False)
    return net


def gluon_with(change: Callable[[Any], None]) -> Any:
    net = gluon_net()
    change(net)
    return net


def detached() -> Any:
    net = torch_net()
    net.stem.register_forward_hook(lambda module, x, y: y.detach())
    return net


def halved(net: Any) -> Any:
    for parameter in net.parameters():
        parameter.register_hook(lambda gradient: gradient / 2)
    return net


def regular(net: Any) -> None:
    import keras

    net.fc.kernel_regularizer = keras.regularizers.L2(1e-3)
    net.fc.kernel.regularizer = net.fc.kernel_regularizer


MODELS = {
    "momentum-inverted": (
        torch_net, lambda: with_momentum(torch_net(), 0.9),
        ("statistic", "stem.1.running_var", "momentum"),
    ),
    "momentum-of-keras": (
        torch_net, lambda: keras_with(lambda net: setattr(net.norm, "momentum", 0.99)),
        ("statistic", "stem.1.running_var", "momentum"),
    ),
    "momentum-in-torch": (
        lambda: keras_with(lambda net: None), lambda: with_momentum(torch_net(), 0.01),
        ("statistic", "norm.running_var", "momentum"),
    ),
    "frozen-in-torch": (
        torch_net, lambda: frozen(torch_net()), ("gradient", "right1.weight", "frozen"),
    ),
    "frozen-in-keras": (
        torch_net, lambda: keras_with(lambda net: setattr(net.block.left, "trainable", False)),
        ("gradient", "left.bias", "frozen"),
    ),
    "frozen-in-gluon": (
        torch_net, lambda: gluon_with(lambda net: setattr(net.right2.bias, "grad_req", "null")),
        ("gradient", "right2.bias", "frozen"),
    ),
    "detached": (torch_net, detached, ("gradient", "stem.1.bias", "cut-off")),
    "halved": (torch_net, lambda: halved(torch_net()), ("gradient", "fc.bias", "gradient-scaled")),
    "regularised": (
        torch_net, lambda: keras_with(regular), ("loss", "loss", "regularisation"),
    ),
    "rate-of-one-layer": (
        torch_net, lambda: gluon_with(lambda net: setattr(net.left.weight, "lr_mult", 3.0)),
        ("weight", "left.weight", "rate"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", MODELS)
def test_a_mistake_in_a_model_is_found_at_its_array(fault: str) -> None:
    original, port, expected = MODELS[fault]
    assert found(stepped(original(), port())) == expected


def test_a_batch_norm_that_doesn_t_train_is_where_the_models_part() -> None:
    made = stepped(torch_net(), keras_with(lambda net: setattr(net.norm, "trainable", False)))
    assert made.step is not None
    assert made.step.forward == "stem.1"
    assert "in training mode the models part at stem.1" in made.text()


def test_a_weight_that_is_no_longer_shared_is_named() -> None:
    from torch import nn

    class Net(nn.Module):
        def __init__(self, tied: bool) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)
            if tied:
                self.second.weight = self.first.weight
            else:
                self.second.weight.data = self.first.weight.data.clone()

        def forward(self, x: Any) -> Any:
            return self.second(self.first(x).tanh())

    x = np.random.default_rng(0).standard_normal((2, 6))
    made = compare(Net(True), Net(False), x, copy_weights=True, mode="training")
    assert found(made) == ("gradient", "second.weight", "not-shared")


# ----------------------------------------------------------------- losses and optimizers


def torch_loss(**options: Any) -> Callable[[Any, Any], Any]:
    from torch.nn import functional as F

    return lambda output, target: F.cross_entropy(output, target, **options)


def keras_twice(target: Any, output: Any) -> Any:
    import keras

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    odds = keras.ops.exp(output)
    return loss(target, odds / keras.ops.sum(odds, axis=-1, keepdims=True))


def gluon_loss(output: Any, target: Any) -> Any:
    gluon = mxnet_module().gluon
    return gluon.loss.SoftmaxCrossEntropyLoss()(output, target)


@pytest.mark.parametrize(
    ("port", "loss", "cause", "text"),
    [
        (torch_net, torch_loss, None, ""),
        (gluon_net, lambda: gluon_loss, None, ""),
        (torch_net, lambda: torch_loss(reduction="sum"), "loss-scaled", "the sum over the batch"),
        (torch_net, lambda: torch_loss(label_smoothing=0.1), "label-smoothing", "smoothed by 0.1"),
        (functional_keras_net, lambda: keras_twice, "softmax-twice", "softmax twice"),
    ],
    ids=["right", "right-gluon", "sum", "smoothing", "softmax"],
)
def test_the_port_s_own_loss(port: Any, loss: Any, cause: str | None, text: str) -> None:
    made = stepped(torch_net(), port(), loss_b=loss())
    if cause is None:
        assert not made.fails, made.text()
        return
    assert found(made) == ("loss", "loss", cause)
    assert text in made.text()


def torch_optimizer(name: str, **options: Any) -> Callable[[Any], Any]:
    import torch

    return lambda parameters: getattr(torch.optim, name)(parameters, **options)


def keras_optimizer(name: str, **options: Any) -> Callable[[], Any]:
    import keras

    return lambda: getattr(keras.optimizers, name)(**options)


def gluon_trainer(name: str, **options: Any) -> Callable[[Any], Any]:
    return lambda parameters: mxnet_module().gluon.Trainer(parameters, name, options)


@pytest.mark.parametrize(
    ("stated", "port", "own", "cause", "text"),
    [
        ("adam", torch_net, lambda: torch_optimizer("Adam", lr=2**-10), None, ""),
        ("adam", gluon_net, lambda: gluon_trainer("adam", learning_rate=2**-10), None, ""),
        (
            "adam", functional_keras_net, lambda: keras_optimizer("Adam", learning_rate=2**-10),
            "eps", "eps 1e-07, but should be 1e-08",
        ),
        (
            "adam", torch_net, lambda: torch_optimizer("AdamW", lr=2**-10, weight_decay=0.01),
            "decay-decoupled", "weights decay by 0.01 times lr",
        ),
        (
            "adam", torch_net, lambda: torch_optimizer("Adam", lr=2**-10, weight_decay=0.01),
            "decay-coupled", "weight decay 0.01 coupled",
        ),
        ("sgd", torch_net, lambda: torch_optimizer("SGD", lr=2**-9), "rate", "2 times as large"),
        (
            "sgd", torch_net, lambda: torch_optimizer("SGD", lr=2**-10, weight_decay=5e-4),
            "decay-coupled", "weight decay 0.0005 coupled",
        ),
    ],
    ids=["right", "right-gluon", "eps", "decoupled", "coupled", "rate", "sgd-decay"],
)  # fmt: skip
def test_the_port_s_own_optimizer(
    stated: str, port: Any, own: Any, cause: str | None, text: str
) -> None:
    made = stepped(torch_net(), port(), optimizer=stated, lr=2**-10, optimizer_b=own())
    if cause is None:
        assert not made.fails, made.text()
        return
    assert found(made)[::2] == ("weight", cause)
    assert text in made.text()


# ----------------------------------------------------------------- what can't be used


def test_what_can_t_be_trained_is_refused(tmp_path: Path) -> None:
    net = torch_net()
    for model, text in (
        ("net.onnx", "an ONNX file can't be trained here"),
        (capture(net, images(), out=tmp_path / "kept"), "a kept trace can't be trained"),
    ):
        with pytest.raises(InputError, match=text):
            compare(net, model, images(), mode="training")
    with pytest.raises(InputError, match="judged in float64 only"):
        compare(net, net, images(), mode="training", dtype="float32")
    with pytest.raises(InputError, match="mode 'train', but should be one of"):
        compare(net, net, images(), mode="train")
    with pytest.raises(InputError, match=r"no loss 'crossentropy' \(did you mean"):
        stepped(net, net, loss="crossentropy")
    with pytest.raises(InputError, match="labels up to 10, but there are 10 classes"):
        stepped(net, net, targets=np.array([3, 10]))
    with pytest.raises(InputError, match="RMSProp keeps its state in float32"):
        stepped(net, gluon_net(), optimizer="rmsprop")


def test_a_difference_in_inference_is_told_alone() -> None:
    made = compare(torch_net(), torch_net(eps=0.5), images(), mode="training")
    assert made.fails
    assert made.step is None


def test_the_command_compares_a_step(
    tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "step_nets.py").write_text(
        "import torch\n"
        "from torch import nn\n"
        "def net(momentum=0.1):\n"
        "    torch.manual_seed(0)\n"
        "    norm = nn.BatchNorm2d(4, momentum=momentum)\n"
        "    return nn.Sequential(nn.Conv2d(3, 4, 3), norm, nn.Flatten(), nn.Linear(64, 5))\n"
        "def port():\n"
        "    return net(0.9)\n"
        "def loss(output, target):\n"
        "    return nn.functional.cross_entropy(output, target, reduction='sum')\n"
    )
    np.save(tmp_path / "labels.npy", np.array([1, 0, 4, 2]))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "step_nets", raising=False)
    words = ("compare-models", "step_nets.py:net", "step_nets.py:net", "--input", "4x3x6x6")
    step = (*words, "--mode", "training", "--loss", "cross-entropy")
    made = call(capsys, *step, "--target", "labels.npy", "--json", "right.json")
    assert made.code == 0
    assert "and one training step" in made.out
    assert json.loads((tmp_path / "right.json").read_text())["step"]["fails"] is False
    wrong = [word.replace(":net", ":port") if word == words[2] else word for word in step]
    made = call(capsys, *step[:2], "step_nets.py:port", *step[3:], "--json", "wrong.json")
    assert made.code == 1, wrong
    record = json.loads((tmp_path / "wrong.json").read_text())["step"]
    assert record["first"] == {"quantity": "statistic", "a": "1.running_var"}
    assert record["cause"]["cause"] == "momentum"
    made = call(capsys, *step, "--loss-b", "step_nets.py:loss")
    assert made.code == 1
    assert "the sum over the batch of 4 instead of the mean" in made.out
    require_clear_error(call(capsys, *words, "--lr", "0.1"), "--lr is for --mode training")
    require_clear_error(call(capsys, *step, "--report", "page.html"), "no page of a training step")
