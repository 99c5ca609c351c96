"""Arrays of any shape as examples, where they come from, and what is wrong with them in one line."""

import re
from dataclasses import replace

import keras
import numpy as np
import pandas as pd
import pytest

from tfopt.baselines.example_features import WordEncoder
from tfopt.data import examples_of
from tfopt.data.example_encoder import ExampleEncoder
from tfopt.data.example_sources import load_examples
from tfopt.data.examples import plain_inputs
from tfopt.data.new_examples import read_new_examples
from tfopt.errors import UserError
from tfopt.search.config import SearchConfig
from tfopt.search.plan import table_of

X, Y = np.zeros((12, 4, 4, 1), "float32"), np.arange(12) % 3


@pytest.fixture
def source(tmp_path):
    """Return a function that writes a Python file and gives the name of its function `load`."""

    def write(body: str) -> str:
        path = tmp_path / "mine.py"
        path.write_text(f"import numpy as np\n\n\ndef load():\n    {body}\n")
        return f"{path}:load"

    return write


def test_shapes_and_types_tell_what_examples_are():
    assert examples_of(X, Y, source="s").kind == "image"
    bytes_ = examples_of(np.zeros((12, 4, 4), np.uint8), Y, source="s")
    assert (bytes_.kind, bytes_.parts.shape, bytes_.x.dtype) == ("image", (4, 4, 1), np.uint8)
    assert examples_of(np.zeros((12, 9, 2)), Y, source="s").kind == "sequence"
    texts = examples_of(["a b", "c", "a"] * 4, Y, source="s")
    assert (texts.kind, texts.parts.vocabulary_size, texts.parts.length) == ("text", 5, 2)
    both = examples_of({"a": X, "b": ["u v"] * 12}, Y, source="s")
    assert {name: part.kind for name, part in both.parts.items()} == {"a": "other", "b": "text"}


def test_characters_are_words_where_a_script_has_no_spaces():
    texts = ["很好看", "不好看 OK"] * 6
    examples = examples_of(texts, Y, source="s")
    assert (examples.parts.split, examples.parts.length) == ("character", 6)
    assert examples_of(["a 好", "words of English"] * 6, Y, source="s").parts.split == "whitespace"
    encoder = ExampleEncoder(examples.parts).fit(examples.x)
    assert {*"很好看不ok"} <= {*encoder.learned[""]["words"]}
    first, second = encoder.transform(np.array(texts[:2], object))
    assert first[1] == second[1] > 1  # 好 in both
    words = WordEncoder(examples.columns).fit(examples.features)
    assert {"好看", "不好"} <= {*words.words_.get_feature_names_out()}


def test_targets_tell_the_task():
    one_hot = examples_of(X, np.eye(3)[Y], source="s")
    assert (one_hot.task, one_hot.classes) == ("classification", ("0", "1", "2"))
    np.testing.assert_array_equal(one_hot.target, Y)
    words = examples_of(X, np.array(["b", "a", "c"])[Y], source="s")
    assert words.classes == ("a", "b", "c")
    assert words.target[0] == 1
    steps = np.random.default_rng(0).normal(size=(12, 5, 2))
    regression = examples_of(X, steps, source="s")
    assert (regression.task, regression.target.shape, regression.shape) == ("regression", (12, 10), (5, 2))


def test_one_of_several_targets_is_compared_and_the_others_come_along():
    y = {"price": np.linspace(0, 1, 12), "kind": Y}
    examples = examples_of(X, y, source="s", target="kind")
    assert examples.task == "classification"
    assert examples.target_names == ("kind",)
    _, taken = examples.take(np.array([2, 4]))
    assert list(taken) == ["price", "kind"]
    assert taken["kind"].tolist() == [2, 1]
    np.testing.assert_allclose(taken["price"], y["price"][[2, 4]])


def test_numbers_are_columns_up_to_a_limit():
    x = np.arange(24.0).reshape(12, 2, 1)
    examples = examples_of(x, Y, source="s")
    np.testing.assert_array_equal(examples.features.to_numpy(), x.reshape(12, 2))
    assert examples_of(np.zeros((12, 70, 70, 1)), Y, source="s").columns == ()


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        ([[1.0], [2.0, 3.0]], [0, 1], r"x is ragged.*example 1 \(1,\) and example 2 \(2,\)"),
        (X, Y[:9], "x has 12 examples and y 9"),
        ({"a": X, "b": X[:5]}, Y, r"differ in examples .*x\[a\] 12, x\[b\] 5"),
        (np.where(np.arange(12)[:, None] == 4, np.nan, 0.5), Y, "NaN in 1 of 12 examples .*number 5"),
        (np.full((12, 2), np.inf), Y, "infinite numbers in 12 of 12"),
        (X, np.where(Y == 1, np.nan, 1.0), "y holds NaN"),
        (X, np.zeros(12, int), "one class only"),
        (X, np.ones(12) / 3, "is 0.333333 in every example"),
        (["a", None, "b"] * 4, Y, "holds nothing among its texts .*example 2"),
        (X[:0], Y[:0], "no examples"),
        (np.zeros((12, 2), complex), Y, "type complex128"),
        (X, np.arange(12.0)[:, None, None].repeat(2, 1), None),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line_with_its_source(x, y, said):
    if said is None:
        assert examples_of(x, y, source="mine.py:load").task == "regression"
        return
    with pytest.raises(UserError, match=f"{said}") as caught:
        examples_of(x, y, source="mine.py:load")
    assert "mine.py:load" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_labels_that_do_not_match_the_classes_are_named():
    with pytest.raises(UserError, match="labels do not match the 2 classes"):
        examples_of(X, Y, source="s", classes=["cat", "dog"])


def test_a_function_gives_pairs_streams_and_dicts(source):
    pair = load_examples(
        source("return (np.zeros((8, 3, 2)), np.arange(8) % 2), (np.ones((4, 3, 2)), np.arange(4) % 2)")
    )
    assert pair.num_rows == 12
    assert pair.test_rows.tolist() == [8, 9, 10, 11]
    assert any("sets apart are held out" in note for note in pair.notes)
    named = load_examples(source("return {'x_train': np.zeros((8, 3, 2)), 'y_train': np.arange(8) % 2}"))
    assert named.num_rows == 8
    assert named.test_rows is None
    two = load_examples(source("return (np.zeros((8, 3)), np.ones((8, 2))), np.linspace(0, 1, 8)"))
    assert [part.shape for part in two.parts] == [(3,), (2,)]
    stream = "import tensorflow as tf; "
    data = "tf.data.Dataset.from_tensor_slices((np.arange(24.0).reshape(6, 2, 2), [0, 1] * 3))"
    alone, batched = (load_examples(source(f"{stream}return {data}{end}")) for end in ("", ".batch(4)"))
    np.testing.assert_array_equal(alone.x, np.arange(24.0).reshape(6, 2, 2))
    assert alone.sha256 == batched.sha256


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return None", "returned None"),
        ("raise OSError('no disk')", "raised OSError: no disk"),
        ("return 3", "returned int"),
        ("return np.zeros((3, 2)), np.zeros(4)", "3 examples and y 4"),
        ("import tensorflow as tf; return tf.data.Dataset.from_tensors((1, 2)).repeat()", "repeats for ever"),
        ("return (np.zeros((8, 3)), np.zeros(8)), (np.zeros((4, 2)), np.zeros(4))", "differs in shape"),
    ],
)
def test_a_function_that_fails_is_named(source, body, said):
    name = source(body)
    with pytest.raises(UserError, match=said) as caught:
        load_examples(name)
    assert re.search(r"mine\.py:load", str(caught.value))


def test_a_missing_function_or_file_is_answered_with_the_nearest(source, tmp_path):
    name = source("return None")
    with pytest.raises(UserError, match=r"has no 'laod'\. Did you mean 'load'\?"):
        load_examples(name.replace(":load", ":laod"))
    with pytest.raises(UserError, match=r"no file .*mien\.py\. Did you mean 'mine\.py'\? --data takes"):
        load_examples(f"{tmp_path}/mien.py:load")


def test_npz_files_keep_shapes_and_are_asked_for_names(tmp_path):
    path = str(tmp_path / "some.npz")
    np.savez(path, x=X[..., 0], y=Y)
    assert load_examples(path).kind == "sequence"
    assert load_examples(path, as_image=True).parts.shape == (4, 4, 1)
    np.savez(path, x=X.reshape(12, -1), y=Y)
    assert load_examples(path) is None  # a table
    np.savez(path, train_images=X, train_labels=Y, val_images=X, val_labels=Y, test_images=X[:3], test_labels=Y[:3])
    assert load_examples(path).test_rows.tolist() == [24, 25, 26]
    np.savez(path, left=X, right=X[..., 0], mark=Y)
    with pytest.raises(UserError, match=r"'left', 'right', 'mark' is the target .*--target"):
        load_examples(path)
    with pytest.raises(UserError, match=r"no array 'marc' for --target .*Did you mean 'mark'\?"):
        load_examples(path, target=["marc"])
    assert list(load_examples(path, target=["mark"]).parts) == ["left", "right"]
    assert load_examples(path, target=["mark"], drop=["left"]).parts.shape == (4, 4)


def test_folders_of_classes_are_images_or_texts(tmp_path):
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(3):
            shape = (5, 7, 3) if number else (4, 4, 3)
            pixels = random.integers(0, 256, shape, dtype=np.uint8)
            keras.utils.save_img(tmp_path / "pets" / name / f"{number}.png", pixels, scale=False)
    pets = load_examples(str(tmp_path / "pets"))
    assert (pets.kind, pets.parts.shape, pets.classes) == ("image", (5, 7, 3), ("cat", "dog"))
    assert pets.target.tolist() == [0, 0, 0, 1, 1, 1]
    np.testing.assert_array_equal(pets.x[-1], pixels)  # PNG loses nothing
    assert any("2 of 6 images are resized to 5 × 7" in note for note in pets.notes)
    resized = load_examples(str(tmp_path / "pets"), image_size="8x6")
    files = sorted((tmp_path / "pets").glob("*/*.png"))
    keras_reads = [keras.utils.load_img(file, target_size=(8, 6), interpolation="bilinear") for file in files]
    np.testing.assert_array_equal(resized.x, np.stack([np.asarray(image) for image in keras_reads]))
    (tmp_path / "pets" / "dog" / "0.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"dog/0\.png is no image that can be read"):
        load_examples(str(tmp_path / "pets"))
    (tmp_path / "pets" / "eel").mkdir()
    with pytest.raises(UserError, match=r"class folder .*eel is empty"):
        load_examples(str(tmp_path / "pets"))


def test_texts_by_class_and_parts_that_are_set_apart(tmp_path):
    for part in ("train", "test"):
        for name in ("ham", "spam"):
            (tmp_path / part / name).mkdir(parents=True)
            (tmp_path / part / name / "1.txt").write_text(f"{part} {name}")
    mails = load_examples(str(tmp_path))
    assert mails.x.tolist() == ["train ham", "train spam", "test ham", "test spam"]
    assert mails.test_rows.tolist() == [2, 3]
    (tmp_path / "test" / "spam" / "1.txt").write_bytes(b"caf\xe9")
    with pytest.raises(UserError, match=r"spam/1\.txt is not UTF-8"):
        load_examples(str(tmp_path))


def test_a_column_of_a_table_names_images_or_holds_texts(tmp_path):
    for number in range(8):
        keras.utils.save_img(tmp_path / f"{number}.png", np.full((3, 3, 3), 30 * number, np.uint8), scale=False)
    names = [f"{number}.png" for number in range(8)]
    texts = ["good one", None, "bad", "so so"] * 2
    frame = pd.DataFrame({"file": names, "says": texts, "age": range(8), "price": np.linspace(1, 2, 8)})
    frame.to_csv(tmp_path / "table.csv", index=False)
    config = SearchConfig(data=str(tmp_path / "table.csv"), target=("price",), image_column="file")
    pictures = table_of(config)
    assert pictures.x[:, 0, 0, 0].tolist() == [30 * number for number in range(8)]  # gray: one channel
    np.testing.assert_allclose(pictures.target, frame["price"])
    assert any("left out: 'says', 'age'" in note for note in pictures.notes)
    said = table_of(replace(config, image_column=None, text_column="says"))
    assert said.x.tolist() == ["good one", "", "bad", "so so"] * 2
    new = read_new_examples(config.data, plain_inputs(pictures), config.to_dict(), ("price",), ())
    np.testing.assert_array_equal(new.x, pictures.x)
    np.testing.assert_allclose(new.targets["price"], frame["price"])
    frame.loc[2, "file"] = "22.png"
    frame.to_csv(tmp_path / "table.csv", index=False)
    with pytest.raises(UserError, match=r"no image .*22\.png\. Did you mean '2\.png'\?"):
        table_of(config)


def test_digits_are_pictures_when_asked():
    assert load_examples("digits") is None
    digits = load_examples("digits", as_image=True)
    assert digits.parts.shape == (8, 8, 1)
    assert digits.x.max() == 1.0
    assert len(digits.classes) == 10
    with pytest.raises(UserError, match="--as-image is for digits and NPZ"):
        load_examples("iris", as_image=True)
