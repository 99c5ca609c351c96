"""What programs that `tfopt.search.code` writes are made of."""

HEAD = """\
# {title}
# It trains on {rows} rows and writes what it predicts for others: python model.py new.csv > predictions.csv
import sys

import numpy as np
import pandas as pd
{imports}

{names}
"""
PLAIN_READ = '''

def read(path):
    """Return the columns that are asked for, each in its kind."""
    cells = pd.read_csv(path, dtype=str, sep={sep}, encoding={encoding}, na_values={missing})
    kept = {{}}
    for name in cells:
        if name in NUMBERS:
            kept[name] = pd.to_numeric(cells[name]{decimal})
        elif name in BOOLEANS:
            kept[name] = cells[name].str.strip().str.lower().map(TRUTH)
        elif name in DATES:
            kept[name] = pd.to_datetime(cells[name], format=DATES[name])
        else:
            kept[name] = cells[name].str.strip()
    return pd.DataFrame(kept)


def training():
    """Return the features, the target{and_weights} of the training table."""
    frame = read(TABLE)
    return {returned}
'''
TFOPT_READ = '''

def read(path):
    """Return the features, read by tfopt: this table is written in a way that pandas alone does not read alike."""
    return read_rows(path, load().columns, target_names=TARGETS)


def load():
    """Return the training table."""
    return load_table(TABLE, **SETTINGS)


def training():
    """Return the features, the target{and_weights} of the training table."""
    table = load()
{class_weight}    return {returned}
'''
FUNCTIONS = {
    "days": '''

def days(frame):
    """Return dates as days since 1970."""
    times = frame.to_numpy("datetime64[s]")
    return np.where(np.isnat(times), np.nan, times.astype("int64") / 86400)
''',
    "cycles": '''

def cycles(frame):
    """Return sines and cosines of the day in the year, the day in the week and the time of the day; 0 if missing."""
    parts = []
    for name in frame:
        times = frame[name].to_numpy("datetime64[s]")
        missing = np.isnat(times)
        times = np.where(missing, np.datetime64(0, "s"), times)
        dates = times.astype("datetime64[D]")
        of_year = (dates - dates.astype("datetime64[Y]").astype("datetime64[D]")).astype("int64") / 365.25
        of_week = (dates.astype("int64") + 3) % 7 / 7
        of_day = (times - dates.astype("datetime64[s]")).astype("int64") / 86400
        for turns in (of_year, of_week, of_day):
            parts += [np.where(missing, 0, function(2 * np.pi * turns)) for function in (np.sin, np.cos)]
    return np.column_stack(parts)
''',
    "known": '''

OTHER, GAP = {other}, {gap}


def known(frame):
    """Return levels; those that are not listed count as one, and so do missing cells where training had any."""
    kept = {{}}
    for name, listed in LEVELS.items():
        values = frame[name].astype(object)
        kept[name] = values.where(values.isin(listed), OTHER).mask(values.isna(), GAP if name in GAPS else OTHER)
    return pd.DataFrame(kept)


def listed_levels():
    """Return the categories of each column in the order of the encoded columns."""
    return [[*listed, OTHER, *([GAP] if name in GAPS else [])] for name, listed in LEVELS.items()]
''',
    "gaps": '''

def gaps(frame):
    """Return 1 where a cell is missing."""
    return frame.isna().to_numpy(float)
''',
    "RobustScale": '''

class RobustScale(TransformerMixin, BaseEstimator):
    """Median and interquartile range (half the range where that is 0), outliers bent towards 3."""

    def fit(self, x, y=None):
        x = np.asarray(x, float)
        low, self.center_, high = np.nanpercentile(x, [25, 50, 75], axis=0)
        spread = np.where(high > low, high - low, (np.nanmax(x, axis=0) - np.nanmin(x, axis=0)) / 2)
        self.factor_ = np.divide(1, spread, where=spread > 0, out=np.zeros(len(spread)))
        return self

    def transform(self, x):
        z = (np.asarray(x, float) - self.center_) * self.factor_
        return z / np.sqrt(1 + (z / 3) ** 2)
''',
    "CommonScale": '''

class CommonScale(TransformerMixin, BaseEstimator):
    """Means subtracted, and all columns divided by one number: the root mean square of what is left."""

    def fit(self, x, y=None):
        x = np.asarray(x, float)
        self.center_ = np.nanmean(x, axis=0)
        self.scale_ = np.sqrt(np.nanmean((x - self.center_) ** 2)) or 1.0
        return self

    def transform(self, x):
        return (np.asarray(x, float) - self.center_) / self.scale_
''',
    "digits": '''

def digits(x):
    """Return numbers to seven digits, which is what the search trained with."""
    return x.astype("float32").astype("float64")
''',
}
TAIL = """

model = Pipeline([
    ("encode", {encode}),
{digits}    ("model", {model}),
])

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("which rows? python model.py new.csv > predictions.csv")
    features, target{weights} = training()
    model.fit(features[FEATURES], target{fit_weights})
    rows = read(sys.argv[1])[FEATURES]
    predicted = model.predict(rows)
    {result}
    predictions.to_csv(sys.stdout, index=False)
"""
EXAMPLES_NETWORK = """\
# {title}
# It writes what the network predicts for other examples: python model.py new.npz > predictions.csv
import sys

import keras
import numpy as np
import pandas as pd
import tfopt  # registers the classes of the file
from tfopt.data.example_sources import load_inputs
{own}
if len(sys.argv) != 2:
    sys.exit("which examples? python model.py new.npz > predictions.csv (or a folder, or PATH.py:function)")
model = keras.models.load_model({path}, compile=False{objects})
x = load_inputs(sys.argv[1]{reading})["x"]
predicted = model.predict(x, verbose=0)  # values, or the probability of each class
{result}
predictions.to_csv(sys.stdout, index=False)
"""

NETWORK = """\
# {title}
# It writes what the network predicts for the rows of a file: python model.py new.csv > predictions.csv
import sys

import keras
import numpy as np
import pandas as pd
import tfopt  # registers the classes of the file
from tfopt.data import read_rows
{own}
if len(sys.argv) != 2:
    sys.exit("which rows? python model.py new.csv > predictions.csv")
model = keras.models.load_model({path}, compile=False{objects})
rows = read_rows(sys.argv[1], model.columns, target_names=model.target_names)
predicted = model.predict(rows, verbose=0)  # values, or the probability of each class
{result}
predictions.to_csv(sys.stdout, index=False)
"""
