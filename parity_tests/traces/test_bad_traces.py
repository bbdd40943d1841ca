"""A trace that was tampered with, or isn't of the run that it claims, is refused."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from inception_parity.traces import seeding, trace

from ..support.command import call, empty_place, require_clear_error

RUN = ("run", "googlenet", "--backend", "np")


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path, monkeypatch):
    with empty_place(tmp_path, monkeypatch):
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return the folder of the oracle's trace."""
    from inception_parity.checking import runner
    from inception_parity.checking.task import Settings, make_task

    shared = seeding.seeded("googlenet", {}, 0)
    task = make_task(shared, None, (8, 8), 1)
    folder = tmp_path_factory.mktemp("traces") / "np"
    settings = Settings(("np",), ("float64",))
    assert runner.run_one(task, settings, folder, lambda text: None).status == "ok"
    return folder


@pytest.fixture
def copy(made):
    """Return a copy of the trace in the current folder."""
    return Path(shutil.copytree(made, "copy"))


def rewrite(folder: Path, change, *, seal: bool = True) -> None:
    """Pass a trace's record to `change`, and write it again with a seal that fits."""
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


def test_compare_writes_a_page(capsys, made, copy):
    done = call(capsys, "compare", copy, made, "--report", "page.html")
    assert done.code == 0, done
    text = Path("page.html").read_text()
    assert "NumPy oracle float64 agrees with NumPy oracle float64." in text
    assert f"inception-parity compare {copy} {made} --seed 0" in text
    refused = call(capsys, "compare", copy, made, "--report", "none/page.html")
    require_clear_error(refused, "there is no folder")


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
    done = call(capsys, *RUN, "--size", "8", "--batch", "2", "--out", "two")
    assert done.code == 0
    done = call(capsys, "compare", "two", made)
    require_clear_error(done, "are traces of different runs (images: ", "run both with the same")


def test_reference_that_is_too_coarse_or_isolated_is_refused(capsys, made, copy):
    def smaller(record):
        record["run"]["dtype"] = "float32"

    rewrite(copy, smaller)
    done = call(capsys, "compare", made, copy)
    require_clear_error(done, "copy: in float32, too coarse to judge float64 by; swap the two")
    rewrite(copy, set_run(dtype="float64", mode="isolated"))
    done = call(capsys, "compare", made, copy)
    require_clear_error(
        done, "copy: an isolated run", "only another isolated run can be compared with it"
    )


def test_isolated_runs_are_compared_with_each_other(capsys, copy):
    rewrite(copy, set_run(mode="isolated"))
    other = Path(shutil.copytree(copy, "other"))
    for reference in (copy, other):
        done = call(capsys, "compare", copy, reference)
        assert done.code == 0, done
        assert "float64 isolated" in done.out
        assert "bit-identical" in done.out
    file = json.loads((other / "trace.json").read_text())["endpoints"][5]["file"]
    array = np.load(other / file)
    array.flat[0] += 1.0
    np.save(other / file, array)

    def mark(record):
        for endpoint in record["endpoints"]:  # a block may share its last layer's file
            if endpoint["file"] == file:
                endpoint["sha256"] = hashlib.sha256(array.data).hexdigest()

    rewrite(other, mark)
    done = call(capsys, "compare", other, copy)
    assert done.code == 1, done
