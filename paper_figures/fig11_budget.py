"""Figure 11: learning curves under one budget of steps, from the run folders.

    python paper_figures/fig11_budget.py [--profile lite] [--runs runs]

draws <runs>/figures/fig11_budget-<profile>.pdf and .png from what is finished;
`make fig11` runs what is missing first.
"""

import sys
from pathlib import Path

from rlpt.cli import main

MANIFEST = Path(__file__).parent.parent / "experiments" / "fig11_budget.toml"

if __name__ == "__main__":
    main(["plot", str(MANIFEST), *sys.argv[1:]])
