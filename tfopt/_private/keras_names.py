"""The counters from which Keras names what was given no name: `auc`, then `auc_1`; as read in Keras 3.15."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import keras

from tfopt._private.needs import Need, available, expect

_COUNTERS = "object_name_uids"


@contextmanager
def names_from_the_start() -> Iterator[None]:
    """Give what is made the names that it has in a fresh session; afterwards Keras counts on where it was.

    `keras.utils.clear_session` does so too, but takes 0.2 s and the user's random generator and settings with it.
    """
    if available("name counters"):
        with _counters_at_zero():
            yield
    else:
        yield


@contextmanager
def _counters_at_zero() -> Iterator[None]:
    from keras.src.backend.common import global_state

    kept = global_state.get_global_attribute(_COUNTERS)
    global_state.set_global_attribute(_COUNTERS, defaultdict(int))
    try:
        yield
    finally:
        global_state.set_global_attribute(_COUNTERS, kept)


def _check_names() -> None:
    with _counters_at_zero():
        names = [keras.metrics.AUC().name]
        with _counters_at_zero():
            names.append(keras.metrics.AUC().name)
        names.append(keras.metrics.AUC().name)
    expect(names == ["auc", "auc", "auc_1"], "global_state's object_name_uids")


NEEDS = (
    Need(
        "name counters",
        (
            "keras.src.backend.common.global_state:get_global_attribute",
            "keras.src.backend.common.global_state:set_global_attribute",
        ),
        "tuners",
        "A metric without a name is logged under another one in each trial (`auc`, `auc_1` …): name it",
        _check_names,
    ),
)
