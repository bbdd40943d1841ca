"""ONNX files from anywhere: read right, or refused with one clear error."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from inception_parity import formats
from inception_parity.errors import InputError
from inception_parity.formats import onnx as reader
from inception_parity.formats import wire
from inception_parity.onnx import reading
from inception_parity.onnx.sealing import FORMAT, sealed

from ..faults.mutations import mutated

SLACK = 1 << 16  # bytes of objects that have nothing to do with the size of the file


def model(*initializers, nodes=(), metadata=None):
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])
    graph = helper.make_graph(nodes, "g", [value], [value], list(initializers))
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    helper.set_model_props(made, metadata or {})
    return made


def written(folder, *initializers, **more):
    file = folder / "m.onnx"
    file.write_bytes(model(*initializers, **more).SerializeToString())
    return file


def numbers(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def test_arrays_dtypes_and_metadata_are_read(tmp_path):
    import ml_dtypes

    arrays = {
        "b1.0.conv.weight": numbers(4, 3, 2, 2), "double": numbers(5).astype(np.float64),
        "half": numbers(2, 3).astype(np.float16), "empty": numbers(0, 3), "scalar": numbers(),
        "index": np.array([-1, 2**40]), "flags": np.array([True, False]),
    }  # fmt: skip
    brain = numbers(7).astype(ml_dtypes.bfloat16)
    given = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    given.append(numpy_helper.from_array(brain, "brain"))
    file = written(tmp_path, *given, metadata={"network": "googlenet"})
    assert reader.recognise(file)
    found = formats.read(file)
    assert found.format == "onnx"
    assert list(found.arrays) == [*arrays, "brain"]
    for name, array in arrays.items():
        assert found.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(found.arrays[name], array)
    np.testing.assert_array_equal(found.arrays["brain"], brain.astype(np.float32))
    assert (found.dtypes["half"], found.dtypes["brain"]) == ("float16", "bfloat16")
    assert found.metadata["network"] == "googlenet"
    assert (found.metadata["ir_version"], found.metadata["opset"]) == (8, 18)


@pytest.mark.parametrize(
    "kind", ["FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16", "INT64", "INT8", "BOOL"]
)
def test_numbers_stored_one_by_one_are_read(kind, tmp_path):
    values = [1, 0, 1] if kind == "BOOL" else [1, -2, 3]
    tensor = helper.make_tensor("w", getattr(TensorProto, kind), [3], values)
    found = formats.read(written(tmp_path, tensor)).arrays["w"]
    assert found.tolist() == values


def test_numbers_that_are_not_packed_are_refused(tmp_path):
    single = b"\x25" + bytes(4)  # field 4, float_data, as one number of 32 bits
    tensor = b"\x08\x01\x10\x01" + wire.encoded(8, b"w") + single  # one dimension of 1, FLOAT
    file = tmp_path / "m.onnx"
    file.write_bytes(b"\x08\x08" + wire.encoded(7, wire.encoded(5, tensor)))
    with pytest.raises(InputError, match="w: its numbers are stored one by one, not together"):
        formats.read(file)


def test_the_files_of_onnx_itself_are_read():
    """Compared with what the onnx package makes of them."""
    file = Path(onnx.__file__).parent / "backend/test/data/light/light_inception_v1.onnx"
    found = formats.read(file)
    expected = {t.name: numpy_helper.to_array(t) for t in onnx.load(file).graph.initializer}
    assert list(found.arrays) == list(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found.arrays[name], array)


def external(location, **more):
    tensor = numpy_helper.from_array(numbers(6), "w")
    content = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **more}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, str(value)
    return tensor, content


def test_external_data_beside_the_file_is_read(tmp_path):
    tensor, content = external("data/w.bin", offset=8, length=24)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "w.bin").write_bytes(bytes(8) + content)
    found = formats.read(written(tmp_path, tensor))
    np.testing.assert_array_equal(found.arrays["w"], numbers(6))


@pytest.mark.parametrize(
    "location", ["../secret", "{root}/secret", "link", "in/link", "a/../../secret"]
)
def test_external_data_elsewhere_is_refused(location, tmp_path):
    """The file that it points at has the right bytes: only its place is wrong."""
    location = location.format(root=tmp_path)
    tensor, content = external(location, offset=0, length=24)
    (tmp_path / "secret").write_bytes(content)
    folder = tmp_path / "folder"
    (folder / "in").mkdir(parents=True)
    for name in ("link", "in/link"):
        (folder / name).symlink_to(tmp_path / "secret")
    with pytest.raises(InputError, match=r"w: its data is at .*(outside|should be in)"):
        formats.read(written(folder, tensor))


def test_external_data_that_is_a_device_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    tensor, _ = external("pipe")
    with pytest.raises(InputError, match="there is no file 'pipe'"):
        formats.read(written(tmp_path, tensor))


def with_shape(*dims):
    tensor = numpy_helper.from_array(numbers(6), "w")
    del tensor.dims[:]
    tensor.dims.extend(dims)
    return [tensor]


WRONG = {  # initialisers, and what is said of them
    "absurd": (with_shape(1 << 39, 1 << 39), "w: 24 bytes, but shape"),
    "negative": (with_shape(-6), "w: shape"),
    "overflowing": (with_shape(1 << 62, 4), "w: shape"),
    "other shape": (with_shape(7), "24 bytes, but shape .7,. of float32 has 28"),
    "many dimensions": (with_shape(*[1] * 9), "more than 8 dimensions"),
    "external, too short": ([external("m.onnx", length=24, offset=1 << 40)[0]], "from 1,099,511"),
    "external, absent": ([external("nothing.bin")[0]], "there is no file 'nothing.bin'"),
    "external, no number": ([external("m.onnx", offset="x")[0]], "offset or length isn't a number"),
    "text": ([helper.make_tensor("w", TensorProto.STRING, [1], [b"a"])], "data type 8, but should"),
    "twice": ([numpy_helper.from_array(numbers(2), "w")] * 2, "two initialisers are called 'w'"),
    "many numbers": (
        [helper.make_tensor("w", TensorProto.FLOAT16, [5000], np.ones(5000))],
        "5,000 numbers one by one",
    ),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_initialisers_that_are_wrong_are_named(wrong, tmp_path):
    initializers, text = WRONG[wrong]
    with pytest.raises(InputError, match=text):
        formats.read(written(tmp_path, *initializers))


def test_thousands_of_empty_messages_are_refused(tmp_path):
    """Each would be an object of a hundred bytes; here they are two bytes of the file."""
    file = tmp_path / "bomb.onnx"
    nodes = b"\x0a\x00" * 25_000
    file.write_bytes(b"\x08\x08" + wire.encoded(7, nodes))
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="more than 20,000 fields"):
            formats.read(file)
        assert tracemalloc.get_traced_memory()[1] <= 4 * file.stat().st_size
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("content", [b"", b"\x08", b"PK\x03\x04", b"\x89HDF\r\n\x1a\n", b"{}" * 40])
def test_other_files_are_not_taken_for_onnx(content, tmp_path):
    file = tmp_path / "f"
    file.write_bytes(content)
    assert not reader.recognise(file)


def small_file():
    arrays = {
        "conv.weight": numbers(8, 3, 3, 3),
        "conv.bias": numbers(8),
        "fc.weight": numbers(4, 8),
    }
    node = helper.make_node("Gemm", ["x", "fc.weight"], ["y"], transB=1)
    given = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    return model(*given, nodes=[node], metadata={"network": "none"}).SerializeToString()


@pytest.mark.parametrize("first", range(0, 1000, 250))
def test_damaged_files_are_read_or_refused(first, tmp_path):
    """1,000 of them, each in at most four times its size of memory."""
    content, file = small_file(), tmp_path / "m.onnx"
    refused = 0
    tracemalloc.start()
    try:
        for number in range(first, first + 250):
            damaged = mutated(content, number)
            file.write_bytes(damaged)
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            try:
                for array in formats.read(file).arrays.values():
                    assert isinstance(array, np.ndarray)
            except InputError as error:
                refused += 1
                assert str(file) in str(error)
            peak = tracemalloc.get_traced_memory()[1] - before
            assert peak <= 4 * len(damaged) + SLACK, number
    finally:
        tracemalloc.stop()
    assert 0 < refused < 250  # bits inside an array's values are nobody's to see


def test_a_file_of_somebody_else_is_refused_by_name(tmp_path):
    file = written(tmp_path, *with_shape(6))
    with pytest.raises(InputError, match=r"no format, but should be .* comes from .* export"):
        reading.read(file)


def test_seal_shows_every_change(tmp_path):
    file = tmp_path / "m.onnx"
    content = sealed(model(*with_shape(6), metadata={"format": FORMAT}).SerializeToString())
    file.write_bytes(content)
    with pytest.raises(InputError, match="broken metadata"):  # sealed, but it says no more
        reading.describe(file)
    raw = content.index(numbers(6).tobytes())
    for at in (raw, raw + 23, len(content) - 1):
        changed = bytearray(content)
        changed[at] ^= 1
        file.write_bytes(changed)
        with pytest.raises(InputError, match=r"changed since it was exported|broken ONNX"):
            reading.describe(file)
