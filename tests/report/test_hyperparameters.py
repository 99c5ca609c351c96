import numpy as np
import pytest

from tfopt.report.hyperparameters import effects_of


def trials(score, count=60, folds=2, seed=0):
    rng = np.random.default_rng(seed)
    records = []
    for _ in range(count):
        values = {"rate": float(10 ** rng.uniform(-4, -1)), "units": int(rng.choice([16, 32, 64])), "fixed": 3}
        values["optimizer"] = str(rng.choice(["adam", "sgd"]))
        if values["optimizer"] == "sgd":
            values["momentum"] = float(rng.uniform(0, 1))
        for fold in range(folds):
            value = score(values) + 5.0 * fold + 0.01 * rng.normal()
            records.append({"fold": fold, "status": "COMPLETED", "values": values, "score": value})
    return records


@pytest.mark.slow
def test_what_the_score_depends_on_is_found_with_its_best_value():
    found = effects_of(trials(lambda values: -((np.log10(values["rate"]) + 2.5) ** 2)))
    assert (found.num_configurations, found.num_varying) == (60, 4)
    assert found.explained > 0.8
    first = found.effects[0]
    assert first.names == ("rate",)
    assert first.share > 0.8
    assert 10**-3 < float(first.best) < 10**-2
    assert all(effect.low <= effect.share <= effect.high for effect in found.effects)
    assert max(effect.share for effect in found.effects[1:]) < 0.1


@pytest.mark.slow
def test_interaction_is_found_as_one():
    def only_together(values):
        return 1.0 if (values["units"] == 64) == (values["optimizer"] == "adam") else -1.0

    found = effects_of(trials(only_together, count=150))
    assert set(found.effects[0].names) == {"units", "optimizer"}
    assert found.effects[0].low > 0.2


@pytest.mark.parametrize("count", [0, 5, 11])
def test_few_trials_tell_nothing(count):
    found = effects_of(trials(lambda values: values["rate"], count=count))
    assert (found.num_configurations, found.effects) == (count, [])


def test_noise_tells_nothing():
    rng = np.random.default_rng(1)
    assert effects_of(trials(lambda values: rng.normal(), count=30)).effects == []
    assert effects_of([{**trial, "score": 1.0} for trial in trials(lambda values: 0.0)]).effects == []
