"""The ranks of one training run and how rank 0's decisions reach the others.

They meet in a file, not at a port: PyTorch's own store listens on every interface.
"""

import os
from datetime import timedelta

import torch
import torch.distributed as dist

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
    # Not by a URL, in which the path of a run directory would have to be quoted.
    store = dist.FileStore(os.environ['TEMPER_MEETING'], expected)
    store.set_timeout(_TIMEOUT)
    dist.init_process_group(
        'gloo',
        store=store,
        rank=int(os.environ['RANK']),
        world_size=expected,
        timeout=_TIMEOUT,
    )

    def from_rank_0(scale: float) -> float:
        decision = torch.tensor([scale], dtype=torch.float64)
        dist.broadcast(decision, 0)
        return decision.item()

    session.share(from_rank_0)
