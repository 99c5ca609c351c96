"""A search of data in blocks: a sample chooses, all rows but those held out train, and these judge."""

import json

import keras
import keras_tuner
import numpy as np
import pandas as pd
import pytest
from sklearn.utils import compute_sample_weight

from tfopt.data import text_blocks
from tfopt.errors import UserError
from tfopt.report.run import load_run
from tfopt.search import plan as planning
from tfopt.search import streamed
from tfopt.search.config import SearchConfig
from tfopt.search.nested import NetworkSearch
from tfopt.search.plan import prepare
from tfopt.search.result import load
from tfopt.search.session import run
from tfopt.search.spaces import Space

NUM_ROWS, NUM_SAMPLE = 1300, 100


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A table sorted by its target, of which a sample says little: a network must see all rows to be any good."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.integers(0, 2, (NUM_ROWS, 6)), columns=list("abcdef")).astype(float)
    frame += rng.normal(0, 0.05, frame.shape)
    frame["city"] = rng.choice(["Bonn", "Köln"], NUM_ROWS)
    odd = (frame[["a", "b", "c"]].round().sum(axis=1) % 2 == 1) ^ (frame["city"] == "Köln")
    frame["y"] = np.where(odd, "odd", "even")
    path = tmp_path_factory.mktemp("stream") / "t.csv"
    frame.sort_values("y").to_csv(path, index=False)
    return path


def build(hp):
    model = keras.Sequential([keras.layers.Dense(32, "relu"), keras.layers.Dense(1, "sigmoid")])
    model.compile(keras.optimizers.Adam(0.02), "binary_crossentropy")
    hp.Fixed("batch_size", 32)
    return model


@pytest.fixture
def search(path, tmp_path, monkeypatch):
    monkeypatch.setattr(text_blocks, "BYTES", 16_384)
    monkeypatch.setattr(streamed, "_POOL", 700 * 10 * 4)  # of ten numbers and a target

    def search(out="run", **changes):
        settings = {"data": str(path), "stream": "yes", "sample": NUM_SAMPLE, "max_trials": 1, "epochs": 6}
        settings |= {"inner_folds": 2, "baselines": "dummy", "workers": 1, "out": str(tmp_path / out)}
        settings |= {"class_weight": "balanced"}
        return run(SearchConfig(**(settings | changes)), space=Space("mine", lambda hp, problem: build(hp)))

    return search


@pytest.mark.slow
def test_the_network_learns_from_all_rows_also_after_an_interruption_and_is_judged_by_the_others(
    search, path, tmp_path, monkeypatch
):
    shuffled, begun = streamed._Rows._shuffled, streamed._Course.on_epoch_begin
    epochs = []

    def broken(self, rng):
        if self.epoch == 4:
            raise UserError("line 7 is broken (t.csv). Mend it.")
        return shuffled(self, rng)

    with monkeypatch.context() as patch:
        patch.setattr(streamed._Rows, "_shuffled", broken)
        with pytest.raises(UserError, match="line 7 is broken"):
            search()
    folder = tmp_path / "run"
    assert (folder / streamed.WEIGHTS_FILE).exists()
    monkeypatch.setattr(
        streamed._Course, "on_epoch_begin", lambda self, epoch, logs=None: (epochs.append(epoch), begun(self, epoch))
    )
    result = search(resume=str(folder), seeds=1, ensemble=0).result
    assert epochs == [4, 5]
    assert not (folder / streamed.WEIGHTS_FILE).exists()
    assert result["rows"] == NUM_ROWS
    assert result["stream"] == {"sampled": NUM_SAMPLE, "held_out": NUM_SAMPLE, "trained_on": NUM_ROWS - NUM_SAMPLE}
    records = map(json.loads, (folder / "trials.jsonl").read_text().splitlines())
    [of_sample] = next(record["scores"] for record in records if record["kind"] == "refit")
    score = {row["model"]: row["score"] for row in result["leaderboard"]}["network"]
    assert of_sample < 0.85 < 0.95 < score  # two epochs from new weights would not do
    assert f"on which alone the network's accuracy is {of_sample:.3f}" in result["verdict"]
    assert "learned from 1,200 rows" in result["verdict"]
    # What is saved predicts the whole file as well as the rows held out, which are few.
    frame = pd.read_csv(path)
    right = load(folder).predict(frame, "network") == frame["y"]
    assert right.mean() == pytest.approx(score, abs=0.04)


def test_a_table_too_large_for_memory_is_read_in_blocks_and_that_is_said(path, monkeypatch):
    monkeypatch.setattr(planning, "free_ram", lambda: 100_000)
    config = SearchConfig(data=str(path), baselines="none", sample=NUM_SAMPLE)
    plan = prepare(config)
    assert plan.stream is not None
    assert plan.config.stream == "yes"
    assert any("--no-stream" in note for note in plan.table.notes)
    held = prepare(SearchConfig(data=str(path), baselines="none", holdout=0.3))
    assert held.stream is None
    assert any("--holdout needs all of them" in note for note in held.table.notes)
    monkeypatch.setattr(planning, "free_ram", lambda: 10**12)
    whole = prepare(config)
    assert whole.config.stream == "no"
    assert any("--stream reads it so" in note for note in whole.table.notes)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"group": "city"}, "--group needs the whole table"),
        ({"repeats": 2}, "--repeats needs the whole table"),
        ({"data": "iris"}, "only CSV, TSV and Parquet files can be streamed"),
        ({"sample": 2}, "--sample must be at least"),
    ],
)
def test_what_does_not_go_with_blocks_is_refused(path, settings, message):
    with pytest.raises(UserError, match=message):
        prepare(SearchConfig(**({"data": str(path), "stream": "yes"} | settings)))


@pytest.mark.slow
def test_without_time_the_network_of_the_sample_is_kept_and_said_to_be(search, tmp_path, monkeypatch):
    monkeypatch.setattr(NetworkSearch, "time_is_up", True)
    result = search(epochs=1).result
    assert "All learned from the sample of 100 rows; the 100 rows held out" in result["verdict"]
    assert (tmp_path / "run" / "best.keras").exists()
    assert not load_run(tmp_path / "run").of_all_rows


def test_classes_weigh_the_same_whatever_they_are_in_the_sample(path):
    plan = prepare(SearchConfig(data=str(path), stream="yes", sample=60, baselines="none", class_weight="balanced"))
    rows = streamed._Rows(plan.stream, plan.table, lambda features, target: (features, target), seed=0)
    parts = [rows.parts(features, target) for features, target in plan.stream.rows(plan.table)]
    target, weights = (np.concatenate([part[place] for part in parts]) for place in (1, 2))
    np.testing.assert_allclose(weights, compute_sample_weight("balanced", target), rtol=1e-6)


def test_damaged_weights_are_named(tmp_path):
    (tmp_path / "w.weights.h5").write_bytes(b"no weights")
    model = build(keras_tuner.HyperParameters())
    model.build((None, 3))
    with pytest.raises(UserError, match=r"w\.weights\.h5 is damaged .* Delete it"):
        streamed._restored(model, tmp_path / "w.weights.h5", 10, None)


def test_a_fit_of_ones_own_is_refused(path, tmp_path):
    config = SearchConfig(data=str(path), stream="yes", sample=NUM_SAMPLE, baselines="none", out=str(tmp_path / "run"))
    with pytest.raises(UserError, match="`fit` of its own"):
        run(config, space=Space("mine", lambda hp, problem: build(hp), fit=lambda *args: None))


def test_the_pool_gives_every_row_once_in_another_order(monkeypatch):
    monkeypatch.setattr(streamed, "_POOL", 500 * 12)
    monkeypatch.setattr(streamed, "_PART", 64)
    rows = np.arange(3000)
    parts = [
        (part[:, None].repeat(2, 1).astype("float32"), part.astype("int32")) for part in np.split(rows, [700, 703])
    ]
    found = list(streamed._mixed(iter(parts), np.random.default_rng(0)))
    x, y = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
    np.testing.assert_array_equal(x[:, 0], y)
    np.testing.assert_array_equal(np.sort(y), rows)
    # Rows that stood side by side stand far from one another, a row about where it stood.
    assert np.median(np.abs(np.diff(y))) > 100
    assert np.corrcoef(y, rows)[0, 1] > 0.8
