"""Keras' attention layers: with projections as one layer, and without."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from .layers import Settings
from .recorder import Recorder, Slot

Array = NDArray[Any]

KINDS = ("MultiHeadAttention", "Attention")


def known(layer: Any) -> bool:
    """Return whether a layer is one that is recorded here: over one axis, without a gate."""
    own = type(layer).__name__
    if own == "Attention":
        return layer.score_mode == "dot"
    plain = not getattr(layer, "_use_gate", False) and layer._query_dense.kernel.ndim == 3
    return own == "MultiHeadAttention" and plain


def record(
    recorder: Recorder, layer: Any, names: tuple[str, str], args: Sequence[Any],
    kwargs: Mapping[str, Any], outputs: Sequence[Any],
) -> None:  # fmt: skip
    """Record a call of an attention layer.

    Args:
        recorder: is told of it.
        layer: the layer.
        names: its name, and the block that it is in.
        args: what it was called with.
        kwargs: the same, by name.
        outputs: what it returned, and perhaps the weights of all places.
    """
    name, block = names
    own = type(layer).__name__
    if own == "Attention":
        given = list(args[0] if args else kwargs["inputs"])
        query, value = given[:2]
        key = given[2] if len(given) > 2 else value
        scale = 1.0 if layer.scale is None else float(layer.scale.numpy())
        settings: Settings = {"causal": bool(kwargs.get("use_causal_mask")), "scale": scale}
        masks = kwargs.get("mask") or [None, None]
        mask = masks[1] if len(masks) > 1 else None
        mask = None if mask is None else mask[:, None, :]
        kind, weights = "attention_core", {}
    else:
        named = dict(zip(("query", "value", "key"), args, strict=False)) | dict(kwargs)
        query, value = named["query"], named["value"]
        key = named.get("key")
        key = value if key is None else key
        settings = {"heads": int(layer._num_heads), "causal": bool(named.get("use_causal_mask"))}
        mask = named.get("attention_mask")
        if mask is not None:
            mask = mask[:, None] if len(mask.shape) == 3 else mask
        kind, weights = "attention", _weights(layer)
    inputs = [query, key, value]
    if mask is not None:
        shown = _numbers(mask, query.dtype)
        recorder.layer(f"{name}.mask", "cast", {}, [query], [shown], block=block)
        inputs.append(shown)
    recorder.layer(name, kind, settings, inputs, outputs[:1], weights, block, own)
    for shares in outputs[1:]:
        recorder.layer(f"{name}.weights", "attention_weights", {}, inputs[:2], [shares],
                       block=block)  # fmt: skip


def _numbers(mask: Any, dtype: Any) -> Any:
    import tensorflow

    return tensorflow.cast(tensorflow.cast(mask, "bool"), dtype)


def _weights(layer: Any) -> dict[str, Slot]:
    found = {}
    dense = {"q": layer._query_dense, "k": layer._key_dense, "v": layer._value_dense,
             "out": layer._output_dense}  # fmt: skip
    for role, part in dense.items():
        array = part.kernel.numpy()
        flat = (-1, array.shape[-1]) if role == "out" else (array.shape[0], -1)
        key = id(part._kernel if hasattr(part, "_kernel") else part.kernel)
        found[f"{role}_weight"] = Slot(key, array.reshape(flat).T, _turned(array.shape))
        if part.bias is not None:
            bias = part.bias.numpy()
            found[f"{role}_bias"] = Slot(id(part.bias), bias.reshape(-1), _shaped(bias.shape))
    return found


def _turned(shape: tuple[int, ...]) -> Callable[[Array], Array]:
    return lambda array: array.T.reshape(shape)


def _shaped(shape: tuple[int, ...]) -> Callable[[Array], Array]:
    return lambda array: array.reshape(shape)
