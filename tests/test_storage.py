"""Storage: a file is whole or not there, what is wrong is named, generators go on exactly."""

import json
import math
import os
import signal
import stat
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stored import read_arrays, read_json, write_arrays, write_json

from tau_rnn.experiment import files as storage
from tau_rnn.experiment.files import (
    StoreError,
    generator_from,
    generator_state,
    replacing,
    write_text,
)

ARRAYS = {
    "W": np.arange(12.0).reshape(3, 4) / 7,
    "single": np.array([1.5, -0.0, np.nan, np.inf], np.float32),
    "text": np.array('{"step": 3}'),
    "empty": np.zeros((0, 2)),
    "scalar": np.array(7),
}


def same(a, b):
    return list(a) == list(b) and all(
        a[k].dtype == b[k].dtype and a[k].shape == b[k].shape and a[k].tobytes() == b[k].tobytes()
        for k in a
    )


# --- atomic writes -------------------------------------------------------------------------------


class Interrupted(Exception):
    """What interrupts a write."""


@pytest.mark.parametrize("kind", [Interrupted, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("there", [True, False])
def test_an_exception_in_the_middle_of_a_write_changes_nothing(tmp_path, kind, there):
    path = tmp_path / "numbers.csv"
    if there:
        write_text(path, "old\n")
    with pytest.raises(kind), replacing(path) as file:
        file.write(b"half of the new")
        file.flush()
        raise kind
    assert [p.name for p in tmp_path.iterdir()] == (["numbers.csv"] if there else [])
    assert not there or path.read_text() == "old\n"


@pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX")
def test_files_have_the_permissions_of_any_file_and_the_umask_stays(tmp_path):
    before = os.umask(0o027)
    try:
        write_json(tmp_path / "a.json", {})
        assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o640
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failing_disk_changes_nothing(tmp_path, monkeypatch, call):
    path = tmp_path / "a.json"
    write_json(path, {"old": 1})

    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage.os, call, fail)
    with pytest.raises(OSError, match="No space left"):
        write_json(path, {"new": 2})
    monkeypatch.undo()
    assert read_json(path) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_values_that_cannot_be_written_change_nothing(tmp_path):
    write_json(tmp_path / "a.json", [1])
    write_arrays(tmp_path / "a.npz", ARRAYS)
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"a": object()})
    assert read_json(tmp_path / "a.json") == [1] and same(read_arrays(tmp_path / "a.npz"), ARRAYS)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.json", "a.npz"]


WRITER = """
import sys
import numpy as np
from tau_rnn.experiment.files import array_bytes, write_bytes
k = 0
while True:
    k += 1
    write_bytes(
        sys.argv[1], array_bytes({"a": np.full(50_000, k), "b": np.full(50_000, k)})
    )
    if k == 1:
        print("started", flush=True)
"""


@pytest.mark.parametrize("wait", [0.0, 0.013, 0.031])
def test_a_writer_that_is_killed_leaves_a_whole_file(tmp_path, wait):
    path = tmp_path / "state.npz"
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"started\n"
        time.sleep(wait)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    arrays = read_arrays(path, ["a", "b"])
    assert arrays["a"].shape == (50_000,) and (arrays["a"] == arrays["b"]).all()
    assert np.ptp(arrays["a"]) == 0 and arrays["a"][0] >= 1


def test_the_new_file_is_not_seen_before_it_is_whole(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with replacing(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_a_file_reaches_the_disk_before_its_name_does(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace

    def watch_fsync(descriptor):
        calls.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    monkeypatch.setattr(storage.os, "fsync", watch_fsync)
    monkeypatch.setattr(
        storage.os, "replace", lambda *args: (calls.append("name"), replace(*args))[1]
    )
    write_text(tmp_path / "a.txt", "text")
    assert calls == ["file", "name", "folder"]


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
@pytest.mark.parametrize("mask, mode", [(0o022, 0o644), (0o077, 0o600)])
def test_a_file_gets_the_permissions_of_any_other(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        write_text(tmp_path / "a.txt", "text")
        assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == mode
    finally:
        assert os.umask(before) == mask


# --- JSON ----------------------------------------------------------------------------------------

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab é", max_size=3), inner),
    max_leaves=8,
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values)
def test_json_comes_back_as_it_was_written(tmp_path, value):
    write_json(tmp_path / "a.json", value)
    back = read_json(tmp_path / "a.json")
    assert back == value and repr(back) == repr(value)  # 1 is not 1.0, -0.0 is not 0.0


def test_json_of_numpy_and_of_what_json_lacks(tmp_path):
    write_json(
        tmp_path / "a.json",
        {
            "f": np.float32(0.5), "i": np.int64(3), "b": np.bool_(True), "array": np.arange(3),
            "nan": math.nan, "inf": [math.inf, -np.float64(math.inf)], "tuple": (1, None),
            7: "number",
        },
    )  # fmt: skip
    text = (tmp_path / "a.json").read_text()
    assert "NaN" not in text and "Infinity" not in text and text.endswith("\n")
    assert json.loads(text) == {
        "f": 0.5, "i": 3, "b": True, "array": [0, 1, 2], "nan": None, "inf": [None, None],
        "tuple": [1, None], "7": "number",
    }  # fmt: skip


@pytest.mark.parametrize("content", [b"", b'{"a": 1', b"\xff\xfe\x00", b"PK\x03\x04", b"{'a': 1}"])
def test_a_file_that_is_not_json_is_named(tmp_path, content):
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"config\.json: not a whole JSON file"):
        read_json(path)
    assert path.read_bytes() == content


# --- arrays --------------------------------------------------------------------------------------


def test_arrays_come_back_bit_for_bit(tmp_path):
    write_arrays(tmp_path / "a.npz", ARRAYS)
    assert same(read_arrays(tmp_path / "a.npz"), ARRAYS)
    assert same(read_arrays(tmp_path / "a.npz", ["W", "text"]), ARRAYS)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:  # as any reader would
        assert same({k: file[k] for k in file.files}, ARRAYS)


def test_a_missing_array_is_named(tmp_path):
    write_arrays(tmp_path / "a.npz", ARRAYS)
    with pytest.raises(StoreError, match=r"a\.npz: lacks theta, moments$"):
        read_arrays(tmp_path / "a.npz", ["W", "theta", "moments"])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "a.npz"
    write_arrays(path, ARRAYS)
    return path.read_bytes()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(where=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_named(tmp_path, whole, where):
    path = tmp_path / "checkpoint.npz"
    path.write_bytes(whole[: int(where * len(whole))])
    with pytest.raises(StoreError, match=r"checkpoint\.npz: "):
        read_arrays(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(where=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_a_damaged_byte_is_found_or_changes_nothing(tmp_path, whole, where, flip):
    path = tmp_path / "final.npz"
    content = bytearray(whole)
    content[int(where * len(whole))] ^= flip
    path.write_bytes(content)
    try:
        arrays = read_arrays(path, list(ARRAYS))
    except StoreError as error:
        assert "final.npz: " in str(error)
    else:  # a date, say
        assert same({k: arrays[k] for k in ARRAYS}, ARRAYS)


@pytest.mark.parametrize(
    "content",
    [b"", b"not an archive at all\n", b"step,loss\n0,0.5\n", b"PK\x05\x06", bytes(1000)],
    ids=["empty", "text", "csv", "start of a zip", "zeros"],
)
def test_a_foreign_file_is_named(tmp_path, content):
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"a\.npz: damaged, or not an \.npz file"):
        read_arrays(path)
    assert path.read_bytes() == content


def test_a_single_array_and_a_foreign_archive_are_named(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(3))
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as file:
        file.writestr("readme.txt", "hello")
    for name in ("a.npy", "b.npz"):
        with pytest.raises(StoreError, match=name):
            read_arrays(tmp_path / name)


def test_a_damaged_compressed_file_of_another_program_is_named(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, a=np.arange(40.0) ** 0.5)
    whole = path.read_bytes()
    np.testing.assert_array_equal(read_arrays(path)["a"], np.arange(40.0) ** 0.5)
    with zipfile.ZipFile(path) as file:
        size = file.infolist()[0].compress_size
    start = 30 + len("a.npy") + int.from_bytes(whole[28:30], "little")  # the end of its header
    for k in range(start, start + size):
        path.write_bytes(whole[:k] + bytes([whole[k] ^ 0xFF]) + whole[k + 1 :])
        with pytest.raises(StoreError, match=r"a\.npz"):
            read_arrays(path, ["a"])


def test_a_file_that_would_fill_the_memory_is_refused_before_it_is_unpacked(tmp_path):
    np.savez_compressed(tmp_path / "bomb.npz", x=np.zeros(3_000_000))
    assert (tmp_path / "bomb.npz").stat().st_size < 100_000
    with pytest.raises(StoreError, match=r"bomb\.npz: .* claim to hold 24000"):
        read_arrays(tmp_path / "bomb.npz")


def test_pickled_objects_are_refused_and_never_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    np.savez(tmp_path / "a.npz", a=np.array([Trap()], dtype=object))
    with pytest.raises(StoreError, match=r"a\.npz"):
        read_arrays(tmp_path / "a.npz")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("read", [read_json, read_arrays])
def test_a_file_that_is_not_there_is_simply_missing(tmp_path, read):
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none")


# --- random generators ---------------------------------------------------------------------------

KINDS = ["MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64"]


@pytest.mark.parametrize("kind", KINDS)
@given(
    seed=st.integers(0, 2**32 - 1),
    used=st.lists(st.sampled_from(["normal", "bits", "half"]), max_size=6),
)
def test_a_generator_goes_on_from_its_state(kind, seed, used):
    rng = np.random.Generator(getattr(np.random, kind)(seed))
    draw = {
        "normal": lambda r: r.standard_normal(5),
        "bits": lambda r: r.integers(2**64, size=3, dtype=np.uint64),
        "half": lambda r: r.integers(2**32, size=1, dtype=np.uint32),  # leaves half of a draw over
    }
    for what in used:
        draw[what](rng)
    state = json.loads(json.dumps(generator_state(rng)))
    restored = generator_from(state)
    assert generator_state(restored) == state
    for what in ("half", "half", "normal", "bits", "half"):
        np.testing.assert_array_equal(draw[what](rng), draw[what](restored))


@pytest.mark.parametrize(
    "state",
    [
        {}, None, 3, {"bit_generator": "SFC65"}, {"bit_generator": "default_rng"},
        {"bit_generator": "BitGenerator", "state": {}}, {"bit_generator": "SFC64"},
        {"bit_generator": "SFC64", "state": {"state": [1, 2]}},
        {"bit_generator": "SFC64", "state": {"state": [1, 2, 3, -4]}, "has_uint32": 0,
         "uinteger": 0},
        {"bit_generator": "PCG64", "state": 3},
        {"bit_generator": "MT19937", "state": {"key": [1], "pos": 4}},
    ],
)  # fmt: skip
def test_what_is_no_state_of_a_generator_is_refused(state):
    with pytest.raises(StoreError, match="random generator"):
        generator_from(state)
