"""Features for models of tables, of examples that are none: gradients of images, summaries of sequences, words."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.feature_extraction.text import TfidfVectorizer

from tfopt.data.column import Column
from tfopt.data.encoder import TableEncoder
from tfopt.data.examples import lack_spaces

_ORIENTATIONS, _CELLS = 9, 4


class GradientHistogram(TransformerMixin, BaseEstimator):
    """Histograms of oriented gradients: how steep an image is in each direction, in each of 4 × 4 cells.

    A gradient counts for the two nearest of 9 directions between 0 and 180 degrees, by its size; the numbers of a cell
    are divided by their length.

    Args:
        shape: Height, width and channels of an image; channels are averaged.

    References:
        - Dalal, Triggs (2005), "Histograms of oriented gradients for human detection",
          https://doi.org/10.1109/CVPR.2005.177
    """

    def __init__(self, shape: Sequence[int] = (1, 1, 1)):
        self.shape = shape

    def fit(self, x: Any, y: Any = None) -> Self:
        """Learn nothing."""
        self.n_features_in_ = x.shape[1]
        return self

    def transform(self, x: np.ndarray) -> np.ndarray:
        """Return (rows, 144) of pixels (rows, height · width · channels)."""
        height, width, _ = self.shape
        images = x.reshape(-1, *self.shape).mean(axis=-1)
        down, across = np.gradient(images, axis=(1, 2))
        size, place = np.hypot(down, across), np.arctan2(down, across) % np.pi / np.pi * _ORIENTATIONS
        rows, columns = (np.arange(side) * _CELLS // side == np.arange(_CELLS)[:, None] for side in (height, width))
        histograms = []
        for orientation in range(_ORIENTATIONS):
            distance = np.abs((place - orientation + _ORIENTATIONS / 2) % _ORIENTATIONS - _ORIENTATIONS / 2)
            histograms.append(rows @ (size * np.maximum(1 - distance, 0)) @ columns.T)
        found = np.stack(histograms, axis=-1)
        return (found / (np.linalg.norm(found, axis=-1, keepdims=True) + 1e-6)).reshape(len(images), -1)


class SequenceSummary(TransformerMixin, BaseEstimator):
    """What a sequence is like as a whole, and its last steps: of each channel, whatever the length.

    Mean, standard deviation, lowest and highest value, slope, mean size of a step, and the last 8 values.

    Args:
        shape: Steps and channels of a sequence.
    """

    def __init__(self, shape: Sequence[int] = (1, 1)):
        self.shape = shape

    def fit(self, x: Any, y: Any = None) -> Self:
        """Learn nothing."""
        self.n_features_in_ = x.shape[1]
        return self

    def transform(self, x: np.ndarray) -> np.ndarray:
        """Return one row for each of (rows, steps · channels)."""
        values = x.reshape(-1, *self.shape)
        steps = np.arange(self.shape[0]) - (self.shape[0] - 1) / 2
        slope = np.tensordot(values, steps, (1, 0)) / max(steps @ steps, 1.0)
        changes = np.abs(np.diff(values, axis=1)).mean(axis=1) if self.shape[0] > 1 else 0 * slope
        whole = [values.mean(1), values.std(1), values.min(1), values.max(1), slope, changes]
        return np.column_stack([*whole, values[:, -8:].reshape(len(values), -1)])


class WordEncoder(TableEncoder):
    """Encode texts as TF-IDF: how often each word, and each pair of neighbours, is in a text, rare ones weighing more.

    Of scripts without spaces between words, such as Chinese, each character counts as a word.

    Args:
        columns: The table's columns, all of text.
    """

    scaling = "none"

    def __init__(self, columns: Sequence[Column] = ()):
        self.columns = columns

    def fit(self, frame: pd.DataFrame, y: Any = None) -> Self:
        """Learn words and their weights from training rows."""
        texts = self._texts(frame)
        words: dict[str, Any] = {"analyzer": "char"} if lack_spaces(texts) else {"token_pattern": r"\S+"}
        self.words_ = TfidfVectorizer(ngram_range=(1, 2), max_features=20_000, sublinear_tf=True, **words)
        # scikit-learn raises where no text has a word.
        self.words_.fit(texts if any(text.strip() for text in texts) else ["."])
        self.levels_: dict[str, tuple[str, ...]] = {}
        self.n_features_in_ = len(self.columns)
        return self

    def transform(self, frame: pd.DataFrame) -> csr_matrix:
        """Return the matrix (rows, words)."""
        return self.words_.transform(self._texts(frame))

    def _texts(self, frame: pd.DataFrame) -> list[str]:
        columns = [frame[column.name].fillna("").astype(str) for column in self.columns]
        return [" ".join(parts) for parts in zip(*columns, strict=True)]
