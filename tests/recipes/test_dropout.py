"""The recipe on dropout, and the tutorials' programs that do not do what they say."""

import keras
import numpy as np
import pytest


def test_what_dropout_does(smoke):
    done = smoke("dropout")
    assert done.verdict("dropout-off-in-inference") == "holds"
    results = done.result["results"]
    for method, rate in (("neither", 0.0), ("dropout 0.5", 0.5)):
        np.testing.assert_allclose([one["drop_fraction"] for one in results["measured"][method]], rate, atol=0.03)
    assert (
        min(one["variance_ratio"] for one in results["measured"]["dropout 0.5"]) > 1.3
    )  # scaling keeps the mean alone
    assert all(len(scores["test loss"]) == 2 for scores in results["scores"].values())
    assert {"small, 1 − 1/n", "large, both", "tutorial, dropout"} <= set(results["scores"])


@pytest.mark.long  # in the default run: test_learning_rate_schedules.py
def test_a_table_of_ones_own(run_recipe, tmp_path):
    rows = "\n".join(f"{i % 7},{i % 3},{'ab'[i % 2]}" for i in range(300))
    (tmp_path / "table.csv").write_text(f"first,second,kind\n{rows}\n")
    done = run_recipe("dropout", "--data", tmp_path / "table.csv", "--target", "kind")
    assert "table: 300 rows, 2 features, 2 classes" in done.printed


@pytest.fixture
def network():
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(64, "relu"), keras.layers.Dropout(0.5), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((8,)), *layers])
    model.compile(keras.optimizers.SGD(0.01), "mse")
    return model


def test_the_formula_for_the_rate_leaves_one_unit():
    """1 − 1/n of n units are dropped: on average one is left, whatever the layer's width."""
    for units in (64, 512):
        mask = keras.layers.Dropout(1 - 1 / units, seed=0)(np.ones((4000, units), "float32"), training=True)
        left = np.count_nonzero(np.asarray(mask), axis=1)
        assert left.mean() == pytest.approx(1.0, abs=0.07)
        assert np.mean(left == 0) == pytest.approx(np.exp(-1), abs=0.03)  # often none at all


@pytest.mark.slow
def test_a_test_in_training_mode_shows_another_loss(network):
    """The tutorial's test loop without `eval()`, in Keras: dropout is on, and each test gives another loss."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(100, 8)).astype("float32"), rng.normal(size=(100, 1)).astype("float32")
    network.fit(x, y, epochs=2, verbose=0)
    off = float(np.mean((network(x, training=False) - y) ** 2))
    on = [float(np.mean((network(x, training=True) - y) ** 2)) for _ in range(20)]
    assert len(set(on)) > 1
    assert np.mean(on) > off
    assert network.evaluate(x, y, verbose=0) == pytest.approx(off, rel=1e-5)


@pytest.mark.slow
def test_a_look_in_training_mode_changes_the_training(network):
    """`model(x, training=True)` in a callback draws from the stream that the training's masks come from."""

    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model(x[:4], training=True)

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(64, 8)).astype("float32"), rng.normal(size=(64, 1)).astype("float32")
    start = network.get_weights()
    drop = network.layers[1].seed_generator.state
    seed, ends = np.asarray(drop), []
    for callbacks in ([], [], [Look()]):
        network.set_weights(start)
        drop.assign(seed)
        network.fit(x, y, batch_size=16, shuffle=False, verbose=0, callbacks=callbacks)
        ends.append(network.get_weights()[0])
    np.testing.assert_array_equal(ends[0], ends[1])
    assert not np.array_equal(ends[0], ends[2])
