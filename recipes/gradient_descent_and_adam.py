"""Are gradient descent, momentum, RMSprop and Adam what the formulas say, and is Adam the best of them?

Each method is written out below and run beside Keras's: the same numbers. Then all four go for the minimum of an
ill-conditioned quadratic (its long axes along the coordinates, and turned) and of linear regression on diabetes, where
the closed form is known.

What goes wrong with the usual snippet: the hand-written Adam of the tutorials corrects its running averages in place
(`m = m / (1 - b1**t)`), so the next step averages into the corrected value and corrects it again. The corrections
multiply, v grows without bound, and in its whole life θ moves by about 1.3 learning rates. On the tutorial's own three
points it ends at an MSE of 11.1, where least squares without intercept has 0.14. `adam_in_place` below is that program.

Fair: every method takes the best of 21 learning rates, chosen on other starts than those reported; momentum's 0.9,
RMSprop's 0.9 and Adam's 0.9 and 0.999 are the customary ones. Steps count until the error is reached first: Adam at its
best constant rate may leave again. Intervals are 95 % over starts.

So: compare optimizers only at each one's own best learning rate; momentum is a large part of what they gain; take an
optimizer from the library, where its bias correction is right.

Claims:
    gd-same-numbers-as-keras: The formulas of gradient descent, momentum, RMSprop and Adam give the numbers of
        Keras's optimizers
    gd-reaches-closed-form: Gradient descent on linear regression arrives at the closed form
    gd-momentum-faster: Momentum reaches the minimum of an ill-conditioned quadratic in fewer steps than gradient
        descent
    gd-momentum-smooths: Momentum smooths: under mini-batches its steps follow one another's direction more than
        gradient descent's
    gd-rmsprop-scales: RMSprop scales by past gradients: flat and steep coordinates get steps of like size
    gd-rmsprop-turned: RMSprop's scaling still helps when the long axes do not lie along the coordinates
    gd-adam-is-both: Adam is both: its steps are steadier than gradient descent's and more even over the coordinates
    gd-adam-fastest: Adam needs fewer steps than each of the others, on both quadratics and on diabetes
    gd-adam-in-place: The tutorial's hand-written Adam, correcting its averages in place, fits its three points

    python recipes/gradient_descent_and_adam.py            # some twenty seconds on two cores
"""

import keras
import numpy as np
from sklearn.datasets import load_diabetes

from tfopt.report import recipe

arguments = recipe.arguments(__doc__, __file__)

STARTS = recipe.by_mode(arguments, smoke=4, default=20)  # reported; as many others choose the rate
STEPS = recipe.by_mode(arguments, smoke=400, default=4000)  # allowed for each descent
SAME_STEPS = recipe.by_mode(arguments, smoke=60, default=1000)  # compared with Keras's
DIMENSIONS, CONDITION = 10, 1000  # of the quadratic: the steepest direction over the flattest
RATES = 10 ** np.arange(-4, 1.01, 0.25)  # 21 learning rates from 0.0001 to 10
TARGET = 1e-6  # of the starting error: there
BATCH = 16  # of diabetes, whose descents begin at random weights

random = np.random.default_rng(arguments.seed)


# The methods. `state` is a dictionary that begins empty; epsilon is Keras's 1e-7, and stands where Keras has it.
def gradient_descent(theta, gradient, state, rate):
    return theta - rate * gradient


def momentum(theta, gradient, state, rate, momentum=0.9):
    state["velocity"] = momentum * state.get("velocity", 0.0) - rate * gradient
    return theta + state["velocity"]


def rmsprop(theta, gradient, state, rate, rho=0.9):
    state["square"] = rho * state.get("square", 0.0) + (1 - rho) * gradient**2
    return theta - rate * gradient / np.sqrt(state["square"] + 1e-7)


def adam(theta, gradient, state, rate, beta_1=0.9, beta_2=0.999):
    t = state["step"] = state.get("step", 0) + 1
    m = state["mean"] = beta_1 * state.get("mean", 0.0) + (1 - beta_1) * gradient
    v = state["square"] = beta_2 * state.get("square", 0.0) + (1 - beta_2) * gradient**2
    unbiased_m, unbiased_v = m / (1 - beta_1**t), v / (1 - beta_2**t)
    # Kingma and Ba add epsilon to √v̂; Keras adds it to √v (their "epsilon hat").
    return theta - rate * unbiased_m / (np.sqrt(unbiased_v) + 1e-7 / np.sqrt(1 - beta_2**t))


def adam_in_place(theta, gradient, state, rate, beta_1=0.9, beta_2=0.999):
    """The tutorial's: the corrected averages are what the next step averages into."""
    t = state["step"] = state.get("step", 0) + 1
    m = beta_1 * state.get("mean", 0.0) + (1 - beta_1) * gradient
    v = beta_2 * state.get("square", 0.0) + (1 - beta_2) * gradient**2
    state["mean"] = m / (1 - beta_1**t)
    state["square"] = v / (1 - beta_2**t)
    return theta - rate * state["mean"] / (np.sqrt(state["square"]) + 1e-8)


METHODS = {"gradient descent": gradient_descent, "momentum": momentum, "RMSprop": rmsprop, "Adam": adam}
# Keras passes the learning rate and these through float32, also for float64 variables. What float32 holds exactly
# shows whether the formulas are the same, the customary constants show what the rounding does.
EXACT = {
    "gradient descent": (keras.optimizers.SGD, {}),
    "momentum": (keras.optimizers.SGD, {"momentum": 0.875}),
    "RMSprop": (keras.optimizers.RMSprop, {"rho": 0.875}),
    "Adam": (keras.optimizers.Adam, {"beta_1": 0.875, "beta_2": 1 - 2.0**-10}),
}
CUSTOMARY = {"momentum": {"momentum": 0.9}, "RMSprop": {"rho": 0.9}, "Adam": {"beta_1": 0.9, "beta_2": 0.999}}


# The problems: ½θᵀAθ − cᵀθ, one A and c for each start. The first half of the starts chooses the rate.
def quadratic(turned):
    eigenvalues = np.logspace(0, -np.log10(CONDITION), DIMENSIONS)
    axes = np.stack([np.linalg.qr(random.normal(size=(DIMENSIONS, DIMENSIONS)))[0] for _ in range(2 * STARTS)])
    if not turned:
        axes = np.broadcast_to(np.eye(DIMENSIONS), axes.shape)
    a = axes * eigenvalues @ axes.transpose(0, 2, 1)
    return a, np.einsum("sij,sj->si", a, random.normal(size=(2 * STARTS, DIMENSIONS)))


x, y = load_diabetes(return_X_y=True)
x = np.column_stack([(x - x.mean(axis=0)) / x.std(axis=0), np.ones(len(x))])
y = (y - y.mean()) / y.std()
ROWS = len(x)
begin = random.normal(size=(2 * STARTS, x.shape[1]))
targets = y - begin @ x.T  # from 0 with these is from `begin` with y
regression = (np.broadcast_to(x.T @ x / ROWS, (2 * STARTS, x.shape[1], x.shape[1])), targets @ x / ROWS)
PROBLEMS = {"quadratic": quadratic(turned=False), "quadratic, turned": quadratic(turned=True), "diabetes": regression}


def descend(method, a, c, rates, steps, batch=None, keep_path=False):
    """Descend from 0 with every rate (first axis) and start (second); returns errors and, if asked, θ by step.

    An error is how far the loss lies above its minimum, over what it was at the start.
    """
    best = np.linalg.solve(a, c[..., None])[..., 0]  # the closed form
    theta, state = np.zeros((len(rates), *c.shape)), {}
    errors, path = [], []
    with np.errstate(over="ignore", invalid="ignore"):  # rates that are too large diverge
        for _ in range(steps):
            off = theta - best
            errors.append(0.5 * np.einsum("rsi,sij,rsj->rs", off, a, off, optimize=["einsum_path", (0, 1), (0, 1)]))
            if keep_path:  # else hundreds of megabytes
                path.append(theta)
            if batch is None:
                gradient = np.einsum("sij,rsj->rsi", a, theta) - c
            else:
                picked = random.integers(0, ROWS, (len(targets), batch))
                wrong = np.einsum("sbi,rsi->rsb", x[picked], theta) - np.take_along_axis(targets, picked, axis=1)
                gradient = np.einsum("sbi,rsb->rsi", x[picked], wrong) / batch
            theta = METHODS[method](theta, gradient, state, np.asarray(rates)[:, None, None])
        return np.nan_to_num(np.clip(np.array(errors) / errors[0], 0, 1e30), nan=1e30), path


def choose(score):
    """Index of the rate with the least mean score over the choosing starts."""
    return int(np.argmin(score[:, :STARTS].mean(axis=1)))


# 1. The same numbers as Keras's.
def difference_from_keras(name, constants, rate=2.0**-6):
    """Largest difference of any coordinate over the steps."""
    a, c = (part[0] for part in PROBLEMS["quadratic, turned"])
    theta, state, largest = np.zeros(DIMENSIONS), {}, 0.0
    variable = keras.Variable(np.zeros(DIMENSIONS), dtype="float64")
    optimizer = EXACT[name][0](rate, **constants)
    for _ in range(SAME_STEPS):
        theta = METHODS[name](theta, a @ theta - c, state, rate, **constants)
        optimizer.apply([a @ variable.numpy() - c], [variable])
        largest = max(largest, float(np.abs(theta - variable.numpy()).max()))
    return largest


differences = {name: difference_from_keras(name, EXACT[name][1]) for name in METHODS}
rounded = {name: difference_from_keras(name, constants) for name, constants in CUSTOMARY.items()}
rows = {name: [f"{differences[name]:.1e}", f"{rounded.get(name, 0.0):.1e}"] for name in METHODS}
recipe.show(f"Largest difference from Keras's over {SAME_STEPS} steps", ["float32's constants", "0.9 and 0.999"], rows)

# 2. Steps to the minimum, at each method's best rate.
needed, curves, evenness = {}, {}, {}
for problem, (a, c) in PROBLEMS.items():
    for name in METHODS:
        errors, _ = descend(name, a, c, RATES, STEPS)
        there = errors <= TARGET
        steps = np.where(there.any(axis=0), there.argmax(axis=0), STEPS)
        chosen = choose(steps + 1e-3 * np.log10(np.maximum(errors[-1], 1e-30)))  # none got there: the nearest
        needed[problem, name] = steps[chosen, STARTS:]
        curves[problem, name] = np.median(errors[:, chosen, STARTS:], axis=1)
        if problem == "quadratic":  # how unlike the steps of the coordinates are, early on
            _, path = descend(name, a, c, [RATES[chosen]], 21, keep_path=True)
            sizes = np.sqrt(np.mean(np.diff([theta[0, STARTS:] for theta in path], axis=0) ** 2, axis=0))
            evenness[name] = np.log10(sizes.max(axis=1) / sizes.min(axis=1))
rows = {name: [needed[problem, name] for problem in PROBLEMS] for name in METHODS}
title = f"Steps until the error is {TARGET:g} of its start, at the best rate; {STARTS} starts; never counts as {STEPS}"
recipe.show(title, [f"{problem}|.0f" for problem in PROBLEMS], rows)

# 3. Mini-batches of diabetes: how steady the steps are, at each method's best rate.
NOISY_STEPS = 300
steadiness = {}
for name in METHODS:
    errors, path = descend(name, *regression, RATES, NOISY_STEPS, batch=BATCH, keep_path=True)
    chosen = choose(np.log10(errors[NOISY_STEPS // 2 :].mean(axis=0)))
    moves = np.diff([theta[chosen, STARTS:] for theta in path], axis=0)
    moves /= np.linalg.norm(moves, axis=-1, keepdims=True)
    steadiness[name] = np.einsum("tsi,tsi->ts", moves[1:], moves[:-1]).mean(axis=0)
columns = ["cosine of a step with the next|.2f", "largest/least step, log10|.2f"]
recipe.show(f"Batches of {BATCH}", columns, {name: [steadiness[name], evenness[name]] for name in METHODS})

# 4. The tutorial's Adam on the tutorial's three points.
points, values = np.array([[1.0, 2.0], [2.0, 4.0], [3.0, 6.0]]), np.array([1.0, 3.0, 5.0])
ends, tracks = {}, {}
for name, method in {"Adam": adam, "Adam in place": adam_in_place}.items():
    theta, state, tracks[name] = np.zeros(2), {}, []
    with np.errstate(over="ignore"):  # its v leaves float64
        for _ in range(1000):
            wrong = points @ theta - values
            tracks[name].append(float(np.mean(wrong**2)))
            theta = method(theta, points.T @ wrong / len(points), state, 0.01)
    ends[name] = float(np.mean((points @ theta - values) ** 2))
ends["least squares"] = float(np.mean((points @ np.linalg.lstsq(points, values)[0] - values) ** 2))
title = "Mean squared error on the tutorial's three points after 1000 steps of rate 0.01"
recipe.show(title, ["error|.4f"], {name: [value] for name, value in ends.items()})


def fewer_steps(better, worse, problem):
    """Evidence for fewer steps, by their logarithms."""
    tested = recipe.less(np.log(needed[problem, better]), np.log(needed[problem, worse]), "steps")
    means = [recipe.plus_minus(needed[problem, name], ".0f") for name in (better, worse)]
    form = "{}: {} against {} steps, {} starts"
    return recipe.ClaimTest([(form, [problem, *means, str(STARTS)])], tested.not_so, tested.so)


def steadier(name):
    return recipe.more(steadiness[name], steadiness["gradient descent"], "cosine", ".2f", of="starts")


def more_even(name):
    what = "log10 of the largest step over the least"
    return recipe.less(evenness[name], evenness["gradient descent"], what, ".2f", of="starts")


worst = max(differences.values())
rivals = [fewer_steps("Adam", name, problem) for problem in PROBLEMS for name in METHODS if name != "Adam"]
repaired = ends["Adam in place"] < 1.01 * ends["least squares"]
claims = {
    "gd-same-numbers-as-keras": recipe.fact(
        worst < 1e-6,
        "largest difference {} in {} steps; {} with 0.9 and 0.999, which Keras rounds to float32",
        f"{worst:.1e}",
        SAME_STEPS,
        f"{max(rounded.values()):.1e}",
    ),
    "gd-reaches-closed-form": recipe.below(
        needed["diabetes", "gradient descent"],
        STEPS,
        "diabetes: {} steps to 1e-6 of the starting error, {} starts",
        spec=".0f",
    ),
    "gd-momentum-faster": fewer_steps("momentum", "gradient descent", "quadratic, turned"),
    "gd-momentum-smooths": steadier("momentum"),
    "gd-rmsprop-scales": more_even("RMSprop"),
    "gd-rmsprop-turned": fewer_steps("RMSprop", "gradient descent", "quadratic, turned"),
    "gd-adam-is-both": recipe.all_of(steadier("Adam"), more_even("Adam")),
    "gd-adam-fastest": recipe.all_of(*rivals),
    "gd-adam-in-place": recipe.fact(
        repaired,
        "mean squared error {}; Adam {}, least squares {}",
        *(f"{ends[name]:.2f}" for name in ("Adam in place", "Adam", "least squares")),
    ),
}

with recipe.panels(3) as (figure, axes):
    shown = np.unique(np.geomspace(1, STEPS, 300).astype(int))  # few, so that the picture is small
    for axis, problem in zip(axes, ("quadratic, turned", "diabetes"), strict=False):
        for name, colour in zip(METHODS, recipe.COLOURS, strict=False):
            axis.loglog(shown, np.maximum(curves[problem, name][shown - 1], 1e-12), color=colour, label=name)
        axis.axhline(TARGET, color="#999999", lw=0.8)
        axis.set(xlabel="step", ylabel="error, of its start (median)", ylim=(1e-8, 3), title=problem.capitalize())
    axes[0].legend(frameon=False, loc="lower left")
    for name, colour in zip(tracks, recipe.COLOURS[3:], strict=False):
        axes[2].plot(tracks[name], color=colour, label=name)
    axes[2].axhline(ends["least squares"], color="#999999", lw=0.8, label="least squares")
    axes[2].set(xlabel="step", ylabel="mean squared error", title="The tutorial's three points", ylim=(0, 12))
    axes[2].legend(frameon=False)

results = {"difference_from_keras": differences, "difference_from_keras_customary": rounded, "steps": needed}
results |= {"steadiness": steadiness, "unevenness_log10": evenness, "three_points_mse": ends}
recipe.finish(arguments, claims, results, figure)
