"""What the orchestrator's processes need in their environment, set before Prefect, DVC or MLflow is imported.

Nothing here overrides what the caller has set. Stage commands inherit it, so `python` inside `dvc.yaml`
is the interpreter that runs the flow.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

SERVER_START_SECONDS = 90
QUIET_AND_OFFLINE = {
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "HF_HUB_OFFLINE": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": str(SERVER_START_SECONDS),
    "TRANSFORMERS_OFFLINE": "1",
}


def prepare_environment(root: Path) -> None:
    """Fill os.environ with the defaults of a run in `root`, and put this interpreter first on PATH."""
    for name, value in QUIET_AND_OFFLINE.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("PREFECT_HOME", str(root / ".prefect"))
    binaries = str(Path(sys.executable).parent)
    known = os.environ.get("PATH", os.defpath)
    if known.split(os.pathsep)[0] != binaries:
        os.environ["PATH"] = os.pathsep.join([binaries, known])
