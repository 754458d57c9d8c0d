"""Names of the dm_control suite's tasks, known without importing dm_control (so that planning needs no OpenGL)."""

import difflib

from rlpt.errors import UsageError

SUITE_TASKS: dict[str, tuple[str, ...]] = {
    "acrobot": ("swingup", "swingup_sparse"),
    "ball_in_cup": ("catch",),
    "cartpole": ("balance", "balance_sparse", "swingup", "swingup_sparse", "two_poles", "three_poles"),
    "cheetah": ("run",),
    "dog": ("stand", "walk", "trot", "run", "fetch"),
    "finger": ("spin", "turn_easy", "turn_hard"),
    "fish": ("upright", "swim"),
    "hopper": ("stand", "hop"),
    "humanoid": ("stand", "walk", "run", "run_pure_state"),
    "humanoid_CMU": ("stand", "walk", "run"),
    "lqr": ("lqr_2_1", "lqr_6_2"),
    "manipulator": ("bring_ball", "bring_peg", "insert_ball", "insert_peg"),
    "pendulum": ("swingup",),
    "point_mass": ("easy", "hard"),
    "quadruped": ("walk", "run", "escape", "fetch"),
    "reacher": ("easy", "hard"),
    "stacker": ("stack_2", "stack_4"),
    "swimmer": ("swimmer6", "swimmer15"),
    "walker": ("stand", "walk", "run"),
}

NAMES = tuple(f"{domain}-{task}" for domain, tasks in SUITE_TASKS.items() for task in tasks)


def split_name(name: str) -> tuple[str, str]:
    """Splits `"walker-walk"` into `("walker", "walk")`.

    Raises:
        UsageError: if the suite has no such task; suggests the nearest one.
    """
    if name in NAMES:
        domain, _, task = name.partition("-")
        return domain, task
    nearest = difflib.get_close_matches(name, NAMES, n=1, cutoff=0.5)
    hint = f"did you mean {nearest[0]!r}?" if nearest else "names look like 'walker-walk'"
    raise UsageError(f"unknown environment {name!r}: {hint}")
