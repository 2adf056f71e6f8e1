"""Slow: the pages of a real tiny run in a real headless browser show every picture and log no error.

The report, the report with its standing against a champion and earlier runs, the comparison of two evaluations.
Their screenshots lie in artifacts/screenshots/ for a person to look at.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest
import torch
import yaml

from components.evaluation.comparison_page import run_compare
from components.evaluation.run import run_evaluate
from components.model.vlm import VLM, save_vlm
from components.settings import Settings, settings_from
from components.tracking.digest import digest_tree
from components.tracking.model_package import DIGEST_TAG
from components.tracking.past import open_past
from components.tracking.store import open_store
from tests.fakes.tables import make_corpus, write_corpus

ROOT = Path(__file__).parents[3]
SCREENSHOTS = ROOT / "artifacts" / "screenshots"
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
                                     tall: document.documentElement.scrollHeight,
                                     requests: performance.getEntriesByType("resource")
                                       .filter(entry => !entry.name.startsWith("data:")).length});
  document.documentElement.append(said);
});
</script>"""
TALLEST = 16_000  # pixels; what a browser's one picture holds
PAGES = ("report", "standing", "comparison")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not BROWSER, reason="needs a browser: apt-get install chromium (.ci/run does)"),
]


def browse(page: Path, *arguments: str, tall: int = 2400) -> subprocess.CompletedProcess[str]:
    profile = page.parent / f"profile-{page.stem}"
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--disable-dev-shm-usage", "--hide-scrollbars", "--enable-logging=stderr", "--log-level=0",
        f"--user-data-dir={profile}", f"--window-size=1280,{tall}", "--virtual-time-budget=20000", *arguments,
        page.as_uri(),
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)


def evaluate(settings: Settings, vlm: VLM, *, nudge: float) -> None:
    """Evaluate the tiny model with one weight moved, so that it is another model."""
    weight = vlm.model.state_dict()["lm_head.weight"][:40]
    before = weight.clone()
    weight.add_(nudge * torch.randn(weight.shape, generator=torch.Generator().manual_seed(7)))
    try:
        save_vlm(vlm.model, vlm.processor, settings.work_root / "models" / settings.recipe.final_stage)
    finally:
        weight.copy_(before)
    run_evaluate(settings)


@pytest.fixture
def pages(tracked: Settings, vlm: VLM, tmp_path: Path) -> dict[str, Path]:
    """Three evaluations in a real store, the first model the champion; the last one's pages."""
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    raw["evaluation"] |= {"max_new_tokens": 4, "batch_size": 4, "bootstrap": 100, "max_boxes": 6, "max_probes": 12}
    raw["tracking"], raw["promotion"] = tracked.tracking.model_dump(mode="json"), tracked.promotion.model_dump()
    settings = settings_from(raw, where="test")
    write_corpus(settings.work_root, *make_corpus())
    evaluate(settings, vlm, nudge=0.0)
    shutil.copytree(settings.work_root / "evaluation", tmp_path / "first")
    past, client = open_past(settings), open_store(settings).client
    client.create_registered_model(past.registry.name)
    digest = digest_tree(settings.work_root / "models" / settings.recipe.final_stage)
    version = client.create_model_version(past.registry.name, source="none", tags={DIGEST_TAG: digest})
    client.set_registered_model_alias(past.registry.name, "champion", version.version)
    for nudge in (0.5, 1.0):
        evaluate(settings, vlm, nudge=nudge)
    run_compare(settings.work_root / "evaluation", tmp_path / "first", resamples=50, seed=0, page=Path("c.html"))
    found = (settings.work_root / "evaluation" / "report.html", settings.work_root / "evaluation.report.html")
    return dict(zip(PAGES, (*found, Path("c.html")), strict=True))


def test_every_picture_is_shown_and_nothing_is_logged(pages: dict[str, Path], tmp_path: Path) -> None:
    texts = {name: path.read_text() for name, path in pages.items()}
    assert "Against the champion</h2>" not in texts["report"] and "Earlier runs" in texts["standing"]
    assert "This evaluation minus the champion" in texts["standing"]
    least = {"report": 20, "standing": 22, "comparison": 1}
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        page, picture = tmp_path / f"{name}.html", SCREENSHOTS / f"{name}.png"
        page.write_text(text.replace("</title>", f"</title>{PROBE}", 1))
        done = browse(page, "--dump-dom")
        found = re.search(r'<pre id="probe">(.*?)</pre>', done.stdout, re.DOTALL)
        assert found, done.stderr[-2000:]
        seen = json.loads(unescape(found.group(1)))
        assert seen["images"] == text.count("<img ") >= least[name]
        browse(pages[name].resolve(), f"--screenshot={picture}", tall=min(seen["tall"] + 40, TALLEST))
        assert (seen["broken"], seen["requests"], seen["wide"]) == ([], 0, False), name
        assert "CONSOLE" not in done.stderr, done.stderr[-2000:]
        assert picture.read_bytes()[:4] == b"\x89PNG" and picture.stat().st_size > 20_000
