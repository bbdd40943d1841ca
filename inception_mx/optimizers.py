"""Optimisers in MXNet Gluon, following the definitions that all packages share.

Give one to `gluon.Trainer`; its `step(N)` divides the gradients by N. MXNet's fused
operators round lr, decay and the like to float32, whatever the parameters' dtype;
the arithmetic written out here doesn't.
"""

from __future__ import annotations

from typing import Any

from ._mxnet import mxnet


class SGD(mxnet.optimizer.Optimizer):
    """Stochastic gradient descent.

    With g = gradient + weight_decay w, and v = 0 before the first step:

        v <- momentum v + g
        w <- w - lr v,  or with nesterov  w <- w - lr (g + momentum v)

    Source: d2l, sections 12.4 and 12.6; Sutskever et al. 2013 for Nesterov's form.
    The velocity doesn't contain lr, so a new lr takes effect at once, as in
    PyTorch and in TensorFlow's MomentumOptimizer.
    Deviation: none.
    MXNet's own velocity contains lr, so it keeps the old lr when lr changes.
    Without momentum it is MXNet's fused operator.

    Args:
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
        lr: float = 0.1,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        require_not_negative(lr=lr, weight_decay=weight_decay)
        require_shares(momentum=momentum)
        require_momentum(momentum, nesterov)
        super().__init__(learning_rate=lr, wd=weight_decay)
        self.momentum = momentum
        self.nesterov = nesterov

    def create_state(self, index: int, weight: Any) -> Any:
        return _zeros(weight) if self.momentum else None

    def update(self, index: int, weight: Any, grad: Any, state: Any) -> None:
        self._update_count(index)
        lr, wd = self._get_lr(index), self._get_wd(index)
        if state is None:
            rescale = self.rescale_grad
            mxnet.nd.sgd_update(weight, grad, out=weight, lr=lr, wd=wd, rescale_grad=rescale)
            return
        g, v = self.rescale_grad * grad + wd * weight, state
        v[:] = self.momentum * v + g
        weight[:] -= lr * (g + self.momentum * v if self.nesterov else v)


class Adam(mxnet.optimizer.Optimizer):
    """Adam.

    With g = gradient + weight_decay w, and m = s = 0 before the first step, t = 1:

        m <- beta1 m + (1 - beta1) g
        s <- beta2 s + (1 - beta2) g^2
        w <- w - lr (m / (1 - beta1^t)) / (sqrt(s / (1 - beta2^t)) + eps)

    Source: Kingma and Ba 2014, arXiv:1412.6980, algorithm 1; d2l, section 12.10.
    Deviation: none; eps is added to the corrected root, not to sqrt(s).
    MXNet's own adds it to sqrt(s).

    Args:
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
        lr: float = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        require_not_negative(lr=lr, eps=eps, weight_decay=weight_decay)
        require_shares(beta1=beta1, beta2=beta2)
        super().__init__(learning_rate=lr, wd=weight_decay)
        self.beta1 = beta1
        self.beta2 = beta2
        self.eps = eps

    def create_state(self, index: int, weight: Any) -> Any:
        return _zeros(weight), _zeros(weight)

    def update(self, index: int, weight: Any, grad: Any, state: Any) -> None:
        self._update_count(index)
        t = self._index_update_count[index]
        g = self.rescale_grad * grad + self._get_wd(index) * weight
        m, s = state
        m[:] = self.beta1 * m + (1.0 - self.beta1) * g
        s[:] = self.beta2 * s + (1.0 - self.beta2) * g * g
        mean, square = m / (1.0 - self.beta1**t), s / (1.0 - self.beta2**t)
        weight[:] -= self._get_lr(index) * mean / (square.sqrt() + self.eps)


class RMSProp(mxnet.optimizer.RMSProp):
    """RMSProp, MXNet's own.

    With g = gradient + weight_decay w, and s = 0 before the first step:

        s <- decay s + (1 - decay) g^2
        w <- w - lr g / sqrt(s + eps)

    Source: d2l, section 12.8; Szegedy et al. 2015, arXiv:1512.00567, section 8, for
    lr, decay and an eps of 1, whose place matters: it is inside the root.
    Deviation: TensorFlow's first RMSPropOptimizer, the paper's, began with s = 1.

    Args:
        lr: learning rate.
        decay: share of the mean squared gradient that is kept.
        eps: added under the root.
        weight_decay: factor of w in the gradient, for every trained array.

    Raises:
        ValueError: lr, eps or weight_decay is negative, or decay isn't in [0, 1).
    """

    def __init__(
        self,
        lr: float = 0.045,
        decay: float = 0.9,
        eps: float = 1.0,
        weight_decay: float = 0.0,
    ) -> None:
        require_not_negative(lr=lr, eps=eps, weight_decay=weight_decay)
        require_shares(decay=decay)
        super().__init__(learning_rate=lr, gamma1=decay, epsilon=eps, wd=weight_decay)

    def create_state(self, index: int, weight: Any) -> Any:
        return (_zeros(weight),)  # MXNet's own are float32, whatever the weight's dtype


def _zeros(weight: Any) -> Any:
    return mxnet.nd.zeros(weight.shape, weight.context, dtype=weight.dtype)


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
