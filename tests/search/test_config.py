import json
from dataclasses import replace

import pytest

from tfopt.errors import UserError
from tfopt.search.config import SearchConfig, default_run_folder

GOOD = SearchConfig(data="diabetes")


def test_defaults_are_valid():
    assert GOOD.validate() is GOOD


def test_round_trip_through_json():
    config = replace(GOOD, target=("价格", "b"), time_limit=90.0, holdout=0.2, deterministic=True)
    assert SearchConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_unknown_setting_is_named_with_the_nearest():
    with pytest.raises(UserError, match=r"unknown setting 'max_trails'\. Did you mean 'max_trials'\?"):
        SearchConfig.from_dict({"data": "wine", "max_trails": 3})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"data": ""}, "no data named"),
        ({"task": "regresion"}, "--task must be one of .* Did you mean 'regression'"),
        ({"tuner": "bayes"}, "--tuner must be one of .* Did you mean 'bayesian'"),
        ({"precision": "float16"}, "--precision must be one of"),
        ({"max_trials": 0}, "--max-trials must be at least 1. Received: 0."),
        ({"max_trials": 2.5}, "--max-trials must be a whole number. Received: 2.5."),
        ({"max_trials": True}, "--max-trials must be a whole number"),
        ({"epochs": 0}, "--epochs must be at least 1"),
        ({"folds": 1}, "--folds must be at least 2"),
        ({"inner_folds": 1}, "--inner-folds must be at least 2"),
        ({"repeats": 0}, "--repeats must be at least 1"),
        ({"seeds": 0}, "--seeds must be at least 1"),
        ({"seed": -1}, "--seed must be at least 0"),
        ({"seed": 2**32}, "--seed must be below"),
        ({"patience": -1}, "--patience must be at least 0"),
        ({"workers": 0}, "--workers must be at least 1"),
        ({"time_limit": 0.0}, "--time-limit must be above 0"),
        ({"time_limit": float("nan")}, "--time-limit must be above 0"),
        ({"holdout": 1.0}, "--holdout must be a fraction"),
        ({"holdout": 0.2, "repeats": 2}, "--repeats 2 does not go with it"),
        ({"rope": -0.1}, "--rope must be 0 or more"),
        ({"space": "wid"}, "Did you mean 'wide'"),
        ({"space": "mine.py"}, "Write mine.py:build"),
        ({"space": "mine.py:"}, "Write mine.py:build"),
        ({"device": "gpu1"}, "--device must be auto, cpu, gpu, gpu:N or gpu:N,M. Received: gpu1. Did you mean 'gpu'"),
        ({"device": "gpu:0,"}, "--device must be auto, cpu, gpu, gpu:N or gpu:N,M"),
        ({"backend": "rai"}, "--backend must be one of loky, ray, dask. Received: rai. Did you mean 'ray'"),
        ({"backend": "dask"}, "--backend dask needs a running cluster. Give its --address"),
        ({"address": "host:1"}, "--address says where a cluster is, so it needs --backend"),
        ({"target": ("a", "a")}, "column 'a' is named twice in --target"),
        ({"target": ("a",), "drop": ("a",)}, "column 'a' is named both in --target and in --drop"),
        ({"group": "g", "weights": "g"}, "both in --group and in --weights"),
        ({"resume": "d", "overwrite": True}, "Give one of the two"),
    ],
    ids=str,
)
def test_value_that_no_search_can_use(change, told):
    with pytest.raises(UserError, match=told):
        replace(GOOD, **change).validate()


@pytest.mark.parametrize("device", ["auto", "cpu", "gpu", "gpu:3", "gpu:0,2"])
def test_devices_that_may_be_named(device):
    replace(GOOD, device=device).validate()


@pytest.mark.parametrize("space", ["small", "wide", "mine.py:build", "a folder/mine.py:Space", "C:\\space.py:build"])
def test_spaces_that_may_be_named(space):
    replace(GOOD, space=space).validate()


@pytest.mark.parametrize(
    ("data", "stem"),
    [("diabetes", "diabetes"), ("a b/房价 2020.csv.gz", "房价-2020"), ("openml:credit-g", "openml-credit-g")],
)
def test_default_run_folder_is_named_after_data_and_seed(data, stem):
    folder = default_run_folder(SearchConfig(data=data, seed=7))
    assert folder.parent.name == "runs"
    assert folder.name.startswith(f"{stem}__7__20")
