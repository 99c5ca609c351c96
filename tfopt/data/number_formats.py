"""Numbers as people write them: decimal sign, thousands separators, unit and sign, decided for a whole column.

Everything is decided on shapes, texts whose digits are all written `0`: a column has few of them, however long it is.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from tfopt.data.clock import DEGREES, HOURS, MINUTES, clock_numbers, clock_unit

# Digits of other scripts as well; minus signs and dashes; blanks, thin and unbreakable ones too; apostrophes.
_SHAPE = {start + digit: "0" for start in (0x30, 0x660, 0x6F0, 0x966, 0xFF10) for digit in range(10)}
_SHAPE |= dict.fromkeys(map(ord, "−‐‑‒–—﹣－"), "-")
_SHAPE |= dict.fromkeys([*map(ord, "\t\r\u00a0\u202f\u205f\u3000"), *range(0x2000, 0x200B)], " ")
_SHAPE |= dict.fromkeys(map(ord, "’‘ʼ´`′"), "'")
_SHAPE |= {ord("．"): ".", ord("，"): ",", ord("＋"): "+", ord("％"): "%"}
_PLAIN = {code: sign for code, sign in _SHAPE.items() if sign not in "0 '"}
_REMOVED = dict.fromkeys([code for code, sign in _SHAPE.items() if sign in " '"] + list(map(ord, " '_")))

_SYMBOL = "[$¢£¤¥֏؋৲৳૱௹฿៛₠-⃀﷼﹩＄￠￡￥￦]"
_CODES = (
    "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTC BTN BWP BYN BZD CAD CDF CHF "
    "CLP CNY COP CRC CUP CVE CZK DEM DJF DKK DOP DZD EGP ERN ESP ETB EUR FJD FRF GBP GEL GHS GIP GMD GNF GTQ GYD HKD "
    "HNL HRK HTG HUF IDR ILS INR IQD IRR ISK ITL JMD JOD JPY KES KGS KHR KMF KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD "
    "MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NLG NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN "
    "PYG QAR RMB RON RSD RUB RWF SAR SCR SDG SEK SGD SLE SOS SRD SSP SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS "
    "UAH UGX USD UYU UZS VES VND VUV WST XAF XCD XOF XPF YER ZAR ZMW ZWL"
)
_CURRENCY = rf"(?:[A-Z]{{0,3}}\ ?{_SYMBOL}|{'|'.join(_CODES.split())}|Rs\.?|[Kk]r\.?|Fr\.?|Kč|zł|Ft|lei|R\ )"
_CURRENCY_ONLY = re.compile(_CURRENCY, re.IGNORECASE)
# Where it stands for a factor, a number without it is another number.
_FACTOR = re.compile(
    r"[%‰‱kmbgt]|bn|mio\.?|mrd\.?|tsd\.?|mill?\.?|million|billion|thousand|lakh|crore|万|亿|千|ppm", re.IGNORECASE
)


# What stands behind numbers of which some have it and some have another, or none: 950, 1.2k and 3M.
_FACTORS = {"k": 1e3, "m": 1e6, "b": 1e9, "mn": 1e6, "bn": 1e9, "tsd": 1e3, "mio": 1e6, "mrd": 1e9}
_FACTORS |= {"mill": 1e6, "thousand": 1e3, "million": 1e6, "billion": 1e9, "lakh": 1e5, "crore": 1e7}
_FACTORS |= {"千": 1e3, "万": 1e4, "萬": 1e4, "亿": 1e8, "億": 1e8}
_SCALED = re.compile(rf"({'|'.join(sorted(_FACTORS, key=len, reverse=True))})\.?\ *({_CURRENCY})?", re.IGNORECASE)
MULTIPLIED = "×"  # ends the unit of a column of such numbers


def _pattern(decimal: str) -> re.Pattern[str]:
    point, comma = re.escape(decimal), re.escape(",."[decimal == ","])
    return re.compile(
        rf"""(?P<open>\()?\ *(?P<sign>[-+])?\ *(?P<before>{_CURRENCY})?\ *(?P<open2>\()?(?P<sign2>[-+])?\ *
        (?P<body>(?:0+|0{{1,3}}(?:{comma}0{{2,3}})*{comma}000|0{{1,3}}(?P<blank>[ '_])(?:0{{2,3}}(?P=blank))*000)
            (?P<decimals>{point}(?:0+|(?!-)))?|{point}0+)
        (?P<exponent>[eE][-+]?0+)?(?(decimals)|(?:{point}--?)?)(?:/[-=])?(?P<sign3>-)?
        \ *(?P<after>(?:[^\W\d_]|[%‰‱°"'″′]|{_SYMBOL})(?:[^\d,;()]{{0,14}}[^\d,;()\ ])?)?\ *(?P<close>\))?\ *""",
        re.VERBOSE,
    )


_PATTERNS = {decimal: _pattern(decimal) for decimal in ".,"}
# With this share of numbers, a few words or signs that recur are missing values.
MOSTLY = 0.8
_MOST_DIGITS = 15  # of a whole number that float64 holds
_POWER = re.compile(r"(?<=[mtn])[23](?!\w)")  # in m2, ft3, in2
_WITH_ENDING = re.compile(r"[-+]?\d+(?:[.,]\d+)?\s*(?P<ending>(?:[^\W\d_]|/ ?(?=\d)).*\d.*)")
_OF_A_YEAR = re.compile(r"/ ?(19|20)\d\d")
_LIMIT = re.compile(r"\s*[<>≤≥]=?\s*")
# Letters right behind a few of a column's numbers make codes or levels of them: 1OT beside 1, 136A beside 136.
_KNOWN = "[mglhst]|[mck]m|[mk]g|[mcd]l|in|ft|yd|mi|oz|lbs?|hrs?|min|sec|ms|yrs?|k?wh?|hp|mph|[rb]pm|[hk]?pa|[kmg]?hz"
_GLUED = re.compile(rf".*0(?!(?:{_KNOWN}|[kmgt]b|k?cal|px|pcs)$)[^\W\d_]{{1,3}}", re.IGNORECASE)


def shapes(texts: Sequence[str]) -> list[str]:
    """Return each text with its digits written as `0`, and one spelling of minus signs, blanks and apostrophes."""
    if not texts:
        return []
    found = _POWER.sub(lambda power: "²³"[power[0] == "3"], "\n".join(texts)).translate(_SHAPE).split("\n")
    return found if len(found) == len(texts) else [text.replace("\n", " ").translate(_SHAPE) for text in texts]


@dataclass(frozen=True)
class Evidence:
    """What the cells of a column say about how its numbers are written.

    Args:
        decimal: `"."` or `","` where the cells tell it, `""` where they do not.
        unclear: The one sign of cells such as `5.251`, which can be a decimal sign or a thousands separator.
        unit: What stands before or after the numbers.
        share: Share of the cells that are numbers with that unit, however the rest is decided.
    """

    decimal: str
    unclear: str
    unit: str
    share: float


def evidence(texts: Sequence[str], cell_shapes: Sequence[str], counts: np.ndarray) -> Evidence:
    """Return what a column's distinct texts say; `counts` tells how often each occurs."""
    weights: Counter[str] = Counter()
    for shape, count in zip(cell_shapes, counts.tolist(), strict=True):
        weights[shape] += count
    decisive, unclear, units, glued = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    fitting = {".": Counter[str](), ",": Counter[str]()}
    spellings: dict[str, str] = {"": ""}
    scaled: dict[str, _Fit] = {}
    for shape, weight in weights.items():
        point, comma = _fit(shape, "."), _fit(shape, ",")
        if (fit := point or comma) is None:
            continue
        unit = _same(fit.unit)
        units[unit] += weight
        glued[unit] += weight if _GLUED.fullmatch(shape) and not _CURRENCY_ONLY.fullmatch(fit.unit) else 0
        spellings.setdefault(unit, fit.unit)
        scaled.setdefault(unit, fit)
        fitting["."][unit] += weight if point else 0
        fitting[","][unit] += weight if comma else 0
        if point is None or comma is None:
            decisive["." if point else ","] += weight
        elif point.value_shape != comma.value_shape:
            unclear["." if "." in shape[point.body] else ","] += weight
    decimal, sign = _commonest(decisive), _commonest(unclear)
    if not decimal and sign:
        decimal = _decimal_of_unclear(texts, sign)
    unit = _commonest(Counter({unit: weight for unit, weight in units.items() if unit}))
    fitted = fitting[decimal or "."]
    num_cells = max(int(counts.sum()), 1)
    if (base := _base_of_factors(scaled, units)) is not None:
        alike = [unit for unit, fit in scaled.items() if _same(fit.base) in (_same(base), "")]
        share = sum(fitted[unit] for unit in alike) / num_cells
        return Evidence(decimal, "" if decisive else sign, f"{base} {MULTIPLIED}".strip(), share)
    unit = "" if glued[unit] == units[unit] < units[""] else unit
    share = sum(fitted[unit] for unit in {unit, ""}) / num_cells
    if share < MOSTLY:
        clock, clock_share = clock_unit(texts, counts)
        if clock_share > share:
            return Evidence("", "", clock, clock_share)
    return Evidence(decimal, "" if decisive else sign, spellings[unit], share)


def evidence_of_ending(texts: Sequence[str], counts: np.ndarray) -> Evidence | None:
    """Return what the numbers of a column say that all end alike with digits, as 69/100 or 4.5 out of 5 stars."""
    sample = texts[:: max(1, len(texts) // 1000)]
    if 2 * sum(_WITH_ENDING.fullmatch(text) is not None for text in sample) < len(sample):
        return None
    endings = Counter[str]()
    for text, count in zip(texts, counts.tolist(), strict=True):
        if match := _WITH_ENDING.fullmatch(text):
            endings[match["ending"]] += count
    ending = _commonest(endings)
    if endings[ending] < MOSTLY * counts.sum() or _OF_A_YEAR.fullmatch(ending):
        return None
    bare = _without_ending(texts, ending)
    known = evidence(bare, shapes(bare), counts)
    return None if known.unit else replace(known, unit=ending)


def _without_ending(texts: Sequence[str], ending: str) -> list[str]:
    return [text.removesuffix(ending).rstrip() for text in texts]


def _base_of_factors(scaled: Mapping[str, "_Fit"], units: Counter[str]) -> str | None:
    """Return the currency, or `""`, of a column whose numbers have several factors behind them, else None."""
    factors = {fit.factor for fit in scaled.values()} - {1.0}
    metres = factors == {1e6} and {fit.unit for fit in scaled.values() if fit.factor != 1.0} == {"m"}
    if not factors or metres or len({fit.factor for fit in scaled.values()}) < 2:
        return None
    weights = Counter({fit.base: units[unit] for unit, fit in scaled.items() if _CURRENCY_ONLY.fullmatch(fit.base)})
    return _commonest(weights)


def to_numbers(texts: Sequence[str], cell_shapes: Sequence[str], decimal: str, unit: str) -> np.ndarray:
    """Return the number that each text is, with this decimal sign and unit; NaN where it is none."""
    comma = "." if decimal == "," else ","
    clean: dict[int, str | None] = {
        **_PLAIN,
        **_REMOVED,
        ord(comma): None,
        **({0xFF0C: None} if comma == "," else {0xFF0E: None}),
    }
    clean |= {ord(decimal): ".", (0xFF0C if decimal == "," else 0xFF0E): "."}
    if unit in (HOURS, MINUTES, DEGREES):
        return clock_numbers(texts, unit)
    if re.search("[0-9]", unit):
        without = _without_ending(texts, unit)
        return to_numbers(without, shapes(without), decimal, "")
    multiplied, unit = unit.endswith(MULTIPLIED), unit.removesuffix(MULTIPLIED)
    wanted, bare = _same(unit), not _FACTOR.fullmatch(unit) or bool(_CURRENCY_ONLY.fullmatch(unit))
    values = np.full(len(texts), np.nan)
    held = np.array(texts, dtype=object)
    for shape, places in _places_of(cell_shapes):
        fit = _fit(shape, decimal)
        if fit is None or _same(fit.base if multiplied else fit.unit) not in (wanted, ""):
            continue
        numbers = _by_digits(held[places], shape, fit.body, decimal)
        if numbers is None:
            numbers = np.array([float(text[fit.body].translate(clean)) for text in held[places]])
        numbers = numbers * fit.factor if multiplied else numbers
        known = True if fit.unit or bare or multiplied or not wanted else numbers == 0
        values[places] = np.where(known, -numbers if fit.negative else numbers, np.nan)
    return values


def _places_of(cell_shapes: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield each distinct shape with the places where it stands."""
    codes, distinct = pd.factorize(np.array(cell_shapes, dtype=object))
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes, minlength=len(distinct)))
    yield from zip(distinct, np.split(order, ends[:-1]), strict=True)


def _by_digits(texts: np.ndarray, shape: str, body: slice, decimal: str) -> np.ndarray | None:
    """Return the numbers that texts of one shape hold, from their digits; None where float64 would round twice."""
    num_decimals = shape[body].partition(decimal)[2].count("0")
    places = [body.start + place for place, sign in enumerate(shape[body]) if sign == "0"]
    if "e" in shape[body].lower() or len(places) > _MOST_DIGITS:
        return None
    signs = texts.astype(f"U{len(shape)}").view(np.uint32).reshape(len(texts), len(shape))
    digits = signs[:, places].astype(np.int64) - ord("0")
    if ((digits < 0) | (digits > 9)).any():
        return None  # of another script
    return (digits @ 10 ** np.arange(len(places) - 1, -1, -1)) / 10.0**num_decimals


def looks_like_number(shape: str) -> bool:
    """Whether a shape is a number with a unit, or has digits and no letter: 5:30, 10-19, ~5, #5."""
    return "0" in shape and (not any(map(str.isalpha, shape)) or any(_fit(shape, decimal) for decimal in ".,"))


def starts_as_limit(text: str) -> bool:
    """Whether a text begins with a sign such as `<`."""
    return _LIMIT.match(text) is not None


def is_limit(text: str, cell_shape: str, decimal: str, unit: str) -> bool:
    """Whether a text tells a bound in place of a value, such as `<0.5`."""
    match = _LIMIT.match(text)
    if not match:
        return False
    return not np.isnan(to_numbers([text[match.end() :]], [cell_shape[match.end() :]], decimal, unit)[0])


@dataclass(frozen=True)
class _Fit:
    """How a shape is a number: where its digits stand, its unit, and whether it is below zero.

    The unit may be a factor, such as k, and the currency, or nothing, that is its base.
    """

    body: slice
    unit: str
    negative: bool
    value_shape: str
    factor: float
    base: str


def _fit(shape: str, decimal: str) -> _Fit | None:
    match = _PATTERNS[decimal].fullmatch(shape)
    if match is None:
        return None
    opened, closed = match["open"] or match["open2"], match["close"]
    signs = [sign for sign in (match["sign"], match["sign2"], match["sign3"]) if sign]
    if bool(opened) != bool(closed) or len(signs) + bool(opened) > 1 or (match["open"] and match["open2"]):
        return None
    if match["sign3"] and match["after"] and shape[match.end("sign3")] != " ":
        return None  # a code such as 8352-GBBCA
    start, end = match.start("body"), match.end("exponent") if match["exponent"] else match.end("body")
    value_shape = re.sub(r"[ '_]", "", shape[start:end]).replace("." if decimal == "," else ",", "").replace(",", ".")
    unit = " ".join(part.strip() for part in (match["before"], match["after"]) if part)
    scaled = _SCALED.fullmatch((match["after"] or "").strip())
    factor = _FACTORS[scaled[1].casefold()] if scaled else 1.0
    base = "".join(part.strip() for part in (match["before"], scaled[2]) if part) if scaled else unit
    return _Fit(slice(start, end), unit, bool(opened) or "-" in signs, value_shape, factor, base)


def _same(unit: str) -> str:
    """Return one spelling of a unit, of `1 year` and `2 years` too."""
    plain = unit.casefold().rstrip(".").replace(" ", "")
    return plain.removesuffix("s") if len(plain) > 2 else plain


def _commonest(weights: Counter[str]) -> str:
    return max(weights, key=weights.__getitem__, default="")


def _decimal_of_unclear(texts: Sequence[str], sign: str) -> str:
    """Look at the digits themselves: 0.123 has a decimal sign, 1.050 beside 947 has none; `""` if they do not tell."""
    other, num_signed, whole = "." if sign == "," else ",", 0, []
    for text in texts:
        if sign in text:
            if re.search(rf"(?<!\d)0\{sign}\d", text):
                return sign
            num_signed += 1
        elif digits := re.search(r"\d+", text):
            whole.append(int(digits[0]))
    largest = max(whole, default=0)
    if num_signed and len(whole) >= 3 and 100 <= largest < 1000:
        return other  # from 1000 on, and only there, a separator is written
    return sign if sign == "." and largest >= 10_000 else ""
