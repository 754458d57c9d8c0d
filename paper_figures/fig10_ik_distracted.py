"""Figure 10: learning curves from scratch and from inverse kinematics before distracting videos, from the run folders.

    python paper_figures/fig10_ik_distracted.py [--profile lite] [--runs runs]

draws <runs>/figures/fig10_ik_distracted-<profile>.pdf and .png from what is finished;
`make fig10` runs what is missing first.
"""

import sys
from pathlib import Path

from rlpt.cli import main

MANIFEST = Path(__file__).parent.parent / "experiments" / "fig10_ik_distracted.toml"

if __name__ == "__main__":
    main(["plot", str(MANIFEST), *sys.argv[1:]])
