"""The report as a browser shows and prints it.

The browser is driven over a pipe by Chromium's devtools protocol, for which no package is needed.
"""

import base64
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tfopt.report import write_report

FOUND = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(FOUND is None, reason="no Chromium: apt-get install chromium"),
]

# What is cut off or hangs out: of the page, of a table in print, of a picture.
TOO_WIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
CUT = (
    """[...document.querySelectorAll("%s")].filter((e) => e.scrollWidth > e.clientWidth + 1).map((e) => e.outerHTML)"""
)
DRAWN_OUTSIDE = """[...document.querySelectorAll("svg")].flatMap((svg) => {
  const frame = svg.getBoundingClientRect();
  return [...svg.querySelectorAll("path, use")].map((e) => [e, e.getBoundingClientRect()])
    .filter(([e, box]) => !e.closest("defs, clipPath") && box.width && getComputedStyle(e).fill !== "none" &&
      (box.left < frame.left - 1 || box.right > frame.right + 1 || box.bottom > frame.bottom + 1))
    .map(([e]) => svg.getAttribute("aria-label") + ": " + e.outerHTML);
})"""
COLUMN = """[...document.querySelectorAll("table")[0].tBodies[0].rows].map((row) => row.cells[%d].textContent)"""


class Browser:
    """One page in a headless Chromium.

    Example:
        with Browser() as browser:
            browser.open(Path("report.html"), width=390)
            browser.value("document.title")
    """

    def __enter__(self):
        self._profile = tempfile.mkdtemp(prefix="browser-")
        (read, self._write), (self._read, write) = os.pipe(), os.pipe()

        def as_three_and_four():
            first, second = os.dup(read), os.dup(write)  # neither may be 3 or 4 when they are closed
            os.dup2(first, 3)
            os.dup2(second, 4)

        self._process = subprocess.Popen(
            [FOUND, *_FLAGS, f"--user-data-dir={self._profile}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(3, 4, read, write),
            preexec_fn=as_three_and_four,
        )
        os.close(read)
        os.close(write)
        self._answers = os.fdopen(self._read, "rb")
        self._number, self._session, self.events = 0, None, []
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self._session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self(f"{domain}.enable")
        return self

    def __exit__(self, *exception):
        os.close(self._write)
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._answers.close()
        shutil.rmtree(self._profile, ignore_errors=True)

    def __call__(self, method, **parameters):
        """Call a method of the protocol and return its result; events are kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer["error"]
                return answer["result"]

    def _next(self):
        answer = bytearray()
        while (byte := self._answers.read(1)) != b"\0":
            assert byte, "the browser has ended"
            answer += byte
        answer = json.loads(answer)
        if "method" in answer:
            self.events.append(answer)
        return answer

    def open(self, path, width=1200, height=900, dark=False):
        """Load a page, as a screen of this width shows it."""
        self("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self("Emulation.setEmulatedMedia", media="", features=[scheme])
        self.events.clear()
        self("Page.navigate", url=Path(path).absolute().as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self._next()

    def value(self, expression):
        """Return the value of a JavaScript expression."""
        answer = self("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def complaints(self):
        """Return what stands on the console and what the page would have loaded."""
        told = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
        said = [event["params"] for event in self.events if event["method"] in told]
        asked = [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]
        return said + asked[1:]

    def picture(self, path):
        """Write the whole page as PNG."""
        data = self("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        Path(path).write_bytes(base64.b64decode(data))

    def pdf(self, path):
        """Print the page."""
        data = self("Page.printToPDF", preferCSSPageSize=True, printBackground=True)["data"]
        Path(path).write_bytes(base64.b64decode(data))


@pytest.fixture(scope="module")
def browser():
    with Browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def page(same_run_folder):
    """Return a page with long names and negative numbers in it."""
    result = json.loads((same_run_folder / "result.json").read_text())
    long = "hist_gradient_boosting_of_a_very_long_name"
    result["leaderboard"].append(
        {**result["leaderboard"][1], "model": long, "p_corrected": 1e-9, "tune_seconds": 1234.5}
    )
    result["objective"] = "mean_absolute_percentage_error"
    result["negated"] = True
    (same_run_folder / "result.json").write_text(json.dumps(result))
    column = {"kind": "numeric", "network": {"mean": 0.2, "low": 0.1, "high": 0.3}}
    found = {
        "models": {"network": "network"},
        "outputs": ["price"],
        "columns": [{"column": f"a column with a rather long name {place}", **column} for place in range(20)],
        "effects": [
            {"column": "price in thousands of dollars a year", "values": [1.0, 9.0], "network": [[1e6], [2e6]]}
        ],
    }
    (same_run_folder / "importance.json").write_text(json.dumps(found))
    return write_report(same_run_folder)


def test_page_shows_well_and_loads_nothing(page, browser):
    for width, dark in ((1200, False), (390, True)):
        browser.open(page, width=width, dark=dark)
        assert browser.complaints() == []
        assert browser.value(TOO_WIDE) <= 0
        assert browser.value(CUT % "section, header, p, pre, figure, h1, h2, li") == []
        assert browser.value(DRAWN_OUTSIDE) == []
        ink, paper = browser.value("((style) => [style.color, style.backgroundColor])(getComputedStyle(document.body))")
        assert (sum(map(int, re.findall(r"\d+", ink))) > sum(map(int, re.findall(r"\d+", paper)))) is dark
    # What the pointer is over is said: a name and its numbers.
    assert "svm: 0.499, 95 % interval 0.429 to 0.569" in browser.value(
        "[...document.querySelectorAll('svg title')].map((title) => title.textContent)"
    )


def test_click_sorts_a_table_by_numbers(page, browser):
    browser.open(page)
    scores = browser.value(COLUMN % 1)
    for order in ("ascending", "descending"):
        browser.value("document.querySelectorAll('th')[1].click()")
        assert browser.value("document.querySelectorAll('th')[1].getAttribute('aria-sort')") == order
        assert browser.value(COLUMN % 1) == sorted(scores, key=float, reverse=order == "descending")
    browser.value("document.querySelectorAll('th')[3].click()")  # vs best, where the best has a word for a number
    assert browser.value(COLUMN % 3)[-1] == "best"


def test_print_cuts_nothing(page, browser, tmp_path):
    browser.open(page, width=688)  # A4 between its margins
    browser("Emulation.setEmulatedMedia", media="print")
    assert browser.value(CUT % "body, section, .wide, pre, figure") == []
    assert browser.value("[...document.querySelectorAll('details table')].every((table) => table.offsetHeight > 0)")
    browser.pdf(tmp_path / "page.pdf")
    pages = re.findall(rb"/Type */Page\b", (tmp_path / "page.pdf").read_bytes())
    assert 2 <= len(pages) <= 8
