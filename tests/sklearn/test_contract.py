"""scikit-learn's own battery: all of it on the classifiers, and on the regressors what is their own."""

import pytest
from sklearn.base import is_regressor
from sklearn.utils.estimator_checks import estimator_checks_generator

from tfopt.sklearn import NetworkClassifier, NetworkRegressor, TunedNetworkClassifier, TunedNetworkRegressor

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


def checks():
    for estimator in ESTIMATORS:
        name = type(estimator).__name__
        for each, check in estimator_checks_generator(estimator, mark=None):
            word = check.func.__name__
            if is_regressor(estimator) and not any(
                part in word for part in ("regress", "multioutput", "_y_", "supervised")
            ):
                continue  # its code is the classifier's
            why = EXCEPTIONS[name].get(word)
            marks = [] if why is None else [pytest.mark.xfail(reason=why, strict=False)]
            yield pytest.param(each, check, id=f"{name}-{word}", marks=marks)


# A search takes seconds, and these make many: with `--hypothesis-profile long`.
MANY_SEARCHES = (
    "check_classifier_data_not_an_array",
    "check_classifiers_classes",
    "check_classifiers_train",
    "check_estimators_dtypes",
    "check_fit_idempotent",
    "check_regressor_data_not_an_array",
    "check_regressors_train",
    "check_sample_weight_equivalence_on_dense_data",
)


@pytest.mark.slow
@pytest.mark.parametrize(("estimator", "check"), list(checks()))
def test_the_contract_of_scikit_learn(estimator, check, request):
    is_tuned = isinstance(estimator, TunedNetworkClassifier | TunedNetworkRegressor)
    if is_tuned and check.func.__name__ in MANY_SEARCHES and request.config.getoption("hypothesis_profile") != "long":
        pytest.skip("many searches: --hypothesis-profile long")
    check(estimator)
