"""Images and texts as files: a folder for each class, or files that a column of a table names."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfopt.data.guesses import shown
from tfopt.data.spelling import quoted
from tfopt.errors import UserError, nearest, one_line

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif")
TEXTS = (".txt",)
_OF_TRAINING, _SET_APART = ("train", "training"), ("test", "val", "valid", "validation")


def is_folder_of_classes(source: str) -> bool:
    """Whether a source is a folder whose own folders hold images or texts, and which holds no table itself."""
    path = Path(source)
    if not path.is_dir() or not _folders(path):
        return False
    return not any(_is_kept(entry) and entry.is_file() for entry in path.iterdir())


def files_alone(source: str) -> list[Path]:
    """Return the images or texts of a folder that has no folders of classes: examples to predict."""
    path = Path(source)
    return sorted(entry for entry in path.iterdir() if entry.is_file() and _kind(entry)) if path.is_dir() else []


def read_folder(source: str, image_size: str | None) -> dict[str, Any]:
    """Return the images or texts of a folder of classes: `x`, `y`, `classes`, and what is set apart for testing.

    Raises:
        UserError: A class is empty, or a file cannot be read.
    """
    path = Path(source)
    parts = {folder.name.lower(): folder for folder in _folders(path)}
    train = [parts[name] for name in _OF_TRAINING if name in parts]
    apart = [parts[name] for name in _SET_APART if name in parts]
    if len(train) == 1 and len(parts) == 1 + len(apart) and all(_folders(part) for part in (*train, *apart)):
        # What is called test is held out; a validation part beside it is learned from.
        held_out = apart[:1]
        learned = [*train, *apart[1:]]
    else:
        learned, held_out = [path], []
    classes = [folder.name for folder in _folders(learned[0])]
    files, codes = [], []
    for part in (*learned, *held_out):
        for folder in _folders(part):
            if folder.name not in classes:
                raise UserError(f"class {quoted(folder.name)} of {part} is not in {learned[0]}. Make them alike.")
            inside = sorted(entry for entry in folder.iterdir() if _is_kept(entry) and entry.is_file())
            if not inside:
                raise UserError(f"class folder {folder} is empty. Put examples into it, or remove it.")
            files += inside
            codes += [classes.index(folder.name)] * len(inside)
    if len(classes) < 2:
        raise UserError(f"one class folder only ({source}: {shown(map(quoted, classes))}). A class has its own folder.")
    ends = Counter(_kind(file) for file in files)
    unknown = next((file for file in files if _kind(file) == ""), None)
    if unknown is not None:
        raise UserError(f"{unknown} is neither an image ({', '.join(IMAGES)}) nor a text ({TEXTS[0]}). Move it away.")
    if len(ends) > 1:
        raise UserError(f"{source} holds {ends['image']} images and {ends['text']} texts. Give folders of one kind.")
    notes: list[str] = []
    found = {"y": np.array(codes), "classes": classes, "task": "classification", "notes": notes}
    found |= read_all(files, image_size, notes)
    if held_out:
        num_test = sum(1 for file in files if held_out[0] in file.parents)
        found["test_rows"] = np.arange(len(files) - num_test, len(files))
        notes.append(f"the {num_test:,} examples in {held_out[0]} are held out, instead of folds")
    return found


def read_all(files: Sequence[Path], image_size: str | None, notes: list[str]) -> dict[str, Any]:
    """Return what files of one kind hold, `x` and `kind`, and the `names` of the files."""
    kind = _kind(files[0])
    x: Any = read_images(files, image_size, notes) if kind == "image" else read_texts(files)
    return {"x": x, "kind": kind, "names": {"file": [str(file) for file in files]}}


def _folders(path: Path) -> list[Path]:
    return sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _is_kept(entry: Path) -> bool:
    return not entry.name.startswith(".") and entry.name not in ("Thumbs.db", "desktop.ini")


def _kind(file: Path) -> str:
    return {**dict.fromkeys(IMAGES, "image"), **dict.fromkeys(TEXTS, "text")}.get(file.suffix.lower(), "")


def read_texts(files: Sequence[Path]) -> list[str]:
    """Return what text files hold."""
    texts = []
    for file in files:
        try:
            texts.append(file.read_text(encoding="utf-8-sig"))
        except UnicodeDecodeError as error:
            raise UserError(
                f"{file} is not UTF-8 text ({error.reason}, byte {error.start}). Save it as UTF-8."
            ) from None
        except OSError as error:
            raise UserError(f"{file} cannot be read: {error.strerror}.") from None
    return texts


def read_images(files: Sequence[Path], size: str | None, notes: list[str]) -> np.ndarray:
    """Return images as bytes (images, height, width, channels): one channel where all are gray, else three.

    Args:
        files: The images.
        size: What they are resized to, `"64"` or `"48x64"` (height, width); None for the commonest of their sizes.
        notes: What was decided is added.

    Raises:
        UserError: An image cannot be read.
    """
    wanted = None if size is None else parsed_size(size)
    sizes = Counter()  # type: Counter[tuple[int, int]]
    arrays = []
    for file in files:
        array = _read_image(file, wanted)
        sizes[array.shape[:2]] += 1
        arrays.append(array)
    if wanted is None:
        wanted = max(sizes, key=lambda each_size: (sizes[each_size], each_size))
        others = len(files) - sizes[wanted]
        if others:
            height, width = wanted
            notes.append(
                f"{others:,} of {len(files):,} images are resized to {height} × {width}, the commonest size "
                "(change with --image-size)"
            )
            arrays = [
                array if array.shape[:2] == wanted else _read_image(file, wanted)
                for file, array in zip(files, arrays, strict=True)
            ]
    x = np.stack(arrays)
    is_gray = bool((x[..., 0] == x[..., 1]).all() and (x[..., 0] == x[..., 2]).all())
    return x[..., :1] if is_gray else x


def parsed_size(size: str) -> tuple[int, int]:
    """Return the height and width that `--image-size` gives."""
    match = re.fullmatch(r"(\d{1,5})(?:[x×](\d{1,5}))?", size.strip().lower())
    if match is None or not all(int(number) for number in match.groups() if number):
        raise UserError(f"--image-size must be a number of pixels, or height x width such as 48x64. Received: {size}.")
    return int(match[1]), int(match[2] or match[1])


def _read_image(file: Path, size: tuple[int, int] | None) -> np.ndarray:
    from PIL import Image, UnidentifiedImageError  # as `keras.utils.load_img` does, without TensorFlow's start

    try:
        with Image.open(file) as image:
            pixels = image.convert("RGB")
        if size is not None and pixels.size != size[::-1]:
            pixels = pixels.resize(size[::-1], Image.Resampling.BILINEAR)
        return np.asarray(pixels, dtype=np.uint8)
    except FileNotFoundError:
        names = [entry.name for entry in file.parent.iterdir()] if file.parent.is_dir() else []
        raise UserError(f"no image {file}.{nearest(file.name, names)}") from None
    except UnidentifiedImageError:
        raise UserError(f"{file} is no image that can be read. Mend or remove it.") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{file} is no image that can be read ({one_line(error)[:120]}). Mend or remove it.") from None
