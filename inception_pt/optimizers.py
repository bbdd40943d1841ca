"""Optimisers in PyTorch, following the definitions that all packages share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


class SGD(torch.optim.SGD):
    """Stochastic gradient descent, PyTorch's own.

    With g = gradient + weight_decay w, and v = 0 before the first step:

        v <- momentum v + g
        w <- w - lr v,  or with nesterov  w <- w - lr (g + momentum v)

    Source: d2l, sections 12.4 and 12.6; Sutskever et al. 2013 for Nesterov's form.
    The velocity doesn't contain lr, so a new lr takes effect at once, as in
    PyTorch and in TensorFlow's MomentumOptimizer.
    Deviation: none.

    Args:
        params: the parameters to train, as PyTorch's optimisers take them.
        lr: learning rate; 0.1 is d2l's for GoogLeNet.
        momentum: share of the velocity that is kept; 0.9 in the 2014 paper.
        nesterov: whether to look ahead along the velocity.
        weight_decay: factor of w in the gradient, for every trained array.

    Raises:
        ValueError: lr or weight_decay is negative, momentum isn't in [0, 1), or
            `nesterov` without momentum.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 0.1,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        require_not_negative(lr=lr, weight_decay=weight_decay)
        require_shares(momentum=momentum)
        require_momentum(momentum, nesterov)
        super().__init__(params, lr, momentum, nesterov=nesterov, weight_decay=weight_decay)


class Adam(torch.optim.Adam):
    """Adam, PyTorch's own.

    With g = gradient + weight_decay w, and m = s = 0 before the first step, t = 1:

        m <- beta1 m + (1 - beta1) g
        s <- beta2 s + (1 - beta2) g^2
        w <- w - lr (m / (1 - beta1^t)) / (sqrt(s / (1 - beta2^t)) + eps)

    Source: Kingma and Ba 2014, arXiv:1412.6980, algorithm 1; d2l, section 12.10.
    Deviation: none; eps is added to the corrected root, not to sqrt(s).

    Args:
        params: the parameters to train, as PyTorch's optimisers take them.
        lr: learning rate.
        beta1: share of the mean gradient that is kept.
        beta2: share of the mean squared gradient that is kept.
        eps: added to the root.
        weight_decay: factor of w in the gradient, for every trained array.

    Raises:
        ValueError: lr, eps or weight_decay is negative, or a beta isn't in [0, 1).
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        require_not_negative(lr=lr, eps=eps, weight_decay=weight_decay)
        require_shares(beta1=beta1, beta2=beta2)
        super().__init__(params, lr, (beta1, beta2), eps, weight_decay)


class RMSProp(torch.optim.Optimizer):
    """RMSProp.

    With g = gradient + weight_decay w, and s = 0 before the first step:

        s <- decay s + (1 - decay) g^2
        w <- w - lr g / sqrt(s + eps)

    Source: d2l, section 12.8; Szegedy et al. 2015, arXiv:1512.00567, section 8, for
    lr, decay and an eps of 1, whose place matters: it is inside the root.
    Deviation: TensorFlow's first RMSPropOptimizer, the paper's, began with s = 1.
    PyTorch's own adds eps to the root.

    Args:
        params: the parameters to train, as PyTorch's optimisers take them.
        lr: learning rate.
        decay: share of the mean squared gradient that is kept.
        eps: added under the root.
        weight_decay: factor of w in the gradient, for every trained array.

    Raises:
        ValueError: lr, eps or weight_decay is negative, or decay isn't in [0, 1).
    """

    def __init__(
        self,
        params: Any,
        lr: float = 0.045,
        decay: float = 0.9,
        eps: float = 1.0,
        weight_decay: float = 0.0,
    ) -> None:
        require_not_negative(lr=lr, eps=eps, weight_decay=weight_decay)
        require_shares(decay=decay)
        defaults = {"lr": lr, "decay": decay, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update the parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for w in group["params"]:
                if w.grad is not None:
                    g = w.grad.add(w, alpha=group["weight_decay"])
                    state = self.state[w]
                    if "square" not in state:
                        state["square"] = torch.zeros_like(w)
                    s = state["square"]
                    s.mul_(group["decay"]).addcmul_(g, g, value=1.0 - group["decay"])
                    w.addcdiv_(g, (s + group["eps"]).sqrt_(), value=-group["lr"])
        return loss


def require_shares(**shares: float) -> None:
    """Raise ValueError naming every number that isn't in [0, 1)."""
    wrong = [
        f"{name}={share!r}, but should be at least 0 and less than 1"
        for name, share in shares.items()
        if not 0.0 <= share < 1.0
    ]
    if wrong:
        raise ValueError("; ".join(wrong))


def require_not_negative(**numbers: float) -> None:
    """Raise ValueError naming every number that is negative, infinite or not a number."""
    wrong = [
        f"{name}={number!r}, but should be at least 0 and finite"
        for name, number in numbers.items()
        if not 0.0 <= number < float("inf")
    ]
    if wrong:
        raise ValueError("; ".join(wrong))


def require_momentum(momentum: float, nesterov: bool) -> None:
    """Raise ValueError if Nesterov's form is asked for without momentum."""
    if nesterov and momentum == 0.0:
        raise ValueError("momentum=0.0, but should be more than 0 with nesterov=True")
