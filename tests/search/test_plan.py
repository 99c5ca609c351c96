"""What is settled before a search: order in time, copies of rows, class weights, and what is said about them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tfopt.errors import UserError
from tfopt.search.coding import SplitCoder
from tfopt.search.config import SearchConfig
from tfopt.search.plan import prepare
from tfopt.search.progress import Progress


class Notes(Progress):
    def __init__(self):
        super().__init__()
        self.said = []

    def note(self, text):
        self.said.append(text)


@pytest.fixture
def plan_of(tmp_path):
    """Return a function that prepares a search of a frame, and what was said."""

    def make(frame, **options):
        frame.to_csv(tmp_path / "rows.csv", index=False)
        notes = Notes()
        config = SearchConfig(data=str(tmp_path / "rows.csv"), folds=3, inner_folds=2)
        plan = prepare(replace(config, **options), notes)
        assert plan.table.notes == notes.said
        return plan, " | ".join(notes.said)

    return make


def rows(num_rows=120):
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"a": random.normal(size=num_rows).round(4), "b": random.normal(size=num_rows).round(4)})
    frame["when"] = (pd.Timestamp("2021-03-01") + pd.to_timedelta(random.permutation(num_rows), unit="D")).astype(str)
    frame["who"] = [f"pupil {chr(97 + place)}" for place in random.integers(0, 26, num_rows)]
    frame["price"] = (frame["a"] + random.normal(size=num_rows)).round(4)
    return frame


@pytest.mark.parametrize("where", [{"folds": 20}, {"inner_folds": 13}, {"holdout": 0.05}])
def test_no_part_of_one_row_is_scored_by_what_compares_rows(plan_of, where):
    frame = rows(20)
    with pytest.raises(UserError, match="needs two rows or more in each test part"):
        plan_of(frame, target=("price",), **where)
    plan_of(frame, target=("price",), objective="rmse", **where)


def test_a_date_is_said_and_orders_the_folds(plan_of):
    frame = rows()
    plan, said = plan_of(frame, target=("price",))
    assert "'when' tells the time of a row. If later rows are to be predicted from earlier ones, --time when" in said
    assert plan.table.times is None
    plan, said = plan_of(frame, target=("price",), time="when", gap="7d")
    assert "--time" not in said
    assert "when" in [column.name for column in plan.table.columns]
    days = pd.to_datetime(frame["when"]).to_numpy()
    for fold in plan.outer:
        assert days[fold.train].max() + np.timedelta64(7, "D") <= days[fold.test].min()
        for inner in fold.inner:
            assert set(inner.train) | set(inner.test) <= set(fold.train)
            assert days[inner.train].max() + np.timedelta64(7, "D") <= days[inner.test].min()
    assert [len(fold.test) for fold in plan.outer] == [30, 30, 30]
    [fold] = plan_of(frame, target=("price",), time="when", holdout=0.25)[0].outer
    assert days[fold.test].min() > days[fold.train].max()


def test_a_time_that_is_dropped_orders_the_rows_all_the_same(plan_of):
    plan, _ = plan_of(rows(), target=("price",), time="when", drop=("when",), group="who")
    assert [column.name for column in plan.table.columns] == ["a", "b"]
    assert "when" in plan.table.ignored
    assert plan.table.times_are_dates
    for fold in plan.outer:
        assert plan.table.times[fold.train].max() < plan.table.times[fold.test].min()
        assert not set(plan.table.groups[fold.train]) & set(plan.table.groups[fold.test])


def test_groups_that_go_on_over_time_are_said(plan_of):
    frame = rows(240).drop(columns="when")
    frame["year"] = np.repeat(np.arange(2000, 2012), 20)
    plan, said = plan_of(frame, target=("price",), time="year")
    assert [len(fold.test) for fold in plan.outer] == [60, 60, 60]
    _, said = plan_of(
        frame.assign(who=[f"site {chr(97 + row % 24)}" for row in range(240)]), target=("price",), time="year"
    )
    assert "groups go on" not in said
    mixed = frame.assign(who=[f"stays {chr(97 + row % 5)}" if row % 5 < 3 else f"new {row}" for row in range(240)])
    with pytest.raises(UserError, match=r"Groups that are also .* leave no training row.*without --group"):
        plan_of(frame.assign(who=["one", "two"] * 120), target=("price",), time="year", group="who")
    plan, said = plan_of(mixed, target=("price",), time="year", group="who")
    assert [len(fold.train) for fold in plan.outer] == [24, 48, 72]
    assert "groups go on over time: of 360 earlier rows, 144 are learned from, those of groups that are not" in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"time": "wen"}, "no column 'wen' for --time .*Did you mean 'when'"),
        ({"time": "price"}, "'price' is the target and cannot be given to --time|named both"),
        ({"time": "who"}, "no times in column 'who'"),
        ({"time": "when", "repeats": 2}, "--repeats 2 does not go with --time"),
        ({"gap": "7d"}, "Name the column of times with --time"),
        ({"time": "when", "gap": "soon"}, "--gap must be a number"),
        ({"time": "when", "folds": 150}, "More folds than rows"),
        ({"duplicates": "never"}, "--duplicates must be one of together, anywhere"),
        ({"class_weight": "balanced"}, "--class-weight balanced is for classes"),
    ],
)
def test_what_does_not_go_is_said(plan_of, options, message):
    with pytest.raises(UserError, match=message):
        plan_of(rows(), target=("price",), **options)


def test_copies_stay_together_unless_asked_otherwise(plan_of):
    frame = rows()
    frame = pd.concat([frame, frame.iloc[:40]], ignore_index=True)
    plan, said = plan_of(frame, target=("price",))
    assert "40 rows are copies of others, in every feature and the target: copies stay together in one fold" in said
    copies = set(range(120, 160))
    for fold in plan.outer:
        assert {row - 120 for row in copies & set(fold.test)} == set(range(40)) & set(fold.test)
    plan, said = plan_of(frame, target=("price",), duplicates="anywhere")
    assert "a model may be tested on a row that it has learned" in said
    assert plan.table.groups is None
    plan, _ = plan_of(frame, target=("price",), group="who")
    for fold in plan.outer:
        assert not set(frame["who"][fold.train]) & set(frame["who"][fold.test])
        assert {row - 120 for row in copies & set(fold.test)} == set(range(40)) & set(fold.test)


def test_a_class_of_copies_alone_says_the_way_out(plan_of):
    frame = rows().drop(columns=["who", "when", "price"])
    frame["class"] = "common"
    frame = pd.concat([frame, frame.iloc[[0] * 4].assign(**{"class": "odd"})], ignore_index=True)
    with pytest.raises(UserError, match="Groups are copies of a row here; --duplicates anywhere lets them fall apart"):
        plan_of(frame, target=("class",))


def test_rare_classes_and_accuracy_are_said_and_weights_reach_the_network(plan_of):
    frame = rows().drop(columns=["who", "when", "price"])
    frame["class"] = np.where(np.arange(120) < 8, "rare", "common")
    _, said = plan_of(frame, target=("class",))
    assert "rare classes: 'rare' of 'class' has 6.7 %, 8 rows of 120; --class-weight balanced" in said
    assert "always guessing 'common' is right in 93 % of the rows; --objective balanced_accuracy or roc_auc" in said
    plan, said = plan_of(frame, target=("class",), class_weight="balanced", objective="roc_auc")
    assert "rare classes" in said
    assert "always guessing" not in said
    assert "svm is left out: it gives no class probabilities for roc_auc." in said
    assert "knn: trained without the weights" in said
    train = plan.outer[0].train
    weights = SplitCoder(plan.table, "standard").weights(train)
    sums = np.bincount(plan.table.target[train], weights)
    assert sums[0] == pytest.approx(sums[1], rel=1e-5)


def test_an_even_share_of_many_classes_is_not_rare(plan_of):
    plan, said = plan_of(pd.DataFrame(), data="digits")
    assert "rare" not in said
    assert "always guessing" not in said
    assert plan.families[0].name == "dummy"
    plan, _ = plan_of(pd.DataFrame(), data="digits", baselines="logistic")
    assert [family.name for family in plan.families] == ["dummy", "logistic"]


def test_a_leak_is_named_with_the_way_to_drop_it(plan_of):
    frame = rows()
    frame.insert(0, "price eur", (frame["price"] * 0.9).round(4))
    _, said = plan_of(frame, target=("price",))
    assert "'price eur' alone gives 'price'" in said
    assert "--drop 'price eur'" in said
    _, said = plan_of(frame, target=("price",), drop=("price eur",))
    assert "alone gives" not in said


def test_windows_are_forecast_forward_with_the_horizon_for_a_gap(plan_of):
    day = pd.date_range("2021-03-01", periods=120).strftime("%Y-%m-%d")
    frame = rows().drop(columns=["when", "who"]).assign(when=day)[["when", "a", "b", "price"]]
    plan, said = plan_of(frame, target=("price",), window=6, horizon=4)
    assert "times of 'when': 2021-03-01 to 2021-06-28, each 1 day after the one before" in said
    assert plan.table.num_rows == 120 - 6 - 4 + 1
    assert (plan.config.space, plan.config.task, plan.config.target) == ("sequence", "regression", ("price",))
    assert {"naive", "seasonal_naive", "ridge", "random_forest"} <= {family.name for family in plan.families}
    target_rows = np.arange(9, 120)
    for fold in plan.outer:
        for part in (fold, *fold.inner):
            # What the first test window ends with is known when it is forecast, and all targets learned from are.
            assert target_rows[part.train].max() <= target_rows[part.test].min() - 4
    with pytest.raises(UserError, match=r"need .* different times.*There are 4 windows"):
        plan_of(frame[:13], target=("price",), window=6, horizon=4)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"window": 0}, "--window must be at least 1"),
        ({"window": 6, "horizon": 0}, "--horizon must be at least 1"),
        ({"horizon": 2}, "--horizon 2 is for windows of a time series. Give their --window too"),
        ({"window": 6, "gap": "7d"}, "--gap does not go with --window: the gap before a test part is the --horizon"),
        ({"window": 6, "task": "classification"}, "--window forecasts numbers"),
        ({"window": 6}, "not in the order of 'when'"),
        ({"window": 6, "time": "who"}, "no times in column 'who'"),
    ],
)
def test_mistakes_about_windows_are_named(plan_of, options, told):
    with pytest.raises(UserError, match=told):
        plan_of(rows(), target=("price",), **options)
