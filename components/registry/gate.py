"""The promotion gate: a pure function of (candidate's evidence, champion's evidence, policy).

Gates cannot compensate for each other, missing evidence fails and is named, and a comparison that cannot
tell says INCONCLUSIVE instead of guessing. A gate is a function of this module whose name stands in
`conf/promotion` under `gates`; adding one is that function and that row.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any, Literal

from components.errors import ConfigError
from components.evaluation.protocol import why_not_comparable
from components.evaluation.statistics import FEWEST_CLUSTERS

Outcome = Literal["PROMOTE", "HOLD", "REJECT", "INCONCLUSIVE"]
Result = Literal["passed", "failed", "inconclusive"]
MARGIN_NUMBERS = ("value", "low", "high", "n", "num_patients")
SAFE_SUFFIXES = {".safetensors", ".json", ".txt", ".jinja", ".parquet", ".model", ".md"}


@dataclass(frozen=True)
class Evidence:
    """What is known of one model version; None or empty means that the evidence is missing."""

    model_digest: str
    files: Mapping[str, str]  # name in the model's folder -> sha256
    damaged: tuple[str, ...] = ()  # files that are not what their suffix promises, each with the reason
    evaluated_digest: str = ""  # the weights that the evaluation read
    package_digest: str = ""  # the weights in the registered package
    quality: Mapping[str, Any] | None = None  # passed, failed, rejected_share
    lineage: tuple[Mapping[str, Any], ...] = ()  # stage, output, digest, fingerprint, run_id, gaps
    image_minus_blind: Mapping[str, Any] | None = None
    no_blind: str = ""  # why a benchmark has no blind row
    protocol: Mapping[str, str] = field(default_factory=dict)  # of the primary: part -> hash
    scores: tuple[Mapping[str, Any], ...] = ()
    items: Mapping[str, tuple[str, float]] = field(default_factory=dict)  # primary: item -> (patient, score)
    version: str = ""
    permitted_use: Mapping[str, str] = field(default_factory=dict)  # use -> strictest answer of its sources
    sources: tuple[str, ...] = ()  # that it was trained on


@dataclass(frozen=True)
class Comparison:
    """Candidate minus champion on the same items: mean difference, 95 % interval, sizes."""

    difference: float
    low: float
    high: float
    num_items: int
    num_clusters: int
    wins: int
    losses: int


@dataclass(frozen=True)
class Policy:
    """The rules, fixed before the run; `rules` maps a gate to what its failure means."""

    primary: str
    blind_threshold: float
    margin: float
    require_lineage: bool
    max_rejected: float
    rules: Mapping[str, Literal["REJECT", "HOLD"]]
    hash: str
    intended_use: Literal["research", "commercial"] = "research"


@dataclass(frozen=True)
class Case:
    """All that a gate may look at."""

    candidate: Evidence
    policy: Policy
    champion: Evidence | None = None
    comparison: Comparison | None = None


@dataclass(frozen=True)
class Finding:
    """What one gate found, in words and numbers."""

    gate: str
    result: Result
    reason: str
    measured: Mapping[str, float] = field(default_factory=dict)
    on_fail: str = ""


@dataclass(frozen=True)
class Verdict:
    """The outcome with every finding behind it."""

    outcome: Outcome
    findings: tuple[Finding, ...]
    policy_hash: str
    model_digest: str
    champion_version: str

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    def reasons(self) -> str:
        """Return one line for each gate that did not pass."""
        open_ones = (finding for finding in self.findings if finding.result != "passed")
        return "\n".join(f"{finding.gate}: {finding.reason}" for finding in open_ones)


def decide(case: Case) -> Verdict:
    """Ask every gate of the policy and join their findings.

    Raises:
        ConfigError: the policy names a gate that does not exist.
    """
    findings = tuple(_ask(name, case) for name in case.policy.rules)
    return Verdict(
        _outcome(findings), findings, case.policy.hash, case.candidate.model_digest,
        case.champion.version if case.champion else "",
    )  # fmt: skip


def _outcome(findings: tuple[Finding, ...]) -> Outcome:
    severities = {finding.on_fail for finding in findings if finding.result == "failed"}
    if "REJECT" in severities:
        return "REJECT"
    if severities:
        return "HOLD"
    if not findings or any(finding.result == "inconclusive" for finding in findings):
        return "INCONCLUSIVE"
    return "PROMOTE"


def _ask(name: str, case: Case) -> Finding:
    found = find_gate(name)(case)
    return Finding(name, found.result, found.reason, found.measured, case.policy.rules[name])


def find_gate(name: str) -> Callable[[Case], Finding]:
    """Return the gate of this name; ConfigError with near matches when there is none."""
    gates = gate_functions()
    if name not in gates:
        near = difflib.get_close_matches(name, gates) or sorted(gates)
        raise ConfigError(
            f"no gate is called {name!r}; near: {', '.join(near)}", where="conf/promotion", fix="gmai configure"
        )
    return gates[name]


def gate_functions() -> dict[str, Callable[[Case], Finding]]:
    """Find the gates: public functions of this module that take one Case and return a Finding."""
    functions = inspect.getmembers(inspect.getmodule(decide), inspect.isfunction)
    return {
        name: function
        for name, function in functions
        if not name.startswith("_") and function.__annotations__ == {"case": "Case", "return": "Finding"}
    }


def integrity(case: Case) -> Finding:
    """Only safe files, none damaged, and one digest from training through evaluation to the package."""
    model = case.candidate
    problems = [f"unsafe file {name}" for name in model.files if PurePosixPath(name).suffix not in SAFE_SUFFIXES]
    problems += [*model.damaged]
    if not any(name.endswith(".safetensors") for name in model.files):
        problems.append("no safetensors file")
    for what, digest in (("evaluated", model.evaluated_digest), ("packaged", model.package_digest)):
        if digest != model.model_digest:
            problems.append(f"{what} weights are " + ("not known" if not digest else f"others ({digest[:12]}…)"))
    return _finding(problems, f"{len(model.files)} files, one digest {model.model_digest[:12]}…")


def lineage_complete(case: Case) -> Finding:
    """Every link from the pinned raw data to the model is there and unchanged."""
    rows = case.candidate.lineage
    problems = [f"{row['stage']}: {gap}" for row in rows for gap in row["gaps"]]
    if not any(row["digest"] == case.candidate.model_digest for row in rows):
        problems.append("the chain does not end in this model")
    if problems and not case.policy.require_lineage:
        return Finding("", "passed", "not required; " + "; ".join(problems))
    return _finding(problems, f"{len(rows)} links without a gap")


def data_quality(case: Case) -> Finding:
    """Every blocking expectation held on the data the model was trained on, and few rows were lost."""
    quality = case.candidate.quality
    if quality is None:
        return Finding("", "failed", "missing evidence: the quality check's results")
    problems = [f"expectation {name} failed" for name in quality.get("failed", [])]
    if not quality.get("passed", False) and not problems:
        problems.append("the quality check did not pass")
    share = quality.get("rejected_share")
    if share is None:
        problems.append("missing evidence: the share of rejected rows")
    elif share > case.policy.max_rejected:
        problems.append(f"{share:.1%} of the rows were rejected, {case.policy.max_rejected:.1%} are tolerated")
    measured = {"rejected_share": float(share)} if share is not None else {}
    return _finding(problems, "every expectation held", measured)


def permitted_use(case: Case) -> Finding:
    """The terms of every source it was trained on allow what the model is meant for."""
    allowed, intended = case.candidate.permitted_use, case.policy.intended_use
    answer = allowed.get("commercial_use", "")
    told = f"commercial use: {answer or 'not recorded'}, by the terms of {len(case.candidate.sources)} sources"
    if intended == "research":
        return Finding("", "passed", f"meant for research; {told}")
    if not answer:
        return Finding("", "failed", "missing evidence: what the training sources' terms allow")
    return _finding([] if answer == "yes" else [f"meant for commercial use; {told}"], told)


def beats_blind(case: Case) -> Finding:
    """The model sees: its lead over itself with other patients' images is above the threshold for sure."""
    margin = case.candidate.image_minus_blind
    if not margin or margin.get("low") is None:
        reason = f" ({case.candidate.no_blind})" if case.candidate.no_blind else ""
        return Finding("", "failed", f"missing evidence: image minus blind{reason}")
    measured = {name: float(margin[name]) for name in MARGIN_NUMBERS if margin.get(name) is not None}
    words = f"image minus blind {_interval(measured)}, must be above {case.policy.blind_threshold:g}"
    if margin["low"] <= case.policy.blind_threshold:
        return Finding("", "failed", words, measured)
    return _with_enough_patients(Finding("", "passed", words, measured), margin.get("num_patients"))


def not_worse_than_champion(case: Case) -> Finding:
    """The primary score is not below the champion's by more than the margin."""
    if case.champion is None:
        return Finding("", "passed", "there is no champion yet")
    if case.champion.model_digest == case.candidate.model_digest:
        return Finding("", "passed", "the champion is this very model")
    ours, theirs = (_primary(model, case.policy.primary) for model in (case.candidate, case.champion))
    if ours is None:
        return Finding("", "failed", f"missing evidence: the score {case.policy.primary!r}")
    reason = _why_not_comparable(case, ours, theirs)
    if theirs is None or reason:
        return Finding("", "inconclusive", f"{reason}; evaluate the champion again first")
    if case.comparison is not None:
        return _paired(case.comparison, case.policy.margin)
    return _unpaired(ours, theirs, case.policy.margin)


def _why_not_comparable(case: Case, ours: Mapping[str, Any], theirs: Mapping[str, Any] | None) -> str:
    if theirs is None or case.champion is None:
        return f"the champion has no score {case.policy.primary!r}"
    return why_not_comparable(ours, theirs, our_parts=case.candidate.protocol, their_parts=case.champion.protocol)


def reversibility(case: Case) -> Finding:
    """The champion can be returned to: its package is whole before the alias leaves it."""
    if case.champion is None:
        return Finding("", "passed", "there is no champion to return to")
    problem = package_problem(case.champion.package_digest, case.champion.model_digest)
    result: Result = "failed" if problem else "passed"
    return Finding("", result, f"version {case.champion.version}: {problem or 'its package is whole'}")


def package_problem(found: str, registered: str) -> str:
    """Say why a package cannot be served again, or ""."""
    if not found:
        return "its package is gone"
    return "" if found == registered else "its weights are not those that were registered"


def _paired(comparison: Comparison, margin: float) -> Finding:
    measured = {name: float(value) for name, value in asdict(comparison).items()}
    words = (
        f"candidate minus champion {comparison.difference:+.3f} [{comparison.low:+.3f}, {comparison.high:+.3f}] "
        f"on {comparison.num_items} items of {comparison.num_clusters} patients, margin {margin:g}"
    )
    finding = Finding("", _against(comparison.low, comparison.high, margin), words, measured)
    return _with_enough_patients(finding, comparison.num_clusters)


def _with_enough_patients(finding: Finding, patients: int | None) -> Finding:
    """Return the finding; an inconclusive one when there are too few patients for any interval to be believed."""
    if patients is not None and patients >= FEWEST_CLUSTERS:
        return finding
    number = "not known of how many patients" if patients is None else f"too few patients: {patients}"
    reason = f"{finding.reason}; {number}, fewer than {FEWEST_CLUSTERS} can show no difference"
    return replace(finding, result="inconclusive", reason=reason)


def _unpaired(ours: Mapping[str, Any], theirs: Mapping[str, Any], margin: float) -> Finding:
    """Compare intervals when the champion's single answers are gone (wider, so more often inconclusive)."""
    low, high = ours["low"] - theirs["high"], ours["high"] - theirs["low"]
    measured = {"difference": ours["value"] - theirs["value"], "low": low, "high": high}
    words = f"intervals apart by [{low:+.3f}, {high:+.3f}], margin {margin:g} (no paired answers)"
    return Finding("", _against(low, high, margin), words, measured)


def _against(low: float, high: float, margin: float) -> Result:
    if low > -margin:
        return "passed"
    return "failed" if high < 0 else "inconclusive"


def _primary(model: Evidence, name: str) -> Mapping[str, Any] | None:
    return next((score for score in model.scores if score["benchmark"] == name), None)


def _interval(numbers: Mapping[str, float]) -> str:
    value, low, high = (numbers.get(name, float("nan")) for name in ("value", "low", "high"))
    return f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"


def _finding(problems: list[str], good: str, measured: Mapping[str, float] | None = None) -> Finding:
    if problems:
        return Finding("", "failed", "; ".join(problems), measured or {})
    return Finding("", "passed", good, measured or {})
