"""The geometry of the report's charts."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlpt.report.charts import chart, curve_line, rounded_up
from rlpt.results.records import Run


def run(episodes: int, length: int = 250) -> Run:
    steps = length * np.arange(1, episodes + 1)
    curve = pd.DataFrame({"step": steps, "return": 1.0, "smoothed": np.linspace(0, 1, episodes)})
    return Run(
        figure=8, manifest="fig08_ik", environment="walker-walk", condition="baseline", label="Baseline",
        pretrained=False, seed=1, video="", steps=int(steps[-1]), shared_steps=int(steps[-1]), scores={}, curve=curve,
        encoder=None, hours=1.0, steps_per_second=1.0,
    )  # fmt: skip


@given(st.integers(1, 400), st.integers(1, 400))
def test_a_curve_ends_where_its_shortest_run_does(first: int, second: int) -> None:
    line = curve_line([run(first), run(second)], 0)
    assert line.x[-1] == 250 * min(first, second)
    assert len(line.x) >= min(first, second, 24)
    assert set(np.diff(line.x)) <= {line.x[-1] - line.x[-2]} if len(line.x) > 1 else True


@pytest.mark.parametrize(
    ("end", "labels"),
    [
        (25_000, ["0", "10k", "20k", "25k"]),
        (80_000, ["0", "20k", "40k", "60k", "80k"]),
        (1_000, ["0", "250", "500", "750", "1000"]),
        (42_000, ["0", "20k", "40k"]),
    ],
)
def test_the_end_of_an_axis_is_a_tick_unless_another_is_near(end: float, labels: list[str]) -> None:
    drawn = chart("t", "d", [], end, 10, ("x", "y"))
    assert [label for _, label in drawn.x_ticks] == labels


@given(st.floats(0.01, 1e6))
def test_an_axis_ends_at_a_round_number_beyond_what_it_shows(highest: float) -> None:
    end = rounded_up(highest)
    assert highest <= end * (1 + 1e-9) and end <= 1.7 * highest
    assert f"{end:.6e}".partition("e")[0].rstrip("0") in f"{end:.2e}", "at most three digits"
