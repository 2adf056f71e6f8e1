"""Which run made what: from an output folder to its run, and the whole chain of a pipeline with its gaps named."""

from __future__ import annotations

import json
from pathlib import Path


def maker_of(path: Path) -> str:
    """Return the id of the run that made this output (or the output this path lies in), or ""."""
    for folder in (path, *path.parents):
        sidecar = folder.with_name(folder.name + ".run.json") if folder.name else None
        if sidecar and sidecar.is_file():
            return str(json.loads(sidecar.read_text()).get("run_id", ""))
    return ""
