"""Everything outside the recipe that could move a bit: threads, kernels, random state."""

import random

import numpy as np
import torch
from torch import Tensor


def fix_determinism(threads: int, seed: int) -> None:
    """Pins the thread count, refuses kernels without a fixed order, seeds every generator."""
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    # Filling what is about to be overwritten costs a fifth of the time; no kernel here reads it.
    torch.utils.deterministic.fill_uninitialized_memory = False
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def rng_tensors() -> dict[str, Tensor]:
    """The state of PyTorch's generator, the only one that pretraining draws from."""
    return {'torch': torch.get_rng_state()}


def restore_rng(tensors: dict[str, Tensor]) -> None:
    """Restores what `rng_tensors` gave."""
    torch.set_rng_state(tensors['torch'].clone())
