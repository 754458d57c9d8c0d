"""How a GPU computes: how it rounds what it multiplies, and by which algorithms."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from rlpt.settings import Precision


@contextmanager
def computing(precision: Precision, deterministic: bool = False) -> Iterator[None]:
    """Within the block, a GPU multiplies float32 numbers as they are, or, for "tf32", rounded to 10 bits.

    The published runs multiplied as they are; PyTorch's own default is the second in convolutions. ("bfloat16" is the
    encoder's matter: all else stays float32.)

    Args:
        precision: of convolutions and matrix products.
        deterministic: admit only algorithms that give the same bits every time; else cuDNN tries out which of its own
            is fastest for each shape.
    """
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32, cudnn.benchmark, torch.are_deterministic_algorithms_enabled()
    cudnn.allow_tf32 = matmul.allow_tf32 = precision == "tf32"
    cudnn.benchmark = not deterministic
    if deterministic:
        # Without it cuBLAS gives changing bits. It is read once, at a process's first matrix product.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(deterministic)
    try:
        yield
    finally:
        cudnn.allow_tf32, matmul.allow_tf32, cudnn.benchmark = before[:3]
        torch.use_deterministic_algorithms(before[3])
