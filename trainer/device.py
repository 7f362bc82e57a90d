"""Where a rank computes: on the CPU, or on a GPU that no other rank has."""

import os
from typing import Literal

import torch

_BYTES = 1 << 30


def choose_device(wanted: Literal['cpu', 'cuda']) -> torch.device:
    """The device of this rank; raises ValueError where the recipe names one that is not there."""
    if wanted == 'cpu':
        return torch.device('cpu')
    index = int(os.environ.get('LOCAL_RANK', '0'))
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if found <= index:
        kind = 'CUDA ' + torch.version.cuda if torch.version.cuda else 'no CUDA'
        raise ValueError(
            f'recipe.device: found {found} GPUs (PyTorch {torch.__version__}, built for {kind}), '
            f"expected at least {index + 1}, one for each rank of this host; install NVIDIA's "
            'driver and a build of PyTorch for CUDA, or remove device: cuda from the pipeline file'
        )
    device = torch.device('cuda', index)
    torch.cuda.set_device(device)
    return device


def device_memory(device: torch.device) -> str | None:
    """What was taken of the device's memory at most, and what it has; None on a CPU."""
    if device.type != 'cuda':
        return None
    taken = torch.cuda.max_memory_allocated(device) / _BYTES
    there = torch.cuda.get_device_properties(device).total_memory / _BYTES
    return f'the trainer took {taken:.1f} GiB of the GPU at its peak, which has {there:.1f} GiB'
