"""Does a stage wait for its input, and does its memory stay flat? `python benchmarks/training_steadiness.py`.

Reads what the newest finished run of the recipe's last stage told MLflow at each step; trains it first if there is
none. The peer is the run itself earlier on: `ratio` is the mean memory of the last quarter of the steps over that
of the second quarter (the first fills the optimiser's state and the kernels), `target` at most 1.05.
`share_waiting_for_input` is the mean over all steps, at most 0.03. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from statistics import mean
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))
TARGET, WAIT_TARGET = 1.05, 0.03


def newest_run(client: Any, name: str) -> str:
    """Return the id of the newest finished run of this name, in any experiment."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    found = client.search_runs(
        experiments, f"attributes.status = 'FINISHED' and attributes.run_name = '{name}'",
        order_by=["attributes.start_time DESC"], max_results=1,
    )  # fmt: skip
    if not found:
        raise SystemExit(f"no finished run {name!r} in the tracking store: run `make run` first")
    return found[0].info.run_id


def values_of(client: Any, run: str, metric: str) -> list[float]:
    """Return a metric's values in the order of their steps."""
    history = client.get_metric_history(run, metric)
    return [point.value for point in sorted(history, key=lambda point: (point.step, point.timestamp))]


def main() -> None:
    """Read, print, and print the JSON line."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    from components.settings import compose, settings_from
    from components.tracking.store import open_store
    from flows.run import make_available

    settings = settings_from(compose([], folder=ROOT / "conf"), where="conf")
    stage = settings.recipe.final_stage
    make_available(ROOT, Path("artifacts/models") / stage, target=f"train@{stage}")
    client = open_store(settings).client
    run = newest_run(client, f"train@{settings.recipe.final_stage}")
    memory = values_of(client, run, "memory_gigabytes")
    quarter = max(1, len(memory) // 4)
    second, last = mean(memory[quarter : 2 * quarter]), mean(memory[-quarter:])
    waited = mean(values_of(client, run, "share_waiting_for_input"))
    print(f"memory {second:.2f} GB in the second quarter, {last:.2f} GB in the last; waiting {waited:.2%}")
    print(json.dumps({
        "name": "training_steadiness", "peer": "the same run's second quarter", "ratio": round(last / second, 4),
        "target": TARGET, "steps": len(memory), "memory_gigabytes": round(last, 2),
        "share_waiting_for_input": round(waited, 5), "share_waiting_target": WAIT_TARGET,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
