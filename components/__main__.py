"""The thin command line: a table from command name to the room that does it; imports lie inside commands."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from components.errors import BenchmarkError, ProjectError

# Read by torch when it is imported: large tensors lie in huge pages, which spares the training step page faults.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

app = typer.Typer(
    name="gmai", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help="Medical datasets to image-text pairs to a three-stage vision-language model to a promoted version.",
)  # fmt: skip

source = typer.Typer(no_args_is_help=True, help="Add one dataset, or look at what its card reads.")
app.add_typer(source, name="source", rich_help_panel="Data")

STAGES = {
    "ingest": ("components.data.ingest", "run_ingest", "Read the sources' native files into records."),
    "pair": ("components.pairs.make", "run_pair", "Write image-text pairs from the records' annotations."),
    "curate": ("components.pairs.curate", "run_curate", "Filter, deduplicate, and hold the splits apart."),
    "check": ("components.quality.check", "run_check", "Stop here unless every blocking expectation holds."),
    "pack": ("components.training.pack", "run_pack", "Turn pairs into token packs and an image store."),
    "register": ("components.registry.promotion", "run_register", "Register the model and ask the gate."),
}


def _stage_command(module: str, function: str) -> Callable[[], None]:
    def command() -> None:
        import importlib

        from components.settings import load_settings

        getattr(importlib.import_module(module), function)(load_settings())

    return command


for _name, (_module, _function, _help) in STAGES.items():
    app.command(_name, help=_help, rich_help_panel="Stages")(_stage_command(_module, _function))


@app.command(rich_help_panel="Stages")
def train(stage: Annotated[str, typer.Argument(help="a row of the recipe")]) -> None:
    """Train one stage of the recipe."""
    from components.settings import load_settings
    from components.training.launch import run_train

    run_train(load_settings(), stage)


@app.command(rich_help_panel="Stages")
def evaluate(
    benchmark: Annotated[str, typer.Option(help="a published benchmark; without it the stage runs")] = "",
    data: Annotated[Path | None, typer.Option(help="folder of the benchmark's files, as published")] = None,
    split: Annotated[str, typer.Option(help="its split by name; the benchmark's own default if not given")] = "",
    answering: Annotated[str, typer.Option(help="choice, text or likelihood, where the benchmark offers it")] = "",
    limit: Annotated[int, typer.Option(min=0, help="items at most, over types and patients; 0 is all")] = 0,
    model: Annotated[Path | None, typer.Option(help="checkpoint folder; the last stage's if not given")] = None,
    output: Annotated[
        Path | None, typer.Option(help="folder to write; named by what is asked if not given")
    ] = None,
) -> None:
    """Score the model and its baselines: on the held-out pairs, or on a published benchmark's files."""
    from components.settings import load_settings

    given = {
        "data": data,
        "split": split,
        "answering": answering,
        "limit": limit,
        "model": model,
        "output": output,
    }
    if not benchmark and (alone := [f"--{name}" for name, value in given.items() if value]):
        raise BenchmarkError(
            f"{', '.join(alone)} without --benchmark", where="gmai evaluate",
            fix="gmai evaluate --benchmark NAME --data DIR; the stage takes its choices from conf/evaluation",
        )  # fmt: skip
    settings = load_settings()
    if not benchmark:
        from components.evaluation.run import run_evaluate

        return run_evaluate(settings)
    from components.evaluation.published_run import Wanted, run_published

    way: Any = answering or None  # answering_by refuses what the benchmark does not offer
    place = data or Path("data") / benchmark
    run_published(settings, Wanted(benchmark, place, split, way, limit, model, output))
    return None


@app.command(rich_help_panel="Registry")
def compare(
    first: Annotated[Path, typer.Argument(help="folder of an evaluation")],
    second: Annotated[Path, typer.Argument(help="folder of another, by the same protocol")],
    page: Annotated[Path | None, typer.Option(help="HTML file to write")] = None,
) -> None:
    """Compare two evaluations item by item; numbers of different protocols are refused, what differs is named."""
    from components.evaluation.comparison_page import run_compare
    from components.settings import load_settings

    settings = load_settings()
    run_compare(first, second, resamples=settings.evaluation.bootstrap, seed=settings.seed, page=page)


@app.command(rich_help_panel="Training")
def plan(
    overrides: Annotated[
        list[str] | None, typer.Argument(help="plan conf/ with these, such as preset=gmai_vl_7b, not params.yaml")
    ] = None,
) -> None:
    """Forecast each stage's memory, operations, hours and disk; refuse what is over budget."""
    from components.settings import compose, load_settings, settings_from
    from components.training.plan import run_plan

    run_plan(settings_from(compose(overrides), where="conf/") if overrides else load_settings())


@app.command(rich_help_panel="Training")
def submit(stage: Annotated[str, typer.Argument(help="a row of the recipe")]) -> None:
    """Print the command or SLURM script that starts a stage on the chosen cluster; nothing is run."""
    from components.settings import load_settings
    from components.training.submit import start_text

    typer.echo(start_text(load_settings(), stage), nl=False)


@app.command("sample-data", rich_help_panel="Data")
def sample_data() -> None:
    """Build data/ from the real medical images inside the data packages."""
    from components.data.sample import build_sample_data
    from components.settings import load_settings

    build_sample_data(load_settings())


@app.command(rich_help_panel="Data")
def sources(
    modality: Annotated[str, typer.Option(help="only this modality, such as CT")] = "",
    status: Annotated[str, typer.Option(help="present, missing or unfinished")] = "",
) -> None:
    """List the dataset cards: present, missing or unfinished, how to obtain them, their terms."""
    from components.data.source_list import print_sources
    from components.settings import load_settings

    print_sources(load_settings(), modality=modality, status=status)


@source.command("add")
def source_add(folder: Annotated[Path, typer.Argument(help="the data set's files")]) -> None:
    """Look at a folder and write the skeleton of its card."""
    from components.data.skeleton import card_name, write_skeleton

    path, name = write_skeleton(folder), card_name(folder)
    typer.echo(
        f"{path}: fill in what says FILL IN, put the files below data/{name}/, then gmai source check {name}"
    )


@source.command("check")
def source_check(card: Annotated[str, typer.Argument(help="a card's name or its YAML file")]) -> None:
    """Read ten records of a source and show them in an HTML page with boxes and text."""
    from components.data.source_page import check_source
    from components.settings import load_settings

    check_source(load_settings(), card)


@source.command("names")
def source_names(
    name: Annotated[str, typer.Argument(help="a card's name")],
    hidden: Annotated[
        list[str] | None, typer.Argument(help="hidden paths, or parts of them; all when none")
    ] = None,
) -> None:
    """Say what a protected source's hidden paths stand for: on this terminal alone, from this disk alone."""
    from components.data.hidden_paths import find_names
    from components.settings import load_settings

    for shown, stated in find_names(Path(load_settings().ingest.private), name, hidden or ()):
        typer.echo(f"{shown}\t{stated}")


@app.command("accept-corpus", rich_help_panel="Data")
def accept_corpus() -> None:
    """Make the last corpus that passed the check, or failed it for drift alone, the one later ones are held to."""
    from components.quality.drift import ACCEPTED
    from components.quality.drift import accept_corpus as accept
    from components.settings import load_settings

    accept(load_settings().work_root / "checked")
    typer.echo(f"accepted: {ACCEPTED}")


@app.command(rich_help_panel="Configuration")
def configure(
    overrides: Annotated[list[str] | None, typer.Argument(help="Hydra overrides, such as preset=tiny")] = None,
) -> None:
    """Compose conf/ into params.yaml, which every stage reads."""
    import yaml

    from components.pairs.mixture import check_sources
    from components.settings import PARAMS, compose, settings_from
    from components.tracking.commit import write_bytes

    composed = compose(overrides or [])
    check_sources(settings_from(composed, where="conf/").recipe)
    write_bytes(PARAMS, yaml.safe_dump(composed, sort_keys=True, allow_unicode=True).encode())
    typer.echo(f"params.yaml: preset {composed['preset']}")


@app.command(rich_help_panel="Registry")
def promote(version: Annotated[str, typer.Argument(help="model version")]) -> None:
    """Ask the gate about a registered version and, if it agrees, move `champion` to it."""
    from components.registry.promotion import promote_version
    from components.settings import load_settings

    promote_version(load_settings(), version)


@app.command(rich_help_panel="Registry")
def rollback() -> None:
    """Move `champion` back to the version it pointed at before."""
    from components.registry.promotion import rollback_champion
    from components.settings import load_settings

    rollback_champion(load_settings())


@app.command(rich_help_panel="Registry")
def history(at: Annotated[str, typer.Option(help="moment, ISO 8601; UTC if no zone is given")] = "") -> None:
    """Print what happened in the registry, up to a moment, and who was champion then."""
    from components.registry.report import print_history

    print_history(at)


@app.command(rich_help_panel="Registry")
def trace(record_id: Annotated[str, typer.Argument(help="a record's id")]) -> None:
    """Follow a record from its source file through pair, pack and training run to the model versions."""
    from components.registry.trace import print_trace
    from components.settings import load_settings

    print_trace(load_settings(), record_id)


@app.command(rich_help_panel="Registry")
def withdraw(
    patient: Annotated[str, typer.Option(help="patient key, as records hold it")] = "",
    source: Annotated[str, typer.Option(help="name of a card")] = "",
    patient_id: Annotated[
        str, typer.Option(help="the patient's own id, as the files have it; - reads it from standard input")
    ] = "",
    namespace: Annotated[
        str, typer.Option(help="of --patient-id: the card's patient.namespace, or its name")
    ] = "",
) -> None:
    """Leave a patient or a source out of every later run, and list the models that saw them."""
    from components.registry.withdrawal import print_withdrawal
    from components.settings import load_settings

    own = sys.stdin.readline().strip() if patient_id == "-" else patient_id
    print_withdrawal(load_settings(), patient=patient, source=source, patient_id=own, namespace=namespace)


@app.command(rich_help_panel="Registry")
def predict(
    image: Annotated[Path, typer.Option(help="PNG, JPEG or DICOM file")],
    question: Annotated[str, typer.Option(help="what to ask")],
    model: Annotated[str, typer.Option(help="registry address")] = "champion",
) -> None:
    """Answer a question about an image with the champion."""
    from components.serving.predict import answer_question
    from components.settings import load_settings

    typer.echo(answer_question(load_settings(), image=image, question=question, alias=model))


@app.command(rich_help_panel="Operation")
def deploy(cron: Annotated[str, typer.Option(help="when to retrain")] = "0 3 * * 0") -> None:
    """Serve the retraining flow on a schedule, until stopped."""
    raise SystemExit(subprocess.call([sys.executable, "-m", "flows.deploy", "--cron", cron], env=dict(os.environ)))


def main() -> None:
    """Run the command line; a ProjectError ends it with its message and exit code 1."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    try:
        app()
    except ProjectError as error:
        typer.secho(str(error), fg="red", err=True)
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
