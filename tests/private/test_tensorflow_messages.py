import os

import pytest

from tfopt._private.tensorflow_messages import quiet_stderr

CHATTER = (
    b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n"
    b"I0000 00:00:1795352922.492524    5782 port.cc:153] oneDNN custom operations are on. You may see slightly\n"
    b"2026-11-22 13:05:00.123456: I tensorflow/core/platform/cpu_feature_guard.cc:210] This TensorFlow binary is\n"
    b"To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow with the appropriate\n"
)


def test_chatter_is_held_back_and_the_rest_let_out(capfd):
    with quiet_stderr():
        os.write(2, CHATTER + b"libcuda.so: symbol lookup error\n")
        assert capfd.readouterr().err == ""
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "libcuda.so: symbol lookup error\nafter\n"


def test_everything_that_matters_comes_out_when_the_import_fails(capfd):
    def failing_import():
        with quiet_stderr():
            os.write(2, CHATTER + b"the reason\n")
            raise ImportError("no such symbol")

    with pytest.raises(ImportError, match="no such symbol"):
        failing_import()
    assert capfd.readouterr().err == "the reason\n"
