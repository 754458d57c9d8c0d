"""Numbers that README, results/README and docs/fidelity.md give of the kept results are those of their files."""

import itertools
import math
import re
from collections.abc import Hashable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from rlpt.manifest import load_manifest
from rlpt.number_text import gap
from rlpt.pipeline.jobs import plan
from rlpt.report.agreement import against_baseline
from rlpt.report.claims import load_claims
from rlpt.report.verdicts import BOUNDARIES, judge
from rlpt.results.published import load_published
from rlpt.results.records import DataSet, grouped, load_runs, scores_of
from rlpt.stats import difference, seeds_to_exclude
from tests.conftest import REPOSITORY

LITE = REPOSITORY / "results" / "lite"


def kept(manifest: str, *folders: str) -> DataSet:
    """Returns the runs of a manifest at lite that are kept in folders of results/lite."""
    path = next((REPOSITORY / "experiments").rglob(f"{manifest}.toml"))
    return load_runs([load_manifest(path, "lite")], [LITE / folder for folder in folders], "kept")


def reacher_scores(folder: str, condition: str, metric: str = "final") -> dict[Hashable, float]:
    return scores_of(kept("fig08_ik", folder).select(8, "fig08_ik", "reacher-easy", [condition]), metric)


def documents() -> tuple[str, str, str]:
    """Returns docs/fidelity.md, README.md and results/README.md, each as one line."""
    fidelity, readme, results = (
        " ".join((REPOSITORY / name).read_text(encoding="utf-8").split())
        for name in ("docs/fidelity.md", "README.md", "results/README.md")
    )
    return fidelity, readme, results


def test_the_documents_say_how_far_two_runs_of_one_seed_part() -> None:
    """Figure 8's baselines and its runs with reacher's encoder ran again, with another commit."""
    fidelity, readme, results = documents()
    scratch, scratch_again, ik, ik_again = (
        reacher_scores(folder, condition)
        for condition in ("baseline", "ik-reacher")
        for folder in ("fig08", "fig08_again")
    )
    for key in ((37, ""), (42, ""), (69, "")):
        row = " | ".join(f"{scores[key]:.0f}" for scores in (scratch, scratch_again, ik, ik_again))
        assert f"| {key[0]} | {row} |" in fidelity
    for first, second in ((scratch_again, scratch), (ik_again, ik), (ik, scratch), (ik_again, scratch_again)):
        assert gap(difference(first, second)) in fidelity
    assert gap(difference(ik_again, scratch_again)) in readme
    for first, second in ((ik, scratch), (ik_again, scratch_again)):
        assert gap(difference(first, second)) in results
    for metric in ("final", "auc"):
        moved_from, moved_to = (
            {
                f"{condition} {key}": score
                for condition in ("baseline", "ik-reacher")
                for key, score in reacher_scores(folder, condition, metric).items()
            }
            for folder in ("fig08", "fig08_again")
        )
        assert gap(difference(moved_to, moved_from)) in fidelity
        if metric == "final":
            moved = float(np.sqrt(np.mean([(moved_to[key] - moved_from[key]) ** 2 for key in moved_from])))
            assert f"score by {moved:.0f} (root mean square)" in fidelity
            assert f"moved by {moved:.0f} (root mean square)" in results


def test_results_gives_the_area_under_the_repeated_curves() -> None:
    _, _, results = documents()
    for folder in ("fig08", "fig08_again"):
        ik, scratch = (reacher_scores(folder, condition, "auc") for condition in ("ik-reacher", "baseline"))
        assert gap(difference(ik, scratch)) in results


def test_the_documents_say_what_repetition_does_to_the_verdict_fails() -> None:
    fidelity, readme, _ = documents()
    text = gap(difference(reacher_scores("fig08", "ik-cheetah"), reacher_scores("fig08_again", "baseline")))
    assert text in fidelity
    assert text in readme


def test_repeated_baselines_are_the_beginning_of_figure_11_s() -> None:
    longer = {run.seed: run for run in kept("fig11_budget", "fig11").select(11, "fig11_budget", "reacher-easy", ["t0"])}
    again = kept("fig08_ik", "fig08_again").select(8, "fig08_ik", "reacher-easy", ["baseline"])
    assert len(again) == 3
    for run in again:
        assert run.curve.equals(longer[run.seed].curve[: len(run.curve)])


def test_fidelity_compares_figure_8_s_encoders_with_all_baselines() -> None:
    fidelity, _, _ = documents()
    both = {
        (folder, key): score
        for folder in ("fig08", "fig08_again")
        for key, score in reacher_scores(folder, "baseline").items()
    }
    for condition in ("ik-reacher", "ik-cheetah", "ik-walker"):
        assert gap(difference(reacher_scores("fig08", condition), both, pair=False)) in fidelity


def test_fidelity_says_what_runs_with_one_seed_share() -> None:
    fidelity, _, _ = documents()
    for manifest, environment in (
        ("fig11_budget", "reacher-easy"),
        ("fig11_budget", "walker-walk"),
        ("fig08_ik", "cheetah-run"),
    ):
        data = kept(manifest, manifest.partition("_")[0])
        runs = [run for run in data.runs if run.environment == environment]
        found: dict[bool, list[float]] = {True: [], False: []}
        for one, other in itertools.combinations(runs, 2):
            first, second = (run.curve["return"] - run.curve["smoothed"] for run in (one, other))
            found[one.seed == other.seed].append(first.corr(second))
        same, different = (f"{np.mean(values):.2f}" for values in (found[True], found[False]))
        if environment == "reacher-easy":
            assert f"with one seed correlate at {same}, of two seeds at {different}" in fidelity
        else:
            assert f"({same} and {different})" in fidelity


def test_readme_says_what_differences_three_pairs_decide() -> None:
    _, readme, _ = documents()
    data = kept("fig08_ik", "fig08")
    found = {}
    for environment, runs in grouped(data.runs, lambda run: run.environment).items():
        conditions = grouped((run for run in runs if run.pretrained), lambda run: run.condition).values()
        deviations = [against_baseline(own, data).deviation for own in conditions]  # type: ignore[union-attr]
        pooled = float(np.sqrt(np.mean(np.square(deviations))))
        least = next(distance for distance in itertools.count() if (seeds_to_exclude(distance, pooled) or 99) <= 3)
        found[environment] = round(least, -1)
    text = "from about {cheetah-run} on for cheetah, {walker-walk} for walker and {reacher-easy} for reacher"
    assert text.format_map(found) in readme


def test_the_documents_say_how_far_the_authors_runs_were_after_25_000_steps() -> None:
    fidelity, readme, _ = documents()
    logs = load_published()
    for environment in ("cheetah-run", "reacher-easy", "walker-walk"):
        first, second = (
            {run.repetition: run.curve.set_index("step")["smoothed"][25_000] for run in runs}
            for runs in (
                logs.select(8, "", environment, [name]) for name in (f"ik-{environment.partition('-')[0]}", "baseline")
            )
        )
        assert gap(difference(first, second)) in fidelity
        assert (gap(difference(first, second)) in readme) == (environment == "reacher-easy")
    final = [logs.scores("final", 8, "", "reacher-easy", [name]) for name in ("ik-reacher", "baseline")]
    assert gap(difference(final[0], final[1])) in readme


def test_the_documents_give_the_control_of_the_learning_rate() -> None:
    fidelity, readme, results = documents()
    data = kept("learning_rate", "learning_rate")
    scratch, ik, scratch_auc, ik_auc = (
        scores_of(data.select(0, "learning_rate", "reacher-easy", [condition]), metric)
        for metric in ("final", "auc")
        for condition in ("baseline", "ik")
    )
    for text in (fidelity, readme, results):
        assert gap(difference(ik, scratch)) in text
    assert gap(difference(ik_auc, scratch_auc)) in results
    means = [
        float(np.mean(list(scores.values()))) for scores in (scratch, *map(reacher_baselines, ("fig08", "fig08_again")))
    ]
    assert "({:.0f} against {:.0f} and, repeated, {:.0f})".format(*means) in fidelity
    assert f"end at {means[0]:.0f}" in results


def reacher_baselines(folder: str) -> dict[Hashable, float]:
    return reacher_scores(folder, "baseline")


def test_results_gives_the_control_of_initialisation() -> None:
    _, _, results = documents()
    for folders in (("fig08_again", "head_init"), ("head_init",)):
        data = kept("head_init", *folders)
        assert len({run.record["code"]["commit"] for run in data.runs if run.record}) == len(folders) % 2 + 1
        scores = {name: scores_of(own, "final") for name, own in grouped(data.runs, lambda run: run.condition).items()}
        texts = [
            gap(difference(scores[first], scores[second]))
            for first, second in (
                ("scratch-default", "scratch-orthogonal"),
                ("ik-orthogonal", "scratch-orthogonal"),
                ("ik-default", "scratch-default"),
            )
        ]
        if len(folders) > 1:
            assert all(text in results for text in texts)
        else:
            first, second, third = (text.partition(" ")[0] for text in texts)
            assert f"it is {first}, {second} and {third}" in results


@pytest.mark.parametrize("manifest", ["fig08_ik", "fig11_budget"])
def test_readme_gives_every_difference_of_the_kept_results(manifest: str) -> None:
    _, readme, _ = documents()
    data = kept(manifest, manifest.partition("_")[0])
    conditions = grouped(data.runs, lambda run: (run.environment, run.condition)).values()
    differences = [gap(against_baseline(runs, data)) for runs in conditions if runs[0].pretrained]
    assert len(differences) == {"fig08_ik": 9, "fig11_budget": 6}[manifest]
    for text in differences:
        assert text in readme


def test_readme_names_what_the_demo_leaves() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    folders = [job.folder(Path("runs")).path for job in plan(load_manifest(REPOSITORY / "experiments" / "demo.toml"))]
    assert {str(path) for path in folders if str(path) in readme} == set(
        re.findall(r"runs/(?:train|pretrain)/[\w-]+", readme)
    )


def test_no_comparison_of_the_authors_runs_survives_a_correction_for_their_number() -> None:
    """By Benjamini and Hochberg's, the mildest usual one; what Holm's finds is among what that finds."""
    logs, smallest = load_published(), []
    for claim in load_claims().values():
        for found in judge(claim, logs).findings:
            measured = found.difference
            if measured and measured.known:
                error = measured.deviation / math.sqrt(measured.count)
                degrees = (measured.count - 1) * (1 if measured.paired else 2)  # Welch's are at most so many
                distances = (abs(measured.value - boundary) for boundary in BOUNDARIES[found.expect])
                smallest.append(max(2 * stats.t.sf(distance / error, degrees) for distance in distances))
    assert (len(smallest), round(min(smallest), 3)) == (41, 0.010)
    assert min(stats.false_discovery_control(smallest)) > 0.05
