"""The ranks of one training run and how what one of them decides reaches the others.

On one host they meet in a file, not at a port; several hosts meet as trainer/meeting.py says.
"""

import os
from datetime import timedelta

import torch
import torch.distributed as dist

from trainer.meeting import find_store
from trainer.session import Session

_TORCHRUN_VARIABLES = ('RANK', 'LOCAL_RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT')
_TIMEOUT = timedelta(minutes=30)


def join_gang(session: Session) -> None:
    """Joins the process group when the recipe names more than one rank."""
    expected = session.run.recipe.worldSize
    found = int(os.environ.get('WORLD_SIZE', '1'))
    if found != expected:
        raise ValueError(f'recipe.worldSize {expected}: found {found} ranks; use trainer.launch')
    if expected == 1:
        # Libraries that see torchrun's variables would open a process group, and a port, for one.
        for name in _TORCHRUN_VARIABLES:
            os.environ.pop(name, None)
        return
    gang = session.run.gang
    if gang is None:
        # Not by a URL, in which the path of a run directory would have to be quoted.
        store = dist.FileStore(os.environ['TEMPER_MEETING'], expected)
    else:
        store = dist.PrefixStore('ranks', find_store(gang))
    store.set_timeout(_TIMEOUT)
    # What ranks agree on lies in memory; gradients lie where they were computed.
    on_gpus = session.run.recipe.device == 'cuda'
    dist.init_process_group(
        'cpu:gloo,cuda:nccl' if on_gpus else 'gloo',
        store=store,
        rank=int(os.environ['RANK']),
        world_size=expected,
        timeout=_TIMEOUT,
    )

    def from_rank_0(value: float) -> float:
        decision = torch.tensor([value], dtype=torch.float64)
        dist.broadcast(decision, 0)
        return decision.item()

    def lowest(value: float) -> float:
        decision = torch.tensor([value], dtype=torch.float64)
        dist.all_reduce(decision, dist.ReduceOp.MIN)
        return decision.item()

    session.share(from_rank_0, lowest)
