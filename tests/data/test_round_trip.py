"""A random table, written in the habits of a random country, is read back as it was."""

import csv

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tfopt.data import load_table, read_rows

# Decimal sign, thousands separator, field separator, day before month.
COUNTRIES = {
    "us": (".", ",", ",", "%m/%d/%Y"),
    "gb": (".", ",", ",", "%d/%m/%Y"),
    "de": (",", ".", ";", "%d.%m.%Y"),
    "fr": (",", "\u202f", ";", "%d/%m/%Y"),
    "ch": (".", "’", ";", "%d.%m.%Y"),
    "se": (",", "\u00a0", "\t", "%Y-%m-%d"),
    "za": (",", " ", ";", "%Y/%m/%d"),
    "cn": (".", ",", ",", "%Y年%m月%d日"),
}
UNITS = ("{}", "${}", "{} €", "CHF {}", "{} kg", "{}%", "{} °C")
MARKS = ("", "NA", "-", "n.a.", "(null)", "unknown", "#DIV/0!")
MINUS = ("-", "−")

numbers = st.fixed_dictionaries(
    {
        "kind": st.just("number"),
        "scale": st.sampled_from((1.0, 1e3, 1e6)),
        "decimals": st.sampled_from((0, 1, 2, 4)),
        "unit": st.sampled_from(UNITS),
        "grouped": st.booleans(),
        "minus": st.sampled_from(MINUS),
        "mark": st.sampled_from(MARKS),
    }
)
others = st.fixed_dictionaries({"kind": st.sampled_from(("level", "date", "truth"))})


def make(column, country, rng, num_rows):
    """Return a column's values and how they are written."""
    decimal, thousands, _, date_format = COUNTRIES[country]
    if column["kind"] == "level":
        levels = rng.choice(["red", "dark blue", "42nd", "x, y; z", "-"], num_rows)
        return levels, list(levels)
    if column["kind"] == "truth":
        truth = rng.integers(0, 2, num_rows)
        truth[:2] = 0, 1
        return truth.astype(float), [("no", "Yes")[value] for value in truth]
    if column["kind"] == "date":
        days = pd.DatetimeIndex(np.datetime64("2001-01-01") + rng.integers(0, 5000, num_rows).astype("timedelta64[D]"))
        return days.to_numpy("datetime64[s]"), [day.strftime(date_format) for day in days]
    values = np.round(rng.normal(0, column["scale"], num_rows), column["decimals"]) + 0.0
    values[0] = 1234.0  # enough to vary

    def write(value):
        text = f"{abs(value):,.{column['decimals']}f}" if column["grouped"] else f"{abs(value):.{column['decimals']}f}"
        text = text.translate({ord(","): thousands, ord("."): decimal})
        return (column["minus"] if value < 0 else "") + column["unit"].format(text)

    gaps = (rng.random(num_rows) < 0.1) & (np.arange(num_rows) > 0)
    written = [column["mark"] if gap else write(value) for value, gap in zip(values, gaps, strict=True)]
    return np.where(gaps, np.nan, values), written


@given(
    columns=st.lists(st.one_of(numbers, others), min_size=1, max_size=5),
    country=st.sampled_from(sorted(COUNTRIES)),
    seed=st.integers(0, 2**32 - 1),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_is_read(tmp_path, columns, country, seed):
    rng = np.random.default_rng(seed)
    decimal, _, separator, _ = COUNTRIES[country]
    made = {f"c{place}": make(column, country, rng, 80) for place, column in enumerate(columns)}
    # A column that leaves no doubt about the country's decimal sign, and the target.
    clear = np.round(rng.normal(0, 10, 80), 1)
    written = {name: cells for name, (_, cells) in made.items()}
    written["clear"] = [f"{value:.1f}".replace(".", decimal) for value in clear]
    written["y"] = [("up", "down")[place % 2] for place in range(80)]
    path = tmp_path / "t.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=separator)
        writer.writerow(written)
        writer.writerows(zip(*written.values(), strict=True))
    table = load_table(path)
    for read in (table.features, read_rows(path, table.columns, target_names=["y"], ignored=table.ignored)):
        np.testing.assert_allclose(read["clear"], clear)
        for name, (values, _) in made.items():
            if name in table.ignored:
                assert len(set(map(str, values))) == 1, f"{name} was dropped"
            elif values.dtype.kind == "f":
                np.testing.assert_allclose(read[name].to_numpy(), values, rtol=1e-12)
            else:
                assert read[name].astype(str).tolist() == pd.Series(values).astype(str).tolist()
