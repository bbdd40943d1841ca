"""Bad input gets one clear error: what, where, expected, how to mend. Nothing is left behind."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from inception_parity import InputError, catalogue, images, processes, trace, weights

from .command import (
    SMALL,
    alive,
    call,
    environment_of_ours,
    interpreter,
    require_clear_error,
    use_temporary,
    wait_for,
)

CHECK = ("check", *SMALL, "--backends", "pt", "--dtypes", "float64")
RUN = ("run", "googlenet", "--backend", "np", *SMALL)


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path, monkeypatch):
    """Every test runs in an empty folder, and leaves no temporary file."""
    temporary = use_temporary(tmp_path / "temporary", monkeypatch)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    yield
    assert list(temporary.iterdir()) == []


# Words of the command line. `--size 0` stands for a later mistake that is never reached.

WORDS = {
    "network": (["check", "goglenet"], "no network 'goglenet' (did you mean googlenet?)"),
    "network of weights": (["weights", "googlenett", "--out", "w"], "did you mean googlenet?"),
    "option": (["check", "--set", "in_chanels=3"], "no option 'in_chanels' (did you mean in_chan"),
    "backend": (["check", "--backends", "pt,ft"], "no backend 'ft' (did you mean tf?)"),
    "backend's alias": (["check", "--backends", "torch"], "no backend 'torch' (did you mean pt?)"),
    "no backends": (["check", "--backends", ","], "--backends names none"),
    "oracle": (["check", "--backends", "np"], "np is the oracle"),
    "dtype": (["check", "--dtypes", "flot32"], "no dtype 'flot32' (did you mean float32?)"),
    "no dtypes": (["check", "--dtypes", ""], "--dtypes names none"),
    "device": (["check", "--device", "cuda"], "device 'cuda', but should be cpu or gpu"),
    "size 0": (["check", "--size", "0"], "size 0, but each side should be 1 to 4096"),
    "size in words": (["check", "--size", "large"], "size 'large', but should be like 224"),
    "size x": (["summary", "googlenet", "--size", "224x"], "size '224x', but should be like 224"),
    "negative size": (["check", "--size", "-3"], "size '-3', but should be like 224"),
    "large size": (["check", "--size", "32x5000"], "size 32x5000, but each side should be 1 to"),
    "batch 0": (["check", "--batch", "0"], "batch 0, but should be 1 or more"),
    "batch 0 of summary": (["summary", "googlenet", "--batch", "0"], "batch 0, but should be"),
    "large batch": (["check", "--batch", "7"], "batch 7, but there are 6 images; give more with"),
    "timeout 0": (["check", "--timeout", "0"], "timeout 0, but should be more than 0 seconds"),
    "timeout NaN": (["check", "--timeout", "nan"], "timeout nan, but should be more than 0"),
    "seed": (["weights", "googlenet", "--seed", "-1", "--out", "w"], "seed -1, but should be 0 or"),
    "set without =": (["check", "--set", "in_channels"], "--set 'in_channels', but should be like"),
    "set without name": (["check", "--set", "=3"], "--set '=3', but should be like --set in_"),
    "set twice": (["check", "--set", "num_classes=1", "--set", "num_classes=2"], "is given twice"),
    "set a word": (["check", "--set", "in_channels=red"], "in_channels='red', but should be a pos"),
    "set a fraction": (["check", "--set", "in_channels=1.5"], "in_channels='1.5', but should be"),
    "set 0": (["check", "--set", "num_classes=0"], "num_classes=0, but should be a positive whole"),
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
    done = call(capsys, *CHECK[:-6], "--images", folder)
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


# Weight files. What is refused inside of one is also tested beside `weights.read`.

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
    arrays = dict(weights.seeded("googlenet", OPTIONS, 0).arrays)
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
    monkeypatch.setattr(processes, "PROBE_SECONDS", 1)
    hanging = tmp_path / "hanging"
    hanging.write_text(f"#!/bin/sh\nsleep 600 &\necho $! > {tmp_path}/child\nwait\n")
    hanging.chmod(0o755)
    done = call(capsys, *CHECK, "--python", f"pt={hanging}")
    require_clear_error(done, "doesn't answer within 1 s")
    wait_for(lambda: not alive(int((tmp_path / "child").read_text())))


# Places to write to. Root may write anywhere but under a file, and in /proc.

PLACES = {
    "under a file": (("weights", "googlenet", "--out", "file/w"), "there is no folder file"),
    "in no folder": (("weights", "googlenet", "--out", "no/w"), "there is no folder no; make it"),
    "in /proc": (("weights", "googlenet", "--out", "/proc/w"), "the folder /proc can't be written"),
    "a folder": (("weights", "googlenet", "--out", "full"), "full: a folder, but should be a file"),
    "a device": (("weights", "googlenet", "--out", "/dev/full"), "/dev/full: a device, but should"),
    "report in no folder": ((*CHECK, "--json", "no/r.json"), "there is no folder no; make it"),
    "report in /proc": ((*CHECK, "--json", "/proc/r.json"), "the folder /proc can't be written to"),
    "report in a folder": ((*CHECK, "--json", "full"), "full: a folder, but should be a file's"),
    "traces in a full folder": ((*CHECK, "--keep", "full"), "full: exists and isn't empty; give"),
    "traces in a file": ((*CHECK, "--keep", "file"), "file: exists and isn't a folder; give"),
    "traces under a file": ((*CHECK, "--keep", "file/a/b"), "file/a/b: can't be written (Not a di"),
    "traces in /proc": ((*CHECK, "--keep", "/proc/a"), "/proc/a: can't be written"),
    "traces in a link": ((*CHECK, "--keep", "link"), "link: exists and isn't a folder"),
    "trace in a full folder": ((*RUN, "--out", "full"), "full: exists and isn't empty; give"),
    "trace in a file": ((*RUN, "--out", "file"), "file: exists and isn't a folder; give another"),
    "trace under a file": ((*RUN, "--out", "file/a"), "file/a: can't be written (File exists)"),
}


@pytest.mark.parametrize(("words", "message"), PLACES.values(), ids=PLACES)
def test_unwritable_place_is_refused_before_any_work(capsys, monkeypatch, words, message):
    Path("full").mkdir()
    Path("full/file").touch()
    Path("file").touch()
    Path("link").symlink_to("nowhere")

    def work(*arguments: object) -> None:
        raise AssertionError("work was done")

    monkeypatch.setattr("inception_parity.check.Collector", work)
    monkeypatch.setattr("inception_parity.check._requests", work)
    require_clear_error(call(capsys, *words), message)
    assert sorted(map(str, Path.cwd().rglob("*"))) == sorted(
        str(Path.cwd() / name) for name in ("full", "full/file", "file", "link")
    )


def limited(lines: str, *words: object) -> subprocess.CompletedProcess[str]:
    """Run the command from a shell script that takes something away first."""
    return subprocess.run(
        ["/bin/sh", "-c", f'set -e\n{lines}\nexec "$@"', "sh",
         sys.executable, "-m", "inception_parity.cli", *map(str, words)],
        capture_output=True, text=True, env=environment_of_ours(), timeout=120,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("weights", "googlenet", "--out", "w"), "w: can't be written (File too large)"),
        ((*CHECK, "--keep", "kept/here"), "kept/here: can't be written"),
    ],
    ids=["weights", "traces"],
)
def test_file_that_grows_too_large_is_not_left(words, message):
    done = limited("ulimit -f 2000", *words)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
    assert message in done.stderr
    assert list(Path.cwd().iterdir()) == []


# What the command itself writes fits into 26 MB, what the workers write doesn't.
@pytest.mark.parametrize(("size", "message"), [("1m", "TMPDIR"), ("26m", "the traces of ")])
def test_full_disk_is_said_and_left_empty(tmp_path, size, message):
    disk = tmp_path / "temporary"
    mount = f'mount -t tmpfs -o size={size} none "{disk}"'
    if subprocess.run(["unshare", "-m", "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("a small disk can't be mounted here")
    script = f'{mount}; "$@" || code=$?; ls -A "{disk}"; exit $code'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh",
         sys.executable, "-m", "inception_parity.cli", *CHECK],
        capture_output=True, text=True, env=environment_of_ours(), timeout=120,
    )  # fmt: skip
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
    assert "No space left on device" in done.stderr
    assert message in done.stderr
    assert done.stdout == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("words", [["networks"], ["networks", "--json"]])
def test_full_output_is_said(words):
    done = limited("exec > /dev/full", *words)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert done.stderr.startswith("error: can't read or write: [Errno 28] No space left")


def test_lack_of_memory_is_said(capsys, monkeypatch):
    def huge(*arguments: object) -> None:
        np.empty(1 << 55)

    monkeypatch.setattr("inception_parity.weights.shapes", huge)
    require_clear_error(call(capsys, *CHECK), "out of memory; give a smaller --batch or --size")


# Traces.


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return the folder of the oracle's trace."""
    from inception_parity import check

    shared = weights.seeded("googlenet", {}, 0)
    task = check.make_task(shared, None, (8, 8), 1)
    folder = tmp_path_factory.mktemp("traces") / "np"
    settings = check.Settings(("np",), ("float64",))
    assert check.run_one(task, settings, folder, lambda text: None).status == "ok"
    return folder


@pytest.fixture
def copy(made):
    """Return a copy of the trace, in the current folder."""
    return Path(shutil.copytree(made, "copy"))


def rewrite(folder: Path, change, *, seal: bool = True) -> None:
    """Let `change` have a trace's record, and write it anew, with a seal that fits."""
    file = folder / "trace.json"
    record = json.loads(file.read_text())
    change(record)
    if seal:
        record["sha256"] = trace._seal(record)
    file.write_text(json.dumps(record))


def set_run(**changes):
    return lambda record: record["run"].update(changes)


def set_endpoint(**changes):
    return lambda record: record["endpoints"][5].update(changes)


def test_unchanged_copy_agrees(capsys, made, copy):
    assert call(capsys, "compare", copy, made).code == 0
    rewrite(copy, lambda record: None)
    assert call(capsys, "compare", copy, made).code == 0


RECORDS = {
    "other weights": (set_run(weights="0" * 64), "are traces of different runs (weights: "),
    "other options": (set_run(options={"in_channels": 3}), "traces of different runs (options: "),
    "other network": (set_run(network="inception_v9"), "are traces of different runs (network: "),
    "other images": (set_run(images="0" * 64), "its input isn't the images that its run names"),
    "other dtype": (set_endpoint(dtype="float32"), "holds float64, but trace.json says float32"),
    "other shape": (set_endpoint(shape=[1, 64]), "but trace.json says (1, 64) ["),
    "other content": (set_endpoint(sha256="0" * 64), ": changed since it was written"),
    "other backend": (set_run(backend="jax"), "'jax', but should be one of np, pt, tf, mx"),
    "no dtype": (set_run(dtype="int8"), "'int8', but should be one of float64, float32"),
    "no mode": (set_run(mode="backwards"), "'backwards', but should be one of propagated, iso"),
    "no format": (lambda record: record.update(format="2"), "format '2', but should be 'incep"),
    "list for a word": (set_run(backend=[]), "not a trace's record"),
    "word for options": (set_run(options="all"), "not a trace's record"),
    "no run": (lambda record: record.pop("run"), "not a trace's record (KeyError('run'))"),
    "no endpoints": (lambda record: record.update(endpoints=3), "not a trace's record"),
    "odd field": (set_endpoint(colour="red"), "not a trace's record"),
    "odd shape": (set_endpoint(shape=[-1, "x"]), "not a trace's record"),
    "odd name": (set_endpoint(name=7), "not a trace's record"),
    "file elsewhere": (set_endpoint(file="../0001.npy"), "not a trace's record"),
    "file of the system": (set_endpoint(file="/etc/passwd"), "not a trace's record"),
    "no file": (set_endpoint(file="9999.npy"), "9999.npy: can't read endpoint"),
}


@pytest.mark.parametrize(("change", "message"), RECORDS.values(), ids=RECORDS)
def test_record_that_does_not_fit_its_trace_is_refused(capsys, made, copy, change, message):
    rewrite(copy, change)
    require_clear_error(call(capsys, "compare", copy, made), str(copy), message)
    require_clear_error(call(capsys, "compare", made, copy), str(copy), message)


def test_record_that_was_edited_is_refused(capsys, made, copy):
    rewrite(copy, lambda record: record.update(seconds=0.0), seal=False)
    done = call(capsys, "compare", copy, made)
    require_clear_error(done, "trace.json: changed since it was written; run it again")


@pytest.mark.parametrize(
    "text", ["", "[]", "3", "{", "[" * 100_000, "\0", '{"format": 1}'], ids=repr
)
def test_broken_record_is_refused(capsys, made, copy, text):
    (copy / "trace.json").write_text(text)
    done = call(capsys, "compare", made, copy)
    require_clear_error(done, "trace.json: ")


def test_tampered_array_is_refused(capsys, made, copy):
    array = np.load(copy / "0003.npy", mmap_mode="r+")
    array.flat[7] = np.nextafter(array.flat[7], 1)
    array.flush()
    done = call(capsys, "compare", copy, made)
    require_clear_error(done, "copy: run it again;", ": changed since it was written")


ARCHIVE = b"PK\x05\x06" + bytes(18)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"\x93NUMPY\1\0\2\0{\n", ARCHIVE], ids=repr)
def test_file_that_is_not_an_array_is_refused(capsys, made, copy, content):
    (copy / "0003.npy").write_bytes(content)
    done = call(capsys, "compare", copy, made)
    require_clear_error(done, "0003.npy: can't read endpoint")


def test_folder_of_kept_traces_is_refused_with_their_names(capsys, made):
    done = call(capsys, "compare", made, made.parent)
    require_clear_error(done, "no trace there (no trace.json); it holds the traces np")


def test_traces_of_other_images_are_refused(capsys, made):
    done = call(capsys, *RUN[:-4], "--size", "8", "--batch", "2", "--out", "two")
    assert done.code == 0
    done = call(capsys, "compare", "two", made)
    require_clear_error(done, "are traces of different runs (images: ", "run both with the same")


def test_reference_that_is_too_coarse_or_isolated_is_refused(capsys, made, copy):
    def smaller(record):
        record["run"]["dtype"] = "float32"

    rewrite(copy, smaller)
    done = call(capsys, "compare", made, copy)
    require_clear_error(done, "copy: in float32, too coarse to judge float64 by; exchange the two")
    rewrite(copy, set_run(dtype="float64", mode="isolated"))
    done = call(capsys, "compare", made, copy)
    require_clear_error(done, "an isolated run, but the reference should be a propagated one")


def test_half_written_trace_is_not_seen(tmp_path):
    with pytest.raises(ZeroDivisionError), trace.TraceWriter(tmp_path / "t") as writer:
        writer.add("input", np.ones(3))
        _ = 1 / 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["here", "temporary"]


def test_half_written_file_is_not_left():
    class Interrupted(BaseException):
        pass

    def interrupt(*arguments: object) -> None:
        raise Interrupted

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", interrupt)
        with pytest.raises(Interrupted):
            weights.write_whole(Path("w"), b"content")
    assert list(Path.cwd().iterdir()) == []
