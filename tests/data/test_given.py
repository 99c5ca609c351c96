"""Tables that Python holds, against what the objects themselves say."""

import numpy as np
import pandas as pd
import pytest
from sklearn import datasets

from tfopt.data.given import as_frame
from tfopt.errors import UserError


@pytest.mark.parametrize("as_frames", [False, True])
def test_a_bunch_keeps_its_names_and_labels(as_frames):
    bunch = datasets.load_iris(as_frame=as_frames)
    frame, targets = as_frame(bunch)
    assert list(frame)[:4] == bunch.feature_names
    np.testing.assert_array_equal(frame.iloc[:, :4], bunch.data)
    labels = bunch.target if as_frames else bunch.target_names[bunch.target]
    assert targets == (("target",) if as_frames else ("y",))
    assert list(frame[targets[0]]) == list(labels)


def test_several_targets_keep_their_names():
    bunch = datasets.load_linnerud()
    frame, targets = as_frame(bunch)
    assert targets == tuple(bunch.target_names)
    np.testing.assert_array_equal(frame[list(targets)], bunch.target)


def test_the_target_of_a_regression_is_not_taken_for_codes():
    bunch = datasets.load_diabetes()
    frame, targets = as_frame(bunch)
    np.testing.assert_array_equal(frame[targets[0]], bunch.target)


@pytest.mark.parametrize("rows", [np.arange(12.0).reshape(3, 4), np.arange(12.0).reshape(3, 2, 2), np.arange(3.0)])
def test_arrays_are_flattened_to_columns(rows):
    frame, targets = as_frame((rows, [1, 2, 3]))
    np.testing.assert_array_equal(frame.drop(columns="y"), rows.reshape(3, -1))
    assert targets == ("y",)


def test_rows_go_together_by_position_not_by_index():
    x = pd.DataFrame({"a": [1, 2]}, index=[7, 8])
    frame, targets = as_frame([x, pd.Series([3, 4], name="price")])
    assert (frame.to_dict("list"), targets) == ({"a": [1, 2], "price": [3, 4]}, ("price",))


@pytest.mark.parametrize("data", [5, None, {"a": [1]}, (np.ones((3, 2)), [1, 2]), (np.ones(2),), (5, [1])])
def test_what_is_no_table_is_refused(data):
    with pytest.raises(UserError, match="Argument `data` must"):
        as_frame(data)
