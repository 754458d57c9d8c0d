import numpy as np
import pytest

from rlpt.data.splits import batches, held_out, update_count


@pytest.mark.parametrize(
    ("examples", "stack", "least", "sizes"),
    [
        (240, 3, 2, [120, 120]),
        (250, 3, 2, [120, 120, 9]),
        (245, 3, 2, [120, 120]),
        (245, 3, 1, [120, 120, 3]),
        (8, 3, 2, [6]),
        (129, 3, 2, [120, 9]),
        (240, 1, 2, [120, 120]),
        (241, 1, 2, [120, 120]),
        (242, 1, 2, [120, 120, 2]),
    ],
)
def test_batches_are_whole_stacks_and_the_last_is_large_enough(
    examples: int, stack: int, least: int, sizes: list[int]
) -> None:
    rows = np.random.default_rng(0).permutation(examples)
    found = list(batches(rows, 120, stack, least))
    assert [len(batch) for batch in found] == sizes
    np.testing.assert_array_equal(np.concatenate(found), rows[: sum(sizes)])
    if least == 2:
        assert update_count(examples, 120, epochs=5, stack=stack) == 5 * len(sizes)


def test_the_last_part_is_held_out_and_never_empty() -> None:
    training, test = held_out(200, 0.1)
    assert (training.tolist(), test.tolist()) == (list(range(180)), list(range(180, 200)))
    assert [len(part) for part in held_out(4, 0.1)] == [3, 1]
