"""PyTorch's attention: with its projections as one layer, whatever packs them; or without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .layers import Settings
from .recorder import Recorder, Slot

# Positional arguments, as `torch.nn.functional` has them.
_GIVEN = """
query key value embed_dim_to_check num_heads in_proj_weight in_proj_bias bias_k bias_v
add_zero_attn dropout_p out_proj_weight out_proj_bias training key_padding_mask need_weights
attn_mask use_separate_proj_weight q_proj_weight k_proj_weight v_proj_weight static_k static_v
average_attn_weights is_causal
"""
_GIVEN_CORE = "query key value attn_mask dropout_p is_causal scale enable_gqa"


def arguments(own: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return an attention's arguments by name; None if it isn't one that is known."""
    if own == "multi_head_attention_forward":
        given = {**dict(zip(_GIVEN.split(), args, strict=False)), **kwargs}
        rare = ("bias_k", "bias_v", "static_k", "static_v")
        plain = all(given.get(name) is None for name in rare) and not given.get("add_zero_attn")
        return given if plain and given["query"].dim() == 3 else None
    if own == "scaled_dot_product_attention":
        given = {**dict(zip(_GIVEN_CORE.split(), args, strict=False)), **kwargs}
        return None if given.get("enable_gqa") else given
    return None


def record(
    recorder: Recorder, given: Mapping[str, Any], slots: Mapping[int, str], names: tuple[str, str],
    outputs: Sequence[Any],
) -> None:  # fmt: skip
    """Record a call of `multi_head_attention_forward`.

    Args:
        recorder: is told of it.
        given: its arguments.
        slots: id of a parameter -> its path.
        names: the layer's name, and the block that it is in.
        outputs: what it returned: (T, N, features), and perhaps the weights of all places.
    """
    name, block = names
    made: dict[int, Any] = {}
    for which in ("query", "key", "value"):
        tensor = given[which]
        if id(tensor) not in made:
            made[id(tensor)] = tensor.transpose(0, 1)
            recorder.layer(f"{name}.{which}", "permute", {"order": (1, 0, 2)}, [tensor],
                           [made[id(tensor)]], block=block)  # fmt: skip
    inputs = [made[id(given[which])] for which in ("query", "key", "value")]
    settings: Settings = {"heads": int(given["num_heads"])}
    mask, more = _mask(given, given.get("key_padding_mask"))
    if mask is not None:
        _record_mask(recorder, mask, f"{name}.mask", block, inputs[0])
        inputs.append(mask)
    out = outputs[0].transpose(0, 1)
    recorder.layer(
        name, "attention", {**settings, **more}, inputs, [out], _weights(given, slots), block,
        "MultiheadAttention",
    )  # fmt: skip
    recorder.layer(f"{name}.output", "permute", {"order": (1, 0, 2)}, [out], outputs[:1],
                   block=block)  # fmt: skip
    for weights in outputs[1:]:
        recorder.layer(f"{name}.weights", "attention_weights", {}, inputs[:2], [weights],
                       block=block)  # fmt: skip


def record_core(
    recorder: Recorder, given: Mapping[str, Any], names: tuple[str, str], outputs: Sequence[Any]
) -> None:
    """Record a call of `scaled_dot_product_attention`; arguments as in `record`."""
    name, block = names
    inputs = [given[which] for which in ("query", "key", "value")]
    mask, settings = _mask(given, None)
    if given.get("scale") is not None:
        settings["scale"] = float(given["scale"])
    if given.get("is_causal"):
        settings["causal"] = True
    if mask is not None:
        _record_mask(recorder, mask, f"{name}.mask", block, inputs[0])
        inputs.append(mask)
    recorder.layer(
        name, "attention_core", settings, inputs, outputs[:1], {}, block,
        "scaled_dot_product_attention",
    )  # fmt: skip


def _record_mask(recorder: Recorder, mask: Any, name: str, block: str, query: Any) -> None:
    """Record a mask as it is used; it isn't compared by itself."""
    recorder.layer(name, "cast", {}, [query], [mask], block=block)


def _mask(given: Mapping[str, Any], padding: Any) -> tuple[Any, Settings]:
    """Return where to attend, 1 or 0, and whether that is all that is before a step.

    Or what is added to the scores, which the settings say.
    """
    own = given.get("attn_mask")
    query, key = given["query"], given["key"]
    with_heads = padding is not None or "num_heads" in given
    steps, places = (query.shape[0], key.shape[0]) if with_heads else \
        (query.shape[-2], key.shape[-2])  # fmt: skip
    causal, additive, attend = False, None, None
    if own is not None:
        array = own.detach().cpu().numpy()
        boolean = array.dtype == bool
        meant = (~array if with_heads else array) if boolean else np.isneginf(array) == 0
        if not boolean and np.any(array[meant] != 0):
            additive = own
        elif array.shape[-2:] == (steps, places) and _is_causal(meant):
            causal = True
        else:
            attend = meant
    if additive is not None:
        if padding is not None:
            additive = additive + query.new_zeros(padding.shape).masked_fill(
                padding.bool(), float("-inf")
            )[:, None, None]  # fmt: skip
        shown = _per_head(additive, given) if with_heads else additive
        return shown, {"causal": False, "additive": True}
    settings: Settings = {"causal": causal}
    if padding is not None:
        left = padding.detach().cpu().numpy()
        left = left if left.dtype == bool else np.isneginf(left)
        right = (~left)[:, None, None]
        attend = right if attend is None else _per_head(attend, given) & right
    if attend is None:
        return None, settings
    shown = _per_head(attend, given) if with_heads else attend
    return query.new_tensor(np.ascontiguousarray(shown, dtype=np.float64)), settings


def _is_causal(attend: Any) -> bool:
    steps, places = attend.shape[-2:]
    return bool((attend == np.tri(steps, places, dtype=bool)).all())


def _per_head(mask: Any, given: Mapping[str, Any]) -> Any:
    """(N * heads, T, S) -> (N, heads, T, S); two axes are for all."""
    if len(mask.shape) != 3:
        return mask
    return mask.reshape(-1, int(given["num_heads"]), *mask.shape[1:])


def _weights(given: Mapping[str, Any], slots: Mapping[int, str]) -> dict[str, Slot]:
    found = {}
    apart = given.get("use_separate_proj_weight")
    packed, bias = given.get("in_proj_weight"), given.get("in_proj_bias")
    width = int(given["query"].shape[-1])
    for i, role in enumerate("qkv"):
        if apart:
            found[f"{role}_weight"] = _slot(given[f"{role}_proj_weight"], slots)
        else:
            found[f"{role}_weight"] = _slot(packed, slots, slice(i * width, (i + 1) * width))
        if bias is not None:
            found[f"{role}_bias"] = _slot(bias, slots, slice(i * width, (i + 1) * width))
    found["out_weight"] = _slot(given["out_proj_weight"], slots)
    if given.get("out_proj_bias") is not None:
        found["out_bias"] = _slot(given["out_proj_bias"], slots)
    return found


def _slot(tensor: Any, slots: Mapping[int, str], place: slice | None = None) -> Slot:
    array = tensor.detach().cpu().numpy().copy()
    path = slots.get(id(tensor))
    if place is None:
        return Slot(path, array)
    return Slot(path, array[place], lambda a: a, array, place)
