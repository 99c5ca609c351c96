"""The loop as the tutorials print it, and the ways of the recipe against NumPy's float64."""

import re

import numpy as np
import pytest

# As printed: `rang`, and the body counts with j where the loop counts with i.
PRINTED = """
z = 0
for i in rang(len(x)):
    z = z + w[j] * x[j]
z = z + b
"""


@pytest.fixture(scope="module")
def ran(recipe_names):
    return recipe_names("vectorization")


def test_the_printed_loop_does_not_run():
    names = {"w": [1.0, 2.0], "x": [3.0, 4.0], "b": 0.5}
    with pytest.raises(NameError, match="rang"):
        exec(PRINTED, names)
    half_mended = PRINTED.replace("rang(", "range(")
    with pytest.raises(NameError, match="'j'"):
        exec(half_mended, names)
    exec(half_mended.replace("[j]", "[i]"), names)
    assert names["z"] == 1 * 3 + 2 * 4 + 0.5


def test_the_recipe_says_so(ran):
    assert ran["PRINTED"] == PRINTED
    assert [re.search("'(.*?)'", fault)[1] for fault in ran["faults"]] == ["rang", "j"]
    assert ran["claims"]["vector-printed-loop"].settled == "does not hold"


def test_every_way_gives_numpys_float64(ran):
    random = np.random.default_rng(7)
    w, x, b = random.normal(size=(5, 5)).astype("float32"), *random.normal(size=(2, 5)).astype("float32")
    expected = np.einsum("ij,i->j", w.astype("float64"), x.astype("float64")) + b
    for way in ("loop", "numpy", "tensorflow"):
        np.testing.assert_allclose(np.asarray(ran[way](w, x, b)), expected, rtol=2e-5, err_msg=way)
    again = np.einsum("ij,i->j", w.astype("float64"), expected) + b
    ran["stacked"].__globals__["DEPTH"] = 2
    np.testing.assert_allclose(ran["stacked"](ran["numpy"])(w, x, b), again, rtol=2e-5)
    assert ran["largest_error"] < 1e-5


def test_the_threads_are_given_back(ran):
    from threadpoolctl import threadpool_info

    import_limit = {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}
    assert import_limit != {1} or ran["one_thread"].get_original_num_threads()["blas"] == 1
