"""The weight mapping that a comparison finds, and the function that it writes."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inception_parity import InputError
from inception_parity.models import capture, compare, weight_map
from inception_parity.models.rearranging import expression

from ..conftest import chosen_backends
from ..support.command import call, require_clear_error
from ..support.small_models import functional_keras_net, gluon_net, images, keras_net, torch_net
from .test_models_onnx import X, exported, original

needs_torch = pytest.mark.skipif("pt" not in chosen_backends(), reason="its models are torch's")
needs_all = pytest.mark.skipif(
    not {"pt", "tf", "mx"} <= set(chosen_backends()), reason="holds three frameworks together"
)
PAIRS = {
    "torch-keras": (torch_net, functional_keras_net),
    "subclassed-torch": (keras_net, torch_net),
    "torch-gluon": (torch_net, gluon_net),
    "gluon-keras": (gluon_net, keras_net),
}


def loaded(file: Path) -> Any:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@needs_all
@pytest.mark.parametrize("pair", PAIRS)
def test_the_written_function_loads_one_model_s_weights_into_the_other(
    pair: str, tmp_path: Path
) -> None:
    one, other = (make() for make in PAIRS[pair])
    made = compare(one, other, images(), diagnosis=False)
    assert made.fails  # random weights
    found = weight_map(made, one, other)
    assert found.left == []
    assert len(found.weights) == 14
    found.write(tmp_path / "mapping.py")
    assert "inception_parity" not in (tmp_path / "mapping.py").read_text()
    loaded(tmp_path / "mapping.py").load(one, other)
    made = compare(one, other, images())
    assert not made.fails, made.text()


@needs_torch
def test_an_onnx_file_gives_and_takes_weights(tmp_path: Path) -> None:
    net = original()
    file = str(exported(original(), tmp_path / "net.onnx"))
    net[5].weight.data += 1
    found = weight_map(compare(net, file, X, diagnosis=False), net, file)
    found.write(tmp_path / "into_onnx.py")
    proto = loaded(tmp_path / "into_onnx.py").load(net, file)
    assert not compare(net, proto, X).fails
    found = weight_map(compare(file, net, X, diagnosis=False), file, net)
    found.write(tmp_path / "from_onnx.py")
    loaded(tmp_path / "from_onnx.py").load(file, net)
    assert not compare(file, net, X).fails


@needs_all
@pytest.mark.parametrize(
    ("kind", "code"), [("GRU", "[[1, 0, 2]]"), ("LSTM", "w.T")], ids=["gates", "two-biases"]
)
def test_recurrent_weights_are_mapped(kind: str, code: str, tmp_path: Path) -> None:
    """Gates in another order; and two biases of torch's, of which Keras' LSTM has the sum."""
    import keras
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = getattr(nn, kind)(4, 6, batch_first=True)

        def forward(self, x: Any) -> Any:
            return self.rnn(x)[0]

    own = getattr(keras.layers, kind)(6, return_sequences=True)
    net, x = Net(), np.random.default_rng(0).standard_normal((2, 5, 4))
    port = keras.Sequential([keras.Input((5, 4)), own])
    found = weight_map(compare(net, port, x, diagnosis=False), net, port)
    assert found.left == []
    assert any(code in row.code for row in found.weights)
    assert any(row.plus for row in found.weights) == (kind == "LSTM")
    found.write(tmp_path / "gates.py")
    loaded(tmp_path / "gates.py").load(net, port)
    # The sum of two float32 biases is rounded to float32 in Keras' variable.
    made = compare(net, port, x, dtype="float32" if kind == "LSTM" else "float64")
    assert not made.fails, made.text()


@needs_torch
def test_the_command_writes_a_table_and_a_function_that_needs_nothing_of_ours(
    tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mapped_nets.py").write_text(
        "from torch import nn\n"
        "def net():\n"
        "    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "mapped_nets", raising=False)
    words = ("compare-models", "mapped_nets.py:net", "mapped_nets.py:net", "--input", "2x3")
    for name in ("map.json", "map.py"):
        assert call(capsys, *words, "--map", name).code == 1
    record = json.loads((tmp_path / "map.json").read_text())
    assert record["format"] == "inception-parity map 1"
    assert [(row["given"], row["code"]) for row in record["weights"]] == [
        ("0.weight", "w"), ("0.bias", "w"), ("2.weight", "w"), ("2.bias", "w"),
    ]  # fmt: skip
    code = (
        "import sys, map, mapped_nets, torch\n"
        "a, b = mapped_nets.net(), mapped_nets.net()\n"
        "map.load(a, b)\n"
        "print(all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items()))\n"
        "print('inception_parity' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["True", "False"]
    require_clear_error(call(capsys, *words, "--map", "map.txt"), "should end in .json")


@needs_torch
def test_a_kept_trace_has_no_mapping(tmp_path: Path) -> None:
    from inception_parity.models import ModelTrace

    net = torch_net()
    capture(net, images(), out=tmp_path / "kept")
    trace = ModelTrace.read(tmp_path / "kept")
    with pytest.raises(InputError, match="a mapping needs both models themselves"):
        weight_map(compare(trace, net, images(), diagnosis=False), trace, net)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda w: w, "w"),
        (lambda w: w.transpose(2, 3, 1, 0), "w.transpose(2, 3, 1, 0)"),
        (lambda w: w.reshape(6, -1), "w.reshape(6, 40)"),
        (lambda w: w.transpose(0, 2, 3, 1).reshape(6, -1), None),
        (lambda w: w[[3, 4, 5, 0, 1, 2]], None),
    ],
)
def test_rearrangements_are_written_as_numpy_code(change: Any, code: str | None) -> None:
    w = np.arange(240).reshape(6, 4, 2, 5)
    found = expression(w, change(w), "w")
    assert found is not None
    assert code is None or found == code
    np.testing.assert_array_equal(eval(found, {"w": w}), change(w))


def test_a_random_permutation_is_no_simple_rearrangement() -> None:
    w = np.arange(12).reshape(3, 4)
    assert expression(w, np.random.default_rng(0).permutation(w.ravel()).reshape(3, 4), "w") is None
