"""`export`, and the column `onnx` of `check`, as a user calls them."""

from __future__ import annotations

import shutil

import onnx
import pytest

from inception_parity import errors
from inception_parity.checking import runner as checks
from inception_parity.commands import exporting
from inception_parity.errors import InputError
from inception_parity.onnx import reading
from inception_parity.onnx.sealing import sealed
from inception_parity.traces import seeding, weights

from ..conftest import chosen_backends
from ..support.command import ENDPOINTS, call, empty_place, require_clear_error

FRAMEWORK = next((name for name in ("mx", "tf", "pt") if name in chosen_backends()), "")
SIZE = ("--size", "33x32")
TO_FILE = ("--out", "g.onnx", *SIZE)

pytestmark = pytest.mark.skipif(not FRAMEWORK, reason="INCEPTION_BACKENDS names no framework")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    with empty_place(tmp_path, monkeypatch):
        yield tmp_path / "here"


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Return a function that puts a verified file, made once, where it is called."""
    folder = tmp_path_factory.mktemp("exported")
    made = []

    def put(capsys):
        if not made:
            words = ("--verify", "--backends", FRAMEWORK, "--batch", "2", "--set", "num_classes=7")
            made.append(call(capsys, "export", "googlenet", *TO_FILE, *words))
            assert made[0].code == 0, made[0].err
            shutil.move("g.onnx", folder / "g.onnx")
        shutil.copy(folder / "g.onnx", "g.onnx")
        return made[0]

    return put


@pytest.mark.slow  # a whole network, in four processes
def test_export_verifies_and_says_what_it_wrote(exported, capsys, place):
    done = exported(capsys)
    assert done.out.count(f"{ENDPOINTS}/{ENDPOINTS}") >= 4  # two dtypes, two backends
    assert "g.onnx: opset 18, IR version 8, images batch x 1 x 33 x 32, 116 init" in done.out
    metadata = {e.key: e.value for e in onnx.load(place / "g.onnx").metadata_props}
    assert metadata["verified"].startswith("2 images, all endpoints against the oracle: float64")
    found, description = reading.read(place / "g.onnx")
    seeded = seeding.seeded("googlenet", {"num_classes": 7}, 0)
    assert (found.sha256, found.options) == (seeded.sha256, seeded.options)
    assert (description.backend, description.size) == ("np", (33, 32))


@pytest.mark.slow  # an export and two checks
def test_check_runs_a_file_with_its_own_weights_and_size(exported, capsys, place):
    exported(capsys)
    words = ("--backends", "onnx", "--dtypes", "float32", "--batch", "1")
    done = call(capsys, "check", "--onnx", "g.onnx", *words)
    assert done.code == 0, done.err
    assert "num_classes=7" in done.out
    assert "at 33x32" in done.out
    assert f"{ENDPOINTS}/{ENDPOINTS}" in done.out


@pytest.mark.slow  # an export and a conversion
def test_convert_takes_the_shared_weights_out_again(exported, capsys, place):
    exported(capsys)
    done = call(capsys, "convert", "g.onnx", "g.safetensors", "--no-verify")
    assert done.code == 0, done.err
    found = weights.read(place / "g.safetensors")
    assert found.sha256 == seeding.seeded("googlenet", {"num_classes": 7}, 0).sha256
    (place / "g.onnx").write_bytes((place / "g.onnx").read_bytes()[:-1] + b"0")
    done = call(capsys, "convert", "g.onnx", "h.safetensors", "--no-verify")
    require_clear_error(done, "g.onnx: changed since it was exported")


@pytest.mark.slow  # two checks in a row; test_onnx_export.py has the loader's part
def test_check_names_weights_that_the_file_doesn_t_hold(exported, capsys, place):
    exported(capsys)
    other = seeding.seeded("googlenet", {"num_classes": 7}, 1)
    weights.write(place / "other.safetensors", other)
    words = ("--weights", "other.safetensors", "--backends", "onnx", "--dtypes", "float64")
    done = call(capsys, "check", "--onnx", "g.onnx", *words, "--batch", "1")
    assert done.code == 1
    assert "loader: the network doesn't hold the weights" in done.out


def test_a_model_that_can_t_be_run_is_an_error_and_no_crash(exported, capsys, place):
    exported(capsys)
    model = onnx.load("g.onnx")
    model.graph.node[0].op_type = "Convolute"
    del model.metadata_props[-1]  # the seal
    (place / "g.onnx").write_bytes(sealed(model.SerializeToString()))
    done = call(capsys, "check", "--onnx", "g.onnx", "--backends", "onnx", "--batch", "1")
    require_clear_error(done, "g.onnx", "ONNX's checker refuses the model", "Convolute")


@pytest.mark.parametrize(
    ("words", "texts"),
    [
        (("--size", "48"), ("g.onnx: takes images of 33x32; leave out --size",)),
        (("--backends", "pt"), ("--onnx needs the backend onnx",)),
        (("inception_v1",), ("weights of googlenet, but should be of inception_v1",)),
        (("--set", "num_classes=8"), ("num_classes=7, but 8 was asked for",)),
        (("--all",), ("--all can't be combined with",)),
        (("googlenet", "inception_v3"), ("--onnx belongs to one network",)),
    ],
    ids=str,
)
def test_check_refuses_what_doesn_t_go_with_the_file(words, texts, exported, capsys, place):
    exported(capsys)
    backends = () if "--backends" in words else ("--backends", "onnx")
    require_clear_error(call(capsys, "check", "--onnx", "g.onnx", *words, *backends), *texts)


@pytest.mark.parametrize(
    ("words", "texts"),
    [
        ((*TO_FILE, "--backends", FRAMEWORK), ("what the file is compared with; add --verify",)),
        ((*TO_FILE, "--verify", "--backends", "np"), ("np is the oracle: it always runs",)),
        ((*TO_FILE, "--verify", "--backends", "torch"), ("did you mean pt?",)),
        (("--out", "no/g.onnx"), ("there is no folder no",)),
        ((*TO_FILE, "--weights", "g.onnx"), ("g.onnx: no such file",)),
        ((*TO_FILE, "--set", "depth=3"), ("has no option 'depth'",)),
    ],
    ids=str,
)
def test_export_refuses_bad_usage_before_any_work(words, texts, capsys, place):
    require_clear_error(call(capsys, "export", "googlenet", *words), *texts)
    assert list(place.iterdir()) == []


def test_a_backend_to_export_from_is_no_longer_asked_for(capsys, place):
    done = call(capsys, "export", "googlenet", *TO_FILE, "--backend", FRAMEWORK)
    assert done.code == 2
    assert "No such option: --backend (Possible options: --backends" in done.err
    assert list(place.iterdir()) == []


def test_a_file_that_isn_t_verified_is_not_written(capsys, place, monkeypatch):
    class Diverging:
        exit_code = errors.DIVERGE
        reports = ()

    monkeypatch.setattr(checks, "check", lambda *args: Diverging())
    monkeypatch.setattr(exporting.terminal, "show", lambda *args: None)
    done = call(capsys, "export", "googlenet", *TO_FILE, "--verify", "--batch", "1")
    assert done.code == 1
    assert "the file was not written" in done.err
    assert list(place.iterdir()) == []


def test_networks_of_files_are_not_built_from_shared_weights(place):
    weights.write(place / "w.safetensors", seeding.seeded("googlenet", {}, 0))
    with pytest.raises(InputError, match="onnx runs files; `inception-parity export` writes them"):
        weights.load(place / "w.safetensors", "onnx")
