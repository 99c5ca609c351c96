"""The ablation: its design, and its effects where it is known what each ingredient does."""

import numpy as np
import pytest
from scipy import stats

from tfopt.search.ablation import INGREDIENTS, design, effects, space_code


@pytest.mark.parametrize("number", range(1, 13))
def test_every_effect_is_clear_of_the_others_and_of_their_pairs(number):
    signs = design(number)
    assert len(signs) == (16 if number <= 8 else 24)
    np.testing.assert_array_equal(signs.T @ signs, len(signs) * np.eye(number))
    pairs = signs[:, :, None] * signs[:, None, :]
    off = np.einsum("ri,rjk->ijk", signs, pairs)
    np.testing.assert_array_equal(off, 0)
    np.testing.assert_array_equal(signs.sum(axis=0), 0)


def test_effects_are_found_with_intervals_for_all_of_them_together():
    random = np.random.default_rng(0)
    some = INGREDIENTS[:8]
    true = np.array([0.2, -0.2, 0, 0, 0, 0, 0, 0])
    signs = design(8)
    scores = 0.5 + signs @ true[:, None] / 2 + 0.1 * signs[:, :1] * signs[:, 1:2] + random.normal(0, 0.02, (16, 5))
    found = {effect.ingredient.name: effect for effect in effects(some, scores, 1 / 4)}
    first, second = (found[each.name] for each in some[:2])
    assert (first.decision, second.decision) == ("keep", "leave out")
    values = scores[signs[:, 0] > 0].mean(axis=0) - scores[signs[:, 0] < 0].mean(axis=0)
    half = stats.t.ppf(1 - 0.05 / 8 / 2, 4) * np.sqrt(values.var(ddof=1) * (1 / 5 + 1 / 4))  # Nadeau and Bengio's
    assert (first.mean, first.high) == pytest.approx((values.mean(), values.mean() + half))
    assert "embedding: an embedding of each number by trained waves improves r2" in first.sentence("r2")
    names: dict = {}
    exec(space_code(list(found.values()), "tfopt search houses.csv --space space.py:build"), names)
    assert names["SETTLED"] == {"embedding": "pbld", "scaling": "standard"}
