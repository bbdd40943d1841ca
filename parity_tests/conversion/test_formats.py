"""Readers of other people's files: what they hold, and what they might do to us."""

from __future__ import annotations

import struct
import sys
import zipfile

import h5py
import numpy as np
import pytest

from inception_parity import formats
from inception_parity.errors import InputError
from inception_parity.formats import mxnet as mxnet_format

from ..support import foreign_files
from ..support.foreign_files import ARRAYS, mutate, write

ORDERED = ("keras_newer", "keras_older", "keras_archive")  # whose names are of their own


def refuse(path, *texts):
    """Assert that reading ends in one error that has all `texts` and names the file."""
    with pytest.raises(InputError) as caught:
        formats.read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    for text in texts:
        assert text in message
    return message


def same(found, expected):
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", foreign_files.WRITERS)
def test_every_format_gives_back_what_was_written(name, tmp_path):
    content = formats.read(write(name, tmp_path / "file"))
    assert content.format == name.partition("_")[0]
    assert len(content.arrays) == len(content.dtypes) == len(ARRAYS)
    found = (
        dict(zip(ARRAYS, content.arrays.values(), strict=True))
        if name in ORDERED
        else content.arrays
    )
    for key, expected in ARRAYS.items():
        expected = expected.reshape(1) if name == "mxnet" and expected.ndim == 0 else expected
        same(found[key], expected)


@pytest.mark.parametrize("magic", [0xF993FACA, 0xF993FAC9, 0xF993FAC8, 0], ids=hex)
def test_mxnet_is_read_in_all_its_versions(magic, tmp_path):
    foreign_files.mxnet(tmp_path / "file", ARRAYS, magic)
    found = formats.read(tmp_path / "file").arrays
    same(found["layer.weight"], ARRAYS["layer.weight"])
    assert found["count"].shape == (() if magic == 0xF993FACA else (1,))


def test_mxnet_reads_what_is_written_for_it_and_writes_what_is_read(load_adapter, tmp_path):
    load_adapter("mx")
    from inception_mx._mxnet import mxnet

    ours = {name: array for name, array in ARRAYS.items() if array.dtype == np.float32}
    (tmp_path / "ours").write_bytes(mxnet_format.encode(ours))
    with mxnet.util.np_array(False), mxnet.util.np_shape(False):
        for name, array in mxnet.nd.load(str(tmp_path / "ours")).items():
            same(array.asnumpy(), ours[name])
        nd = {name: mxnet.nd.array(array) for name, array in ours.items()}
        mxnet.nd.save(str(tmp_path / "nd"), nd)
    mxnet.npx.save(str(tmp_path / "np"), {n: mxnet.np.array(a) for n, a in ours.items()})
    for form in ("nd", "np"):
        for name, array in formats.read(tmp_path / form).arrays.items():
            same(array, ours[name])


def test_half_precision_is_read_exactly(tmp_path):
    import torch

    values = torch.tensor([1.0, -2.5, 3.0e-3, 65504.0])
    state = {"h": values.half(), "b": values.bfloat16(), "d": values.double()}
    torch.save(state, tmp_path / "pth")
    from safetensors.torch import save_file

    save_file(state, tmp_path / "st")
    for name in ("pth", "st"):
        content = formats.read(tmp_path / name)
        assert content.dtypes == {"h": "float16", "b": "bfloat16", "d": "float64"}
        for key, tensor in state.items():
            np.testing.assert_array_equal(content.arrays[key], tensor.double().numpy())


@pytest.mark.parametrize("archive", [True, False])
def test_code_in_a_pickle_is_not_run(archive, tmp_path):
    mark = tmp_path / "run"
    foreign_files.hostile_pickle(tmp_path / "file", mark, archive=archive)
    refuse(tmp_path / "file", "nothing in it was run", "state_dict")
    assert not mark.exists()


def test_the_payload_would_run_if_it_were_unpickled(tmp_path):
    """So that the test above can fail."""
    import torch

    foreign_files.hostile_pickle(tmp_path / "file", tmp_path / "run", archive=False)
    torch.load(tmp_path / "file", weights_only=False)
    assert (tmp_path / "run").exists()


def test_zip_bombs_are_refused_before_they_are_opened(tmp_path):
    for inner, suffix in (("archive/data.pkl", "pth"), ("model.weights.h5", "keras")):
        bomb = tmp_path / suffix
        with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(inner, bytes(50_000_000))
        assert bomb.stat().st_size < 100_000
        refuse(bomb, "is compressed")


def test_overlapping_members_are_refused(tmp_path):
    path = tmp_path / "file"
    write("torch", path)
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        member = next(m for m in archive.infolist() if "/data/" in m.filename)
    end = data.rindex(b"PK\x05\x06")
    entry = data[data.index(b"PK\x01\x02") : end]
    size = struct.pack("<I", 1 << 20)  # a member that reaches over all others
    at = entry.index(member.filename.encode()) - 46
    entry[at + 20 : at + 24] = entry[at + 24 : at + 28] = size
    data[data.index(b"PK\x01\x02") : end] = entry
    path.write_bytes(data)
    refuse(path, "members overlap")


def test_tensors_larger_than_their_file_are_refused(tmp_path):
    import torch

    torch.save({"w": torch.zeros(1).expand(1 << 20, 1 << 10)}, tmp_path / "file")
    refuse(tmp_path / "file", "more than the file")


def test_what_is_no_state_dict_is_refused(tmp_path):
    import torch

    for value, text in (
        (torch.zeros(3), "holds a Tensor"),
        ({"w": 3}, "a int, but should be a tensor"),
        ({"w": torch.zeros(3).to_sparse()}, "should be dense numbers"),
        ({"w": torch.zeros(3, dtype=torch.complex64)}, "should be dense numbers"),
    ):
        torch.save(value, tmp_path / "file")
        refuse(tmp_path / "file", text)


def test_state_dict_is_found_in_the_usual_wrapper(tmp_path):
    import torch

    torch.save({"epoch": 3, "state_dict": {"w": torch.ones(2)}}, tmp_path / "file")
    assert list(formats.read(tmp_path / "file").arrays) == ["w"]


def test_oversized_safetensors_header_is_refused(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(struct.pack("<Q", 90_000_000) + b"{" + b" " * 1000)
    refuse(path, "header of 90,000,000 bytes")
    path.write_bytes(struct.pack("<Q", 1000) + b"{" + b" " * 10)
    refuse(path, "broken safetensors file")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda d: d[:16] + struct.pack("<Q", 2**63) + d[24:], "arrays, but at most"),
        (lambda d: d[:32] + struct.pack("<i", 2**30) + d[36:], "dimensions"),
        (lambda d: d[:36] + struct.pack("<q", 2**60) + d[44:], "bytes are promised"),
        (lambda d: d[:36] + struct.pack("<q", -4) + d[44:], "shape (-4"),
        (lambda d: d[:28] + struct.pack("<i", 1) + d[32:], "sparse"),
        (lambda d: d[:76] + struct.pack("<i", 99) + d[80:], "dtype 99"),
        (lambda d: d[:-3], "bytes are promised, 2 are left"),
    ],
    ids=["count", "dimensions", "huge", "negative", "sparse", "dtype", "truncated"],
)
def test_mxnet_sizes_are_held_against_the_file(change, text, tmp_path):
    path = write("mxnet", tmp_path / "file")
    path.write_bytes(change(path.read_bytes()))
    refuse(path, "MXNet .params", text)


def test_hdf5_that_leads_elsewhere_is_refused(tmp_path):
    write("keras_newer", tmp_path / "other.h5")

    def file_with(make):
        path = tmp_path / "file.h5"
        with h5py.File(path, "w") as file:
            make(file.create_group("layers/conv2d/vars"))
        return path

    def virtual(group):
        layout = h5py.VirtualLayout((2,), "f4")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", (2,))
        group.create_virtual_dataset("0", layout)

    def external(group):
        group.create_dataset("0", (2,), "f4", external=[(str(tmp_path / "other.h5"), 0, 8)])

    def linked(link):
        return lambda group: group.__setitem__("0", link)

    def circle(group):
        group["0"] = group.parent

    outside = h5py.ExternalLink(str(tmp_path / "other.h5"), "/layers")
    refuse(file_with(linked(outside)), "link to elsewhere")
    refuse(file_with(linked(h5py.SoftLink("/layers"))), "link to elsewhere")
    refuse(file_with(virtual), "lies in another file")
    refuse(file_with(external), "lies in another file")
    refuse(file_with(circle), "groups form a cycle")


def test_compressed_hdf5_is_refused(tmp_path):
    with h5py.File(tmp_path / "bomb.h5", "w") as file:
        file.create_dataset("layers/conv2d/vars/0", (1 << 24,), "f4", compression="gzip")
    refuse(tmp_path / "bomb.h5", "perhaps compressed")


def test_hdf5_that_claims_more_than_it_holds_is_refused(tmp_path):
    with h5py.File(tmp_path / "late.h5", "w") as file:  # nothing is written until it is set
        file.create_dataset("layers/conv2d/vars/0", (1 << 30,), "f4")
    refuse(tmp_path / "late.h5", "more than the file")


def test_what_is_none_of_these_is_refused(tmp_path):
    path = tmp_path / "file"
    for content in (b"", b"\0" * 64, b"GIF89a", b"PK\x03\x04 but no archive"):
        path.write_bytes(content)
        refuse(path, "not in a supported format (safetensors, PyTorch, Keras HDF5")
    refuse(tmp_path / "none", "no such file")
    refuse(tmp_path, "not a file")


def test_missing_library_is_named_with_what_installs_it(tmp_path, monkeypatch):
    torch_file, keras_file = write("torch", tmp_path / "a"), write("keras_newer", tmp_path / "b")
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setitem(sys.modules, "h5py", None)
    refuse(torch_file, "pip install 'inception-parity[torch]', or save it as safetensors")
    refuse(keras_file, "pip install 'inception-parity[tensorflow]'")


@pytest.mark.parametrize("name", foreign_files.WRITERS)
def test_damaged_files_end_in_one_clear_error_or_in_arrays(name, tmp_path):
    """A short run of what `benchmarks/fuzz_formats.py` does at length, in processes of its own."""
    content = write(name, tmp_path / "whole").read_bytes()
    refused = 0
    for seed in range(40):
        path = tmp_path / "damaged"
        path.write_bytes(mutate(content, np.random.default_rng([seed, 1])))
        try:
            found = formats.read(path)
        except InputError as error:
            refused += 1
            assert str(error).startswith(f"{path}: ")
        else:
            assert sum(array.nbytes for array in found.arrays.values()) <= 4 * len(content)
    assert refused > 5
