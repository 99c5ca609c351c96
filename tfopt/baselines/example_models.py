"""The scikit-learn models of images, sequences and texts, each with its grid."""

from typing import Any

from sklearn import decomposition, ensemble, linear_model, naive_bayes, pipeline, preprocessing

from tfopt.baselines.example_features import GradientHistogram, SequenceSummary
from tfopt.baselines.setting import AS_WORDS, Setting, Tunable, each_target

_STRENGTHS = [0.01, 0.1, 1.0, 10.0, 100.0]


def _linear(setting: Setting) -> tuple[Any, str]:
    """Return a linear model for the task, and its parameter to tune."""
    if setting.num_classes:
        return linear_model.LogisticRegression(max_iter=1000, random_state=setting.seed), "C"
    return linear_model.Ridge(), "alpha"


def pca_linear(setting: Setting) -> Tunable:
    """Return a linear model on the principal components of the pixels."""
    model, parameter = _linear(setting)
    whole = pipeline.Pipeline([("pca", decomposition.PCA(0.9, random_state=setting.seed)), ("linear", model)])
    grid = {"model__pca__n_components": [0.8, 0.95], f"model__linear__{parameter}": _STRENGTHS}
    return Tunable(whole, whole, [grid], scaling="common")


def hog_linear(setting: Setting) -> Tunable:
    """Return a linear model on histograms of oriented gradients."""
    model, parameter = _linear(setting)
    whole = pipeline.Pipeline([("hog", GradientHistogram(setting.shape)), ("linear", model)])
    return Tunable(whole, whole, [{f"model__linear__{parameter}": _STRENGTHS}], scaling="none")


def summary_linear(setting: Setting) -> Tunable:
    """Return a linear model on summaries of sequences."""
    model, parameter = _linear(setting)
    steps = [("summary", SequenceSummary(setting.shape)), ("scale", preprocessing.StandardScaler()), ("linear", model)]
    whole = pipeline.Pipeline(steps)
    return Tunable(whole, whole, [{f"model__linear__{parameter}": _STRENGTHS}], scaling="none")


def summary_forest(setting: Setting) -> Tunable:
    """Return a random forest on summaries of sequences."""
    kind = ensemble.RandomForestClassifier if setting.num_classes else ensemble.RandomForestRegressor
    steps = [("summary", SequenceSummary(setting.shape)), ("forest", kind(random_state=setting.seed))]
    whole = pipeline.Pipeline(steps)
    return Tunable(whole, whole, [{"model__forest__min_samples_leaf": [1, 5]}], scaling="none")


def tfidf_linear(setting: Setting) -> Tunable:
    """Return a linear model on TF-IDF."""
    model, parameter = _linear(setting)
    model, prefix = each_target(model, setting)
    return Tunable(model, model, [{f"model__{prefix}{parameter}": _STRENGTHS}], scaling=AS_WORDS)


def tfidf_naive_bayes(setting: Setting) -> Tunable:
    """Return naive Bayes on TF-IDF, in the form for classes of unequal size (Rennie et al. 2003)."""
    model = naive_bayes.ComplementNB()
    return Tunable(model, model, [{"model__alpha": [0.01, 0.1, 0.3, 1.0]}], scaling=AS_WORDS)
