"""Noise floors: how far apart two correct computations in a dtype may lie.

A floor belongs to one endpoint of one run, and comes from the oracle alone.
The oracle is run again in float64 with every number that a backend would have
rounded, that is the images, the weights and the output of every layer, moved up
or down by one unit roundoff of the dtype, by the toss of a coin. The floor is
the relative L2 distance to the oracle that this makes, the worst of several
seeds, and at least one unit roundoff (where an endpoint has a few values only, the
coins may cancel). It is taken in two modes, as backends are run in two modes:

- propagated: the noise of all layers before it arrives at an endpoint;
- isolated: each layer gets the oracle's own input, moved once.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..files import write_whole
from ..networks import catalogue
from ..numerics import UNIT_ROUNDOFF, relative_l2
from ..traces.trace import INPUT, Trace

VERSION = 2  # goes up when the definition changes, so that no older floor is used
SEEDS = (0, 1, 2)
MODES = ("propagated", "isolated")

Floors = dict[str, dict[str, float]]  # mode -> endpoint -> relative L2


class _Coins:
    """Multiplies arrays by 1 ± one unit roundoff, in place."""

    def __init__(self, seed: int, roundoff: float) -> None:
        self.rng = np.random.default_rng(seed)
        # A prime length: no array of the network is a multiple of it.
        self.factors = 1 + roundoff * self.rng.choice((-1.0, 1.0), size=1_000_003)

    def move(self, array: NDArray[np.float64]) -> NDArray[np.float64]:
        flat = array.reshape(-1)
        offset = int(self.rng.integers(self.factors.size))
        start = 0
        while start < flat.size:
            stop = min(flat.size, start + self.factors.size - offset)
            flat[start:stop] *= self.factors[offset : offset + stop - start]
            start, offset = stop, 0
        return array


def measure(
    network: str,
    options: Mapping[str, Any],
    images: NDArray[np.float64],
    weights: Mapping[str, NDArray[Any]],
    oracle: Trace,
    dtype: str,
    progress: Callable[[float], None] = lambda done: None,
) -> Floors:
    """Return the floor of every endpoint in both modes.

    Args:
        network: its name in the catalogue.
        options: its options.
        images: what the oracle was fed.
        weights: what the oracle was loaded with.
        oracle: the oracle's trace of that run.
        dtype: the dtype whose rounding makes the noise.
        progress: called with the part that is done, 0 to 1.
    """
    floors: Floors = {mode: {} for mode in MODES}
    runs = [(mode, seed) for mode in MODES for seed in SEEDS]
    for done, (mode, seed) in enumerate(runs):
        coins = _Coins(seed, UNIT_ROUNDOFF[dtype])
        for name, error in _noisy_run(network, options, images, weights, oracle, coins, mode):
            floors[mode][name] = max(error, floors[mode].get(name, UNIT_ROUNDOFF[dtype]))
        progress((done + 1) / len(runs))
    return floors


def _noisy_run(
    network: str,
    options: Mapping[str, Any],
    images: NDArray[np.float64],
    weights: Mapping[str, NDArray[Any]],
    oracle: Trace,
    coins: _Coins,
    mode: str,
) -> list[tuple[str, float]]:
    import inception_np

    net = catalogue.network(network).build("inception_np", options)
    moved = {name: coins.move(array.astype(np.float64)) for name, array in weights.items()}
    moved = {k: np.abs(v) if k.endswith("running_var") else v for k, v in moved.items()}
    inception_np.set_weights(net, moved)
    del moved  # the network has copies; of a v3 these are 190 MB
    errors: list[tuple[str, float]] = []

    def watch(path: str, module: Any, leaf: bool) -> None:
        def before(_: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
            names = oracle.endpoints[path].inputs
            return tuple(coins.move(np.array(oracle.array(name))) for name in names)

        def after(_: Any, args: tuple[Any, ...], output: Any) -> Any:
            if leaf:
                output = coins.move(np.array(output))
            errors.append((path, relative_l2(output, oracle.array(path))))
            return output

        if leaf and mode == "isolated":
            module.pre_hooks.append(before)
        if leaf or mode == "propagated":
            module.hooks.append(after)

    for path, module in net.named_modules():
        if path:
            watch(path, module, next(module.children(), None) is None)
    fed = coins.move(images.copy())
    errors.append((INPUT, relative_l2(fed, images)))
    outputs = net(fed)
    if mode == "propagated":
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        names = catalogue.network(network).outputs_with(options)
        for name, output in zip(names, outputs, strict=False):
            errors.append((name, relative_l2(output, oracle.array(name))))
    return errors


def key(task: Mapping[str, Any], dtype: str) -> str:
    """Return the name under which the floors of a task are kept: a hash of all they depend on.

    Args:
        task: network, options, digests of images and weights.
        dtype: whose floors.
    """
    import inception_np

    sources = sorted(Path(inception_np.__path__[0]).glob("*.py"))
    parts = [
        VERSION,
        SEEDS,
        dtype,
        task,
        [hashlib.sha256(p.read_bytes()).hexdigest() for p in sources],
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def cache_folder() -> Path:
    """Return the folder in which floors are kept between runs."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("inception-parity")) / "floors"


def cached(name: str) -> Floors | None:
    """Return the floors kept under a key, or None; unreadable ones are measured again."""
    try:
        floors: Floors = json.loads((cache_folder() / f"{name}.json").read_text())
        return floors if set(floors) == set(MODES) else None
    except (OSError, ValueError, TypeError):
        return None


def keep(name: str, floors: Floors) -> None:
    """Keep floors under a key; where that can't be done, they are measured again next time."""
    with contextlib.suppress(OSError, InputError):
        cache_folder().mkdir(parents=True, exist_ok=True)
        write_whole(cache_folder() / f"{name}.json", json.dumps(floors).encode())
