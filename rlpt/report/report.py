"""The report: the paper's claims with their verdicts, as one HTML page, as Markdown, and as JSON for programs."""

import json
from collections.abc import Sequence
from math import isnan
from pathlib import Path
from typing import Any

from rlpt.errors import UsageError
from rlpt.manifest import Manifest
from rlpt.report.agreement import encoder_outcomes
from rlpt.report.claims import EXPECTATIONS, MARGIN, METRICS, Claim, check_claims, load_claims
from rlpt.report.sections import (
    JudgedClaim,
    costs,
    figures,
    held_against,
    judged_claim,
    run_rows,
    statistics,
)
from rlpt.report.templating import render_page
from rlpt.report.verdicts import VERDICTS, Finding, Judgement, Verdict, judge
from rlpt.results.published import load_published
from rlpt.results.records import load_runs
from rlpt.runs.files import write_text, writing_to
from rlpt.runs.provenance import code_version, version_text
from rlpt.stats import deviation_range

_MARK = "<code>rlpt report</code>"


def write_report(manifests: dict[str, list[Manifest]], folders: Sequence[Path], out: Path) -> list[Path]:
    """Writes index.html, report.md and claims.json.

    Args:
        manifests: by profile, the same ones in each.
        folders: where run folders are looked for.
        out: the folder to write to; made if need be.

    Returns:
        The three paths.

    Raises:
        UsageError: if the claims, a manifest or a finished run cannot be read, or `out` cannot be written.
    """
    theirs = load_published()
    ours = [load_runs(own, folders, f"Ours, {profile} profile") for profile, own in manifests.items()]
    ours = [data for data in ours if data.runs or data.encoders or data.classifiers]
    first = next(iter(manifests.values()))
    claims = load_claims()
    check_claims(claims, {manifest.name: manifest for manifest in first})
    data_sets = [theirs, *ours]
    judged = [judged_claim(name, claim, [judge(claim, data) for data in data_sets]) for name, claim in claims.items()]
    context = {
        "claims": [each for each in judged if not each.claim.check],
        "checks": [each for each in judged if each.claim.check],
        "data_sets": data_sets,
        "ours": ours,
        "figures": figures(first, data_sets),
        "encoders": [(data, encoder_outcomes(data)) for data in data_sets if data.encoders],
        "statistics": [(data, statistics(data, first)) for data in data_sets],
        "held": [held_against(data, theirs) for data in ours],
        "costs": [(data, costs(data)) for data in data_sets],
        "runs": [(data, run_rows(data, out)) for data in data_sets],
        "made_by": version_text(code_version()),
        "margin": MARGIN,
        "metrics": METRICS,
        "expectations": EXPECTATIONS,
        "deviation_of_three": deviation_range(3),
        "tally": tally,
        "decided": decided,
    }
    texts = {
        "index.html": render_page("report.html.j2", context),
        "report.md": render_page("report.md.j2", context),
        "claims.json": json.dumps([claim_entry(each) for each in judged], indent=2, ensure_ascii=False) + "\n",
    }
    page = out / "index.html"
    if page.is_file() and _MARK not in page.read_text(encoding="utf-8", errors="replace"):
        raise UsageError(f"{page}: is there already, and is no report: choose another --out")
    with writing_to(out):
        for name, text in texts.items():
            write_text(out / name, text)
    return [out / name for name in texts]


def tally(judged: list[JudgedClaim], index: int) -> dict[Verdict, int]:
    """Counts the verdicts of the data set at `index`."""
    verdicts = [each.judgements[index].verdict for each in judged]
    return {verdict: verdicts.count(verdict) for verdict in VERDICTS}


def decided(judged: list[JudgedClaim], index: int) -> list[tuple[JudgedClaim, Finding]]:
    """Returns the single comparisons that the data set at `index` decides, each of them once."""
    found: dict[tuple[str, ...], tuple[JudgedClaim, Finding]] = {}
    for each in judged:
        for finding in each.judgements[index].findings:
            if finding.verdict in ("holds", "fails"):
                key = (each.claim.manifest, finding.environment, finding.condition, finding.versus, finding.metric)
                found.setdefault((*key, finding.expect), (each, finding))
    return list(found.values())


def claim_entry(judged: JudgedClaim) -> dict[str, Any]:
    """Returns a claim as claims.json has it."""
    claim: Claim = judged.claim
    return {
        "id": judged.id,
        "text": claim.text,
        "kind": "check" if claim.check else "claim",
        "source": {"section": claim.section, "figure": claim.figure or None},
        "manifest": claim.manifest,
        "metric": claim.metric,
        "data_sets": [_judgement_entry(each) for each in judged.judgements],
    }


def _judgement_entry(judgement: Judgement) -> dict[str, Any]:
    return {
        "data_set": judgement.data_set.name,
        "profile": judgement.data_set.profile or None,
        "seeds": judgement.seeds,
        "verdict": judgement.verdict,
        "verdict_by_bootstrap_alone": judgement.bootstrap_verdict,
        "seeds_to_settle": judgement.power_note,
        "comparisons": [_finding_entry(found) for found in judgement.findings],
    }


def _finding_entry(found: Finding) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "environment": found.environment or None,
        "condition": found.condition,
        "versus": found.versus,
        "expect": found.expect,
        "metric": found.metric,
        "verdict": found.verdict,
    }
    gap, chance = found.difference, found.probability
    if gap is None or chance is None:
        return entry
    digits = 4 if found.metric == "top1" else 1
    return entry | {
        "difference": round(gap.value, digits),
        "interval": _ends((gap.low, gap.high), digits),
        "bootstrap_interval": _ends(gap.bootstrap, digits),
        "student_interval": _ends(gap.student, digits),
        "verdict_by_bootstrap_alone": found.bootstrap_verdict,
        "paired": gap.paired,
        "runs": gap.count,
        "probability_of_improvement": round(chance.value, 3),
        "probability_interval": _ends((chance.low, chance.high), 3) if gap.known else None,
        "seeds_to_settle": found.seeds_needed,
    }


def _ends(ends: tuple[float, float], digits: int) -> list[float] | None:
    return None if isnan(ends[0]) else [round(end, digits) for end in ends]
