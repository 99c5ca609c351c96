"""The tuners on real models: KerasTuner's interface, its files, and what it gets wrong in a search."""

import json
import warnings
from pathlib import Path

import keras
import keras_tuner
import numpy as np
import pytest

import tfopt

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(48, 3)).astype("float32")
Y = (X @ [[1.0], [-2.0], [0.5]] + 0.1).astype("float32")
LABELS = (Y[:, 0] > 0).astype("int32")


def build(hp):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    rate = hp.Float("learning_rate", 1e-3, 1e-1, sampling="log")
    model.compile(keras.optimizers.Adam(rate), "mse", metrics=["r2_score"])
    return model


def tuner(tmp_path, kind="RandomSearch", hypermodel=build, **kwargs):
    kwargs = {"objective": "val_loss", "seed": 1, "project_name": "p", "overwrite": True} | kwargs
    if kind != "Hyperband":
        kwargs.setdefault("max_trials", 3)
    return getattr(tfopt.search, kind)(hypermodel, directory=str(tmp_path), **kwargs)


FIT = {"validation_split": 0.25, "epochs": 2, "batch_size": 8, "verbose": 0}


@pytest.fixture
def quiet_keras_tuner():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.slow
def test_a_search_is_reproduced_by_its_seed_keeps_every_curve_and_warns_of_nothing(tmp_path, capsys):
    runs = []
    for name in ("a", "b"):
        one = tuner(tmp_path, project_name=name, executions_per_trial=2, max_trials=2)
        one.search(X, Y, **FIT)
        runs.append(
            [(t.hyperparameters.values, t.score, [m.history for m in t.members]) for t in one.oracle.trials.values()]
        )
    assert runs[0] == runs[1]
    assert capsys.readouterr().out == ""
    trial = one.oracle.get_best_trials()[0]
    assert len(trial.members) == 2
    assert trial.members[0].history != trial.members[1].history
    assert trial.score == pytest.approx(np.mean([min(member.history["val_loss"]) for member in trial.members]))
    first = trial.metrics.get_history("val_loss")[0]
    assert first.value == [member.history["val_loss"][0] for member in trial.members], "in KerasTuner's own format"


@pytest.mark.slow
def test_one_trial_is_what_keras_does_by_hand(tmp_path):
    one = tuner(tmp_path, max_trials=1)
    one.search(X, Y, **FIT, shuffle=False)  # else each epoch has an order of its own
    trial = one.oracle.get_best_trials()[0]
    keras.utils.set_random_seed(trial.members[0].seed)
    by_hand = build(trial.hyperparameters).fit(X, Y, **FIT, shuffle=False).history
    for name, values in by_hand.items():
        np.testing.assert_allclose(trial.members[0].history[name], values, rtol=1e-5)


@pytest.mark.slow
def test_r2_is_maximised_where_keras_tuner_minimises_it(tmp_path, quiet_keras_tuner):
    chosen = {}
    hp = keras_tuner.HyperParameters()
    hp.Choice("learning_rate", [1e-6, 0.1])

    def two(hp):
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, kernel_initializer="zeros")])
        adam = keras.optimizers.Adam(hp.Choice("learning_rate", [1e-6, 0.1]))
        model.compile(adam, "mse", metrics=["r2_score"], run_eagerly=module is keras_tuner)
        return model

    for module in (keras_tuner, tfopt.search):
        one = module.GridSearch(
            two, objective="val_r2_score", seed=1, directory=str(tmp_path), project_name=module.__name__, overwrite=True
        )
        one.search(X, Y, **FIT | {"epochs": 3})
        chosen[module.__name__] = one.get_best_hyperparameters()[0].values["learning_rate"]
    assert chosen == {"keras_tuner": 1e-6, "tfopt.search": 0.1}


@pytest.mark.long("RandomSearch-kwargs0", "GridSearch-kwargs1", "BayesianOptimization-kwargs2")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "kwargs"),
    [
        ("RandomSearch", {}),
        ("GridSearch", {}),
        ("BayesianOptimization", {"max_trials": 4}),
        ("Hyperband", {"max_epochs": 2, "factor": 2}),
    ],
)
def test_keras_tuners_own_class_reads_the_folder_and_the_models(kind, kwargs, tmp_path, quiet_keras_tuner, capsys):
    one = tuner(tmp_path, kind, **kwargs)
    one.search(X, Y, **FIT)
    score = one.oracle.get_best_trials()[0].score
    x, y = X[36:], Y[36:]
    ours = one.get_best_models(2)
    assert ours[0].evaluate(x, y, verbose=0)[0] == pytest.approx(score, rel=1e-5)
    again = tuner(tmp_path, kind, overwrite=False, **kwargs)
    assert again.get_best_models()[0].evaluate(x, y, verbose=0)[0] == pytest.approx(score, rel=1e-5)
    kwargs = {"max_trials": 3, **kwargs} if kind != "Hyperband" else kwargs
    theirs = getattr(keras_tuner, kind)(
        build, objective="val_loss", directory=str(tmp_path), project_name="p", **kwargs
    )
    assert theirs.oracle.get_best_trials()[0].score == score
    assert len(theirs.oracle.trials) == len(one.oracle.trials)
    assert theirs.get_best_hyperparameters()[0].values == one.get_best_hyperparameters()[0].values
    for mine, other in zip(ours, theirs.get_best_models(2), strict=True):
        np.testing.assert_array_equal(mine.get_weights()[0], other.get_weights()[0])
    theirs.results_summary()
    theirs.search_space_summary()
    assert "learning_rate" in capsys.readouterr().out
    kept = sorted(path.name for path in Path(tmp_path, "p").glob("trial_*/*.npz"))
    assert 0 < len(kept) <= 2 * one.keep_models
    assert set(kept) == {"state_best.npz"}


class Steps(keras.callbacks.Callback):
    """Notes the optimizer's step at the beginning and end of each fit. Its list survives being deep-copied."""

    seen: list = []  # noqa: RUF012

    def on_train_begin(self, logs=None):
        self.seen.append([int(self.model.optimizer.iterations.numpy())])

    def on_train_end(self, logs=None):
        self.seen[-1].append(int(self.model.optimizer.iterations.numpy()))


class EndsAfterOne(keras.callbacks.Callback):
    """Ends a training after its first epoch, unless it goes on from another."""

    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = epoch == 0


def scheduled(hp):
    keras.utils.clear_session()
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    hp.Float("x", 0, 1)
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.05, 8)), "mse", run_eagerly=True)
    return model


@pytest.mark.long
def test_hyperband_goes_on_with_a_users_own_fit_too(tmp_path, monkeypatch):
    class Own(keras_tuner.HyperModel):
        def build(self, hp):
            return scheduled(hp)

        def fit(self, hp, model, *args, **kwargs):
            return model.fit(*args, **kwargs)

    monkeypatch.setattr(Steps, "seen", [])
    one = tuner(tmp_path, "Hyperband", Own(), max_epochs=2, factor=2)
    one.search(X[:36], Y[:36], validation_data=(X[36:], Y[36:]), batch_size=18, verbose=0, callbacks=[Steps()])
    assert [pair for pair in Steps.seen if pair[0]] == [[2, 4]]
    assert one.get_best_models()


@pytest.mark.slow
@pytest.mark.long("keras_tuner")
@pytest.mark.parametrize("module", [keras_tuner, tfopt.search], ids=lambda module: module.__name__)
def test_hyperband_goes_on_where_a_trial_stopped(module, tmp_path, quiet_keras_tuner, monkeypatch):
    """Two steps an epoch; of the first rung's two epochs one is trained. KerasTuner begins the next at step 0 again."""
    monkeypatch.setattr(Steps, "seen", [])
    one = module.Hyperband(
        scheduled, objective="val_loss", max_epochs=8, factor=4, seed=1,
        directory=str(tmp_path), project_name="p",
    )  # fmt: skip
    callbacks = [Steps(), EndsAfterOne()]
    one.search(X[:36], Y[:36], validation_data=(X[36:], Y[36:]), batch_size=18, verbose=0, callbacks=callbacks)
    promoted = [trial for trial in one.oracle.trials.values() if "tuner/trial_id" in trial.hyperparameters.values]
    order = sorted(one.oracle.trials)
    seen = [Steps.seen[order.index(trial.trial_id)] for trial in promoted]
    assert seen
    if module is keras_tuner:
        assert {begin for begin, _ in seen} == {0}
        return
    assert all(pair == [2, 16] for pair in seen)
    # One epoch and seven more are the same weights as eight at once would give: history goes on without a jump.
    last = promoted[0].members[0]
    assert last.first_epoch == 1
    assert len(last.history["val_loss"]) == 7
    assert (
        last.history["val_loss"][0]
        < one.oracle.trials[promoted[0].hyperparameters.values["tuner/trial_id"]].members[0].history["val_loss"][-1]
    )


def test_cross_validation_keeps_folds_and_seeds(fake, tmp_path):
    engine = fake(lambda values, epoch, seed: [-0.3, 0.1][epoch] * seed)
    one = tuner(tmp_path, objective=keras_tuner.Objective("score", "max"), max_trials=1)
    one.search(X, Y, epochs=2, batch_size=16, folds=3, seeds=[7, 8], verbose=0)
    trial = one.oracle.get_best_trials()[0]
    assert [(member.fold, member.seed) for member in trial.members] == [(f, s) for f in range(3) for s in (7, 8)]
    assert [member.score for member in trial.members] == pytest.approx([0.7, 0.8] * 3)
    assert trial.score == pytest.approx(0.75)
    assert one.get_best_models()[0].state[0][1] == 8, "the model of the best fit"
    rows = list(range(len(X)))
    assert all(sorted([*request.rows, *request.validation]) == rows for request in engine.requests)
    assert sorted(np.concatenate([request.validation for request in engine.requests if request.seed == 7])) == rows
    with pytest.raises(ValueError, match="brings its own validation rows"):
        one.search(X, Y, folds=3, **FIT)


def test_the_last_epoch_may_score_instead_of_the_best(fake, tmp_path):
    fake(lambda values, epoch, seed: [1.0, 3.0, 2.0][epoch])
    for score_epoch, score in (("best", 3.0), ("last", 2.0)):
        one = tuner(tmp_path, objective=keras_tuner.Objective("score", "max"), score_epoch=score_epoch)
        one.search(X, Y, epochs=3, verbose=0)
        assert {trial.score for trial in one.oracle.trials.values()} == {score}


def test_a_first_epoch_without_a_value_does_not_spoil_the_rest(fake, tmp_path, quiet_keras_tuner):
    """KerasTuner 1.4.8: no number is better than NaN, so that a history that begins with NaN is NaN."""
    history = keras.callbacks.History()
    history.history = {"score": [float("nan"), 2.0, 3.0]}

    class Theirs(keras_tuner.RandomSearch):
        def run_trial(self, trial, **kwargs):
            return history

    objective = keras_tuner.Objective("score", "max")
    theirs = Theirs(
        lambda hp: hp.Float("x", 0, 1), objective=objective, max_trials=1, directory=str(tmp_path), project_name="t"
    )
    theirs.search(verbose=0)
    assert [trial.status for trial in theirs.oracle.trials.values()] == ["FAILED"]
    fake(lambda values, epoch, seed: history.history["score"][epoch])
    one = tuner(tmp_path, objective=objective)
    one.search(X, Y, epochs=3, verbose=0)
    assert [trial.score for trial in one.oracle.trials.values()] == [3.0] * 3


def test_failures_keep_their_message_and_are_no_best_trial(fake, tmp_path, capsys):
    def curve(values, epoch, seed):
        raise ZeroDivisionError("by the weather")

    fake(curve)
    one = tuner(tmp_path, objective=keras_tuner.Objective("score", "max"), max_retries_per_trial=1)
    with pytest.raises(RuntimeError, match=r"failures exceeded the limit of 3: .*by the weather"):
        one.search(X, Y, epochs=1)
    assert capsys.readouterr().out.count("failed: ZeroDivisionError: by the weather") == 3
    state = json.loads(Path(tmp_path, "p", "trial_0", "trial.json").read_text())
    assert state["status"] == "FAILED"
    assert "by the weather" in state["message"]
    assert state["attempts"] == 2
    for ask in (one.get_best_hyperparameters, one.get_best_models):
        with pytest.raises(RuntimeError, match=r"No trial was completed. 3 failed, .* by the weather"):
            ask()
    one.results_summary()
    assert "3 trials failed" in capsys.readouterr().out


@pytest.mark.slow
def test_a_build_that_raises_is_traced_and_a_fatal_one_ends_the_search(tmp_path):
    def broken(hp):
        if hp.Boolean("broken", default=False):
            raise keras_tuner.errors.FatalValueError("no") if fatal else ValueError("units must be positive")
        return build(keras_tuner.HyperParameters())

    fatal = False
    one = tuner(tmp_path, "GridSearch", broken, max_trials=20)
    one.search(X, Y, **FIT | {"epochs": 1})
    messages = [trial.message for trial in one.oracle.trials.values() if trial.status == "FAILED"]
    assert messages
    assert "units must be positive" in messages[0]
    assert "Traceback" in messages[0]
    fatal = True
    with pytest.raises(keras_tuner.errors.FatalValueError, match="no"):
        tuner(tmp_path, "GridSearch", broken, max_trials=20).search(X, Y, **FIT | {"epochs": 1})


@pytest.mark.slow
def test_an_objective_that_is_not_logged_is_named_beside_those_that_are(tmp_path):
    with pytest.raises((ValueError, KeyError), match=r"val_accuracy.*[Ll]ogged: .*val_loss"):
        tuner(tmp_path, objective="val_accuracy").search(X, Y, **FIT)


def test_a_line_a_trial(fake, tmp_path, capsys):
    fake(lambda values, epoch, seed: values["learning_rate"])
    one = tuner(tmp_path, objective=keras_tuner.Objective("score", "max"))
    one.search(X, Y, epochs=1, verbose=1)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("trial 1/3  score ")
    assert "best" in lines[2]
    assert "s left" in lines[2]
    assert lines[3] == "3 fits by engine: 3 curve"


@pytest.mark.slow
def test_callbacks_end_trials_and_batch_hooks_are_called(tmp_path):
    class Batches(keras.callbacks.Callback):
        seen: list = []  # noqa: RUF012

        def on_train_batch_end(self, batch, logs=None):
            self.seen.append(batch)

    one = tuner(tmp_path, max_trials=1)
    stop = keras.callbacks.EarlyStopping("val_loss", min_delta=1e9, patience=1)
    one.search(X, Y, callbacks=[Batches(), stop], **FIT | {"epochs": 9})
    assert len(one.oracle.get_best_trials()[0].members[0].history["loss"]) == 2
    assert Batches.seen == list(range(5)) * 2


def test_weights_of_classes_are_weights_of_examples(tmp_path):
    def classifier(hp):
        hp.Float("x", 0, 1)
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        return model

    histories = []
    for weights in ({"class_weight": {0: 3.0}}, {"sample_weight": np.where(LABELS == 0, 3.0, 1.0)}, {}):
        one = tuner(tmp_path, hypermodel=classifier, max_trials=1)
        one.search(X, LABELS, **FIT, **weights)
        histories.append(one.oracle.get_best_trials()[0].members[0].history)
    assert histories[0]["loss"] == histories[1]["loss"] != histories[2]["loss"]
    assert histories[0]["val_loss"] != histories[1]["val_loss"], "class weights are for training only"
    with pytest.raises(ValueError, match="exclude each other"):
        one.search(X, LABELS, class_weight={0: 1.0}, sample_weight=np.ones(48), **FIT)


@pytest.mark.slow
def test_a_hypermodel_with_its_own_fit_and_a_data_set_run_as_in_keras_tuner(tmp_path):
    import tensorflow as tf

    class Own(keras_tuner.HyperModel):
        def build(self, hp):
            return build(hp)

        def fit(self, hp, model, *args, **kwargs):
            return model.fit(*args, **{**kwargs, "batch_size": hp.Choice("batch_size", [12, 36])})

    one = tuner(tmp_path, hypermodel=Own(), max_trials=1)
    one.search(X, Y, **FIT)
    assert {p.name for p in one.oracle.get_space().space} == {"learning_rate", "batch_size"}
    assert one.get_best_models()[0].evaluate(X[36:], Y[36:], verbose=0)[0] == pytest.approx(
        one.oracle.get_best_trials()[0].score, rel=1e-5
    )
    rows = tf.data.Dataset.from_tensor_slices((X, Y)).batch(8)
    one = tuner(tmp_path, max_trials=1)
    one.search(rows, validation_data=rows, epochs=1, verbose=0, shuffle=False)
    (trial,) = one.oracle.trials.values()
    assert trial.message is None
    assert (trial.members[0].engine, trial.members[0].reason) == ("run_trial", "the data is not arrays of numbers")


def test_any_function_can_be_searched(tmp_path):
    class Parabola(tfopt.search.BayesianOptimization):
        def run_trial(self, trial, *args, **kwargs):
            return (trial.hyperparameters.Float("x", -2, 2) - 1) ** 2

    one = Parabola(max_trials=16, seed=1, directory=str(tmp_path), project_name="p")
    one.search(verbose=0)
    assert one.get_best_hyperparameters()[0].values["x"] == pytest.approx(1, abs=0.1)


@pytest.mark.slow
def test_several_objectives_are_summed_with_their_signs(tmp_path):
    one = tuner(tmp_path, objective=["val_loss", "val_r2_score"], max_trials=2)
    one.search(X, Y, **FIT)
    trial = one.oracle.get_best_trials()[0]
    history = trial.members[0].history
    sums = np.subtract(history["val_loss"], history["val_r2_score"])
    assert trial.score == pytest.approx(sums.min())
    loss, r2 = one.get_best_models()[0].evaluate(X[36:], Y[36:], verbose=0)
    assert loss - r2 == pytest.approx(trial.score, rel=1e-4)


@pytest.mark.slow
def test_of_trials_that_are_level_the_first_is_kept_though_it_ended_last(tmp_path):
    class Level(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["val_level"] = 1.0

    def build(hp):
        hidden = [keras.layers.Dense(2)] * hp.Choice("hidden", [0, 1])
        model = keras.Sequential([keras.Input((X.shape[1],)), *hidden, keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(hp.Float("learning_rate", 1e-3, 1e-2)), "mse")
        return model

    ended_first = set()
    for seed in (0, 2):  # the first trial is of the one shape or of the other, and which shape is trained first is open
        one = tfopt.search.RandomSearch(
            build, keras_tuner.Objective("val_level", "max"), max_trials=4, seed=seed, directory=tmp_path / str(seed),
            keep_models=1,
        )  # fmt: skip
        one.search(X, Y, validation_data=(X, Y), epochs=1, verbose=0, callbacks=[Level()])
        ended_first.add(one.oracle.end_order[0])
        assert len(one.get_best_models()) == 1
    assert ended_first != {"0"}


@pytest.mark.slow
def test_a_model_that_is_not_kept_says_so_and_one_too_large_is_not_trained(tmp_path, caplog):
    one = tuner(tmp_path, keep_models=1)
    one.search(X, Y, **FIT)
    assert len(one.get_best_models(1)) == 1
    with pytest.raises(ValueError, match="Pass a larger `keep_models`"):
        one.get_best_models(2)
    one = tuner(tmp_path, max_model_size=3, max_retries_per_trial=2, max_consecutive_failed_trials=4)
    one.search(X, Y, **FIT)
    assert {(trial.status, trial.attempts) for trial in one.oracle.trials.values()} == {("FAILED", 1)}
    assert "No trial was completed. 3 failed, the first: FailedTrialError: Oversized model: 4 weights" in caplog.text


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"engine": "warp"}, "`engine` must be one of"),
        ({"keep_models": -1}, "`keep_models` of RandomSearch must be"),
        ({"max_trial": 2}, r"Unrecognized arguments \['max_trial'\] of `RandomSearch`. Did you mean 'max_trials'"),
    ],
)
def test_bad_arguments_are_refused(tmp_path, kwargs, message):
    with pytest.raises(ValueError, match=message):
        tuner(tmp_path, **kwargs)
