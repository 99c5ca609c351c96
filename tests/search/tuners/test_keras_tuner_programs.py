"""Programs written for KerasTuner, with the module's name exchanged: callbacks, data, hooks, errors."""

import keras
import keras_tuner
import numpy as np
import pytest
import scipy.sparse
import tensorflow as tf

import tfopt

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(48, 3)).astype("float32")
Y = (X @ [[1.0], [-2.0], [0.5]] + 0.1).astype("float32")
LABELS = (X @ RANDOM.normal(size=(3, 3))).argmax(axis=1)
FIT = {"validation_split": 0.25, "epochs": 2, "batch_size": 12, "verbose": 0, "shuffle": False}


def build(hp):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(hp.Float("rate", 1e-3, 1e-1, sampling="log")), "mse")
    return model


def classifier(hp, metrics=()):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, "softmax")])
    model.compile(
        keras.optimizers.SGD(hp.Float("rate", 1e-2, 1e-1)), "sparse_categorical_crossentropy", metrics=list(metrics)
    )
    return model


def search(tmp_path, hypermodel=build, x=X, y=Y, kind=tfopt.search.RandomSearch, objective="val_loss", **kwargs):
    own = {
        name: kwargs.pop(name) for name in ("engine", "max_trials", "seed", "executions_per_trial") if name in kwargs
    }
    tuner = kind(
        hypermodel, objective, **{"max_trials": 2, "seed": 1} | own, directory=str(tmp_path), overwrite=True
    )  # fmt: skip
    tuner.search(x, y, **FIT | kwargs)
    return tuner


def trials(tuner):
    assert [trial.message for trial in tuner.oracle.trials.values()] == [None] * len(tuner.oracle.trials)
    return list(tuner.oracle.trials.values())


def by_hand(hypermodel, trial, x, y, **kwargs):
    """Return the history of `model.fit` from the trial's seed."""
    keras.utils.set_random_seed(trial.members[0].seed)
    model = hypermodel(trial.hyperparameters.copy())
    model.run_eagerly = True
    return model.fit(x, y, **FIT | kwargs).history


# Callbacks


@pytest.mark.slow
@pytest.mark.long("shared")
@pytest.mark.parametrize("engine", ["auto", "shared"])
def test_hyperparameters_that_appear_in_later_builds_and_a_callback(tmp_path, engine):
    def layers(hp):
        model = keras.Sequential([keras.Input((3,))])
        for index in range(hp.Int("num_layers", 1, 3)):
            model.add(keras.layers.Dense(hp.Int(f"units_{index}", 2, 3), "relu"))
        model.add(keras.layers.Dense(1))
        model.compile("sgd", "mse")
        return model

    stop = keras.callbacks.EarlyStopping(patience=2)
    trials(search(tmp_path, layers, engine=engine, max_trials=4, callbacks=[stop]))


class Looks(keras.callbacks.Callback):
    """Notes what Keras gives to a callback. Its lists survive being deep-copied."""

    seen: list = []  # noqa: RUF012

    def on_train_begin(self, logs=None):
        self.seen.append((dict(self.params), self.model.stop_training))

    def on_epoch_begin(self, epoch, logs=None):
        self.seen.append(list(self.model.history.history.get("val_loss", [])))
        self.model.stop_training = epoch == 1

    def on_epoch_end(self, epoch, logs=None):
        logs["done"] = (epoch + 1) / self.params["epochs"]
        logs["text"], logs["three"] = "yes", np.arange(3.0)


@pytest.mark.long("plain")
@pytest.mark.slow
@pytest.mark.parametrize("engine", ["shared", "plain"])
def test_callbacks_see_what_keras_gives_them(tmp_path, monkeypatch, engine):
    monkeypatch.setattr(Looks, "seen", [])
    [trial] = trials(search(tmp_path, engine=engine, max_trials=1, callbacks=[Looks()], epochs=4))
    assert trial.members[0].engine == engine
    ours, history = Looks.seen, trial.members[0].history
    monkeypatch.setattr(Looks, "seen", [])
    theirs = by_hand(build, trial, X, Y, callbacks=[Looks()], epochs=4)
    assert ours[0] == Looks.seen[0] == ({"verbose": 0, "epochs": 4, "steps": 3}, False)
    for one, other in zip(ours[1:], Looks.seen[1:], strict=True):
        assert one == pytest.approx(other, rel=1e-5)
    assert len(history["loss"]) == 2, "the second epoch ends after its first batch"
    for name in ("loss", "val_loss", "done"):
        assert history[name] == pytest.approx(theirs[name], rel=1e-5)
    assert history["text"] == ["yes"] * 2
    assert history["three"] == [[0.0, 1.0, 2.0]] * 2
    assert not trial.metrics.exists("three")


@pytest.mark.slow
def test_batch_functions_of_one_instance_are_called(tmp_path):
    seen = []
    callback = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(batch))
    trials(search(tmp_path, callbacks=[callback]))
    assert seen == [0, 1, 2] * 4


class Counted(keras.callbacks.Callback):
    """Counts how many copies of it there are."""

    alive, most = 0, 0

    def __deepcopy__(self, memo):
        Counted.alive += 1
        Counted.most = max(Counted.most, Counted.alive)
        return Counted()

    def __del__(self):
        Counted.alive -= 1


@pytest.mark.long("plain")
@pytest.mark.slow
@pytest.mark.parametrize("engine", ["shared", "plain"])
def test_callbacks_are_copied_when_their_fit_begins(tmp_path, monkeypatch, engine):
    monkeypatch.setattr(Counted, "alive", 1)
    monkeypatch.setattr(Counted, "most", 0)
    trials(search(tmp_path, engine=engine, max_trials=6, epochs=1, callbacks=[Counted()]))
    assert Counted.most <= 3, "the user's, that of a fit, and one that is about to go"


@pytest.mark.slow
def test_a_callback_that_cannot_be_copied_ends_the_search(tmp_path):
    class Stream(keras.callbacks.Callback):
        def __deepcopy__(self, memo):
            raise TypeError("cannot pickle")

    with pytest.raises(keras_tuner.errors.FatalValueError, match="deep-copyable"):
        search(tmp_path, callbacks=[Stream()])


# Models and data


@pytest.mark.slow
def test_metrics_without_a_name_have_the_same_one_in_every_trial(tmp_path):
    before = keras.metrics.AUC().name
    objective = keras_tuner.Objective("val_auc", "max")
    metric = lambda hp: classifier(hp, [keras.metrics.SparseCategoricalAccuracy(), Auc()])  # noqa: E731

    class Auc(keras.metrics.AUC):
        def update_state(self, y_true, y_pred, sample_weight=None):
            super().update_state(y_true[:, :1] > 0, 1 - y_pred[:, :1])

    found = trials(search(tmp_path, metric, y=LABELS[:, None], objective=objective))
    assert all("val_auc" in trial.members[0].history for trial in found)
    assert keras.metrics.AUC().name not in ("auc", before), "the user's own names go on"


@pytest.mark.slow
def test_a_metric_of_several_numbers_may_stand_beside_the_objective(tmp_path):
    def model(hp):
        one = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, "softmax")])
        one.compile(
            keras.optimizers.SGD(hp.Float("rate", 1e-2, 1e-1)), "categorical_crossentropy",
            metrics=["accuracy", keras.metrics.F1Score(name="f1")],
        )  # fmt: skip
        return one

    y = np.eye(3, dtype="float32")[LABELS]
    [trial] = trials(search(tmp_path, model, y=y, objective="val_accuracy", max_trials=1))
    theirs = by_hand(model, trial, X, y)
    np.testing.assert_allclose(trial.members[0].history["val_f1"], np.array(theirs["val_f1"]), rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match="average='macro'"):
        search(tmp_path, model, y=y, objective=keras_tuner.Objective("val_f1", "max"))


@pytest.mark.long("plain")
@pytest.mark.slow
@pytest.mark.parametrize("engine", ["population", "shared", "plain"])
def test_class_weights_never_reach_the_validation(tmp_path, engine):
    class_weight = {0: 1.0, 1: 5.0, 2: 20.0}
    [trial] = trials(search(tmp_path, classifier, y=LABELS, max_trials=1, engine=engine, class_weight=class_weight))
    theirs = by_hand(classifier, trial, X, LABELS, class_weight=class_weight)
    for name in ("loss", "val_loss"):
        assert trial.members[0].history[name] == pytest.approx(theirs[name], rel=1e-4)
    # The same rows as a fold of their own.
    folds = [(np.arange(36), np.arange(36, 48))]
    tuner = tfopt.search.RandomSearch(classifier, "val_loss", 1, seed=1, directory=str(tmp_path), overwrite=True)
    given = {name: value for name, value in FIT.items() if name != "validation_split"}
    tuner.search(X, LABELS, folds=folds, class_weight=class_weight, **given)
    [again] = trials(tuner)
    assert again.members[0].history["val_loss"] == pytest.approx(theirs["val_loss"], rel=1e-4)


def two_outputs(hp):
    inputs = keras.Input((3,))
    outputs = {name: keras.layers.Dense(1, name=name)(inputs) for name in ("a", "b")}
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.SGD(hp.Float("rate", 1e-3, 1e-1)), {"a": "mse", "b": "mse"})
    return model


@pytest.mark.slow
def test_each_output_has_weights_of_its_own(tmp_path):
    y, weights = {"a": X[:, :1], "b": X[:, 1:2]}, {"a": np.linspace(0, 1, 48), "b": np.linspace(1, 0, 48)}
    [trial] = trials(search(tmp_path, two_outputs, y=y, max_trials=1, sample_weight=weights))
    theirs = by_hand(two_outputs, trial, X, y, sample_weight=weights)
    for name, values in theirs.items():
        assert trial.members[0].history[name] == pytest.approx(values, rel=1e-4)


@pytest.mark.slow
def test_sparse_matrices_are_rows(tmp_path, monkeypatch):
    sparse = np.where(X > 0, X, 0)
    scores = []
    for x in (sparse, scipy.sparse.csr_matrix(sparse), scipy.sparse.coo_matrix(sparse)):
        scores.append([trial.score for trial in trials(search(tmp_path, x=x))])
    assert scores[0] == scores[1] == scores[2]
    monkeypatch.setattr("tfopt.search.tuners.fits._LARGEST_DENSE", 0)  # then Keras takes it itself
    data = scipy.sparse.csr_matrix(sparse)
    split = {"validation_split": None, "validation_data": (data[:12], Y[:12])}
    assert trials(search(tmp_path, x=data, max_trials=1, **split))[0].members[0].engine == "run_trial"


@pytest.mark.slow
@pytest.mark.parametrize("form", [np.asarray, tf.constant])
def test_texts_are_rows(tmp_path, form):
    def model(hp):
        words = keras.layers.TextVectorization(vocabulary=["good", "bad", "day"], output_sequence_length=2)
        one = keras.Sequential(
            [keras.Input((), dtype="string"), words, keras.layers.Embedding(5, hp.Int("units", 2, 4))]
        )
        one.add(keras.layers.Flatten())
        one.add(keras.layers.Dense(1))
        one.compile("sgd", "mse")
        return one

    x = form(np.resize(np.array(["good day", "bad day"], dtype=object), 48))
    [trial] = trials(search(tmp_path, model, x=x, max_trials=1))
    assert trial.members[0].engine == "run_trial"


# Hooks, results and errors


def test_what_a_subclass_overrides_is_called(tmp_path):
    called = []

    class Own(tfopt.search.RandomSearch):
        def _build_and_fit_model(self, trial, *args, **kwargs):
            called.append("fit")
            return super()._build_and_fit_model(trial, *args, **kwargs)

        def on_batch_end(self, trial, model, batch, logs=None):
            called.append("batch")

        def on_trial_begin(self, trial):
            called.append("begin")

        def on_search_end(self):
            called.append("end")

    trials(search(tmp_path, kind=Own, max_trials=1, epochs=1))
    assert called == ["begin", "fit", "batch", "batch", "batch", "end"]


class Idle(keras_tuner.Oracle):
    """An oracle as a user writes one: idle at first, then any value of `rate`."""

    asked = 0

    def populate_space(self, trial_id):
        self.asked += 1
        if self.asked == 2:
            return {"status": "IDLE"}
        return {"status": "RUNNING", "values": {"rate": 0.01 * self.asked}}


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Idle, keras_tuner.oracles.RandomSearchOracle, tfopt.search.RandomSearchOracle])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # KerasTuner's oracles call `threading.currentThread`
def test_a_tuner_takes_any_oracle(tmp_path, kind, capsys):
    oracle = kind(objective="val_loss", max_trials=3, seed=1)
    folder = {"directory": str(tmp_path), "project_name": "p"}
    tuner = tfopt.search.Tuner(oracle, build, executions_per_trial=2, **folder)
    tuner.search(X, Y, **FIT)
    assert capsys.readouterr().out == ""
    assert isinstance(tuner.oracle, kind)
    assert [trial.status for trial in trials(tuner)] == ["COMPLETED"] * 3
    for trial in trials(tuner):
        assert trial.score == pytest.approx(np.mean([min(one.history["val_loss"]) for one in trial.members]))
    best = tuner.oracle.get_best_trials()[0]
    again = tfopt.search.Tuner(kind(objective="val_loss", max_trials=3, seed=1), build, **folder)
    assert again.oracle.get_best_trials()[0].score == pytest.approx(best.score)
    assert again.get_best_models()[0].get_weights()[0].shape == (3, 1)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_failing_build_ends_a_search_with_an_oracle_of_keras_tuners(tmp_path):
    def fails(hp):
        if hp.Float("rate", 0, 1) > 0:
            raise ValueError("no such layer")
        return build(hp)

    oracle = keras_tuner.oracles.RandomSearchOracle("val_loss", max_trials=9, seed=1)
    tuner = tfopt.search.Tuner(oracle, fails, directory=str(tmp_path))
    with pytest.raises(RuntimeError, match=r"(?s)consecutive failures.*no such layer"):
        tuner.search(X, Y, **FIT)


@pytest.mark.slow
def test_what_is_put_into_one_tuner_is_called(tmp_path):
    tuner = tfopt.search.RandomSearch(build, "val_loss", 1, seed=1, directory=str(tmp_path), overwrite=True)
    own, called = tuner._build_and_fit_model, []
    tuner._build_and_fit_model = lambda trial, *args, **kwargs: called.append(1) or own(trial, *args, **kwargs)
    tuner.search(X, Y, **FIT)
    assert called == [1]


@pytest.mark.parametrize(
    ("objective", "result", "error", "message"),
    [
        ("val_loss", {"val_los": 1.0}, keras_tuner.errors.FatalValueError, "hold the objective 'val_loss'"),
        (None, {"val_loss": 1.0}, keras_tuner.errors.FatalTypeError, "to be a single float"),
        ("val_loss", None, keras_tuner.errors.FatalTypeError, "Did you forget"),
        ("val_loss", "text", keras_tuner.errors.FatalTypeError, "to be one of"),
        ("val_loss", [1.0, "text"], keras_tuner.errors.FatalTypeError, "to be one of"),
    ],
)
def test_a_result_without_the_objective_ends_the_search_at_once(tmp_path, objective, result, error, message):
    class Own(tfopt.search.RandomSearch):
        def run_trial(self, trial, **kwargs):
            trial.hyperparameters.Float("x", 0, 1)
            return result

    tuner = Own(objective=objective, max_trials=5, directory=str(tmp_path))
    with pytest.raises(error, match=message):
        tuner.search(verbose=0)
    assert len(tuner.oracle.trials) == 1


@pytest.mark.slow
def test_trials_before_a_fatal_one_are_kept(tmp_path):
    rates = []

    def fails(hp):
        rate = hp.Float("rate", 1e-3, 1e-1)
        if rate not in rates:
            rates.append(rate)
        if rates.index(rate) == 3:
            raise keras_tuner.errors.FatalError("stop")
        return build(hp)

    tuner = tfopt.search.RandomSearch(fails, "val_loss", 8, seed=1, directory=str(tmp_path), overwrite=True)
    with pytest.raises(keras_tuner.errors.FatalError, match="stop"):
        tuner.search(X, Y, **FIT)
    ordered = [tuner.oracle.trials[name].status for name in sorted(tuner.oracle.trials)]
    assert ordered[:3] == ["COMPLETED", "COMPLETED", "RUNNING"]  # the build at the defaults was the first of the four
    assert "COMPLETED" not in ordered[3:]


@pytest.mark.parametrize("name", ["epochs", "batch_size"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0, -1, 2.5, "3", True])
def test_numbers_that_are_none_are_refused_at_once(tmp_path, name, value):
    with pytest.raises((TypeError, ValueError), match=f"`{name}` .*Received: {name}="):
        search(tmp_path, **{name: value})


@pytest.mark.parametrize("name", ["executions_per_trial", "keep_models", "max_model_size", "memory"])
def test_numbers_of_a_tuner_are_checked_at_once(tmp_path, name):
    with pytest.raises((TypeError, ValueError), match=f"`{name}` of RandomSearch must be"):
        tfopt.search.RandomSearch(build, "val_loss", directory=str(tmp_path), **{name: -1})
