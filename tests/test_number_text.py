"""How numbers are written for people."""

from math import nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlpt.number_text import MINUS, counted, ends, gap, number, roughly, signed, span
from rlpt.stats import Difference, difference


@given(st.floats(-1e6, 1e6), st.integers(0, 4))
def test_a_number_can_be_read_back(value: float, digits: int) -> None:
    text = number(value, digits)
    assert float(text.replace(MINUS, "-").replace(",", "")) == pytest.approx(value, abs=0.5 * 10.0**-digits + 1e-9)
    assert text.strip("0.") != MINUS, "zero has no sign"


def test_digits_may_lie_before_the_point() -> None:
    assert [number(35_833, digits) for digits in (0, -2, -3)] == ["35,833", "35,800", "36,000"]
    assert number(nan, -2) == "–"


@given(st.integers(1, 1000))
def test_rough_numbers_are_exact_while_they_are_small(count: int) -> None:
    text = roughly(count).replace(",", "")
    assert count <= int(text) < (count + 1 if count <= 20 else 2 * count)
    assert count <= 20 or not text[1:].strip("0")


def test_an_end_hardly_beyond_zero_is_not_rounded_to_it() -> None:
    def of(*differences: float) -> Difference:
        return difference(dict(enumerate(differences)), dict.fromkeys(range(len(differences)), 0.0))

    found = of(6.2, 12.1, 16.5)
    assert found.low < 0 < found.high and number(found.low) != "0"
    assert gap(found) == "+12 [−1, 24]"
    assert gap(of(6.5, 12.0, 16.0)) == "+11.5 [−0.3, 23.3]"
    assert ends(-0.2, 23) == "[−0.2, 23.0]"
    assert ends(0, 23) == "[0, 23]"
    assert ends(nan, nan) == "–"


def test_signs_counts_and_ranges() -> None:
    assert [signed(value) for value in (12, -12, 0.2, -0.2)] == ["+12", "−12", "0", "0"]
    assert [counted(1, "run"), counted(1234, "run"), counted("1–3", "run")] == ["1 run", "1,234 runs", "1–3 runs"]
    assert [span([3, 3]), span([3, 1]), span([])] == ["3", "1–3", ""]
