import contextlib
import importlib.metadata
import json
import sys
import types

import pytest

from tfopt.cli import startup


@pytest.fixture
def started(monkeypatch):
    """TensorFlow is started already."""
    report = types.SimpleNamespace(to_dict=lambda: {"names": ["CPU:0"]})
    monkeypatch.setattr(startup, "start", lambda *arguments, **settings: contextlib.nullcontext(report))


@pytest.mark.long
def test_healthy_machine_in_a_real_process(fresh_python):
    done = fresh_python("-m", "tfopt", "doctor", "--device", "cpu", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # TensorFlow's start-up chatter does not reach the terminal
    report = json.loads(done.stdout)
    assert report["problems"] == []
    assert report["differences"] == []
    assert report["trial"]["completed"] == report["trial"]["trials"] == 1
    assert report["devices"]["names"] == ["CPU:0"]
    assert report["versions"]["keras-tuner"] == importlib.metadata.version("keras-tuner")


def test_trial_that_fails_is_counted_and_its_reason_shown(started, tfopt, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)  # as where it is not installed
    monkeypatch.delitem(sys.modules, "tensorboard.plugins", raising=False)
    monkeypatch.delitem(sys.modules, "tensorboard.plugins.hparams", raising=False)
    code, out, _ = tfopt("doctor")
    assert code == 1
    assert "trials completed: 0 of 1" in out
    assert "problem: KerasTuner's trial ended FAILED: ModuleNotFoundError: " in out
    assert "Ready" not in out


@pytest.mark.slow
def test_private_names_that_are_gone_are_told_and_no_problem(started, tfopt, monkeypatch):
    gone = "AttributeError: no attribute '_symbolic_build'"
    monkeypatch.setattr("tfopt._private.needs.problem", lambda name: gone if name == "first batch" else None)
    code, out, _ = tfopt("doctor")
    assert code == 0
    assert "private names 1 not as tfopt knows them" in out
    assert f"note: searches do without the first batch ({gone}). Models are made ready by evaluating some rows" in out
    assert "Ready to search." in out


@pytest.mark.slow
def test_missing_package_is_a_problem_with_its_remedy(started, tfopt, monkeypatch):
    real = importlib.metadata.version

    def version(name):
        if name == "tensorboard":
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    code, out, _ = tfopt("doctor")
    assert code == 1
    assert "problem: tensorboard is not installed: pip install tensorboard" in out


def test_absent_device_is_exit_2(tfopt):
    code, out, _ = tfopt("doctor", "--device", "gpu:0")
    assert code == 2
    assert "problem: no GPU for device gpu:0" in out
    assert "KerasTuner  " not in out
