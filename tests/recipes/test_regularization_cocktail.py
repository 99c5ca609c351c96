"""Arms differ by their ingredients alone; trees and networks are scored alike."""

import keras
import numpy as np
import pytest
from scipy import stats


@pytest.fixture(scope="module")
def names(recipe_names):
    return recipe_names("regularization_cocktail")


def test_arms_have_one_ingredient_each_and_the_same_rates(names):
    found = names["configurations"](np.random.default_rng(0))
    by_arm = {arm: [hp for hp in found if hp["arm"] == arm] for arm in names["ARMS"]}
    rates = [[hp["learning_rate"] for hp in trials] for trials in by_arm.values()]
    assert rates == [rates[0]] * len(names["ARMS"])
    for arm in names["ARMS"][:-1]:
        for hp in by_arm[arm]:
            assert [name for name in names["INGREDIENTS"] if hp[name]] == ([] if arm == "none" else [arm])


def test_each_ingredient_is_in_half_of_the_cocktails(names):
    rng = np.random.default_rng(0)
    cocktails = [hp for _ in range(200) for hp in names["configurations"](rng) if hp["arm"] == "cocktail"]
    for name in names["INGREDIENTS"]:
        assert np.mean([hp[name] > 0 for hp in cocktails]) == pytest.approx(0.5, abs=0.1)


def test_every_ingredient_is_felt(names):
    """Each changes the network that none of them touches."""
    sample = names["sample"]
    plain = {"arm": "none", "learning_rate": 1e-2, **dict.fromkeys(names["INGREDIENTS"], 0.0)}
    network = names["network_for"](sample, names["classes"])
    ends = set()
    for hp in [plain, *(plain | {name: 0.5} for name in names["INGREDIENTS"])]:
        keras.utils.set_random_seed(0)
        model = network(hp)
        model.run_eagerly = True  # tracing takes longer than these few steps
        model.fit(sample.x["train"][:64], sample.y["train"][:64], epochs=2, verbose=0)
        ends.add(round(float(np.abs(model.layers[1].kernel).sum()), 4))
    assert len(ends) == 1 + len(names["INGREDIENTS"])


def test_the_comparison_is_wilcoxons(names):
    means = names["means"]
    first, second = (means[:, names["arms"].index(arm)] for arm in ("cocktail", "none"))
    difference = np.log(second) - np.log(first)
    found = names["better"]("cocktail", "none")
    assert found.not_so == pytest.approx(stats.wilcoxon(difference, alternative="greater").pvalue)
