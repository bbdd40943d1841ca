"""Optimisers in Keras 3, following the definitions that all packages share.

Keras' own `weight_decay` shrinks the weights separately from the step, however the
step is scaled; here it is part of the gradient. `learning_rate` of an optimiser, and
so `lr`, has the dtype of `keras.config.floatx()`.
"""

from __future__ import annotations

from typing import Any, ClassVar

import keras
from keras import KerasTensor, ops


class CoupledDecay:
    """Shared by the optimisers below: decay as part of the gradient, and their configs."""

    coupled_decay = 0.0
    native_names: ClassVar[dict[str, str]]  # argument here -> its name in Keras' own config

    def decayed(self, gradient: KerasTensor, variable: keras.Variable) -> KerasTensor:
        """Return gradient + weight_decay variable."""
        gradient = ops.cast(gradient, variable.dtype)
        return gradient + self.coupled_decay * variable if self.coupled_decay else gradient

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()  # type: ignore[misc]
        ours = {name: config[native] for name, native in self.native_names.items()}
        common = {
            name: config[name]
            for name in ("name", "clipnorm", "global_clipnorm", "clipvalue", "use_ema",
                         "ema_momentum", "ema_overwrite_frequency", "loss_scale_factor",
                         "gradient_accumulation_steps")
        }  # fmt: skip
        return {**common, **ours, "weight_decay": self.coupled_decay}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        lr = config["lr"]
        if isinstance(lr, dict):  # a schedule that was set as `learning_rate`
            config = {**config, "lr": 0.0}
        optimizer = cls(**config)
        if isinstance(lr, dict):
            optimizer.learning_rate = keras.optimizers.schedules.deserialize(lr, custom_objects)  # type: ignore[attr-defined]
        return optimizer


@keras.saving.register_keras_serializable("inception_tf")
class SGD(CoupledDecay, keras.optimizers.SGD):
    """Stochastic gradient descent.

    With g = gradient + weight_decay w, and v = 0 before the first step:

        v <- momentum v + g
        w <- w - lr v,  or with nesterov  w <- w - lr (g + momentum v)

    Source: d2l, sections 12.4 and 12.6; Sutskever et al. 2013 for Nesterov's form.
    The velocity doesn't contain lr, so a new lr takes effect at once, as in
    PyTorch and in TensorFlow's MomentumOptimizer.
    Deviation: none.
    Keras' own velocity contains lr, so it keeps the old lr when lr changes.

    Args:
        lr: learning rate; 0.1 is d2l's for GoogLeNet.
        momentum: share of the velocity that is kept; 0.9 in the 2014 paper.
        nesterov: whether to look ahead along the velocity.
        weight_decay: factor of w in the gradient, for every trained array.

    Raises:
        ValueError: lr or weight_decay is negative, momentum isn't in [0, 1), or
            `nesterov` without momentum.
    """

    native_names: ClassVar = {"lr": "learning_rate", "momentum": "momentum", "nesterov": "nesterov"}

    def __init__(
        self,
        lr: float = 0.1,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        **kwargs: Any,
    ) -> None:
        require_not_negative(lr=lr, weight_decay=weight_decay)
        require_shares(momentum=momentum)
        require_momentum(momentum, nesterov)
        super().__init__(float(lr), float(momentum), nesterov, **kwargs)
        self.coupled_decay = weight_decay

    def update_step(
        self, gradient: KerasTensor, variable: keras.Variable, learning_rate: Any
    ) -> None:
        g = self.decayed(gradient, variable)
        if self.momentum:
            v = self.momentums[self._get_variable_index(variable)]
            self.assign(v, self.momentum * v + g)
            g = g + self.momentum * v if self.nesterov else v
        self.assign_sub(variable, ops.cast(learning_rate, variable.dtype) * g)


@keras.saving.register_keras_serializable("inception_tf")
class Adam(CoupledDecay, keras.optimizers.Adam):
    """Adam.

    With g = gradient + weight_decay w, and m = s = 0 before the first step, t = 1:

        m <- beta1 m + (1 - beta1) g
        s <- beta2 s + (1 - beta2) g^2
        w <- w - lr (m / (1 - beta1^t)) / (sqrt(s / (1 - beta2^t)) + eps)

    Source: Kingma and Ba 2014, arXiv:1412.6980, algorithm 1; d2l, section 12.10.
    Deviation: none; eps is added to the corrected root, not to sqrt(s).
    Keras' own adds it to sqrt(s), and its default is 1e-7.

    Args:
        lr: learning rate.
        beta1: share of the mean gradient that is kept.
        beta2: share of the mean squared gradient that is kept.
        eps: added to the root.
        weight_decay: factor of w in the gradient, for every trained array.

    Raises:
        ValueError: lr, eps or weight_decay is negative, or a beta isn't in [0, 1).
    """

    native_names: ClassVar = {
        "lr": "learning_rate", "beta1": "beta_1", "beta2": "beta_2", "eps": "epsilon"
    }  # fmt: skip

    def __init__(
        self,
        lr: float = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        **kwargs: Any,
    ) -> None:
        require_not_negative(lr=lr, eps=eps, weight_decay=weight_decay)
        require_shares(beta1=beta1, beta2=beta2)
        super().__init__(float(lr), beta1, beta2, eps, **kwargs)
        self.coupled_decay = weight_decay

    def update_step(
        self, gradient: KerasTensor, variable: keras.Variable, learning_rate: Any
    ) -> None:
        g = self.decayed(gradient, variable)
        t = ops.cast(self.iterations + 1, variable.dtype)
        index = self._get_variable_index(variable)
        m, s = self._momentums[index], self._velocities[index]
        self.assign(m, self.beta_1 * m + (1.0 - self.beta_1) * g)
        self.assign(s, self.beta_2 * s + (1.0 - self.beta_2) * ops.square(g))
        # Not ops.cast, which rounds a number to float32 on its way to float64.
        beta1, beta2 = (ops.convert_to_tensor(b, g.dtype) for b in (self.beta_1, self.beta_2))
        mean = m / (1.0 - ops.power(beta1, t))
        square = s / (1.0 - ops.power(beta2, t))
        lr = ops.cast(learning_rate, variable.dtype)
        self.assign_sub(variable, lr * mean / (ops.sqrt(square) + self.epsilon))


@keras.saving.register_keras_serializable("inception_tf")
class RMSProp(CoupledDecay, keras.optimizers.RMSprop):
    """RMSProp, Keras' own except for weight decay.

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

    native_names: ClassVar = {"lr": "learning_rate", "decay": "rho", "eps": "epsilon"}

    def __init__(
        self,
        lr: float = 0.045,
        decay: float = 0.9,
        eps: float = 1.0,
        weight_decay: float = 0.0,
        **kwargs: Any,
    ) -> None:
        require_not_negative(lr=lr, eps=eps, weight_decay=weight_decay)
        require_shares(decay=decay)
        super().__init__(float(lr), decay, epsilon=eps, **kwargs)
        self.coupled_decay = weight_decay

    def update_step(
        self, gradient: KerasTensor, variable: keras.Variable, learning_rate: Any
    ) -> None:
        super().update_step(self.decayed(gradient, variable), variable, learning_rate)


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
