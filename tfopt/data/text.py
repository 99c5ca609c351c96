"""Columns of text as a few numbers: words weighted by how rare they are, then their main directions."""

import re
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tfopt.data.column import NUM_TOPICS

_MAX_WORDS = 1000
_WORD = re.compile(r"\w\w+")


def words_of(text: str) -> str:
    """Return the words of a text in lower case, two letters or digits or more each, with a space between them."""
    return " ".join(_WORD.findall(text.lower()))


def as_words(texts: pd.Series) -> list[str]:
    """Return `words_of` each text, `""` for a missing one."""
    return ["" if missing else words_of(str(text)) for text, missing in zip(texts, texts.isna(), strict=True)]


@dataclass(frozen=True)
class TopicCoder:
    """Latent semantic analysis of a text column: tf-idf by scikit-learn's defaults, then truncated SVD.

    Args:
        vocabulary: The words that count, at most 1000: the most frequent that stand in two training rows or more.
        idf: For each of them the logarithm of how rare it is.
        components: (topics, words) directions of the largest singular values; rows of 0 where there are fewer.
    """

    vocabulary: tuple[str, ...]
    idf: np.ndarray
    components: np.ndarray

    @classmethod
    def fit(cls, words: list[str]) -> "TopicCoder":
        """Learn the vocabulary, the weights and the directions from the words of training rows."""
        from sklearn.feature_extraction.text import TfidfVectorizer  # late: most tables have no text
        from sklearn.utils.extmath import randomized_svd

        rows_with = Counter(word for row in words for word in set(row.split()))
        frequent = sorted((-count, word) for word, count in rows_with.items() if count >= 2)[:_MAX_WORDS]
        vocabulary = sorted(word for _, word in frequent)
        components = np.zeros((NUM_TOPICS, len(vocabulary)))
        if not vocabulary:
            return cls((), np.zeros(0), components)
        vectorizer = TfidfVectorizer(vocabulary=vocabulary)
        weighted = vectorizer.fit_transform(words)
        num_topics = min(NUM_TOPICS, *weighted.shape)
        components[:num_topics] = randomized_svd(weighted, num_topics, n_iter=5, random_state=0)[2]
        return cls(tuple(vocabulary), vectorizer.idf_, components)

    def transform(self, words: list[str]) -> np.ndarray:
        """Return (rows, topics) float64."""
        if not self.vocabulary:
            return np.zeros((len(words), NUM_TOPICS))
        from sklearn.feature_extraction.text import CountVectorizer  # late: see `fit`
        from sklearn.preprocessing import normalize

        counts = CountVectorizer(vocabulary=self.vocabulary).transform(words)
        return normalize(counts.multiply(self.idf).tocsr()) @ self.components.T
