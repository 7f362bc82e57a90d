"""FSDP2: every rank holds a part of weights, gradients and optimizer, and saves that part itself.

A checkpoint has one safetensors file a rank. Along their first dimension the files follow each
other in the order of the ranks, so as many ranks as saved them read back what was theirs, bit for
bit, and any other number of ranks finds its rows in them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from trainer.checkpoint import CheckpointIncompatible, entry, fsync, shard_name
from trainer.disk import DiskFull, is_disk_full

_SHA256_BYTES = 32
_WRITTEN, _FULL, _FAILED = 0, 1, 2


def shard(model: nn.Module, layers: list[nn.Module], device: str, dtype: torch.dtype) -> None:
    """Parts the weights of a model among all ranks, in place.

    Each layer is gathered when it is called, and given back after; what is in no layer, at the
    first call of the model. Products are gathered in their precision, gradients summed in float32.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    mesh = init_device_mesh(device, (dist.get_world_size(),))
    # The sum along the layers stays in float32, whatever the products are computed in.
    policy = MixedPrecisionPolicy(
        param_dtype=dtype, reduce_dtype=torch.float32, cast_forward_inputs=False
    )
    for part in [*layers, model]:
        fully_shard(part, mesh=mesh, mp_policy=policy)


def local(tensor: Tensor) -> Tensor:
    """This rank's part of a tensor; the tensor itself where it is not parted."""
    to_local = getattr(tensor, 'to_local', None)
    return tensor if to_local is None else to_local()


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor, on every rank; they must ask for it together."""
    full_tensor = getattr(tensor, 'full_tensor', None)
    return tensor if full_tensor is None else full_tensor()


def parted_as(like: Tensor, part: Tensor) -> Tensor:
    """This rank's part of a tensor that is parted as another one, as such a tensor."""
    if not hasattr(like, 'to_local'):
        return part
    from torch.distributed.tensor import DTensor

    return DTensor.from_local(
        part, like.device_mesh, like.placements, shape=like.shape, stride=like.stride()
    )


class ShardedMuon(torch.optim.Muon):
    """Muon on parted matrices: only the one that is made orthogonal is gathered.

    Every rank does so for every matrix: that costs time, but neither rank nor bits depend on who
    does what. The operators of a DTensor give the same, many times slower.
    """

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """As Muon's, where nothing but the product of the iteration needs a whole matrix."""
        from torch.optim._muon import _adjust_lr, _zeropower_via_newtonschulz

        for group in self.param_groups:
            momentum, rate = group['momentum'], group['lr']
            for matrix in group['params']:
                state = self.state[matrix]
                if 'momentum_buffer' not in state:
                    state['momentum_buffer'] = torch.zeros_like(matrix.grad)
                gradient, buffer = local(matrix.grad), local(state['momentum_buffer'])
                buffer.lerp_(gradient, 1 - momentum)
                update = whole(parted_as(matrix, gradient.lerp(buffer, momentum)))
                update = _zeropower_via_newtonschulz(
                    update, group['ns_coefficients'], group['ns_steps'], group['eps']
                )
                adjusted = _adjust_lr(rate, group['adjust_lr_fn'], matrix.shape)
                part = local(matrix)
                part.mul_(1 - rate * group['weight_decay'])
                part.add_(update[_rows_of(matrix.shape[0])].to(part.dtype), alpha=-adjusted)


def _world() -> tuple[int, int]:
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def _rows_of(num_rows: int) -> slice:
    """The rows of this rank: equal parts, rounded up, so that the last ranks may have fewer."""
    rank, world_size = _world()
    each = -(-num_rows // world_size)
    return slice(min(rank * each, num_rows), min((rank + 1) * each, num_rows))


def save_shard(folder: Path, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Writes this rank's part, while all others write theirs; returns what all have written.

    Every rank hears of a rank that failed, so that none goes on alone.
    """
    rank, world_size = _world()
    file = folder / shard_name(rank, world_size)
    problem: Exception | None = None
    said = torch.zeros(1 + 8 + _SHA256_BYTES, dtype=torch.uint8)
    if world_size > 1:
        # The first rank of a host has made the folder by now.
        dist.all_reduce(torch.zeros(1))
    try:
        save_file({name: local(tensor).contiguous() for name, tensor in tensors.items()}, file)
        fsync(file)
        written = entry(file)
        said[1:9] = _as_bytes(int(written['bytes']).to_bytes(8, 'little'))
        said[9:] = _as_bytes(bytes.fromhex(written['sha256']))
    except Exception as error:
        problem = error
        said[0] = _FULL if is_disk_full(error) else _FAILED
    heard = [torch.zeros_like(said) for _ in range(world_size)]
    if world_size > 1:
        dist.all_gather(heard, said)
    else:
        heard = [said]
    if problem is not None:
        raise problem
    for other, told in enumerate(heard):
        if told[0] == _FULL:
            raise DiskFull(f'rank {other} found no room for its shard')
        if told[0] == _FAILED:
            raise RuntimeError(f'rank {other} could not write its shard')
    return {
        shard_name(other, world_size): {
            'sha256': bytes(told[9:].tolist()).hex(),
            'bytes': int.from_bytes(bytes(told[1:9].tolist()), 'little'),
        }
        for other, told in enumerate(heard)
    }


def _as_bytes(value: bytes) -> Tensor:
    return torch.tensor(list(value), dtype=torch.uint8)


def load_shard(folder: Path, num_saved: int, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """This rank's part of what so many ranks saved.

    `like` gives the whole shape of each parameter; what is of no parameter is that of a rank.
    """
    rank, _ = _world()
    files = [
        safe_open(folder / shard_name(other, num_saved), framework='pt')
        for other in range(num_saved)
    ]
    own = files[rank % num_saved]
    return {
        key: _rows(files, key, _rows_of(like[name].shape[0]))
        if (name := _parameter_of(key)) in like and own.get_slice(key).get_shape() != []
        else own.get_tensor(key)
        for key in own.keys()  # noqa: SIM118
    }


def _parameter_of(key: str) -> str:
    """The name in `model:<name>` and in `optimizer:<name>:<quantity>`."""
    parts = key.split(':')
    return parts[1] if len(parts) > 1 else ''


def _rows(files: list[Any], key: str, wanted: slice) -> Tensor:
    """Rows of what the files hold one after the other."""
    found, at = [], 0
    for file in files:
        part = file.get_slice(key)
        num_rows = part.get_shape()[0]
        first, last = max(wanted.start - at, 0), min(wanted.stop - at, num_rows)
        if first < last:
            found.append(part[first:last])
        at += num_rows
    if wanted.stop > at:
        raise CheckpointIncompatible(f'{key}: found {at} rows, expected at least {wanted.stop}')
    # A copy lies aligned in memory; a mapped slice may not, and kernels then round otherwise.
    return torch.cat(found) if found else files[0].get_slice(key)[0:0].clone()


def gather_on_first(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All of every tensor, on rank 0 alone; the ranks must ask for it together."""
    rank, _ = _world()
    gathered = {}
    for name, tensor in tensors.items():
        found = whole(tensor.detach())
        if rank == 0:
            gathered[name] = found.cpu()
    return gathered
