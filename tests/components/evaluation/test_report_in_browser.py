"""Slow: the report opened by a real headless browser shows every picture, logs no error, and can be looked at."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest

from components.evaluation.charts import calibration
from components.evaluation.report import render_report
from tests.fakes.report import make_report_inputs

BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)
PROBE = """<script>
window.addEventListener("load", () => {
  const images = [...document.images];
  const broken = images.filter(image => !image.complete || image.naturalWidth === 0).map(image => image.alt);
  const wide = document.documentElement.scrollWidth > window.innerWidth + 1;
  const said = document.createElement("pre");
  said.id = "probe";
  said.textContent = JSON.stringify({images: images.length, broken: broken, wide: wide,
                                     requests: performance.getEntriesByType("resource")
                                       .filter(entry => !entry.name.startsWith("data:")).length});
  document.body.append(said);
});
</script></head>"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not BROWSER, reason="needs a browser: apt-get install chromium"),
]


def browse(page: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    profile = page.parent / "profile"
    command = [
        BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
        "--enable-logging=stderr", "--log-level=0", f"--user-data-dir={profile}", "--window-size=1280,2400",
        "--virtual-time-budget=20000", *arguments, page.as_uri(),
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)


def test_every_picture_is_shown_and_nothing_is_logged(tmp_path: Path) -> None:
    exams, predictions, metrics, images, heat = make_report_inputs()
    text = render_report(exams, predictions, metrics, images, heat)
    page, picture = tmp_path / "report.html", tmp_path / "report.png"
    page.write_text(text.replace("</head>", PROBE))
    done = browse(page, "--dump-dom")
    found = re.search(r'<pre id="probe">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr[-2000:]
    seen = json.loads(unescape(found.group(1)))
    assert seen["images"] == text.count("<img ") > 10
    assert (seen["broken"], seen["requests"]) == ([], 0)
    assert "CONSOLE" not in done.stderr, done.stderr[-2000:]
    assert calibration(predictions)
    browse(page, f"--screenshot={picture}")
    assert picture.read_bytes()[:4] == b"\x89PNG" and picture.stat().st_size > 20_000
