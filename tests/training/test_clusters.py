"""Workers of Dask and Ray clusters, on this machine. Run where `tfopt[cluster]` is installed."""

import contextlib
import logging
import os
import signal
import sys
import threading
import time

import keras
import numpy as np
import pytest

import tfopt
from tfopt.errors import UserError
from tfopt.training.worker_process import WorkerDiedError
from tfopt.training.workers import Call, Shared, Workers

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # the clusters' own, in threads of theirs
    pytest.mark.slow,
]
HERE = os.getpid()


@contextlib.contextmanager
def _dask():
    distributed = pytest.importorskip("distributed", reason="dask is not installed: pip install tfopt[cluster]")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        yield cluster.scheduler_address


@contextlib.contextmanager
def _ray():
    ray = pytest.importorskip("ray", reason="ray is not installed: pip install tfopt[cluster]")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        yield ray.get_runtime_context().gcs_address
    finally:
        ray.shutdown()


@pytest.fixture(scope="module", params=["dask", "ray"])
def cluster(request):
    """Return the backend and the address of a cluster of two workers that load TensorFlow when they need it."""
    before = dict(os.environ)
    os.environ |= {
        "TFOPT_LAZY": "1",
        "RAY_AUTH_MODE": "disabled",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    try:
        with {"dask": _dask, "ray": _ray}[request.param]() as address:
            yield request.param, address
    finally:
        os.environ.clear()
        os.environ |= before


def outcomes(workers, calls):
    ended = {}
    for place, call in enumerate(calls):
        call.done = lambda value, error, place=place: ended.__setitem__(place, (value, error))
        workers.submit(call)
    while workers.busy:
        workers.wait()
    return [ended[place] for place in range(len(calls))]


def test_calls_are_made_by_the_cluster_on_a_value_that_is_sent_once(cluster):
    def call(shared, i):
        time.sleep(0.05)  # lest one process makes all the calls
        shared["calls"] = shared.get("calls", 0) + 1
        shared["array"][0] = 1.0
        return i, os.getpid(), shared["array"].sum(), shared["calls"]

    with Workers(None, *cluster) as workers:
        assert workers.number == 2
        shared = Shared({"array": np.zeros(100_000)})
        values = [value for value, error in outcomes(workers, [Call(call, (i,), shared=shared) for i in range(12)])]
    assert [value[0] for value in values] == list(range(12))
    assert HERE not in {value[1] for value in values}
    assert {value[2] for value in values} == {1.0}
    assert max(value[3] for value in values) > 1
    assert shared.value["array"][0] == 0.0


def test_a_worker_that_dies_loses_its_call_only_and_one_that_always_dies_has_failed(cluster, tmp_path):
    def call(shared, i):
        time.sleep(0.05)  # lest one process makes all the calls
        first = not (tmp_path / "died").exists()
        if i == 5 or (i == 2 and first):
            (tmp_path / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return i + shared

    with Workers(None, *cluster) as workers:
        results = outcomes(workers, [Call(call, (i,), shared=Shared(0)) for i in range(8)])
    assert [value for value, _ in results] == [0, 1, 2, 3, 4, None, 6, 7]
    assert isinstance(results[5][1], WorkerDiedError)


def test_what_cannot_be_sent_is_done_here(cluster, caplog):
    lock = threading.Lock()
    with Workers(None, *cluster) as workers, caplog.at_level(logging.WARNING, "tfopt"):
        assert outcomes(workers, [Call(lambda: (lock.locked(), os.getpid()))]) == [((False, HERE), None)]
    assert "cannot be sent to worker processes" in caplog.text


@pytest.mark.long("ray")  # two processes more that load TensorFlow; Ray's calls are made above
def test_a_population_is_the_same_on_a_cluster(cluster):
    def build(hp):
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5, "relu"), keras.layers.Dense(1)])
        model.compile(keras.optimizers.Adam(hp["lr"]), "mse")
        return model

    x = np.random.default_rng(0).normal(size=(50, 4))
    population = tfopt.training.Population(build, [{"lr": lr} for lr in (0.01, 0.1)])
    here = population.fit(x, x[:, :1], folds=3, epochs=2)
    with Workers(1, *cluster) as workers:
        there = population.fit(x, x[:, :1], folds=3, epochs=2, workers=workers)
    assert [[a.tobytes() for a in m.result.state] for m in here.members] == [
        [a.tobytes() for a in m.result.state] for m in there.members
    ]


@pytest.mark.parametrize("backend", ["ray", "dask"])
def test_a_backend_that_is_not_installed(backend, monkeypatch):
    monkeypatch.setitem(sys.modules, f"tfopt.training.{backend}_cluster", None)
    with pytest.raises(UserError, match=rf"backend {backend} is not installed .* Install tfopt\[cluster\]"):
        Workers(None, backend, "127.0.0.1:1")


def test_an_address_where_nobody_answers():
    pytest.importorskip("distributed", reason="dask is not installed: pip install tfopt[cluster]")
    with pytest.raises(UserError, match=r"no dask cluster answers at tcp://127\.0\.0\.1:1 "):
        Workers(None, "dask", "tcp://127.0.0.1:1")
