"""How a GPU rounds what it multiplies."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from rlpt.settings import Precision


@contextmanager
def multiplying_in(precision: Precision) -> Iterator[None]:
    """Within the block, a GPU multiplies float32 numbers as they are, or, for "tf32", rounded to 10 bits.

    The published runs multiplied as they are; PyTorch's own default is the second in convolutions. ("bfloat16" is the
    encoder's matter: all else stays float32.)
    """
    backends = torch.backends
    before = backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32
    backends.cudnn.allow_tf32 = backends.cuda.matmul.allow_tf32 = precision == "tf32"
    try:
        yield
    finally:
        backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32 = before
