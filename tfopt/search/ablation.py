"""Which ingredients of a network help on a table: a fractional factorial of them, trained as one population.

Each ingredient is on in half of a few networks and off in the other half, so that every network tells of all of them.
Each design is taken with its mirror image (all ingredients the other way round), so that what two ingredients do
together does not count as what one of them does (Box, Hunter and Hunter 2005, "Statistics for experimenters", ch. 6).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np

from tfopt.comparison.statistics import mean_interval
from tfopt.errors import UserError
from tfopt.layers import FeatureScaling, ParametricActivation, PeriodicEmbedding, SelectColumns
from tfopt.models import LabelCrossentropy
from tfopt.schedules import from_name
from tfopt.search.journal import Journal
from tfopt.search.nested import NetworkSearch
from tfopt.search.oracles import default_values
from tfopt.search.plan import LARGE_TABLE, Plan
from tfopt.search.problem import Problem
from tfopt.search.progress import Progress
from tfopt.search.run_folder import locked
from tfopt.search.spaces import Space
from tfopt.training.workers import Workers

_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Ingredient:
    """Something that a network for tables may have.

    Args:
        name: Its hyperparameter.
        title: What it is, in a sentence.
        off: The hyperparameter's value without it.
        on: The value with it.
        task: The kind of target that it is for; None for both.
    """

    name: str
    title: str
    off: Any
    on: Any
    task: str | None = None


INGREDIENTS = (
    Ingredient("embedding", "an embedding of each number by trained waves", "none", "pbld"),
    Ingredient("scaling", "robust scaling that bends outliers, in place of standard scaling", "standard", "robust"),
    Ingredient("input_factors", "a trained factor for each input", False, True),
    Ingredient("parametric_activation", "a trained strength of each activation", False, True),
    Ingredient("kernel_initializer", "an orthogonal start in place of He's", "he_normal", "orthogonal"),
    Ingredient("schedule", "a learning rate of four cosine cycles in place of one", "cosine", "coslog4"),
    Ingredient("dropout", "dropout of 0.2", 0.0, 0.2),
    Ingredient("weight_decay", "weight decay of 1.0", 0.0, 1.0),
    Ingredient("linear_shortcut", "a linear shortcut from inputs to outputs", False, True),
    Ingredient("label_smoothing", "label smoothing of 0.1", 0.0, 0.1, "classification"),
)


def ingredients_of(problem: Problem) -> tuple[Ingredient, ...]:
    """Return the ingredients that are for a problem: embeddings only where there are numbers."""
    return tuple(
        each
        for each in INGREDIENTS
        if each.task in (None, problem.task) and (each.name != "embedding" or "number" in problem.columns)
    )


def network(hp: keras_tuner.HyperParameters, problem: Problem, **fixed: Any) -> keras.Model:
    """Return a network of 2 × 64 units, compiled, whose ingredients are hyperparameters or as they are fixed."""
    on: dict[str, Any] = dict.fromkeys((each.name for each in INGREDIENTS), None)
    for each in ingredients_of(problem):
        if each.name in fixed:
            on[each.name] = hp.Fixed(each.name, fixed[each.name])
        else:
            on[each.name] = hp.Choice(each.name, [each.off, each.on], default=each.on)
    learning_rate = hp.Float("learning_rate", 0.001, 0.02, sampling="log", default=0.005)
    batch_size = hp.Fixed("batch_size", 32 if problem.table_rows < 2000 else 128)
    inputs = keras.Input((problem.num_features,))
    hidden = inputs
    if on["embedding"] == "pbld":
        places = {
            kind: [place for place, each in enumerate(problem.columns) if each == kind] for kind in ("number", "flag")
        }
        hidden = PeriodicEmbedding(variant="pbld")(SelectColumns(places["number"])(inputs))
        if places["flag"]:
            hidden = keras.layers.Concatenate()([hidden, SelectColumns(places["flag"])(inputs)])
    features = hidden
    if on["input_factors"]:
        hidden = FeatureScaling(learning_rate_factor=6.0)(hidden)
    for _ in range(2):
        hidden = keras.layers.Dense(64, kernel_initializer=on["kernel_initializer"])(hidden)
        activation = ParametricActivation if on["parametric_activation"] else keras.layers.Activation
        hidden = activation("relu")(hidden)
        hidden = keras.layers.Dropout(on["dropout"])(hidden)
    # float32 whatever the precision policy: a loss on half-precision logits loses digits.
    outputs = keras.layers.Dense(problem.num_outputs, dtype="float32")(hidden)
    if on["linear_shortcut"]:
        shortcut = keras.layers.Dense(problem.num_outputs, use_bias=False, dtype="float32")(features)
        outputs = keras.layers.Add(dtype="float32")([outputs, shortcut])
    model = keras.Model(inputs, outputs)
    rate = from_name(on["schedule"], learning_rate, problem.total_steps(batch_size))
    loss: Any = keras.losses.MeanSquaredError()
    if problem.task == "classification":
        loss = LabelCrossentropy(from_logits=True, label_smoothing=on["label_smoothing"])
    model.compile(keras.optimizers.AdamW(rate, weight_decay=on["weight_decay"]), loss)
    return model


def design(num_ingredients: int) -> np.ndarray:
    """Return (networks, ingredients) signs: 1 where a network has an ingredient, −1 where not.

    A Hadamard matrix of 8 or 12 rows above its negative: each column sums to 0 and is orthogonal to every other one and
    to the product of any two.

    Raises:
        ValueError: There are more than 12.
    """
    if not 1 <= num_ingredients <= 12:
        raise ValueError(f"Argument `num_ingredients` must be from 1 to 12. Received: {num_ingredients}.")
    if num_ingredients <= 8:
        two = np.array([[1, 1], [1, -1]])
        matrix = np.kron(two, np.kron(two, two))
    else:  # Plackett and Burman (1946)
        row = [1, 1, -1, 1, 1, 1, -1, -1, -1, 1, -1]
        circulant = np.array([np.roll(row, shift) for shift in range(11)])
        matrix = np.block([[np.ones((11, 1), int), circulant], [np.ones((1, 1), int), -np.ones((1, 11), int)]])
    return np.concatenate([matrix, -matrix])[:, :num_ingredients]


@dataclass(frozen=True)
class Effect:
    """How much an ingredient raises the score, higher being better.

    Args:
        ingredient: What.
        mean: Mean over folds of the score with it minus the score without it.
        low: Lower end of its interval, which holds for all ingredients together with 95 %.
        high: Upper end.
    """

    ingredient: Ingredient
    mean: float
    low: float
    high: float

    @property
    def decision(self) -> str:
        """`"keep"`, `"leave out"` or `"undecided"`."""
        return "keep" if self.low > 0 else "leave out" if self.high < 0 else "undecided"

    def sentence(self, objective: str) -> str:
        """Return what was found, in words."""
        interval = f"{self.mean:+.3g}, interval {self.low:+.3g} to {self.high:+.3g}"
        what = f"{self.ingredient.name}: {self.ingredient.title}"
        end = {
            "keep": f"improves {objective} ({interval}): keep it.",
            "leave out": f"harms {objective} ({interval}): leave it out.",
            "undecided": f"may improve or harm {objective} ({interval}): left to the search.",
        }[self.decision]
        return f"{what} {end}"


def effects(ingredients: Sequence[Ingredient], scores: np.ndarray, test_to_train: float) -> list[Effect]:
    """Return what each ingredient does, the most helpful first.

    The intervals are Student's with the variance of Nadeau and Bengio (2003), as training parts overlap, and with
    Bonferroni's correction for the number of ingredients.

    Args:
        ingredients: The columns of `design`.
        scores: (networks, folds) of the networks of `design`, seeds averaged.
        test_to_train: Test rows for each training row.
    """
    signs = design(len(ingredients))
    by_fold = signs.T @ scores / (len(signs) / 2)
    confidence = 1 - (1 - _CONFIDENCE) / len(ingredients)
    found = []
    for ingredient, values in zip(ingredients, by_fold, strict=True):
        interval = mean_interval(values, test_to_train, confidence=confidence)
        found.append(Effect(ingredient, interval.mean, interval.low, interval.high))
    return sorted(found, key=lambda effect: -effect.mean)


SPACE = '''\
"""{title}

{search}
"""

from tfopt.search.ablation import network

# What is named here is settled; the other ingredients are tried: {undecided}.
SETTLED = {settled}


def build(hp, problem):
    """Return a network with these ingredients, compiled."""
    return network(hp, problem, **SETTLED)
'''


def space_code(found: Sequence[Effect], search: str) -> str:
    """Return the Python file of a space in which what is settled is not tried again; `search` is how it is used."""
    settled = {
        effect.ingredient.name: effect.ingredient.on if effect.decision == "keep" else effect.ingredient.off
        for effect in found
        if effect.decision != "undecided"
    }
    undecided = [effect.ingredient.name for effect in found if effect.decision == "undecided"]
    title = "The search space that tfopt ablate left."
    return SPACE.format(title=title, search=search, settled=settled, undecided=", ".join(undecided) or "none")


def ablate(plan: Plan, folder: Path, workers: Workers, progress: Progress | None = None) -> list[Effect]:
    """Train the networks of a design on every fold, each from several seeds, and return what each ingredient does.

    What the folder's journal holds is not trained again.

    Raises:
        UserError: There is a single split, whose score tells of no other rows; or no fit of a network ended well.
    """
    if len(plan.outer) < 2:
        raise UserError(
            f"an ablation compares networks fold by fold, and {plan.table.name} has one hold-out. "
            f"Take a sample of at most {LARGE_TABLE:,} rows."
        )
    progress = progress or Progress()
    search = NetworkSearch(plan, Space("ingredients", network))
    ingredients = ingredients_of(search.problem)
    usual = default_values(search.hyperparameters)
    networks = {
        f"network-{row}": usual
        | {each.name: each.on if sign > 0 else each.off for each, sign in zip(ingredients, signs, strict=True)}
        for row, signs in enumerate(design(len(ingredients)))
    }
    with locked(folder):
        journal = Journal(folder / "trials.jsonl", usable=lambda record: (folder / record["predictions"]).exists())
        search.open(journal, folder, progress, workers=workers)
        scores = search.scores_of(networks, plan.config.seeds)
    if (failed := int(np.isnan(scores).sum())) > 0:
        if np.isnan(scores).all(axis=(0, 2)).any():
            raise UserError(
                f"no network could be trained on a fold of {plan.table.name}. See {folder / 'trials.jsonl'}."
            )
        progress.note(f"{failed} of {scores.size} fits failed; they count as the worst of their fold.")
        scores = np.where(np.isnan(scores), np.nanmin(scores, axis=(0, 2), keepdims=True), scores)
    test_to_train = sum(len(fold.test) for fold in plan.outer) / sum(len(fold.train) for fold in plan.outer)
    return effects(ingredients, scores.mean(axis=2), test_to_train)
