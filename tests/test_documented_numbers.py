"""Numbers that README and docs/fidelity.md give of the kept results are those of their files."""

import itertools

import numpy as np
import pandas as pd
import pytest

from rlpt.manifest import load_manifest
from rlpt.number_text import gap
from rlpt.report.agreement import against_baseline
from rlpt.results.published import load_published
from rlpt.results.records import grouped, load_runs, scores_of
from rlpt.stats import difference, final_score, seeds_to_exclude
from tests.conftest import REPOSITORY


def scores_after_25_000_steps(figure: str, condition: str) -> dict[int, float]:
    """Returns the mean of the last 15 episodes so far, by seed, of a reacher condition of results/lite."""
    scores = {}
    for path in (REPOSITORY / "results/lite" / figure / "train").glob(f"reacher-easy-from-{condition}-s*/episodes.csv"):
        episodes = pd.read_csv(path)
        seed = int(path.parent.name.removeprefix(f"reacher-easy-from-{condition}-s").partition("-")[0])
        scores[seed] = final_score(episodes.loc[episodes["step"] <= 25_000, "return"].to_numpy())
    return scores


def test_the_documents_say_how_far_two_runs_of_one_seed_part() -> None:
    """Figure 8's baselines and Figure 11's have the same seeds and settings, and ran with different commits."""
    first, second = (scores_after_25_000_steps(figure, "scratch") for figure in ("fig08", "fig11"))
    fidelity, readme = ((REPOSITORY / name).read_text(encoding="utf-8") for name in ("docs/fidelity.md", "README.md"))
    assert sorted(first) == sorted(second) == [37, 42, 69]
    for seed in first:
        assert f"| {seed} | {first[seed]:.0f} | {second[seed]:.0f} |" in fidelity
    assert gap(difference(second, first)) in fidelity
    both = {(figure, seed): score for figure, own in ((8, first), (11, second)) for seed, score in own.items()}
    for environment in ("reacher-easy", "cheetah-run", "walker-walk"):
        own = scores_after_25_000_steps("fig08", f"ik-{environment}-t40000")
        assert gap(difference(own, both, pair=False)) in fidelity
        if environment == "reacher-easy":
            assert gap(difference(own, both, pair=False)) in readme


def test_fidelity_says_what_runs_with_one_seed_share() -> None:
    fidelity = (REPOSITORY / "docs/fidelity.md").read_text(encoding="utf-8")
    for manifest, environment in (
        ("fig11_budget", "reacher-easy"),
        ("fig11_budget", "walker-walk"),
        ("fig08_ik", "cheetah-run"),
    ):
        folder = REPOSITORY / "results" / "lite" / manifest.partition("_")[0]
        data = load_runs([load_manifest(REPOSITORY / "experiments" / f"{manifest}.toml", "lite")], [folder], "kept")
        runs = [run for run in data.runs if run.environment == environment]
        found: dict[bool, list[float]] = {True: [], False: []}
        for one, other in itertools.combinations(runs, 2):
            first, second = (run.curve["return"] - run.curve["smoothed"] for run in (one, other))
            found[one.seed == other.seed].append(first.corr(second))
        same, different = (f"{np.mean(values):.2f}" for values in (found[True], found[False]))
        if environment == "reacher-easy":
            assert f"with one seed correlate at {same}, of two seeds at {different}" in " ".join(fidelity.split())
        else:
            assert f"({same} and {different})" in fidelity


def test_readme_says_what_differences_three_pairs_decide() -> None:
    readme = " ".join((REPOSITORY / "README.md").read_text(encoding="utf-8").split())
    manifest = load_manifest(REPOSITORY / "experiments" / "fig08_ik.toml", "lite")
    data = load_runs([manifest], [REPOSITORY / "results/lite/fig08"], "kept")
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
    fidelity, readme = ((REPOSITORY / name).read_text(encoding="utf-8") for name in ("docs/fidelity.md", "README.md"))
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


def test_readme_gives_the_control_of_initialisation() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    manifest = load_manifest(REPOSITORY / "experiments" / "extra" / "head_init.toml", "lite")
    data = load_runs([manifest], [REPOSITORY / "results" / "lite" / "head_init"], "kept")
    scores = {name: scores_of(own, "final") for name, own in grouped(data.runs, lambda run: run.condition).items()}
    for first, second in (
        ("scratch-default", "scratch-orthogonal"),
        ("ik-orthogonal", "scratch-orthogonal"),
        ("ik-default", "scratch-default"),
    ):
        assert gap(difference(scores[first], scores[second])) in readme


@pytest.mark.parametrize("manifest", ["fig08_ik", "fig11_budget"])
def test_readme_gives_every_difference_of_the_kept_results(manifest: str) -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    folder = REPOSITORY / "results" / "lite" / manifest.partition("_")[0]
    data = load_runs([load_manifest(REPOSITORY / "experiments" / f"{manifest}.toml", "lite")], [folder], "kept")
    conditions = grouped(data.runs, lambda run: (run.environment, run.condition)).values()
    differences = [gap(against_baseline(runs, data)) for runs in conditions if runs[0].pretrained]
    assert len(differences) == {"fig08_ik": 9, "fig11_budget": 6}[manifest]
    for text in differences:
        assert text in readme
