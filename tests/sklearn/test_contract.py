"""scikit-learn's own battery: all of it on a network that classifies, and on the others what is their own."""

import pytest
from sklearn.base import clone, is_regressor
from sklearn.utils.estimator_checks import estimator_checks_generator

from tfopt.sklearn import NetworkClassifier, NetworkRegressor, TunedNetworkClassifier, TunedNetworkRegressor
from tfopt.sklearn.tuned import TunedNetworkEstimator

SEARCH = {"space": "small", "max_trials": 1, "epochs": 40, "inner_folds": 2, "random_state": 0}
ESTIMATORS = [
    NetworkClassifier(epochs=40, batch_size=16, random_state=0),
    NetworkRegressor(epochs=40, random_state=0),
    TunedNetworkClassifier(**SEARCH),
    TunedNetworkRegressor(**SEARCH),
]

# Every check that an estimator does not pass, with why it cannot.
_REPEATED = "rows that are repeated are drawn into other batches, and folds, than rows that weigh more"
_FLOAT32 = "the exported network computes in float32, whose last digit depends on the rows that are predicted together"
EXCEPTIONS = {
    "NetworkClassifier": {"check_sample_weight_equivalence_on_dense_data": _REPEATED},
    "NetworkRegressor": {"check_sample_weight_equivalence_on_dense_data": _REPEATED},
    "TunedNetworkClassifier": {
        "check_sample_weight_equivalence_on_dense_data": _REPEATED,
        "check_methods_subset_invariance": _FLOAT32,
        "check_methods_sample_order_invariance": _FLOAT32,
    },
    "TunedNetworkRegressor": {
        "check_sample_weight_equivalence_on_dense_data": _REPEATED,
        "check_methods_subset_invariance": _FLOAT32,
        "check_methods_sample_order_invariance": _FLOAT32,
    },
}

# Each fit of a tuned network is a search. Beside each of these checks another one sees the same lines of tuned.py, or
# a network's the same lines of network.py.
MORE_SEARCHES = {
    f"check_{name}"
    for name in (
        "classifier_data_not_an_array", "classifiers_classes", "classifiers_train", "dont_overwrite_parameters",
        "estimators_dtypes", "estimators_fit_returns_self", "estimators_pickle", "f_contiguous_array_estimator",
        "fit2d_predict1d", "fit_check_is_fitted", "fit_idempotent", "fit_score_takes_y", "n_features_in",
        "pipeline_consistency", "positive_only_tag_during_fit", "regressor_data_not_an_array", "regressors_int",
        "regressors_no_decision_function", "regressors_train", "sample_weights_list", "sample_weights_not_overwritten",
        "sample_weights_pandas_series", "supervised_y_2d", "dict_unchanged", "readonly_memmap_input",
        "estimators_overwrite_params", "sample_weights_not_an_array", "dtype_object", "fit2d_1feature",
        "n_features_in_after_fitting", "sample_weights_shape",
    )
}  # fmt: skip


# The checks that ask what was learned; the others see the same after a few epochs.
LEARNS = {
    "check_classifiers_train",
    "check_classifiers_classes",
    "check_regressors_train",
    "check_class_weight_classifiers",
}


def checks():
    for estimator in ESTIMATORS:
        name, seen = type(estimator).__name__, set()
        for each, check in estimator_checks_generator(estimator, mark=None):
            word = check.func.__name__
            if is_regressor(estimator) and not any(
                part in word for part in ("regress", "multioutput", "_y_", "supervised")
            ):
                continue  # its code is the classifier's
            why = EXCEPTIONS[name].get(word)
            marks = [] if why is None else [pytest.mark.xfail(reason=why, strict=False)]
            if word in seen or (isinstance(estimator, TunedNetworkEstimator) and (why or word in MORE_SEARCHES)):
                marks.append(pytest.mark.long)
            seen.add(word)
            if word not in LEARNS:
                each = clone(each).set_params(epochs=4)
            yield pytest.param(each, check, id=f"{name}-{word}", marks=marks)


@pytest.mark.slow
@pytest.mark.parametrize(("estimator", "check"), list(checks()))
def test_the_contract_of_scikit_learn(estimator, check):
    check(estimator)
