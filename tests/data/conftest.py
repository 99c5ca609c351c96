"""A table with a column of every kind, and rows that its training part has not seen."""

import numpy as np
import pandas as pd
import pytest

from tfopt.data import Column, load_table, read_rows


@pytest.fixture(scope="session")
def columns():
    return (
        Column("length (cm)", "numeric"),
        Column("a/b.c", "numeric", has_missing=True),
        Column("far", "numeric"),
        Column("颜色", "categorical", num_levels=4),
        Column("place", "categorical", num_levels=6, has_missing=True),
        Column("open", "boolean", has_missing=True),
        Column("closed", "boolean"),
        Column("when [utc]", "date", has_missing=True, date_format="ISO8601"),
        Column("since", "date", date_format="ISO8601"),
    )


@pytest.fixture(scope="session")
def make_rows():
    def make(seed, num_rows=60, new_levels=False):
        rng = np.random.default_rng(seed)
        places = ["Unter den Linden", "1", "x=y", "", "上海", "rare", "never seen"][: 7 if new_levels else 6]
        colours = ["红", "蓝", "green", "none", "new"][: 5 if new_levels else 4]
        start = pd.Timestamp("1905-02-28 23:59:59")

        def gaps(values, share=0.2):
            return values.mask(pd.Series(rng.random(num_rows) < share))

        def times():
            seconds = rng.integers(0, 150 * 365 * 86400, num_rows)
            return pd.Series((start + pd.to_timedelta(seconds, unit="s")).astype("datetime64[s]"))

        return pd.DataFrame(
            {
                "length (cm)": rng.normal(3.0, 2.0, num_rows),
                "a/b.c": gaps(pd.Series(rng.lognormal(0, 2, num_rows))),
                "far": 1e9 + rng.random(num_rows),
                "颜色": pd.Series(rng.choice(colours, num_rows)).astype("category"),
                "place": gaps(pd.Series(rng.choice([p for p in places if p], num_rows))).astype("category"),
                "open": gaps(pd.Series(rng.integers(0, 2, num_rows).astype(float))),
                "closed": rng.integers(0, 2, num_rows).astype(float),
                "when [utc]": gaps(times()),
                "since": times(),
            }
        )

    return make


@pytest.fixture
def read(tmp_path):
    """Write columns of texts, the target last, and load them."""

    def read(cells, separator=",", encoding="utf-8", before="", **options):
        lines = [list(cells), *zip(*cells.values(), strict=True)]
        quoted = [[f'"{cell}"' if separator in cell else cell for cell in line] for line in lines]
        path = tmp_path / "t.csv"
        text = before + "\n".join(separator.join(line) for line in quoted) + "\n"
        path.write_bytes(text.encode(encoding))
        table = load_table(path, **options)
        rows = read_rows(path, table.columns, target_names=table.target_names, ignored=table.ignored)
        pd.testing.assert_frame_equal(rows, table.features, check_categorical=False, check_dtype=False)
        return table

    return read


@pytest.fixture(scope="session")
def said():
    """Return what finds the note that holds all of some words."""

    def said(table, *words):
        return next((note for note in table.notes if all(word in note for word in words)), "")

    return said
