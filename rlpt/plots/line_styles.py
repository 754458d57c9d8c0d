"""How a condition's lines look: the same in all figures of a manifest and in the report."""

from dataclasses import dataclass
from typing import Any

from rlpt.manifest import Manifest

COLOURS = ("#4a5058", "#0067a5", "#c04a00", "#0a7d57", "#4b1464", "#b89000")
"By slot; the report's style sheet has the same (--s0 to --s5)."
_DASHES: tuple[Any, ...] = ("", (4, 1.5), (1, 1), (5, 1, 1, 1), (3, 1, 1, 1, 1, 1), (8, 2))
_MARKERS = "o^sDvP"


@dataclass(frozen=True)
class LineStyle:
    """Colour, and what tells lines apart without it."""

    colour: str
    dashes: Any
    "As seaborn takes them."
    marker: str


def slots(manifest: Manifest) -> dict[str, int]:
    """Returns the slot of each condition's label, in the manifest's order; slot 0 is kept for training from scratch."""
    conditions = [experiment.condition for experiment in manifest.experiments]
    first = int(conditions[0].pretrain != "none")
    return {label: first + at for at, label in enumerate(dict.fromkeys(each.label for each in conditions))}


def line_style(slot: int) -> LineStyle:
    """Returns the look of a slot, unlike the 35 before it."""
    colour, turn = slot % len(COLOURS), slot // len(COLOURS)
    return LineStyle(COLOURS[colour], _DASHES[(slot + turn) % len(_DASHES)], _MARKERS[(slot + turn) % len(_MARKERS)])
