"""The rule of evidence, by hand."""

import numpy as np
import pytest

from tfopt.comparison.evidence import clear, error_of_all, error_of_any


def test_the_least_sure_of_all_decides_and_the_surest_of_any_is_corrected():
    assert error_of_all([0.99, 0.96, 0.98]) == pytest.approx(0.04)
    assert error_of_any([0.2, 0.99, 0.5]) == pytest.approx(0.03)
    assert error_of_any([0.2, 0.3]) == 1
    assert clear([0.05, 0.0501, np.nan]).tolist() == [True, False, False]
