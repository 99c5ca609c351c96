"""Values as JSON has them, and files that are whole or as they were."""

import json
import math
import os
import stat
import threading
from pathlib import Path

import keras
import numpy as np
import pytest

from tfopt import _files
from tfopt._files import as_json, replace, write_json, write_text


def test_numbers_of_every_library_become_pythons_own():
    values = {
        "double": np.float64(0.5), "long": np.longdouble(0.25), "half": np.float16(2), "count": np.int64(3),
        "flag": np.bool_(True), "name": np.str_("x"), "truth": False, "nothing": None,
    }  # fmt: skip
    plain = as_json(values)
    assert list(plain.values()) == [0.5, 0.25, 2.0, 3, True, "x", False, None]
    assert [type(value) for value in plain.values()] == [float, float, float, int, bool, str, bool, type(None)]


def test_arrays_tensors_and_variables_become_lists():
    variable = keras.Variable([[1.0, math.nan]], dtype="bfloat16")
    assert as_json([np.arange(3), variable, keras.ops.ones(()), (range(2), Path("a/b"))]) == [
        [0, 1, 2],
        [[1.0, None]],
        1.0,
        [[0, 1], "a/b"],
    ]
    assert as_json(np.array([[1, None], ["x", np.float32(2)]], object)) == [[1, None], ["x", 2.0]]


def test_keys_become_text():
    assert as_json({1: {("relu", 0.5): np.inf}}) == {"1": {"relu, 0.5": None}}


def test_what_is_not_finite_becomes_what_one_asks_for():
    values = [math.inf, np.float32("nan"), np.array([-np.inf, 1])]
    assert as_json(values) == [None, None, [None, 1.0]]
    assert as_json(values, non_finite=str) == ["inf", "nan", ["-inf", 1.0]]
    kept = as_json(values, non_finite=float)
    assert kept[0] == math.inf
    assert math.isnan(kept[1])


@pytest.mark.parametrize("value", [object(), 1j, {1, 2}, b"x"])
def test_what_json_cannot_hold_is_refused(value):
    with pytest.raises(TypeError, match="cannot be written as JSON"):
        as_json({"a": [value]})


def test_a_json_file_reads_back(tmp_path):
    path = tmp_path / "new" / "größe.json"
    write_json(path, {"größe": np.float32(0.5), "list": [1, math.nan]})
    assert json.loads(path.read_text(encoding="utf-8")) == {"größe": 0.5, "list": [1, None]}
    assert "größe" in path.read_text(encoding="utf-8")
    assert [entry.name for entry in path.parent.iterdir()] == ["größe.json"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fail(beside):
        beside.write_text("ne")
        raise error

    with pytest.raises(error):
        replace(path, fail)
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_a_reader_never_sees_half_a_file(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "0" * 100_000)
    seen, done = set(), threading.Event()

    def read():
        while not done.is_set():
            seen.add(len(path.read_text()))

    reader = threading.Thread(target=read)
    reader.start()
    for digit in "123456789":
        replace(path, lambda beside, digit=digit: beside.write_text(digit * 100_000), synced=False)
    done.set()
    reader.join()
    assert seen == {100_000}


def test_the_file_and_then_its_folder_are_seen_to_the_disk(tmp_path, monkeypatch):
    path, events = tmp_path / "a.txt", []
    real_sync, real_replace = os.fsync, os.replace

    def fsync(descriptor):
        folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        events.append("folder" if folder else f"file of {os.fstat(descriptor).st_size}")
        real_sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", lambda *names: (events.append("replaced"), real_replace(*names)))
    write_text(path, "text")
    assert events == ["file of 4", "replaced", "folder"]
    events.clear()
    replace(path, lambda beside: beside.write_text("x"), synced=False)
    assert events == ["replaced"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_modes_are_those_of_the_umask(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        write_text(tmp_path / "new" / "a.txt", "text")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new" / "a.txt").stat().st_mode) == mode
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == mode | (mode & 0o444) >> 2


def test_no_link_can_lie_in_wait(tmp_path, monkeypatch):
    names = set()
    for _ in range(3):
        replace(tmp_path / "a.txt", lambda beside: names.add(beside.name))
    assert len(names) == 3
    # Were the name known all the same, nothing is written through what stands there.
    victim = tmp_path / "victim"
    victim.write_text("mine")
    monkeypatch.setattr(_files.secrets, "token_hex", lambda size: "0")
    (tmp_path / ".0-a.txt").symlink_to(victim)
    with pytest.raises(FileExistsError):
        write_text(tmp_path / "a.txt", "theirs")
    assert victim.read_text() == "mine"


def test_a_link_in_the_files_own_place_is_replaced_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "a.txt").symlink_to(victim)
    write_text(tmp_path / "a.txt", "new")
    assert victim.read_text() == "mine"
    assert (tmp_path / "a.txt").read_text() == "new"


@pytest.mark.parametrize("name", ["x" * 250 + ".npy", "ö" * 125 + ".npy"])
def test_the_longest_names_that_a_folder_takes(tmp_path, name):
    write_text(tmp_path / name, "text")
    assert (tmp_path / name).read_text() == "text"


def test_a_device_is_written_as_it_is():
    write_text(Path("/dev/null"), "text")
    assert not Path("/dev/null").is_file()


def test_keras_saves_through_it(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    replace(tmp_path / "best.keras", model.save)
    replace(tmp_path / "best.weights.h5", model.save_weights)
    again = keras.models.load_model(tmp_path / "best.keras")
    np.testing.assert_array_equal(again.get_weights()[0], model.get_weights()[0])
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["best.keras", "best.weights.h5"]
