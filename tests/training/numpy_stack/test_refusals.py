"""What NumPy does not train, and why: it goes on to a graph, and ends as plain fits do."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfopt
from tfopt.errors import CannotStack
from tfopt.training import stack_pool
from tfopt.training.fits import FitRequest
from tfopt.training.numpy_stack.model import NumpyStack
from tfopt.training.population_engine import PopulationEngine

layers, optimizers = keras.layers, keras.optimizers
LR = {"lr": 0.05}


def of(*hidden, optimizer=lambda hp: optimizers.SGD(hp["lr"]), loss=None, **compiled):
    def build(hp):
        model = keras.Sequential([keras.Input((16,)), layers.Dense(8, "tanh"), *(h() for h in hidden), layers.Dense(4)])
        model.compile(optimizer(hp), loss or keras.losses.SparseCategoricalCrossentropy(from_logits=True), **compiled)
        return model

    return build


def functional(make, shape=(16,)):
    def build(hp):
        inputs = keras.Input(shape)
        model = keras.Model(inputs, make(inputs))
        model.compile(optimizers.SGD(hp["lr"]), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        return model

    return build


def shared(inputs):
    layer, output = layers.Dense(16, "tanh"), layers.Dense(4)
    return output(layer(layer(inputs)))


def inference(inputs):
    return layers.Dense(4)(layers.Dropout(0.5)(layers.Dense(8)(inputs), training=True))


def one_generator(inputs):
    first, second = layers.Dropout(0.2), layers.Dropout(0.3)
    vars(second)["seed_generator"] = first.seed_generator
    return layers.Dense(4)(second(first(inputs)))


class Doubled(layers.Dense):
    """A layer of one's own, which is a Keras layer too."""

    def call(self, inputs):
        return 2 * super().call(inputs)


class Squared(keras.losses.Loss):
    """A loss of one's own."""

    def call(self, y_true, y_pred):
        return keras.ops.mean(keras.ops.square(y_pred - keras.ops.cast(y_true, "float32")[:, None]), axis=-1)


class Right(keras.metrics.SparseCategoricalAccuracy):
    """A metric of one's own."""


def stepwise(schedule):
    class OneStep(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            return schedule * (0.5 if keras.ops.cast(step, "int32") < 2 else 1.0)

    return OneStep()


def exempting(hp):
    optimizer = optimizers.AdamW(hp["lr"])
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer


def with_option(**options):
    return of(optimizer=lambda hp: optimizers.Adam(hp["lr"], **options))


REFUSED = {
    "a frozen layer": (of(lambda: layers.Dense(8, trainable=False)), "is frozen"),
    "a constraint": (of(lambda: layers.Dense(8, kernel_constraint="max_norm")), "Dense has a kernel_constraint"),
    "activity_regularizer": (of(lambda: layers.Dense(8, activity_regularizer="l2")), "has an activity_regularizer"),
    "mixed precision": (of(lambda: layers.Dense(8, dtype="mixed_float16")), "computes in float16"),
    "LayerNormalization": (of(layers.LayerNormalization), "LayerNormalization has no form in NumPy"),
    "an unknown activation": (of(lambda: layers.Dense(8, "log_softmax")), "is not known here"),
    "a slope of ReLU": (of(lambda: layers.ReLU(negative_slope=0.1)), "ReLU has a negative_slope"),
    "noise_shape": (of(lambda: layers.Dropout(0.2, noise_shape=(None, 1))), "Dropout has a noise_shape"),
    "groups": (
        of(lambda: layers.Reshape((2, 2, 2)), lambda: layers.Conv2D(4, 1, groups=2, name="grouped"), layers.Flatten),
        "grouped has groups",
    ),
    "recurrent_dropout": (
        of(lambda: layers.Reshape((2, 4)), lambda: layers.LSTM(3, recurrent_dropout=0.2)),
        "LSTMCell has a recurrent_dropout",
    ),
    "another gate": (
        of(lambda: layers.Reshape((2, 4)), lambda: layers.GRU(3, activation="relu", name="gru")),
        "gru has activations other than tanh and sigmoid",
    ),
    "no fixed shape": (
        functional(lambda i: layers.Dense(4)(layers.GlobalMaxPooling1D()(layers.Conv1D(2, 1)(i))), (None, 2)),
        "has no fixed shape",
    ),
    "a layer of one's own": (of(lambda: Doubled(8)), "Doubled has no form in NumPy"),
    "a loss of one's own": (of(loss=Squared()), "is not known here"),
    "a metric of one's own": (of(metrics=[Right()]), "is not Keras's"),
    "another metric": (of(metrics=["sparse_top_k_categorical_accuracy"]), "is not known here"),
    "weighted_metrics": (of(weighted_metrics=["accuracy"]), "it has weighted metrics"),
    "a layer called twice": (functional(shared), "is called 2 times"),
    "dropout always on": (functional(inference), "is called with arguments of its own"),
    "two outputs": (
        functional(lambda i: [layers.Dense(4)(i), layers.Dense(4)(i)]),
        "not a Sequential or functional model of one input and one output",
    ),
    "one generator for two": (functional(one_generator), "two of its dropout layers share a generator"),
    "clipnorm": (with_option(clipnorm=0.5), "its optimizer has clipnorm"),
    "clipvalue": (with_option(clipvalue=0.5), "its optimizer has clipvalue"),
    "averages": (with_option(use_ema=True), "its optimizer has use_ema"),
    "accumulation": (with_option(gradient_accumulation_steps=2), "gradient_accumulation_steps"),
    "AMSGrad": (with_option(amsgrad=True), "its Adam is an AMSGrad"),
    "exempted weights": (of(optimizer=exempting), "exempts some weights from decay"),
    "centred RMSprop": (of(optimizer=lambda hp: optimizers.RMSprop(hp["lr"], centered=True)), "RMSprop is centered"),
    "Nadam": (of(optimizer=lambda hp: optimizers.Nadam(hp["lr"])), "Nadam has no form in NumPy"),
    "a schedule of one step": (
        of(optimizer=lambda hp: optimizers.SGD(stepwise(hp["lr"]))),
        "decides on the step in Python",
    ),
    "a weighted loss": (of(loss_weights=[2.0]), "several losses or a weighted one"),
    "another penalty": (
        of(lambda: layers.Dense(8, kernel_regularizer=tfopt.regularizers.GroupLasso(0.1))),
        "GroupLasso",
    ),
}


def targets(name, rows):
    return [rows[1], rows[1]] if name == "two outputs" else rows[1]


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_goes_on_to_a_graph(name, rows, monkeypatch, caplog):
    build, reason = REFUSED[name]

    def refuse(*_):
        raise CannotStack("the next one asked")

    monkeypatch.setattr(stack_pool.StackPool, "make_graph_stack", refuse)
    caplog.set_level("DEBUG", "tfopt")
    if name == "two outputs":
        compiled = build

        def build(hp):
            model = compiled(hp)
            model.compile(model.optimizer, ["sparse_categorical_crossentropy"] * 2)
            return model

    x = rows[0].reshape(-1, 8, 2) if name == "no fixed shape" else rows[0]
    engine = PopulationEngine(build, x, targets(name, rows))
    assert dict(engine.stacked([FitRequest(LR, 1, 1)])) == {0: "the next one asked"}
    [said] = [record.getMessage() for record in caplog.records if "not trained by NumPy" in record.getMessage()]
    assert reason in said


def test_a_schedule_that_cannot_be_traced_leaves_strategies_working(rows, monkeypatch):
    """`tf.map_fn` would leave the process's variable scope changed, and every later scope would raise."""
    build, _ = REFUSED["a schedule of one step"]
    monkeypatch.setattr(stack_pool.StackPool, "make_graph_stack", lambda *_: (_ for _ in ()).throw(CannotStack("next")))
    list(PopulationEngine(build, *rows).stacked([FitRequest(LR, 1, 1)]))
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        assert keras.Variable(1.0).shape == ()


@pytest.mark.long("AMSGrad", "weighted_metrics")
@pytest.mark.slow
@pytest.mark.parametrize("name", ["a frozen layer", "LayerNormalization", "weighted_metrics", "AMSGrad"])
def test_what_is_refused_ends_as_plain_fits_do(name, rows, plain, assert_same):
    build, _ = REFUSED[name]
    engine = PopulationEngine(build, *rows, shuffle="once")
    requests = [FitRequest({"lr": lr}, 1, 2) for lr in (0.01, 0.02)]
    results = engine.fit(requests)
    assert not any(isinstance(stack, NumpyStack) for stack in engine.pool.stacks())
    for mine, theirs in zip(results, plain(engine, requests), strict=True):
        assert_same(mine, theirs, atol=1e-5, refused="not by NumPy: ")


def test_labels_of_no_class_are_refused(rows, monkeypatch, caplog):
    """NumPy would count -1 from the end: Keras makes the loss NaN or raises."""
    caplog.set_level("DEBUG", "tfopt")
    monkeypatch.setattr(stack_pool.StackPool, "make_graph_stack", lambda *_: (_ for _ in ()).throw(CannotStack("next")))
    for wrong in (-1, 4):
        y = rows[1].copy()
        y[-1] = wrong  # in no step that is checked
        assert dict(PopulationEngine(of(), rows[0], y).stacked([FitRequest(LR, 1, 1)])) == {0: "next"}
        assert "its targets are not classes from 0 to 3" in caplog.text


def test_numbers_that_no_step_here_reads_are_refused(rows, monkeypatch, caplog):
    caplog.set_level("DEBUG", "tfopt")
    monkeypatch.setattr(stack_pool.StackPool, "make_graph_stack", lambda *_: (_ for _ in ()).throw(CannotStack("next")))

    def build(hp):
        return of(optimizer=lambda hp: optimizers.SGD(0.1, ema_momentum=hp["ema"]))(hp)

    requests = [FitRequest({"ema": value}, 1, 1) for value in (0.9, 0.8)]
    assert dict(PopulationEngine(build, *rows).stacked(requests)) == dict.fromkeys((0, 1), "next")
    assert "ema_momentum differs, whose use is not known here" in caplog.text


@pytest.mark.slow
def test_members_that_differ_in_width_are_kept_apart(rows, network, numpy_engine, plain, assert_same):
    def build(hp):
        return network(lambda hp: layers.Dense(hp["units"], "tanh"))(hp)

    engine = numpy_engine(build)
    requests = [FitRequest({"lr": 0.1, "units": units}, 1, 2, predict=np.arange(5)) for units in (6, 9, 6)]
    for mine, theirs in zip(engine.fit(requests), plain(engine, requests), strict=True):
        assert_same(mine, theirs)
