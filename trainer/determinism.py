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


def fix_gpu_determinism() -> None:
    """What a GPU needs beyond that; CUBLAS_WORKSPACE_CONFIG is set before it is first used.

    No TF32, which rounds float32 products to ten bits of mantissa, and no sums in bf16. Which
    kernel runs must not follow from how long it took.
    """
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


_CPU = torch.device('cpu')


def rng_tensors(device: torch.device = _CPU) -> dict[str, Tensor]:
    """The state of PyTorch's generators, the only ones that pretraining draws from."""
    cpu = {'torch': torch.get_rng_state()}
    return cpu if device.type == 'cpu' else {**cpu, 'cuda': torch.cuda.get_rng_state(device)}


def restore_rng(tensors: dict[str, Tensor], device: torch.device = _CPU) -> None:
    """Restores what `rng_tensors` gave."""
    torch.set_rng_state(tensors['torch'].clone())
    if device.type == 'cuda':
        torch.cuda.set_rng_state(tensors['cuda'].clone(), device)
