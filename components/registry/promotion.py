"""The act: register a model, ask the gate, move the aliases, write the ledger. The decision itself is gate.py's.

`register` is a DVC stage: a refusal there is evidence, not a failure. `promote` and `rollback` act on the
registry alone; they raise PromotionRefused when the answer is no.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from components.errors import PromotionRefused
from components.registry import evidence as evidences
from components.registry.gate import Case, Evidence, Policy, Verdict, decide, package_problem
from components.registry.ledger import (
    LEDGER,
    Event,
    append_event,
    champion_of,
    events_until,
    former_champion,
    read_ledger,
)
from components.registry.report import print_verdict, verdict_page
from components.settings import Promotion, Settings
from components.tracking.commit import write_bytes, write_json
from components.tracking.digest import digest_json
from components.tracking.lineage import LineageRow, lineage_of
from components.tracking.model_package import DIGEST_TAG, Registry, Version, open_registry, registry_lock
from components.tracking.runs import StageRun, pinned_data
from components.tracking.stage import git_commit, open_stage

CHAMPION, CHALLENGER = "champion", "challenger"
PYFUNC_CODE = Path(__file__).parents[1] / "serving" / "pyfunc_model.py"
REPORTS = Path("var/reports")
METRICS = Path("metrics/evaluation.json")


def run_register(settings: Settings) -> None:
    """Run the register stage: evidence, version, challenger, verdict and, if it says so, champion."""
    root, policy = settings.work_root, policy_from(settings.promotion)
    model = root / "models" / settings.recipe.final_stage
    inputs = [model, root / "evaluation", METRICS]
    output = root / "registration"
    with open_stage(
        "register", settings, output=output, inputs=inputs, sections=["promotion", "tracking"]
    ) as work:
        registry = open_registry(settings)
        lineage = lineage_of(settings, until=work.name, store=registry.store)
        evidence = evidences.gather_evidence(
            model, checked=root / "checked", evaluation=root / "evaluation", metrics=METRICS,
            lineage=lineage, primary=policy.primary,
        )  # fmt: skip
        candidate = evidences.candidate_of(evidence, policy_hash=policy.hash, data=pinned_data())
        write_json(work.scratch / "candidate.json", candidate)
        work.count(read=1, kept=1)
        work.details |= {"model_digest": evidence.model_digest, "policy_hash": policy.hash}
        version, evidence = _register(registry, model, evidence, lineage, run=work.run)
        verdict = judge(registry, evidence, policy, resamples=settings.evaluation.bootstrap, seed=settings.seed)
        _record(registry, version, evidence, verdict, run=work.run)
        _act(registry, version, verdict)
        _keep_ledger(registry, version)


def promote_version(settings: Settings, version: str) -> None:
    """Ask the gate about a registered version and move `champion` to it.

    Raises:
        PromotionRefused: the gate says no; the reasons are in the message.
        TrackingError: there is no such version, or `champion` moved meanwhile.
    """
    registry, policy = open_registry(settings), policy_from(settings.promotion)
    wanted = registry.version(version)
    current = registry.alias(CHAMPION)
    if current and current.number == wanted.number:
        print(f"version {version} of {registry.name} is the champion already")
        return
    evidence = evidences.recall_evidence(registry, wanted)
    verdict = judge(registry, evidence, policy, resamples=settings.evaluation.bootstrap, seed=settings.seed)
    print_verdict(verdict, title=f"{registry.name} version {version}")
    _act(registry, wanted, verdict)
    _keep_ledger(registry, wanted)
    if verdict.outcome != "PROMOTE":
        raise PromotionRefused(
            f"{verdict.outcome}: version {version} stays out\n{verdict.reasons()}", where=registry.name,
            fix="mend what the reasons name, then dvc repro",
        )  # fmt: skip


def rollback_champion(settings: Settings) -> None:
    """Move `champion` back to the version before it, once that version's package is found whole.

    Raises:
        PromotionRefused: there is no version before it, or its package is not what was registered.
    """
    registry = open_registry(settings)
    with registry_lock():
        current = registry.alias(CHAMPION)
        _observe(registry, current)
        former = former_champion(read_ledger(), registry.name)
        if current is None or not former:
            raise PromotionRefused("there is no champion before this one", where=registry.name, fix="gmai history")
        target = registry.version(former)
        registered = target.tags.get(DIGEST_TAG, "")
        if problem := package_problem(evidences.package_digest(registry, target), registered):
            raise PromotionRefused(f"version {former}: {problem}", where=target.source, fix="gmai promote VERSION")
        registry.move_alias(CHAMPION, former, expected=current.number)
        facts = {"model_digest": registered, "reason": f"back from version {current.number}"}
        append_event("rollback", registry.name, moved_from=current.number, moved_to=former, facts=facts)
    _keep_ledger(registry, target)
    print(f"champion of {registry.name}: version {current.number} -> {former}")


def history(at: datetime | None = None) -> tuple[Event, ...]:
    """Return the registry's events up to a moment; the ledger's chain is verified on the way."""
    return events_until(read_ledger(), at)


def champion_at(model: str, at: datetime | None = None) -> str:
    """Return the version that was champion at a moment, "" for none."""
    return champion_of(history(at), model)


def policy_from(promotion: Promotion) -> Policy:
    """Turn the settings' section into the gate's policy, with the hash that every verdict carries."""
    return Policy(
        primary=promotion.primary,
        blind_threshold=promotion.require_image_over_blind,
        margin=promotion.non_inferiority_margin,
        require_lineage=promotion.require_complete_lineage,
        max_rejected=promotion.max_rejected,
        rules={name: rule.on_fail for name, rule in promotion.gates.items() if rule.enabled},
        hash=digest_json(promotion.model_dump(mode="json")),
        intended_use=promotion.intended_use,
    )


def judge(registry: Registry, evidence: Evidence, policy: Policy, *, resamples: int, seed: int) -> Verdict:
    """Gather the champion's side and decide."""
    version = registry.alias(CHAMPION)
    champion = evidences.recall_evidence(registry, version) if version else None
    comparison = evidences.compare(evidence, champion, resamples=resamples, seed=seed)
    return decide(Case(evidence, policy, champion, comparison))


def _register(
    registry: Registry, model: Path, evidence: Evidence, lineage: tuple[LineageRow, ...], *, run: StageRun
) -> tuple[Version, Evidence]:
    """Register these weights, unless a version holds them already, and call that version challenger."""
    trained = next((row.run_id for row in lineage if row.output == model.as_posix()), "") or run.run_id
    tags = _version_tags(evidence, lineage, train_run=trained, register_run=run.run_id)
    note = _note(registry, lineage)
    version = registry.with_digest(evidence.model_digest)
    if version is None:
        from rich.console import Console

        with Console(stderr=True).status("packaging the model"):
            version = registry.register(model, code=PYFUNC_CODE, run_id=trained, tags=tags, note=note)
    else:
        registry.set_tags(version.number, tags)
        registry.describe(version.number, note)
    with registry_lock():
        before = registry.alias(CHALLENGER)
        if before is None or before.number != version.number:
            registry.move_alias(CHALLENGER, version.number, expected=before.number if before else "")
            facts = {"model_digest": evidence.model_digest, "reason": f"register run {run.run_id}"}
            moved_from = before.number if before else ""
            append_event("register", registry.name, moved_from=moved_from, moved_to=version.number, facts=facts)
    return version, evidences.with_package(evidence, registry, version)


def _version_tags(
    evidence: Evidence, lineage: tuple[LineageRow, ...], *, train_run: str, register_run: str
) -> dict[str, str]:
    data = {f"gmai.data_digest.{path}": md5 for path, md5 in pinned_data().items()}
    use = {f"gmai.permitted_use.{name}": answer for name, answer in evidence.permitted_use.items()}
    use |= {"gmai.trained_on": ", ".join(evidence.sources)} if evidence.sources else {}
    runs = {f"gmai.run.{row.stage}": row.run_id for row in lineage if row.run_id}
    return {
        DIGEST_TAG: evidence.model_digest, "gmai.git_commit": git_commit(), "gmai.train_run": train_run,
        evidences.REGISTER_RUN_TAG: register_run, **data, **runs, **use,
    }  # fmt: skip


def _note(registry: Registry, lineage: tuple[LineageRow, ...]) -> str:
    """Write the version's description: the chain from raw data to weights, each run a link in MLflow's UI."""
    address = f"#/experiments/{registry.store.experiment_id}/runs"
    lines = [
        f"- {row.stage}: `{row.output}` `{row.digest[:36]}`"
        + (f" [run {row.run_id[:8]}]({address}/{row.run_id})" if row.run_id else "")
        for row in lineage
    ]
    return "Made from, in order:\n" + "\n".join(lines)


def _record(registry: Registry, version: Version, evidence: Evidence, verdict: Verdict, *, run: StageRun) -> None:
    """Keep the evidence and the verdict: in the register run, on the version, and as a page on this disk."""
    title = f"{registry.name} version {version.number}"
    page = verdict_page(verdict, evidence, title=title)
    run.log_text(_json(evidences.evidence_to_json(evidence)), evidences.EVIDENCE_ARTIFACT)
    run.log_text(_json(evidences.items_to_json(evidence)), evidences.ITEMS_ARTIFACT)
    run.log_text(_json(verdict.to_json()), "verdict.json")
    run.log_text(page, "verdict.html")
    run.set_tags({"gmai.verdict": verdict.outcome, "gmai.model_version": version.number})
    write_bytes(REPORTS / "verdict.html", page.encode())
    print_verdict(verdict, title=title)


def _act(registry: Registry, version: Version, verdict: Verdict) -> None:
    """Do what the verdict says, if `champion` is still the one that it was judged against."""
    facts = {
        "model_digest": verdict.model_digest, "report_digest": digest_json(verdict.to_json()),
        "policy_hash": verdict.policy_hash, "outcome": verdict.outcome, "reason": verdict.reasons(),
    }  # fmt: skip
    with registry_lock():
        current = registry.alias(CHAMPION)
        _observe(registry, current)
        before = current.number if current else ""
        if verdict.outcome != "PROMOTE":
            append_event("refuse", registry.name, moved_from=before, moved_to=before, facts=facts)
        elif before != version.number:
            registry.move_alias(CHAMPION, version.number, expected=verdict.champion_version)
            append_event("promote", registry.name, moved_from=before, moved_to=version.number, facts=facts)
    registry.set_tags(version.number, _verdict_tags(verdict))


def _verdict_tags(verdict: Verdict) -> Mapping[str, str]:
    return {"gmai.verdict": verdict.outcome, "gmai.policy_hash": verdict.policy_hash}


def _observe(registry: Registry, current: Version | None) -> None:
    """Note a champion that somebody moved without this module, so that the ledger tells the truth."""
    known, found = champion_of(read_ledger(), registry.name), current.number if current else ""
    if known != found:
        facts = {"reason": "the alias was moved outside of this project"}
        append_event("observe", registry.name, moved_from=known, moved_to=found, facts=facts)


def _keep_ledger(registry: Registry, version: Version) -> None:
    """Copy the ledger into the version's register run, so that it survives this disk."""
    run_id = version.tags.get(evidences.REGISTER_RUN_TAG) or registry.version(version.number).tags.get(
        evidences.REGISTER_RUN_TAG, ""
    )
    if run_id and LEDGER.is_file():
        registry.store.client.log_artifact(run_id, str(LEDGER), "ledger")


def _json(content: Any) -> str:
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False)
