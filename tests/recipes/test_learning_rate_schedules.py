"""The recipe on schedules, and the tutorials' programs that do not do what they say."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfopt


def test_the_convex_suite(smoke):
    results = smoke("learning_rate_schedules").result["results"]
    names = list(results["mean_rank"])
    assert results["log_distance_over_linear"]["linear"] == [0, 0, 0, 0]
    distances = np.array(results["distance"]["iris"])
    assert np.all(distances > 0)  # L-BFGS's optimum lies below every trained model
    assert distances.argmax() in (names.index("constant"), names.index("step"))
    assert np.mean(list(results["mean_rank"].values())) == pytest.approx((1 + len(names)) / 2, rel=1e-5)


def test_what_the_tutorials_programs_do(smoke):
    done = smoke("learning_rate_schedules")
    for claim in ("keras-has-linear-decay", "staircase-of-all-steps", "optimizer-lr"):
        assert done.verdict(f"schedules-{claim}") == "does not hold"
    assert "10 steps add up to 1.00 and not to the schedule's 0.55" in done.printed


def test_a_table_of_ones_own(run_recipe, tmp_path):
    rows = "\n".join(f"{i % 7},{i % 3},{i % 5},{'ab'[i % 2]}" for i in range(400))
    (tmp_path / "table.csv").write_text(f"first,second,third,kind\n{rows}\n")
    done = run_recipe("learning_rate_schedules", "--data", tmp_path / "table.csv", "--target", "kind")
    assert "table: 400 rows, 3 features, 2 classes" in done.printed


def test_keras_has_no_linear_decay():
    """The snippet's line; the straight line is `PolynomialDecay` with power 1, or tfopt's."""
    with pytest.raises(AttributeError, match="LinearDecay"):
        tf.keras.optimizers.schedules.LinearDecay(initial_learning_rate=0.1, total_steps=10, final_learning_rate=0.01)
    line = keras.optimizers.schedules.PolynomialDecay(0.1, 10, end_learning_rate=0.01, power=1.0)
    ours = tfopt.schedules.LinearDecay(0.1, 10, end_learning_rate=0.01)
    for step in (0, 3, 10, 20):
        by_hand = 0.1 + (0.01 - 0.1) * min(step, 10) / 10
        assert float(line(step)) == pytest.approx(by_hand, rel=1e-6)
        assert float(ours(step)) == pytest.approx(by_hand, rel=1e-6)


def test_a_staircase_over_all_steps_never_steps():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, decay_steps=1000, decay_rate=0.5, staircase=True)
    assert {float(schedule(step)) for step in range(1000)} == {float(np.float32(0.1))}
    right = keras.optimizers.schedules.ExponentialDecay(0.1, decay_steps=250, decay_rate=0.5, staircase=True)
    assert [float(right(step)) for step in (0, 249, 250, 999)] == pytest.approx([0.1, 0.1, 0.05, 0.0125])


def test_an_optimizers_lr_is_an_attribute_that_nobody_reads(recwarn):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.optimizer.lr = keras.optimizers.schedules.PolynomialDecay(0.1, 4, end_learning_rate=0.0)
    x, y = np.ones((4, 1), "float32"), np.ones((4, 1), "float32")
    model.fit(x, y, batch_size=1, shuffle=False, verbose=0)
    assert not recwarn.list  # nothing tells
    assert float(model.optimizer.learning_rate) == pytest.approx(0.1)
    weight = 0.0
    for _ in range(4):  # gradient descent on (w − 1)² at the fixed rate
        weight -= 0.1 * 2 * (weight - 1)
    assert float(model.layers[0].kernel[0, 0]) == pytest.approx(weight, rel=1e-6)

    scheduled = tfopt.schedules.LinearDecay(0.1, 4)  # what works: at construction, or as learning_rate
    optimizer = keras.optimizers.SGD(scheduled)
    variable = keras.Variable(0.0)
    for _ in range(4):
        optimizer.apply([tf.constant(-1.0)], [variable])
    assert float(variable) == pytest.approx(0.1 + 0.075 + 0.05 + 0.025)
