"""`make run`: from a fresh clone to a promoted model, and nothing at all when everything is up to date.

The same function as the Prefect flows use walks DVC's graph (flows/graph.py); no server is started.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from components.errors import PipelineError, ProjectError
from flows.environment import prepare_environment

if TYPE_CHECKING:
    from components.settings import Settings


def call_command(root: Path, *arguments: str) -> None:
    """Run one of the project's own commands; raise PipelineError when it fails (it has said why)."""
    if subprocess.call([sys.executable, "-m", "components", *arguments], cwd=root):
        raise PipelineError(f"gmai {arguments[0]} failed; its message is above", fix=f"gmai {' '.join(arguments)}")


def make_ready(root: Path, preset: str) -> Settings:
    """Compose the preset, if one is asked for, build the raw data, if it is not there; return the settings."""
    from components.settings import load_settings

    settings = load_settings(root / "params.yaml")
    if preset and settings.preset != preset:
        group = "none" if preset == "default" else preset
        call_command(root, "configure", f"preset={group}")
        settings = load_settings(root / "params.yaml")
    if not (root / settings.corpus.data_root).is_dir():
        call_command(root, "sample-data")
        keep_in_cache(root, settings.corpus.data_root.with_suffix(".dvc"))
    return settings


def keep_in_cache(root: Path, pointer: Path) -> bool:
    """Store rebuilt raw data in DVC's cache when they are what the committed pointer names; say whether.

    Another corpus (a preset, or without the non-commercial sources) gives other data: then DVC itself moves
    the pointer when it next reproduces.
    """
    from dvc.repo import Repo

    if not (root / pointer).is_file():
        return False
    repo = Repo(str(root))
    [stage] = repo.stage.load_file(str(root / pointer))
    if any(out.changed_checksum() for out in stage.outs):
        return False
    repo.commit(target=str(root / pointer), force=True)
    return True


def make_available(root: Path, output: Path, *, target: str) -> None:
    """Bring the stages up to `target` up to date unless its `output` is there; what they print goes to stderr.

    For scripts that measure something of a stage's result and are run alone, in a fresh clone too.
    """
    if (root / output / "manifest.json").is_file():
        return
    for command in (
        ["make", "--no-print-directory", "data-packages"],
        [sys.executable, "-m", "flows.run", target],
    ):
        subprocess.run(command, cwd=root, check=True, stdout=sys.stderr)


def run(root: Path, *, preset: str = "", targets: tuple[str, ...] = ()) -> None:
    """Bring the pipeline up to date and say what ran, the scores, and who is champion."""
    from rich.console import Console

    from flows.graph import run_stages
    from flows.summary import print_champion, print_outcomes, print_scores

    started = time.monotonic()
    settings = make_ready(root, preset)
    outcomes = run_stages(root, targets)
    console = Console()
    print_outcomes(console, outcomes)
    print_scores(console, root)
    print_champion(console, root, model=settings.promotion.registered_model)
    console.print(f"[dim]{time.monotonic() - started:.1f} s in all[/]")


def main() -> None:
    """Parse the command line and run; a ProjectError ends it with its message and exit code 1."""
    parser = argparse.ArgumentParser(prog="python -m flows.run", description=__doc__)
    parser.add_argument("targets", nargs="*", help="stages of dvc.yaml to bring up to date (default: all)")
    parser.add_argument("--preset", default="", help="compose this preset first (default: params.yaml as it is)")
    chosen = parser.parse_args()
    prepare_environment(Path.cwd())
    try:
        run(Path.cwd(), preset=chosen.preset, targets=tuple(chosen.targets))
    except ProjectError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
