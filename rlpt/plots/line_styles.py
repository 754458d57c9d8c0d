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
    """Returns the slot of each condition's label: 0 for training from scratch, the others in the manifest's order."""
    conditions = [resolved.condition for resolved in manifest.conditions]
    scratch = next((each.label for each in conditions if each.pretrain == "none"), None)
    others = (label for label in dict.fromkeys(each.label for each in conditions) if label != scratch)
    found = {label: at for at, label in enumerate(others, 1)}
    return {each.label: found.get(each.label, 0) for each in conditions}


def colour_number(slot: int) -> int:
    """Returns which of COLOURS a slot has; the first is slot 0's alone."""
    return (slot - 1) % (len(COLOURS) - 1) + 1 if slot else 0


def line_style(slot: int) -> LineStyle:
    """Returns the look of a slot, unlike the 30 before it."""
    colour = colour_number(slot)
    turn = max(0, slot - 1) // (len(COLOURS) - 1)
    return LineStyle(
        COLOURS[colour], _DASHES[(colour + turn) % len(_DASHES)], _MARKERS[(colour + turn) % len(_MARKERS)]
    )
