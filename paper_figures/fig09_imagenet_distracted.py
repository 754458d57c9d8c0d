"""Figure 9: learning curves from scratch and from ImageNet before distracting videos, from the run folders.

    python paper_figures/fig09_imagenet_distracted.py [--profile lite] [--runs runs]

draws <runs>/figures/fig09_imagenet_distracted-<profile>.pdf and .png from what is finished;
`make fig09` runs what is missing first.
"""

import sys
from pathlib import Path

from rlpt.cli import main

MANIFEST = Path(__file__).parent.parent / "experiments" / "fig09_imagenet_distracted.toml"

if __name__ == "__main__":
    main(["plot", str(MANIFEST), *sys.argv[1:]])
