"""Rules on numbers written by hand, the ways to hand a run in, and the words of the answer."""

import json

import pandas as pd
import pytest

import tfopt
from tfopt.diagnosis import Run, diagnose
from tfopt.diagnosis import rules as r
from tfopt.errors import UserError

FALLING = [1.0, 0.6, 0.4, 0.3, 0.25, 0.22, 0.2, 0.19]
FLAT = [1.0, 0.99, 0.98, 0.97, 0.96, 0.95, 0.94, 0.93]
CASES = [
    # rule, sick, healthy for a value just on the other side of the threshold
    (r.diverged, {"loss": [1.0, float("nan")]}, {"loss": [1.0, 1e30]}),
    (r.diverged, {"loss": [float("inf")] * 2}, {"loss": [1.0, 2.0]}),
    (
        r.vanishing_gradients,
        {"grad_norm/a": [9e-4], "grad_norm/b": [0.1], "grad_norm/c": [1.0]},
        {"grad_norm/a": [2e-3], "grad_norm/b": [0.1], "grad_norm/c": [1.0]},
    ),
    (
        r.exploding_gradients,
        {"grad_norm": [1.0], "grad_norm_max": [21.0]},
        {"grad_norm": [0.1], "grad_norm_max": [5.0]},
    ),
    (
        r.exploding_gradients,
        {"grad_norm": [1.0], "grad_norm_max": [21.0]},
        {"grad_norm": [1.0], "grad_norm_max": [21.0], "grad_norm_applied": [1.0]},
    ),
    (r.symmetric_units, {"weight_equal_units": [0.5]}, {"weight_equal_units": [0.4]}),
    (
        r.symmetric_units,
        {"grad_norm/a": [0.0, 0.0], "grad_norm/b": [1.0, 1.0]},
        {"grad_norm/a": [0.0, 1e-9], "grad_norm/b": [1.0, 1.0]},
    ),
    (r.learning_rate_too_high, {"loss": [1, 2, 1, 2, 1]}, {"loss": FALLING}),
    (r.learning_rate_too_high, {"update_ratio": [0.11]}, {"update_ratio": [0.09]}),
    (r.learning_rate_too_low, {"loss": FLAT}, {"loss": FALLING}),
    (r.learning_rate_too_low, {"loss": FLAT}, {"loss": FLAT, "update_ratio": [0.01] * 8}),
    (r.clipping_always, {"grad_norm_clipped": [1.0, 0.95]}, {"grad_norm_clipped": [1.0, 0.8]}),
    (r.clipping_never, {"grad_norm_clipped": [0.0, 0.0]}, {"grad_norm_clipped": [0.0, 0.01]}),
    (r.dead_units, {"dead_units": [0.1, 0.5]}, {"dead_units": [0.5, 0.3]}),
    (r.dead_units, {"dead_units": [0.1], "dead_units/a": [0.6]}, {"dead_units": [0.1], "dead_units/a": [0.3]}),
    (
        r.dropout_too_strong,
        {"loss": [2.6, 2.5, 2.5], "dropout_gap": [0.3] * 3, "dropout_flip_rate": [0.5] * 3},
        {"loss": [2.6, 2.0, 1.0], "dropout_gap": [0.3] * 3, "dropout_flip_rate": [0.5] * 3},
    ),
    (
        r.dropout_without_effect,
        {"loss": [1.0], "dropout_gap": [0.001], "dropout_flip_rate": [0.001]},
        {"loss": [1.0], "dropout_gap": [0.05], "dropout_flip_rate": [0.001]},
    ),
    (
        r.over_regularised,
        {"loss": [1.0], "weight_penalty": [0.6], "val_loss": [1.0]},
        {"loss": [1.0], "weight_penalty": [0.6], "val_loss": [2.0]},
    ),
    (
        r.overfitting,
        {"loss": FALLING, "val_loss": [1, 0.8, 0.7, 0.7, 0.8, 0.9, 1.0, 1.1]},
        {"loss": FALLING, "val_loss": [1, 0.8, 0.7, 0.7, 0.7, 0.71, 0.72, 0.72]},
    ),
    (
        r.noise_dominated,
        {"loss": [1.0] * 3, "grad_noise_scale": [float("inf")] * 3, "grad_batch_size": [32] * 3},
        {"loss": [1.0] * 3, "grad_noise_scale": [600] * 3, "grad_batch_size": [32] * 3},
    ),
    (
        r.schedule_ends_too_early,
        {"loss": [1.0, 0.8, 0.6, 0.5, 0.5, 0.5], "learning_rate": [0.1, 0.1, 0.1, 0.1, 0.0, 0.0]},
        {"loss": [1.0, 0.8, 0.6, 0.5, 0.4, 0.3], "learning_rate": [0.1] * 6},
    ),
    # Each of a rule's other conditions, not met in the second run.
    (
        r.exploding_gradients,
        {"grad_norm": [1.0, 1001.0], "grad_norm_max": [1.0, 1001.0]},
        {"grad_norm": [1000.0, 1001.0], "grad_norm_max": [1000.0, 1001.0]},
    ),
    (
        r.exploding_gradients,
        {"grad_norm": [0.5], "grad_norm_max": [10.0]},
        {"grad_norm": [0.4], "grad_norm_max": [9.0]},
    ),
    (
        r.symmetric_units,
        {"grad_norm/a": [0.0, 0.0], "grad_norm/b": [1.0, 1.0], "dead_units": [0.5, 0.5]},
        {"grad_norm/a": [0.0, 0.0], "grad_norm/b": [1.0, 1.0], "dead_units": [1.0, 1.0]},
    ),
    (
        r.symmetric_units,
        {"grad_norm/a": [0.0, 0.0], "grad_norm/b": [0.0, 1.0]},
        {"grad_norm/a": [0.0, 0.0], "grad_norm/b": [0.0, 0.0]},
    ),
    (r.learning_rate_too_high, {"loss": [1, 2, 1, 2, 1]}, {"loss": [9, 10, 4, 5, 1]}),
    (r.learning_rate_too_low, {"loss": FLAT}, {"loss": [1.0, 0.9, 0.85, 0.84, 0.83, 0.829, 0.828, 0.827]}),
    (
        r.dropout_too_strong,
        {"loss": [2.6, 2.5, 2.5], "dropout_gap": [0.3] * 3, "dropout_flip_rate": [0.3] * 3},
        {"loss": [2.6, 2.5, 2.5], "dropout_gap": [0.3] * 3, "dropout_flip_rate": [0.29] * 3},
    ),
    (
        r.dropout_without_effect,
        {"loss": [1.0], "dropout_gap": [0.001], "dropout_flip_rate": [0.009]},
        {"loss": [1.0], "dropout_gap": [0.001], "dropout_flip_rate": [0.01]},
    ),
    (
        r.overfitting,
        {"loss": FALLING, "val_loss": [1, 0.8, 0.7, 0.7, 0.8, 0.9, 1.0, 1.1]},
        {"loss": [1.0, 0.6, 0.4, 0.39, 0.39, 0.38, 0.38, 0.38], "val_loss": [1, 0.8, 0.7, 0.7, 0.8, 0.9, 1.0, 1.1]},
    ),
    (
        r.noise_dominated,
        {"loss": [1.0, 0.9, 0.81], "grad_noise_scale": [float("inf")] * 3, "grad_batch_size": [32] * 3},
        {"loss": [1.0, 0.9, 0.7, 0.7, 0.7], "grad_noise_scale": [float("inf")] * 5, "grad_batch_size": [32] * 5},
    ),
    (
        r.schedule_ends_too_early,
        {"loss": [1.0, 0.8, 0.6, 0.5, 0.5, 0.5], "learning_rate": [0.1, 0.1, 0.1, 0.1, 0.0, 0.0]},
        {"loss": [1.0, 0.8, 0.6, 0.5, 0.5, 0.4], "learning_rate": [0.1, 0.1, 0.1, 0.1, 0.0, 0.0]},
    ),
    (
        r.schedule_ends_too_early,
        {"loss": [1.0, 0.8, 0.6, 0.5, 0.5, 0.5], "learning_rate": [0.1, 0.1, 0.1, 0.1, 0.0, 0.0]},
        {"loss": [1.0, 0.8, 0.6, 0.5, 0.4, 0.4], "learning_rate": [0.1, 0.1, 0.1, 0.1, 0.1, 0.0]},
    ),
]


@pytest.mark.parametrize(("rule", "sick", "healthy"), CASES)
def test_both_sides_of_every_threshold(rule, sick, healthy):
    finding = rule(Run(sick))
    assert finding is not None
    assert str(finding).startswith(f"{finding.name}: ")
    assert rule(Run(healthy)) is None


@pytest.mark.parametrize("rule", r.RULES)
def test_a_rule_without_its_numbers_is_silent(rule):
    assert rule(Run({"something": [1.0, 2.0]})) is None
    nothing = {key: [None, None] for key in ("grad_norm", "val_loss", "dropout_gap", "dead_units", "weight_penalty")}
    assert rule(Run({"loss": [1.0, 0.5]} | nothing)) is None


def test_every_way_to_hand_in_a_run(tmp_path, build, data):
    folder = tmp_path / "run"
    log = tfopt.callbacks.RunLog(folder / "run.jsonl")
    csv_path = tmp_path / "log.csv"
    pd.DataFrame({"epoch": [0, 1], "loss": ["1.0", ""], "grad_norm_clipped": [0.0, 0.0]}).to_csv(csv_path)
    norms = tfopt.callbacks.GradientNorms()
    history = build("sgd", clipnorm=100.0).fit(*data, epochs=2, verbose=0, callbacks=[norms, log])
    (tmp_path / "history.json").write_text(json.dumps(history.history))
    frame = pd.DataFrame(history.history)
    for run in (history, history.history, frame, log.path, str(folder), csv_path, tmp_path / "history.json"):
        assert "clipping never active" in tfopt.diagnose(run).names
    assert tfopt.diagnose(csv_path).num_epochs == 2


@pytest.fixture
def build():
    """A classifier whose clipping threshold is out of reach."""
    import keras

    def make(optimizer, **arguments):
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        model.compile(
            type(keras.optimizers.get(optimizer))(**arguments), keras.losses.SparseCategoricalCrossentropy(True)
        )
        return model

    return make


@pytest.fixture
def data():
    import numpy as np

    return np.ones((8, 3), "float32"), np.zeros(8)


def test_other_tables_in_the_folder_are_passed_over(tmp_path):
    (tmp_path / "leaderboard.csv").write_text("model,score\na,1\n")
    (tmp_path / "trials.jsonl").write_text('{"trial": 1}\n')
    (tmp_path / "log.csv").write_text("epoch,loss\n0,nan\n")
    assert tfopt.diagnose(tmp_path).names == ["diverged"]


def test_a_crashed_log_is_read_as_far_as_it_goes(tmp_path):
    path = tmp_path / "run.jsonl"
    lines = [{"event": "begin"}, {"event": "epoch", "epoch": 0, "logs": {"loss": "nan"}}]
    path.write_text("\n".join(json.dumps(line) for line in lines) + '\n{"event": "ep')
    assert tfopt.diagnose(path).names == ["diverged"]


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda folder: folder / "none.jsonl", "There is no such log"),
        (lambda folder: folder, "must hold one training log, and holds none"),
        (lambda folder: (folder / "a.json").write_text("[1]") and folder / "a.json", "must map each key to a list"),
        (lambda folder: (folder / "a.json").write_text("{") and folder / "a.json", "is no JSON"),
        (lambda folder: (folder / "a.csv").write_text("loss\n") and folder / "a.csv", "No epoch was logged"),
        (lambda folder: 3, "got int"),
        (
            lambda folder: {"price": [1, 2], "size": [3, 4]},
            r"Nothing that is logged is known here \(history: price, size",
        ),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(tmp_path, make, match):
    with pytest.raises(UserError, match=match) as caught:
        diagnose(make(tmp_path))
    assert "\n" not in str(caught.value)


def test_the_answer_says_what_it_could_not_see():
    text = str(diagnose({"loss": [1.0, float("nan")]}))
    assert text.splitlines()[0] == "history: 2 epochs"
    assert text.splitlines()[1].startswith("1. diverged: The loss is not finite from epoch 1 on.")
    assert "Not judged, for it was not logged: gradients (GradientNorms(log_layers=True)); overfitting" in text
