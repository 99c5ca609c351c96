"""P-values, their correction and the verdicts of recipes."""

import numpy as np
import pytest
from scipy import stats

from tfopt.report import evidence

ONE, OTHER = np.array([0.40, 0.45, 0.38, 0.50]), np.array([0.60, 0.58, 0.55, 0.71])


def test_less_and_more_are_paired_students_tests():
    less, more = evidence.less(ONE, OTHER, "test loss"), evidence.more(ONE, OTHER, "test loss")
    expected = stats.ttest_rel(ONE, OTHER, alternative="less").pvalue
    assert less.not_so == pytest.approx(expected)
    assert less.so == pytest.approx(1 - expected)
    assert (more.so, more.not_so) == pytest.approx((less.not_so, less.so))
    text = "test loss: 0.432 ± 0.086 against 0.610 ± 0.111, difference -0.177 ± 0.057; 4 seeds"
    assert str(less) == str(more) == text


@pytest.mark.parametrize("margin", [0.1, -0.3])
def test_a_margin_is_tested_against(margin):
    tested = evidence.less(ONE, OTHER, "test loss", margin=margin)
    assert tested.not_so == pytest.approx(stats.ttest_1samp(OTHER - ONE, margin, alternative="greater").pvalue)


def test_above_and_below_are_students_tests_against_a_limit():
    assert evidence.above(ONE, 0.3).not_so == pytest.approx(stats.ttest_1samp(ONE, 0.3, alternative="greater").pvalue)
    assert evidence.below(ONE, 0.3).not_so == pytest.approx(stats.ttest_1samp(ONE, 0.3, alternative="less").pvalue)
    assert str(evidence.below(ONE, 0.3, "power {}, {} seeds", spec=".2f")) == "power 0.43 ± 0.09, 4 seeds"


def test_splits_that_overlap_are_corrected_for():
    """Nadeau and Bengio (2003), by hand: t = mean / sqrt(var (1/k + n_test/n_train))."""
    difference = OTHER - ONE
    t = difference.mean() / np.sqrt(difference.var(ddof=1) * (1 / 4 + 0.5))
    assert evidence.less(ONE, OTHER, "x", test_to_train=0.5).not_so == pytest.approx(stats.t.sf(t, 3))


def test_faster_is_a_ratio():
    found = evidence.faster([2.0, 4.0, 6.0], [1.0, 2.0, 3.0], "an epoch")
    assert str(found) == "an epoch: 2 times as fast (2 to 2), 3 rounds"
    assert evidence.verdicts({"a": found}) == {"a": "holds"}


def test_all_of_needs_each():
    strong, weak = evidence.above(ONE), evidence.above(ONE - ONE.mean())
    both = evidence.all_of(strong, weak)
    assert both.not_so == max(strong.not_so, weak.not_so)
    assert evidence.verdicts({"a": both, "b": strong}) == {"a": "can't be told here", "b": "holds"}
    against = evidence.all_of(strong, evidence.below(ONE))
    assert against.so == pytest.approx(2 * min(strong.so, evidence.below(ONE).so))
    assert evidence.verdicts({"a": against}) == {"a": "does not hold"}
    assert str(against).count("seeds") == 2


def test_claims_are_corrected_for_their_number():
    """Holm: of m claims the smallest p is multiplied by m; a p of 0.03 alone holds, beside others it can't be told."""
    claim = evidence.ClaimTest([("1", [])], not_so=0.015, so=0.985)
    unclear = evidence.ClaimTest([("1", [])], not_so=0.4, so=0.6)
    assert evidence.verdicts({"a": claim})["a"] == "holds"
    assert evidence.verdicts({"a": claim, "b": unclear})["a"] == "can't be told here"
    with_facts = {"a": claim, "b": evidence.fact(True, "1"), "c": evidence.ClaimTest([("1", [])])}
    assert evidence.verdicts(with_facts)["a"] == "holds"  # facts and what was not measured do not count


def test_a_family_of_claims_without_effect_is_seldom_wrong():
    """Under no effect at all, at most 5 % of recipes with twelve claims may give any verdict but "can't be told"."""
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(600):
        claims = {str(i): evidence.above(values) for i, values in enumerate(rng.normal(size=(12, 6)))}
        wrong += set(evidence.verdicts(claims).values()) != {"can't be told here"}
    assert wrong / 600 < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 600)


@pytest.mark.parametrize("values", [[1.0, np.inf, 1.0], [1.0, np.nan, 1.0], [2.0]])
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_what_is_not_finite_cannot_be_told(values):
    assert evidence.verdicts({"a": evidence.above(values)}) == {"a": "can't be told here"}


def test_values_that_do_not_vary_are_certain():
    assert evidence.verdicts({"a": evidence.above([1.0, 1.0]), "b": evidence.above([0.0, 0.0])}) == {
        "a": "holds", "b": "does not hold"
    }  # fmt: skip
