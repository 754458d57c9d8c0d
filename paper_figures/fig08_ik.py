"""Figure 8: learning curves from scratch and from inverse-kinematics encoders, from the run folders.

    python paper_figures/fig08_ik.py [--profile lite] [--runs runs]

draws <runs>/figures/fig08_ik-<profile>.pdf and .png from what is finished;
`make fig08` runs what is missing first.
"""

import sys
from pathlib import Path

from rlpt.cli import main

MANIFEST = Path(__file__).parent.parent / "experiments" / "fig08_ik.toml"

if __name__ == "__main__":
    main(["plot", str(MANIFEST), *sys.argv[1:]])
