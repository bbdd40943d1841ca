"""The command `compare-models`, the pytest plugin, and the examples with others' networks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inception_parity.models import compare
from inception_parity.models.comparing import ModelReport

from ..conftest import chosen_backends
from ..structure.test_isolation import FRAMEWORKS, python
from ..support.command import call, empty_place, environment_of_ours, require_clear_error

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"

needs_torch = pytest.mark.skipif("pt" not in chosen_backends(), reason="its models are torch's")
needs_both = pytest.mark.skipif(
    not {"pt", "tf"} <= set(chosen_backends()), reason="holds torch and Keras together"
)

NETS = """
import torch
from torch import nn

def original():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 5, 3, stride=2))

def port():
    net = original()
    net[2].padding = (1, 1)
    return net

def surplus():
    return nn.Sequential(*original(), nn.Sigmoid())

def unlike():
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 5, 3, stride=2))

net = original()

def broken():
    raise KeyError("weights")

def ends():
    raise SystemExit(3)

def text():
    return "net"

number = 3
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    with empty_place(tmp_path, monkeypatch):
        (tmp_path / "here" / "port_nets.py").write_text(NETS)
        monkeypatch.delitem(sys.modules, "port_nets", raising=False)
        yield tmp_path / "here"


A = "port_nets.py:original"
SHAPE = ("--input", "2x3x9x9")


@needs_torch
def test_models_that_agree_exit_with_0(place: Path, capsys: Any) -> None:
    done = call(capsys, "compare-models", A, "port_nets:net", *SHAPE)
    assert done.code == 0, done
    assert "They agree: 4 of 4 layers and outputs" in done.out
    assert "3 layers matched" in done.out


@needs_torch
def test_models_that_differ_exit_with_1_and_say_where(place: Path, capsys: Any) -> None:
    file = place / "report.json"
    words = (A, "port_nets.py:port", *SHAPE, "--json", file, "--show-match")
    done = call(capsys, "compare-models", *words)
    assert done.code == 1, done
    assert "first:  2 (conv 3x3/2)" in done.out
    assert "pads ((0, 0), (0, 0)), second ((1, 1), (1, 1)): 2" in done.out
    assert "They differ: 2 of 4 layers and outputs" in done.out
    record = json.loads(file.read_text())
    assert record["format"] == "inception-parity models 1"
    assert record["exit_code"] == 1
    assert record["report"]["first"] == "2"
    assert record["match"]["pairs"] == {"input": "input", "0": "0", "1": "1", "2": "2"}
    assert record["settings"][0]["of_b"] == [[1, 1], [1, 1]]


@needs_torch
def test_a_surplus_layer_that_changes_the_output_exits_with_1(place: Path, capsys: Any) -> None:
    file = place / "report.json"
    done = call(capsys, "compare-models", A, "port_nets.py:surplus", *SHAPE, "--json", file)
    assert done.code == 1, done
    assert "1 region differs:" in done.out
    assert "before output: first nothing; second 3 (sigmoid)" in done.out
    record = json.loads(file.read_text())
    assert record["regions"] == [
        {"a": [], "b": ["3"], "before": ["2"], "after": ["output"], "verdict": "differs"}
    ]
    assert record["report"]["first"] == "output"


@needs_torch
def test_weights_are_copied_only_when_asked(place: Path, capsys: Any) -> None:
    done = call(capsys, "compare-models", A, "port_nets.py:unlike", *SHAPE)
    assert done.code == 1, done
    assert "weights: 4 arrays differ" in done.out
    done = call(capsys, "compare-models", A, "port_nets.py:unlike", *SHAPE, "--copy-weights")
    assert done.code == 0, done
    assert "4 arrays of the first were given to the second" in done.out


@needs_torch
def test_matches_from_the_command_line_and_a_file(place: Path, capsys: Any) -> None:
    (place / "match.json").write_text('{"0": "0", "": ["3"]}')
    words = (A, "port_nets.py:surplus", *SHAPE)
    for match in (("--match", "match.json"), ("--match", "0=0", "--match", "=3")):
        done = call(capsys, "compare-models", *words, *match)
        assert "without a counterpart, as told: 3" in done.out, done


@needs_torch
def test_kept_traces_are_compared_again(place: Path, capsys: Any) -> None:
    keep = place / "kept"
    done = call(capsys, "compare-models", A, "port_nets.py:port", *SHAPE, "--keep", keep)
    assert done.code == 1, done
    again = call(capsys, "compare-models", keep / "a", keep / "b")
    assert again.code == 1, again
    assert again.out == done.out
    done = call(capsys, "compare-models", A, A, *SHAPE, "--keep", keep)
    require_clear_error(done, "exists and isn't empty")


@needs_torch
def test_inputs_come_from_shapes_images_and_arrays(place: Path, capsys: Any) -> None:
    np.save(place / "x.npy", np.ones((1, 3, 9, 9)) + np.arange(9))
    for given in (("x.npy",), ("photographs", "--size", "9x12")):
        done = call(capsys, "compare-models", A, A, "--input", *given)
        assert done.code == 0, done


@needs_torch
@pytest.mark.parametrize(
    ("words", "texts"),
    [
        (("nets", A, *SHAPE), ["'nets', but should be module:name, file.py:name"]),
        (("no_such_module:net", A, *SHAPE), ["no module 'no_such_module'"]),
        (("absent.py:net", A, *SHAPE), ["absent.py: no such file"]),
        (("port_nets.py:orignal", A, *SHAPE), ["has no 'orignal'", "did you mean original?"]),
        (("port_nets.py:broken", A, *SHAPE), ["raised KeyError", "port_nets.py, line"]),
        (("port_nets.py:ends", A, *SHAPE), ["raised SystemExit"]),
        (("port_nets.py:text", A, *SHAPE), ["net: no such ONNX file"]),
        (("port_nets.py:number", A, *SHAPE), ["a int, but should be a model"]),
        (("absent.onnx", A, *SHAPE), ["absent.onnx: no such file"]),
        ((A, A), ["no --input; give a shape"]),
        ((A, A, "--input", "2x4x9x9"), ["can't be run on inputs of shape (2, 4, 9, 9)"]),
        ((A, A, "--input", "0x3x9x9"), ["sides of 1 or more"]),
        ((A, A, "--input", "nothing"), ["neither a shape such as"]),
        ((A, A, "--input", "absent.npy"), ["absent.npy: no such file"]),
        ((A, A, "--input", "port_nets.py"), ["not an image"]),
        ((A, A, *SHAPE, "--dtype", "float8"), ["dtype 'float8'"]),
        ((A, A, *SHAPE, "--layout-a", "HWC"), ["layout 'HWC'"]),
        ((A, A, *SHAPE, "--match", "left"), ["should be a=b, a=, =b"]),
        ((A, A, *SHAPE, "--match", "left=0"), ["has no layer 'left'"]),
        ((A, A, *SHAPE, "--match", "absent.json"), ["absent.json: not JSON"]),
    ],
    ids=lambda value: str(value[0])[:40],
)
def test_bad_input_is_one_clear_error(
    place: Path, capsys: Any, words: tuple[str, ...], texts: list[str]
) -> None:
    require_clear_error(call(capsys, "compare-models", *words), *texts)
    assert sorted(p.name for p in place.iterdir() if p.suffix == ".json") == []


TESTS = """
import numpy, torch
from torch import nn

def net(slope=0.0):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.LeakyReLU(slope))

X = numpy.random.default_rng(0).standard_normal((1, 3, 6, 6))

def test_same(assert_parity):
    assert not assert_parity(net(), net(), X).fails

def test_other(assert_parity):
    assert_parity(net(), net(0.5), X)
"""


@needs_torch
def test_the_fixture_fails_a_test_with_where_and_why(tmp_path: Path) -> None:
    (tmp_path / "test_port.py").write_text(TESTS)
    words = ("-p", "inception_parity.pytest_plugin", "-p", "no:cacheprovider", "-q", "test_port.py")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words], cwd=tmp_path, capture_output=True, text=True,
        env=environment_of_ours(PYTEST_DISABLE_PLUGIN_AUTOLOAD="1"), timeout=120, check=False,
    )  # fmt: skip
    assert "1 failed, 1 passed" in done.stdout, done.stdout + done.stderr
    assert "the models differ" in done.stdout
    assert "first:  1 (leaky_relu)" in done.stdout
    assert "pytest_plugin.py" not in done.stdout  # the failure is the test's own


def test_the_plugin_loads_nothing_until_it_is_used() -> None:
    code = f"""
import sys, pytest
before = set(sys.modules)
import inception_parity.pytest_plugin
new = set(sys.modules) - before
print(sorted(new & {{"numpy", "rich", "typer", *{FRAMEWORKS!r}}}), len(new) < 40)
"""
    assert python(code).strip() == "[] True"


def test_the_plugin_is_registered_under_its_module_s_name() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    assert '"inception_parity.pytest_plugin" = "inception_parity.pytest_plugin"' in text


def example(file: str, a: str, b: str, shape: tuple[int, ...]) -> ModelReport:
    from inception_parity.commands.model_arguments import build

    x = np.random.default_rng(0).standard_normal(shape)
    return compare(
        build(f"{EXAMPLES / file}:{a}"), build(f"{EXAMPLES / file}:{b}"), x, copy_weights=True
    )


def settings(made: ModelReport, name: str) -> set[str]:
    return {difference.a for difference in made.settings if difference.setting == name}


@needs_both
def test_d2l_s_two_tabs_part_at_the_stem_by_same_padding() -> None:
    made = example("d2l_googlenet.py", "torch_tab", "keras_tab", (1, 1, 96, 96))
    assert made.first is not None
    assert made.first.name == "0.0"
    assert made.copied is not None
    assert (made.copied.arrays, made.copied.left) == (116, [])  # 57 convolutions and a dense layer
    cause = made.diagnoses["0.0"].cause
    assert cause is not None
    assert "SAME" in cause.text
    pools = {"0.2", "1.4", "2.2", "3.5"}  # those at stride 2
    assert settings(made, "pads") == {"0.0", *pools}
    assert made.match.only_a == made.match.only_b == []


@pytest.mark.slow  # a whole V3, twice
@needs_both
def test_torchvision_s_v3_and_keras_part_at_the_first_average_pool() -> None:
    made = example("zoos.py", "torch_inception_v3", "keras_inception_v3", (1, 3, 75, 75))
    assert made.first is not None
    assert made.first.name == "Mixed_5b.avg_pool2d"
    cause = made.diagnoses["Mixed_5b.avg_pool2d"].cause
    assert cause is not None
    assert "count" in cause.text
    assert len(settings(made, "count_include_pad")) == 9  # one per block with an average pool
    assert made.match.only_a == made.match.only_b == []
    assert made.copied is not None
    assert made.copied.left == []


@pytest.mark.slow  # a whole ResNet-50, twice
@needs_both
def test_torchvision_s_resnet50_and_keras_are_v1_5_and_v1() -> None:
    made = example("zoos.py", "torch_resnet50", "keras_resnet50", (1, 3, 64, 64))
    # Keras strides in the first 1x1 convolution of a stage, torchvision in the 3x3.
    strides = {f"layer{stage}.0.conv{i}" for stage in (2, 3, 4) for i in (1, 2)}
    assert settings(made, "stride") == strides
    assert len(settings(made, "eps")) == 53  # 1e-5 and 1.001e-5
    assert made.match.only_a == made.match.only_b == []
    assert made.first is not None
    assert made.first.name == "bn1"


@pytest.mark.slow  # two whole networks
@needs_both
def test_torchvision_s_mobilenet_v2_and_keras_differ_in_padding_and_eps() -> None:
    made = example("zoos.py", "torch_mobilenet_v2", "keras_mobilenet_v2", (1, 3, 64, 64))
    assert made.first is not None
    assert made.first.name == "features.0.0"
    assert len(settings(made, "eps")) == 52
    assert len(settings(made, "pads")) == 5  # all convolutions at stride 2
    assert made.match.only_a == made.match.only_b == []


@needs_both
def test_tensorflows_start_up_lines_are_left_out():
    code = "import os, sys\n"
    code += "from inception_parity.backends.quiet import import_tensorflow\n"
    code += "import_tensorflow()\nimport tensorflow\nprint('imported', file=sys.stderr)\n"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment_of_ours(), capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert done.stderr == "imported\n"


def test_what_else_an_import_of_tensorflow_prints_is_shown(tmp_path):
    (tmp_path / "tensorflow.py").write_text(
        "import os\n"
        "os.write(2, b'I0000 port.cc:153] oneDNN custom operations are on. You may see\\n')\n"
        "os.write(2, b'no GPU\\n')\n"
        "raise ImportError('broken')\n"
    )
    code = "from inception_parity.backends.quiet import import_tensorflow\nimport_tensorflow()\n"
    path = f"{tmp_path}{os.pathsep}{environment_of_ours()['PYTHONPATH']}"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment_of_ours(PYTHONPATH=path),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("no GPU\n")
    assert "ImportError: broken" in done.stderr
