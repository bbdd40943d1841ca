"""Bad input gets one clear error: what, where, expected, how to mend. Nothing is left behind."""

from __future__ import annotations

import json
import shutil
import struct
import venv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from inception_parity import InputError
from inception_parity.data import images
from inception_parity.networks import catalogue
from inception_parity.traces import seeding, weights
from inception_parity.workers import interpreters

from ..support.command import (
    SMALL,
    alive,
    call,
    empty_place,
    interpreter,
    require_clear_error,
    wait_for,
)

CHECK = ("check", *SMALL, "--backends", "pt", "--dtypes", "float64")


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path, monkeypatch):
    with empty_place(tmp_path, monkeypatch):
        yield


# Words of the command line. `--size 0` stands for a later mistake that is never reached.

WORDS = {
    "network": (["check", "goglenet"], "no network 'goglenet' (did you mean googlenet?)"),
    "network of weights": (["weights", "googlenett", "--out", "w"], "did you mean googlenet?"),
    "option": (["check", "--set", "in_chanels=3"], "no option 'in_chanels' (did you mean in_chan"),
    "backend": (["check", "--backends", "pt,ft"], "no backend 'ft' (did you mean tf?)"),
    "backend's alias": (["check", "--backends", "torch"], "no backend 'torch' (did you mean pt?)"),
    "no backends": (["check", "--backends", ","], "--backends is empty"),
    "no backends to try": (["min-size", "--backends", ","], "--backends is empty; leave it out"),
    "oracle": (["check", "--backends", "np"], "np is the oracle"),
    "dtype": (["check", "--dtypes", "flot32"], "no dtype 'flot32' (did you mean float32?)"),
    "no dtypes": (["check", "--dtypes", ""], "--dtypes is empty"),
    "device": (["check", "--device", "cuda"], "--device cuda, but should be cpu or gpu"),
    "size 0": (["check", "--size", "0"], "size 0, but each side should be 1 to 4096"),
    "size in words": (["check", "--size", "large"], "size 'large', but should be like 224"),
    "size x": (["summary", "googlenet", "--size", "224x"], "size '224x', but should be like 224"),
    "negative size": (["check", "--size", "-3"], "size '-3', but should be like 224"),
    "large size": (["check", "--size", "32x5000"], "size 32x5000, but each side should be 1 to"),
    "batch 0": (["check", "--batch", "0"], "batch 0, but should be 1 or more"),
    "batch 0 of summary": (["summary", "googlenet", "--batch", "0"], "batch 0, but should be"),
    "large batch": (["check", "--batch", "7"], "batch 7, but there are 6 images; give more with"),
    "timeout 0": (["check", "--timeout", "0"], "--timeout 0, but should be more than 0 seconds"),
    "timeout NaN": (["check", "--timeout", "nan"], "--timeout nan, but should be more than 0"),
    "seed": (["weights", "googlenet", "--seed", "-1", "--out", "w"], "seed -1, but should be 0 or"),
    "set without =": (["check", "--set", "in_channels"], "--set 'in_channels', but should be like"),
    "set without name": (["check", "--set", "=3"], "--set '=3', but should be like --set in_"),
    "set twice": (["check", "--set", "num_classes=1", "--set", "num_classes=2"], "is given twice"),
    "set a word": (["check", "--set", "in_channels=red"], "in_channels='red', but should be a pos"),
    "set a fraction": (["check", "--set", "in_channels=1.5"], "in_channels='1.5', but should be"),
    "set -1": (["check", "--set", "num_classes=-1"], "num_classes=-1, but should be a positive"),
    "set 0": (["check", "--set", "in_channels=0"], "in_channels=0, but should be a positive whole"),
    "no classifier": (
        ["check", "inception_v3", "--set", "num_classes=0", "--set", "use_aux=true"],
        "use_aux=True, but should be false with num_classes=0",
    ),
    "set too many": (["check", "--set", "num_classes=1000000"], "number, at most 100,000"),
    "set a number": (["check", "--set", "batch_norm=2"], "batch_norm='2', but should be true or"),
    "set channels": (["check", "--set", "in_channels=2"], "images have 1 (luma) or 3 (RGB) chan"),
    "python without =": (["check", "--python", "pt"], "--python 'pt', but should be like --python"),
    "python of nobody": (["check", "--python", "torch=p"], "no backend 'torch' (did you mean pt?)"),
    "python not asked for": (
        ["check", "--backends", "pt", "--python", "tf=p"], "tf isn't among the backends asked for"
    ),
    "python that isn't there": (["check", "--python", "pt=p"], "no such interpreter; give the"),
    "no image": (["check", "--images", "cat.png"], "cat.png: no such image or folder"),
    "device as image": (["check", "--images", "/dev/null"], "/dev/null: neither a file nor a fol"),
    "no weights": (["check", "--weights", "w.safetensors"], "w.safetensors: no such file"),
    "no trace": (["compare", "a", "b"], "a: no trace there (no trace.json)"),
}  # fmt: skip


@pytest.mark.parametrize(("words", "message"), WORDS.values(), ids=WORDS)
def test_bad_words_are_refused(capsys, words, message):
    require_clear_error(call(capsys, *words), message)
    assert list(Path.cwd().iterdir()) == []


def test_unknown_command_is_refused(capsys):
    done = call(capsys, "chekc")
    assert done.code == 2
    assert "No such command 'chekc'" in done.err


def test_option_that_is_not_a_finite_number_is_refused():
    option = catalogue.Option("bn_eps", 1e-3, "")
    for value in ("nan", "inf", float("inf"), "small", True):
        with pytest.raises(InputError, match=r"bn_eps=.*, but should be a number \[option of net"):
            option.parse(value, "net")
    assert option.parse("1e-5", "net") == 1e-5


# Images.


def jpeg(path: Path, size: tuple[int, int] = (64, 64)) -> bytes:
    values = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(values).save(path)
    return path.read_bytes()


def test_all_broken_images_are_named_at_once(capsys):
    folder = Path("photographs")
    folder.mkdir()
    (folder / "text.jpg").write_text("not an image at all")
    (folder / "empty.png").touch()
    (folder / "cut.jpg").write_bytes(jpeg(folder / "cut.jpg")[:-900])
    (folder / "[red].gif").write_bytes(b"GIF89a" + bytes(9))
    jpeg(folder / "good.jpg")
    (folder / "folder.png").mkdir()
    done = call(capsys, "check", "--size", "32", "--images", folder)
    require_clear_error(
        done,
        "text.jpg: not an image that Pillow can read; give PNG or JPEG",
        "empty.png: not an image",
        "cut.jpg: a broken image (image file is truncated",
        "[red].gif: ",
    )
    assert "good.jpg" not in done.err
    assert "folder.png" not in done.err


def test_decompression_bombs_are_refused_before_they_are_decoded(capsys):
    # A header of 30,000 x 30,000 pixels, with nothing behind it.
    Path("bomb.ppm").write_bytes(b"P6 30000 30000 255\n")
    Path("large.ppm").write_bytes(b"P6 11000 11000 255\n")
    done = call(capsys, *CHECK, "--images", "bomb.ppm")
    require_clear_error(done, "bomb.ppm: too many pixels", "reduce it first")
    done = call(capsys, *CHECK, "--images", "large.ppm")
    require_clear_error(done, "large.ppm: 11000x11000 pixels, but at most 100,000,000 are decoded")


def test_folder_without_images_is_refused(capsys):
    Path("notes").mkdir()
    Path("notes/notes.txt").touch()
    done = call(capsys, *CHECK, "--images", "notes")
    require_clear_error(done, "notes: no image in this folder (looked for .png .jpg")


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "tiff", "gif", "ppm"])
def test_damaged_image_is_decoded_or_refused(suffix):
    """Whatever a decoder raises, it is an InputError that leaves."""
    rng = np.random.default_rng(3)
    whole = jpeg(Path(f"a.{suffix}"), (24, 24))
    for _ in range(60):
        damaged = bytearray(whole[: rng.integers(1, len(whole) + 1)])
        for place in rng.integers(0, min(len(damaged), 200), 4):
            damaged[place] = rng.integers(256)
        Path(f"b.{suffix}").write_bytes(damaged)
        try:
            images.load([Path(f"b.{suffix}")], (8, 8), 3)
        except InputError as error:
            assert str(error).startswith(f"b.{suffix}: ")


def test_mode_without_a_conversion_is_refused():
    Image.new("LAB", (8, 8)).save("a.tiff")
    with pytest.raises(InputError, match=r"a\.tiff: a broken image \(conversion from LAB"):
        images.load([Path("a.tiff")], (8, 8), 1)


# Weight files. The tests of `weights.read` say what is refused inside of one.

OPTIONS = {"in_channels": 1, "num_classes": 10, "batch_norm": False}


def metadata(**changes: str) -> dict[str, str]:
    return {
        "format": weights.FORMAT, "network": "googlenet", "options": json.dumps(OPTIONS),
        "provenance": "seed 0", "sha256": "", **changes,
    }  # fmt: skip


def header(content: bytes) -> bytes:
    return struct.pack("<Q", len(content)) + content


FILES = {
    "empty": b"",
    "random": np.random.default_rng(0).bytes(5000),
    "huge header": struct.pack("<Q", 1 << 62) + b"{}",
    "cut header": struct.pack("<Q", 1000) + b'{"fc.bias":',
    "deep header": header(b"[" * 100_000),
    "text": b"these are no weights" * 9,
}


@pytest.mark.parametrize("content", FILES.values(), ids=FILES)
def test_foreign_weight_file_is_refused(capsys, content):
    Path("w.safetensors").write_bytes(content)
    done = call(capsys, *CHECK, "--weights", "w.safetensors")
    require_clear_error(done, "w.safetensors: not a safetensors file, or a truncated one")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "pt"}, "pt, but should be 'inception-parity weights 1'"),
        ({"network": "inception_v9"}, "no network 'inception_v9'"),
        ({"options": '{"in_channels": true}'}, "in_channels=True, but should be a positive whole"),
        ({"options": '{"num_classes": 1e9}'}, "num_classes=1000000000.0, but should be a pos"),
        ({"options": '{"num_classes": 99999999}'}, "number, at most 100,000"),
        ({"options": '{"num_classes": null}'}, "num_classes=None, but should be a positive whole"),
        ({"options": '{"num_classes": [10]}'}, "num_classes=[10], but should be a positive whole"),
        ({"options": '{"batch_norm": {}}'}, "batch_norm={}, but should be true or false"),
        ({"options": '"in_channels"'}, "broken metadata"),
        ({"options": "null"}, "broken metadata"),
        ({"options": "[" * 100_000}, "broken metadata"),
        ({"options": '{"num_classes": ' + "9" * 5000 + "}"}, "broken metadata"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_adversarial_metadata_is_refused(capsys, changes, message):
    save_file({"fc.bias": np.zeros(10, np.float32)}, "w.safetensors", metadata(**changes))
    done = call(capsys, *CHECK, "--weights", "w.safetensors")
    require_clear_error(done, "w.safetensors: ", message)


def test_all_arrays_that_are_wrong_are_listed_at_once(capsys):
    arrays = dict(seeding.seeded("googlenet", OPTIONS, 0).arrays)
    del arrays["fc.bias"]
    arrays["fc.bais"] = np.zeros(10, np.float32)
    arrays["fc.weight"] = arrays["fc.weight"].T.copy()
    arrays["b1.0.conv.bias"] = arrays["b1.0.conv.bias"].astype(np.float64)
    arrays["b2.0.conv.bias"] = np.full(64, np.inf, np.float32)
    save_file(arrays, "w.safetensors", metadata())
    done = call(capsys, *CHECK, "--weights", "w.safetensors")
    require_clear_error(
        done,
        "w.safetensors: 5 arrays are wrong:",
        "fc.bias: missing",
        "fc.bais: unexpected",
        "fc.weight: shape (1024, 10), but should be (10, 1024)",
        "b1.0.conv.bias: dtype float64, but should be float32",
        "b2.0.conv.bias: has NaN or infinite values",
    )


def test_dtypes_that_numpy_lacks_are_named(capsys):
    content = {
        "__metadata__": metadata(),
        "fc.bias": {"dtype": "BF16", "shape": [10], "data_offsets": [0, 20]},
        "fc.scale": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [20, 24]},
    }
    Path("w.safetensors").write_bytes(header(json.dumps(content).encode()) + bytes(24))
    done = call(capsys, *CHECK, "--weights", "w.safetensors")
    require_clear_error(
        done,
        "w.safetensors: 2 arrays are wrong:",
        "fc.bias: dtype BF16, but should be float32",
        "fc.scale: dtype F8_E4M3, but should be float32",
    )


def test_weights_of_another_network_or_option_are_refused(capsys):
    call(capsys, "weights", "googlenet", "--out", "w.safetensors")
    done = call(capsys, *CHECK, "--weights", "w.safetensors", "--set", "num_classes=11")
    require_clear_error(done, "w.safetensors: weights with num_classes=10, but 11 was asked for")
    with pytest.raises(InputError, match="w: weights of googlenet, but should be of another"):
        weights.read(Path("w.safetensors")).require("another", {}, "w")


# Interpreters.


def test_unusable_interpreters_are_refused(capsys, tmp_path):
    plain = tmp_path / "plain"
    plain.write_text("#!/bin/sh\n")
    broken = tmp_path / "broken"
    broken.write_text("no program")
    broken.chmod(0o755)
    bins = tmp_path / "bin"
    cases = {
        plain: "no such interpreter; give the path of a python executable",
        tmp_path: "no such interpreter",
        broken: "can't be run (Exec format error)",
        Path(shutil.which("true") or "/bin/true"): "doesn't answer as a Python 3.11 interpreter",
        Path(shutil.which("false") or "/bin/false"): "doesn't answer as a Python 3.11 interpreter",
        Path(shutil.which("cat") or "/bin/cat"): "doesn't answer as a Python 3.11 interpreter",
        interpreter(bins, "old", "", "modules False True True"): "older than Python 3.11",
        interpreter(bins, "bare", "", "modules True False False"): "has no numpy; install it there",
        interpreter(bins, "poor", "", "modules True True False"): "-m pip install torch",
    }
    for python, message in cases.items():
        done = call(capsys, *CHECK, "--python", f"pt={python}")
        require_clear_error(done, f"--python pt={python}: ", message)


def test_interpreter_named_twice_is_refused(capsys, tmp_path):
    twice = ["--python", f"pt={interpreter(tmp_path / 'bin', 'a', '')}"] * 2
    require_clear_error(call(capsys, *CHECK, *twice), "--python pt is given twice")


def test_interpreter_is_asked_for_its_own_modules(capsys, tmp_path, monkeypatch):
    venv.create(tmp_path / "bare", with_pip=False)
    # What our own path and folder hold, its workers won't find.
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "ours"))
    for package in (tmp_path / "ours" / "numpy", Path("numpy")):
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
    python = tmp_path / "bare" / "bin" / "python"
    done = call(capsys, *CHECK, "--python", f"pt={python}")
    require_clear_error(done, "this interpreter has no numpy", f"{python} -m pip install numpy")


def test_interpreter_that_hangs_is_given_up_with_all_it_started(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(interpreters, "PROBE_SECONDS", 1)
    hanging = tmp_path / "hanging"
    hanging.write_text(f"#!/bin/sh\nsleep 600 &\necho $! > {tmp_path}/child\nwait\n")
    hanging.chmod(0o755)
    done = call(capsys, *CHECK, "--python", f"pt={hanging}")
    require_clear_error(done, "doesn't answer within 1 s")
    wait_for(lambda: not alive(int((tmp_path / "child").read_text())))
