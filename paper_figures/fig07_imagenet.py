"""Figure 7: learning curves from scratch and from ImageNet, from the run folders.

    python paper_figures/fig07_imagenet.py [--profile lite] [--runs runs]

draws <runs>/figures/fig07_imagenet-<profile>.pdf and .png from what is finished;
`make fig07` runs what is missing first.
"""

import sys
from pathlib import Path

from rlpt.cli import main

MANIFEST = Path(__file__).parent.parent / "experiments" / "fig07_imagenet.toml"

if __name__ == "__main__":
    main(["plot", str(MANIFEST), *sys.argv[1:]])
