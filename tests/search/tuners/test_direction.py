"""Every metric of Keras is searched in its better direction, found out by giving it good and bad predictions."""

import keras
import keras_tuner
import numpy as np
import pytest

from tfopt.search.tuners.direction import direction_of, objective_of

CODES = np.array([0, 1, 1, 0, 1, 0], "float32")
GOOD, BAD = (np.where(CODES == 1, *pair)[:, None].astype("float32") for pair in ((0.8, 0.3), (0.3, 0.8)))
TWO = np.stack([1 - CODES, CODES], axis=1)
GOOD_TWO, BAD_TWO = np.concatenate([1 - GOOD, GOOD], axis=1), np.concatenate([1 - BAD, BAD], axis=1)

BINARY = (CODES[:, None], GOOD, BAD)
ONE_HOT = (TWO, GOOD_TWO, BAD_TWO)
SPARSE = (CODES, GOOD_TWO, BAD_TWO)
LABELS = (CODES, CODES, 1 - CODES)
ROW = (CODES[None], GOOD.T, BAD.T)
CASES = {
    "Accuracy": ({}, LABELS),
    "BinaryIoU": ({}, BINARY),
    "CategoricalAccuracy": ({}, ONE_HOT),
    "CategoricalCrossentropy": ({}, ONE_HOT),
    "CategoricalHinge": ({}, ONE_HOT),
    "ConcordanceCorrelation": ({}, ROW),
    "CosineSimilarity": ({}, ONE_HOT),
    "F1Score": ({"threshold": 0.5}, BINARY),
    "FBetaScore": ({"threshold": 0.5}, BINARY),
    "IoU": ({"num_classes": 2, "target_class_ids": [1]}, LABELS),
    "KLDivergence": ({}, ONE_HOT),
    "MeanIoU": ({"num_classes": 2}, LABELS),
    "OneHotIoU": ({"num_classes": 2, "target_class_ids": [1]}, ONE_HOT),
    "OneHotMeanIoU": ({"num_classes": 2}, ONE_HOT),
    "PearsonCorrelation": ({}, ROW),
    "PrecisionAtRecall": ({"recall": 0.5}, BINARY),
    "RecallAtPrecision": ({"precision": 0.9}, BINARY),
    "SensitivityAtSpecificity": ({"specificity": 0.5}, BINARY),
    "SpecificityAtSensitivity": ({"sensitivity": 0.5}, BINARY),
    "SparseCategoricalAccuracy": ({}, SPARSE),
    "SparseCategoricalCrossentropy": ({}, SPARSE),
    "SparseTopKCategoricalAccuracy": ({"k": 1}, SPARSE),
    "TopKCategoricalAccuracy": ({"k": 1}, ONE_HOT),
}
NO_DIRECTION = {"Mean", "MeanMetricWrapper", "Metric", "Sum"}
CLASSES = sorted(
    name
    for name in dir(keras.metrics)
    if isinstance(getattr(keras.metrics, name), type) and issubclass(getattr(keras.metrics, name), keras.metrics.Metric)
)


@pytest.mark.parametrize("name", [name for name in CLASSES if name not in NO_DIRECTION])
def test_the_table_agrees_with_what_the_metric_says_of_good_and_bad_predictions(name):
    kwargs, (y, good, bad) = CASES.get(name, ({}, BINARY))
    values, names = [], []
    keras.utils.clear_session()  # names are numbered from the second one of a kind on
    for prediction in (good, bad):
        metric = getattr(keras.metrics, name)(**kwargs)
        names.append("val_" + metric.name)
        metric.update_state(y, prediction)
        values.append(float(np.mean(metric.result())))
    assert values[0] != values[1]
    logged, better = names[0], "max" if values[0] > values[1] else "min"
    assert direction_of(logged) == better
    assert direction_of(name) == better, "by the name of its class"
    assert direction_of(logged + "_2") == better, "the third metric of this kind in a process"
    assert objective_of(logged).direction == better


def test_keras_tuner_minimises_these():
    """KerasTuner 1.4.8. Should this fail, a later version knows better, and README and docstrings must say so."""
    wrong = []
    for name in CLASSES:
        try:
            theirs = keras_tuner.engine.metrics_tracking.infer_metric_direction(name)
        except TypeError:
            theirs = "TypeError"
        if name not in NO_DIRECTION and theirs != direction_of(name):
            wrong.append(name)
    assert set(wrong) >= {"R2Score", "F1Score", "FBetaScore", "CosineSimilarity", "MeanIoU", "BinaryIoU", "IoU"}
    assert keras_tuner.engine.metrics_tracking.infer_metric_direction("val_r2_score") == "min"


@pytest.mark.parametrize("name", [*sorted(NO_DIRECTION), "val_my_metric", "val_mean"])
def test_a_metric_of_unknown_direction_is_refused_with_what_to_pass(name):
    with pytest.raises(ValueError, match=r"Pass keras_tuner.Objective\('.*', direction='max'\)"):
        objective_of(name)


def test_a_misspelt_objective_gets_the_name_that_was_meant():
    with pytest.raises(ValueError, match="Did you mean 'val_accuracy'"):
        objective_of("val_acuracy")


def test_objectives_and_lists_of_them_are_kept():
    own = keras_tuner.Objective("val_profit", "max")
    assert objective_of(own) is own
    assert objective_of(None) is None
    assert [(o.name, o.direction) for o in objective_of(["val_loss", own])] == [
        ("val_loss", "min"),
        ("val_profit", "max"),
    ]
    with pytest.raises(TypeError, match="Received: 3"):
        objective_of(3)
    with pytest.raises(TypeError, match="must list names"):
        objective_of(["val_loss", None])


@pytest.mark.parametrize("name", ["mse", "mae", "kl_divergence", "cosine_similarity", "poisson"])
def test_short_names_mean_what_keras_makes_of_them(name):
    metric = keras.metrics.get(name)
    logged = getattr(metric, "name", None) or metric.__name__
    assert direction_of(name) == direction_of(logged)
