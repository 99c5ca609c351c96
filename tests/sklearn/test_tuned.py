"""The search as a scikit-learn estimator."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from tfopt.sklearn import TunedNetworkClassifier, TunedNetworkRegressor

QUICK = {"space": "small", "max_trials": 1, "epochs": 2, "inner_folds": 2, "random_state": 0}
EXCEPTIONS: dict[str, str] = {}


@pytest.mark.slow
@parametrize_with_checks(
    [
        TunedNetworkClassifier(**QUICK | {"epochs": 40}),
        TunedNetworkRegressor(**QUICK | {"epochs": 40}),
    ],
    expected_failed_checks=lambda estimator: EXCEPTIONS,
)
def test_the_contract_of_scikit_learn(estimator, check):
    check(estimator)
