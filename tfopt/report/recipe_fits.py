"""Many fits for a recipe: a sample of the table for each seed, and every configuration trained on each of them.

The samples share no row, so that what is measured on them is independent and needs no correction for overlap.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import logsumexp
from sklearn.model_selection import train_test_split

from tfopt.errors import UserError

if TYPE_CHECKING:
    import keras

PARTS = ("train", "valid", "test")


@dataclass(frozen=True)
class Sample:
    """The rows of one seed, standardised as its training rows say; y is class numbers or standardised values.

    Args:
        seed: The seed; everything random about the sample is drawn from it.
        x: Features by part: `"train"`, `"valid"`, `"test"`.
        y: Targets by part.

    Example:
        ```python
        from tfopt.report import recipe
        x, y = {"train": np.zeros((6, 2)), "test": np.zeros((3, 2))}, {"train": np.zeros(6), "test": np.zeros(3)}
        sample = recipe.Sample(0, x, y)
        print(sample.test_to_train)  # 0.5
        ```
    """

    seed: int
    x: dict[str, np.ndarray]
    y: dict[str, np.ndarray]

    @property
    def test_to_train(self) -> float:
        """Test rows over training rows: what intervals over samples that share rows are widened by."""
        return len(self.y["test"]) / len(self.y["train"])

    @property
    def searched(self) -> tuple[np.ndarray, np.ndarray]:
        """Features and targets of training and validation rows together, for a search with folds of its own."""
        x, y = (np.concatenate([part["train"], part["valid"]]) for part in (self.x, self.y))
        return x, y

    def first(self, count: int) -> "Sample":
        """Return the sample with the first so many of its training rows, which come in random order."""
        return replace(
            self, x=self.x | {"train": self.x["train"][:count]}, y=self.y | {"train": self.y["train"][:count]}
        )


def samples(
    x: np.ndarray, y: np.ndarray, seeds: Sequence[int], *, train: float = 0.5, valid: float = 0.2, wrong: float = 0.0,
    most: int | None = None, shared: bool = False, scaled: bool = True,
) -> list[Sample]:  # fmt: skip
    """Divide a table among seeds, and each seed's rows into training, validation and test rows.

    Args:
        x: (rows, columns).
        y: (rows,): class numbers, which are divided alike, or values.
        seeds: The seeds; the first of them says which rows each gets.
        train: Share of a seed's rows to train on.
        valid: Share to choose by; the others are to test on.
        wrong: Share of the training labels that are replaced by another class.
        most: Most rows of a seed; None for all of them.
        shared: Whether every seed draws its rows from the whole table: then samples share rows, and intervals need
            their `test_to_train`.
        scaled: Whether features are standardised.

    Returns:
        A sample for each seed.

    Raises:
        UserError: There are too few rows for so many seeds.

    Example:
        ```python
        from sklearn.datasets import load_iris
        from tfopt.report import recipe
        x, y = load_iris(return_X_y=True)
        found = recipe.samples(x, y, range(3), train=0.5, valid=0.25)
        print([len(part) for part in found[0].y.values()])  # [25, 12, 13]
        ```
    """
    classes = int(y.max()) + 1 if y.dtype.kind in "iu" else 0
    size = min(len(y) // (1 if shared else len(seeds)), most or len(y))
    counts = int(train * size), int(valid * size)
    if min(*counts, size - sum(counts)) < max(classes, 2):
        raise UserError(
            f"{len(y)} rows are too few for {len(seeds)} seeds with rows of their own. Give a larger table."
        )
    rng = np.random.default_rng(seeds[0])
    order = rng.permutation(len(y))
    if classes:  # dealt out class by class, so that every seed gets its share of each
        order = order[np.argsort(y[order], kind="stable")]
    found = []
    for place, seed in enumerate(seeds):
        rows = np.random.default_rng(seed).permutation(order if shared else order[place :: len(seeds)])[:size]
        learn, rest = _divided(rows, y, counts[0], seed, classes)
        choose, judge = _divided(rest, y, counts[1], seed, classes)
        found.append(_sample(seed, x, y, (learn, choose, judge), wrong, classes, scaled))
    return found


def _divided(rows: np.ndarray, y: np.ndarray, count: int, seed: int, classes: int) -> list[np.ndarray]:
    alike = classes and min(np.bincount(y[rows])[np.unique(y[rows])]) >= 2 and len(rows) - count >= classes <= count
    return train_test_split(rows, train_size=count, random_state=seed, stratify=y[rows] if alike else None)


def _sample(
    seed: int, x: np.ndarray, y: np.ndarray, rows: tuple[Any, ...], wrong: float, classes: int, scaled: bool
) -> Sample:
    learn = np.asarray(x[rows[0]], "float64")
    deviation = learn.std(axis=0)
    middle, scale = (learn.mean(axis=0), np.where(deviation > 0, deviation, 1.0)) if scaled else (0.0, 1.0)
    features = [((x[part] - middle) / scale).astype("float32") for part in rows]
    targets = [y[part] for part in rows]
    if wrong:
        rng = np.random.default_rng([seed, 1])
        other = (targets[0] + rng.integers(1, classes, len(targets[0]))) % classes
        targets[0] = np.where(rng.random(len(other)) < wrong, other, targets[0])
    if not classes:
        targets = [((part - y[rows[0]].mean()) / y[rows[0]].std()).astype("float32") for part in targets]
    return Sample(seed, dict(zip(PARTS, features, strict=True)), dict(zip(PARTS, targets, strict=True)))


def train(
    build: "Callable[[Any], keras.Model]", configurations: Sequence[Mapping[str, Any]], samples: Sequence[Sample], *,
    epochs: int, batch_size: int = 32, callbacks: Callable[[Any], Sequence[Any]] | None = None, models: bool = False,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Train every configuration on every sample, as members of one population; return losses and errors of each.

    Args:
        build: Returns the compiled model of a configuration; for classes its outputs are logits.
        configurations: What `build` is called with.
        samples: The samples; a sample's seed gives the initial weights, the order of the rows and the masks.
        epochs: Epochs of each fit.
        batch_size: Rows of a step.
        callbacks: Returns the callbacks of a configuration's fit, which is then trained by itself.
        models: Whether to return the trained models too, as `"model"`.

    Returns:
        `"train loss"`, `"valid loss"`, `"test loss"` (cross-entropy in nats, or mean squared error) and `"train
        error"`, … (errors in %, or the square root of the loss), each (configurations, samples).

    Raises:
        RuntimeError: A fit failed.

    Example:
        ```python
        from sklearn.datasets import load_iris
        from tfopt.report import recipe
        def network(hp):
            model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            model.compile(keras.optimizers.SGD(hp["learning_rate"]), loss)
            return model
        samples = recipe.samples(*load_iris(return_X_y=True), range(2))
        scores = recipe.train(network, [{"learning_rate": 0.1}, {"learning_rate": 0.5}], samples, epochs=2)
        print(scores["test error"].shape)  # (2, 2)
        ```
    """
    # Here, so that a recipe's --help does not wait for TensorFlow.
    from tfopt.training.fits import FitRequest
    from tfopt.training.population_engine import PopulationEngine

    ends = np.cumsum([len(sample.y[part]) for sample in samples for part in PARTS])
    rows = np.split(np.arange(ends[-1]), ends[:-1])
    x, y = (np.concatenate([getattr(sample, name)[part] for sample in samples for part in PARTS]) for name in "xy")
    requests = [
        FitRequest(dict(hp), sample.seed, epochs, batch_size, rows[3 * i], predict=np.concatenate(rows[3 * i :][:3]))
        for hp in configurations
        for i, sample in enumerate(samples)
    ]
    driven = None if callbacks is None else [callbacks(request.hyperparameters) for request in requests]
    engine = PopulationEngine(build, x, y, probe=False)  # a configuration may hold words of the recipe's own
    results = engine.fit(requests, driven)
    found: dict[str, list[Any]] = {f"{part} {what}": [] for part in PARTS for what in ("loss", "error")}
    for place, result in enumerate(results):
        if result.failure is not None or result.state is None:
            raise RuntimeError(f"A fit of {requests[place].hyperparameters} failed: {result.failure}")
        i = place % len(samples)
        outputs = np.split(result.outputs, np.cumsum([len(part) for part in rows[3 * i :][:2]]))
        for part, own in zip(PARTS, outputs, strict=True):
            loss, error = loss_and_error(own, samples[i].y[part])
            found[f"{part} loss"].append(loss)
            found[f"{part} error"].append(error)
        if models:
            found.setdefault("model", []).append(engine.model(requests[place], result.state))
    shape = len(configurations), len(samples)
    arrays = {key: np.empty(shape, dtype=object if key == "model" else float) for key in found}
    for key, values in found.items():
        for place, value in enumerate(values):
            arrays[key].flat[place] = value
    return arrays


def best_of(
    build: "Callable[[Any], keras.Model]", arms: Mapping[str, Sequence[Mapping[str, Any]]], samples: Sequence[Sample],
    **settings: Any,
) -> dict[str, dict[str, np.ndarray]]:  # fmt: skip
    """Train all configurations of all arms as one population; return, for each arm, the scores of each sample's best.

    Args:
        build: As for `train`.
        arms: The configurations that an arm may choose from, by the validation rows of each sample.
        samples: The samples.
        **settings: As for `train`.

    Returns:
        For each arm what `train` returns, (samples,) each, and as `"chosen"` which of all configurations it was.

    Example:
        ```python
        from sklearn.datasets import load_iris
        from tfopt.report import recipe
        def network(hp):
            model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            model.compile(keras.optimizers.SGD(hp["learning_rate"]), loss)
            return model
        samples = recipe.samples(*load_iris(return_X_y=True), range(2))
        arms = {"slow": [{"learning_rate": 1e-3}], "quick": [{"learning_rate": 0.1}, {"learning_rate": 0.5}]}
        best = recipe.best_of(network, arms, samples, epochs=2)
        print(best["quick"]["train loss"] < best["slow"]["train loss"])  # [ True  True]
        ```
    """
    scores = train(build, [hp for own in arms.values() for hp in own], samples, **settings)
    ends = np.cumsum([len(own) for own in arms.values()])
    return {arm: chosen(scores, range(end - len(own), end)) for (arm, own), end in zip(arms.items(), ends, strict=True)}


def tuned(
    build: "Callable[[Any], keras.Model]", space: Mapping[str, Sequence[Any]], x: np.ndarray, y: np.ndarray, folds: Any,
    *, objective: str, epochs: int, seed: int,
) -> dict[str, Any]:  # fmt: skip
    """Return the best hyperparameters of a grid search by KerasTuner's oracle, each scored on the same folds.

    Args:
        build: Returns the compiled model of a dict of hyperparameters.
        space: The values of each.
        x: Features.
        y: Targets.
        folds: Pairs of training and held-out rows, as scikit-learn's `cv` takes them.
        objective: What is compared, such as `"val_accuracy"`.
        epochs: Epochs of each fit.
        seed: Of the fits.

    Example:
        ```python
        from sklearn.datasets import load_iris
        from tfopt.report import recipe
        def network(hp):
            model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "softmax")])
            loss, metrics = "sparse_categorical_crossentropy", ["accuracy"]
            model.compile(keras.optimizers.SGD(hp["learning_rate"]), loss, metrics=metrics)
            return model
        x, y = load_iris(return_X_y=True)
        folds = [(np.arange(0, 150, 2), np.arange(1, 150, 2))]
        settings = {"objective": "val_accuracy", "epochs": 20, "seed": 0}
        best = recipe.tuned(network, {"learning_rate": [1e-6, 0.02]}, x, y, folds, **settings)
        print(best)  # {'learning_rate': 0.02}
        ```
    """
    import keras_tuner

    from tfopt.search import GridSearch

    hyperparameters = keras_tuner.HyperParameters()
    for name, values in space.items():
        hyperparameters.Choice(name, list(values))
    with tempfile.TemporaryDirectory() as folder:
        tuner = GridSearch(
            lambda hp: build(hp.values), objective, hyperparameters=hyperparameters, seed=seed, directory=folder
        )
        tuner.search(x, y, folds=list(folds), epochs=epochs, verbose=0)
        return dict(tuner.get_best_hyperparameters()[0].values)


def tuned_model(
    build: "Callable[[Any], keras.Model]", space: Mapping[str, Sequence[Any]], x: np.ndarray, y: np.ndarray, folds: Any,
    **settings: Any,
) -> "keras.Model":  # fmt: skip
    """Return a model with the hyperparameters that `tuned` finds, trained on all the rows; arguments as of `tuned`.

    Args:
        build: As for `tuned`.
        space: As for `tuned`.
        x: Features.
        y: Targets.
        folds: As for `tuned`.
        **settings: As for `tuned`.

    Example:
        ```python
        from sklearn.datasets import load_iris
        from tfopt.report import recipe
        def network(hp):
            model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "softmax")])
            loss, metrics = "sparse_categorical_crossentropy", ["accuracy"]
            model.compile(keras.optimizers.SGD(hp["learning_rate"]), loss, metrics=metrics)
            return model
        x, y = load_iris(return_X_y=True)
        folds = [(np.arange(0, 150, 2), np.arange(1, 150, 2))]
        settings = {"objective": "val_accuracy", "epochs": 2, "seed": 0}
        model = recipe.tuned_model(network, {"learning_rate": [0.1]}, x, y, folds, **settings)
        print(model(x).shape)  # (150, 3)
        ```
    """
    import keras

    best = tuned(build, space, x, y, folds, **settings)
    keras.utils.set_random_seed(settings["seed"])
    model = build(best)
    model.fit(x, y, epochs=settings["epochs"], verbose=0)
    return model


def restart(model: "keras.Model", seed: int, initializer: str = "HeNormal") -> None:
    """Give a model the seed's own first weights, and its optimizer no past, so that its graph serves another fit.

    Args:
        model: The compiled model; its layers have a kernel and a bias, or no weights.
        seed: Every kernel gets a seed of its own from it: with one for all, kernels would be copies in part.
        initializer: The class in `keras.initializers` that draws the kernels.

    Example:
        ```python
        from tfopt.report import recipe
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        model.compile("adam", "mse")
        recipe.restart(model, seed=1)
        print(int(model.optimizer.iterations))  # 0
        ```
    """
    import keras

    for variable in model.optimizer.variables:
        if variable.name != "learning_rate":
            variable.assign(keras.ops.zeros_like(variable))
    for place, layer in enumerate(model.layers):
        if layer.weights:
            own = getattr(keras.initializers, initializer)(seed=1000 * seed + place)
            layer.kernel.assign(own(layer.kernel.shape))
            layer.bias.assign(keras.ops.zeros_like(layer.bias))


def by_the_others(scores: np.ndarray) -> np.ndarray:
    """Return for each seed the place of the setting with the lowest sum of scores over the other seeds.

    So a setting, such as a learning rate, is never judged by the seed that chose it.

    Args:
        scores: (settings, seeds), lower is better.

    Example:
        ```python
        from tfopt.report import recipe
        print(recipe.by_the_others(np.array([[1.0, 9.0], [5.0, 2.0]])))  # [1 0]
        ```
    """
    return (scores.sum(axis=1, keepdims=True) - scores).argmin(axis=0)


def loss_and_error(outputs: Any, y: np.ndarray) -> tuple[float, float]:
    """Return cross-entropy in nats and errors in % of logits, or mean squared error and its square root of values.

    Args:
        outputs: (rows, classes) logits, or (rows, 1) values.
        y: (rows,) class numbers or values, or (rows, classes) shares of the classes.

    Example:
        ```python
        from tfopt.report import recipe
        loss, error = recipe.loss_and_error(np.log([[0.9, 0.1], [0.8, 0.2]]), np.array([0, 1]))
        print(f"{loss:.2f} nats, {error:.0f} %")  # 0.86 nats, 50 %
        ```
    """
    outputs = np.asarray(outputs, dtype=np.float64)
    if y.dtype.kind in "iu" or y.ndim == 2:
        shares = y if y.ndim == 2 else np.eye(outputs.shape[1])[y]
        loss = np.mean(logsumexp(outputs, axis=1) - (shares * outputs).sum(axis=1))
        return float(loss), 100 * float(np.mean(outputs.argmax(axis=1) != shares.argmax(axis=1)))
    loss = float(np.mean((outputs[:, 0] - y) ** 2))
    return loss, loss**0.5


def chosen(scores: Mapping[str, np.ndarray], which: Sequence[int]) -> dict[str, np.ndarray]:
    """Return the scores of each sample's best of some configurations, by its own validation loss: (samples,) each.

    Args:
        scores: What `train` returned.
        which: The places of the configurations to choose from.

    Example:
        ```python
        from tfopt.report import recipe
        errors = np.array([[10.0, 40.0], [20.0, 30.0]])
        scores = {"valid loss": np.array([[1.0, 4.0], [2.0, 3.0]]), "test error": errors}
        print(recipe.chosen(scores, [0, 1])["test error"])  # [10. 30.]
        ```
    """
    best = np.asarray(which)[np.nan_to_num(scores["valid loss"][list(which)], nan=np.inf).argmin(axis=0)]
    return {key: values[best, np.arange(values.shape[1])] for key, values in scores.items()} | {"chosen": best}
