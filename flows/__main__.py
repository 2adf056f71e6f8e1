"""Run one flow now: `python -m flows NAME`; the environment is set before Prefect loads."""

from __future__ import annotations

import argparse
import difflib
import importlib
import inspect
import os
import pkgutil
from pathlib import Path
from typing import Any

from components.errors import PipelineError, ProjectError
from flows.environment import prepare_environment
from flows.server import start_temporary_server


def find_flow(name: str) -> Any:
    """Return the Prefect flow that the module `flows.<name>` defines under its own name.

    Raises:
        PipelineError: there is no such module, or it defines no flow; near matches are named.
    """
    known = sorted(module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]))
    found = getattr(importlib.import_module(f"flows.{name}"), name, None) if name in known else None
    if found is None or not hasattr(found, "fn"):
        near = difflib.get_close_matches(name, known) or ["retrain"]
        raise PipelineError(f"no flow is called {name!r}", where="flows/", fix=f"python -m flows {near[0]}")
    return found


def main() -> None:
    """Call the flow; a ProjectError ends it with its message and exit code 1."""
    parser = argparse.ArgumentParser(prog="python -m flows", description=__doc__)
    parser.add_argument("flow", help="a module of flows/ that defines a flow, such as retrain")
    parser.add_argument("--version", help="model version, for promote")
    chosen = parser.parse_args()
    prepare_environment(Path.cwd())
    try:
        flow = find_flow(chosen.flow)
        start_temporary_server(Path(os.environ["PREFECT_HOME"]))
        takes_version = "version" in inspect.signature(flow.fn).parameters
        print(flow(**({"version": chosen.version} if takes_version else {})))
    except ProjectError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
