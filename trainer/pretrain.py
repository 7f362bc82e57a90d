"""Pretrains a causal or a masked model on token shards: `python -m trainer.pretrain --config
run.json`, or by torchrun with the arguments of trainer/launch.py. Everything that decides the bits
stands in the recipe.
"""

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from trainer.adapter import (
    add_adapters,
    keep_configuration,
    keep_template,
    load_base,
    save_merged,
    share_adapters,
    trained_parameters,
)
from trainer.alive import evaluating, preparing
from trainer.chat import end_of_text_id
from trainer.checkpoint import CheckpointIncompatible
from trainer.data import InvalidCorpus, Windows, rehearsed_row, windows_of
from trainer.determinism import (
    fix_determinism,
    fix_gpu_determinism,
    restore_rng,
    rng_tensors,
)
from trainer.device import choose_device
from trainer.gang import join_gang
from trainer.memory import parts
from trainer.model import LeanModel
from trainer.objective import objective_of
from trainer.optimizer import PhaseOptimizer, checkpoint_bytes, rate_factor
from trainer.phase import run_phase
from trainer.recipes import PretrainRecipe
from trainer.run_data import TokenData
from trainer.session import Session
from trainer.sharding import (
    gather_on_first,
    load_shard,
    local,
    save_shard,
    shard,
    whole,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_WEIGHTS, _OPTIMIZER, _RNG = 'model.safetensors', 'optimizer.safetensors', 'rng.safetensors'
# The evaluation on the way watches; the stage that follows measures the whole.
_MAX_EVALUATED_TOKENS = 1 << 18


class Pretraining:
    """Model, optimizer and place in the data: the state that a checkpoint holds."""

    def __init__(self, session: Session) -> None:
        run = session.run
        assert isinstance(run.recipe, PretrainRecipe) and isinstance(run.data, TokenData)
        self.session, self.run, self.recipe, self.data = session, run, run.recipe, run.data
        self.device = choose_device(run.recipe.device)
        fix_determinism(run.recipe.threads, run.recipe.seed)
        if self.device.type == 'cuda':
            fix_gpu_determinism()
        self.windows = windows_of(
            run.data,
            seed=run.recipe.seed,
            context_length=run.recipe.contextLength,
            vocab_size=run.model.vocabSize,
            replay=run.recipe.replay,
        )
        state = session.resume()
        self.cursor = 0
        dtype = torch.bfloat16 if run.recipe.precision == 'bf16' else torch.float32
        self.objective = objective_of(run, end_of_text_id(run.tokenizer))
        self.model = self._first_model(dtype)
        self.lean = self.objective.training_pass(self.model, dtype, self.device)
        self.parted = run.recipe.parallelism == 'fsdp2'
        if self.parted and dist.is_initialized():
            assert isinstance(self.lean, LeanModel)
            # Layer by layer, each goes to the device when it is parted.
            shard(self.lean, self.lean.layers_to_call(), self.device.type, dtype)
        else:
            self.model.to(self.device)
        self.parameters = trained_parameters(self.model)
        self.optimizer = PhaseOptimizer(self.model, run.recipe)
        if state is not None:
            self.cursor = int(state['cursor'])
            self._restore(Path(run.resumeFrom or ''), state)
        self.rehearsal = self._rehearsal_rows()
        self.rank = dist.get_rank() if dist.is_initialized() else 0
        self.forward: nn.Module = (
            nn.parallel.DistributedDataParallel(self.lean, self._device_ids())
            if dist.is_initialized() and not self.parted
            else self.lean
        )
        self.gathered: dict[str, Tensor] | None = None
        self.val_bpb: float | None = None
        self.val_bpb_before: float | None = None

    def _device_ids(self) -> list[int] | None:
        return None if self.device.index is None else [self.device.index]

    def _on_device(self, tensor: Tensor) -> Tensor:
        """From pinned memory, so that the copy goes on while the last step is computed."""
        if self.device.type == 'cpu':
            return tensor
        return tensor.pin_memory().to(self.device, non_blocking=True)

    def _first_model(self, dtype: torch.dtype) -> 'PreTrainedModel':
        """Random weights, those of a model to go on from, or a frozen base with adapters."""
        run, recipe = self.run, self.recipe
        if recipe.lora is not None:
            if run.init is None:
                raise ValueError('recipe.lora: adapters need a base, found init null')
            model = load_base(run.init, dtype)
            add_adapters(model, recipe.lora, recipe.seed)
            return model
        model = self.objective.build(recipe.seed)
        if run.init is not None:
            keep_configuration(model, run.init)
            _load_weights(dict(model.named_parameters()), Path(run.init) / _WEIGHTS)
        return model

    def _restore(self, folder: Path, state: Mapping[str, Any]) -> None:
        num_shards = state.get('numShards')
        if (num_shards is not None) != self.parted:
            found = 'no shards' if num_shards is None else f'{num_shards} shards'
            raise CheckpointIncompatible(
                f'{folder}: found {found}, expected {"some" if self.parted else "none"} '
                f'with parallelism {self.recipe.parallelism}'
            )
        if num_shards is None:
            _load_weights(self.parameters, folder / _WEIGHTS)
            self.optimizer.load(load_file(folder / _OPTIMIZER))
            restore_rng(load_file(folder / _RNG), self.device)
            return
        tensors = load_shard(folder, int(num_shards), self.parameters)
        _copy_weights(self.parameters, _under('model', tensors), folder)
        self.optimizer.load(_under('optimizer', tensors))
        restore_rng(_under('rng', tensors), self.device)

    def _rehearsal_rows(self) -> Tensor | None:
        path, rows = self.data.rehearsal, self.recipe.rehearsal
        if path is None or rows is None:
            return None
        tokens = np.fromfile(path, dtype=f'<u{self.data.tokenBytes}')
        if tokens.size != rows.numRows * rows.rowLength:
            raise InvalidCorpus(
                f'{path}: found {tokens.size} tokens, '
                f'expected {rows.numRows} rows of {rows.rowLength}'
            )
        return torch.from_numpy(tokens.reshape(rows.numRows, -1).astype(np.int64))

    def fill_checkpoint(self, folder: Path) -> dict[str, Any] | None:
        """Writes the tensors that a resume needs, or this rank's part of them."""
        if self.parted:
            tensors = {
                **{f'model:{name}': p.detach() for name, p in self.parameters.items()},
                **{f'optimizer:{name}': t for name, t in self.optimizer.tensors().items()},
                **{f'rng:{name}': t for name, t in rng_tensors(self.device).items()},
            }
            return save_shard(folder, tensors)
        save_file({name: p.detach() for name, p in self.parameters.items()}, folder / _WEIGHTS)
        save_file(self.optimizer.tensors(), folder / _OPTIMIZER)
        save_file(rng_tensors(self.device), folder / _RNG)
        return None

    def _batch(self) -> tuple[Tensor, ...]:
        """This rank's share of the step's windows; what they are scored on stands last."""
        share = self.recipe.batchSize // self.recipe.worldSize
        first = self.cursor + self.rank * share
        batch = self._rows(range(first, first + share))
        return tuple(self._on_device(part) for part in batch)

    def _rows(self, cursors: range) -> tuple[Tensor, ...]:
        if isinstance(self.windows, Windows):
            return self.objective.rows(self.windows.stream, self.windows.order, cursors)
        places = [self.windows.place(cursor) for cursor in cursors]
        rows = [
            self.objective.rows(part.stream, part.order, range(at, at + 1)) for part, at in places
        ]
        return tuple(torch.cat(column) for column in zip(*rows, strict=True))

    def step(self, scale: float) -> None:
        """One optimizer step."""
        self.cursor = self.session.next_batch() * self.recipe.batchSize
        batch = self._batch()
        rows, scored = len(batch[-1]), batch[-1].numel()
        mean = torch.zeros((), device=self.device)
        pieces = list(parts(rows, self.session.micro_batch(rows)))
        for piece in pieces:
            # Ranks exchange the sum of a step's gradients, not that of each part; but where they
            # hold parts of them alone, each part's at once, for a whole one has no room.
            with nullcontext() if piece is pieces[-1] else self._alone():
                loss = self.forward(*(part[piece] for part in batch)) / scored
                loss.backward()
            mean += loss.detach()
        self._rehearse()
        norm = whole(nn.utils.clip_grad_norm_(self.parameters.values(), self.recipe.gradClip))
        rate = self.optimizer.step(scale * self._rate_factor())
        self.optimizer.zero_grad()
        if dist.is_initialized():
            dist.all_reduce(mean)
            mean /= dist.get_world_size()
        self.cursor += self.recipe.batchSize
        self.session.stepped(
            loss=mean.item(),
            lr=rate,
            grad_norm=norm.item(),
            num_tokens=self.recipe.batchSize * self.recipe.contextLength,
        )

    def _alone(self) -> AbstractContextManager[None]:
        """Within it, backward passes leave the gradients with their rank."""
        if isinstance(self.forward, nn.parallel.DistributedDataParallel):
            return self.forward.no_sync()
        return nullcontext()

    def _rate_factor(self) -> float:
        """As planned, or from a plateau on straight to zero."""
        step, plateau = self.session.step, self.session.plateau
        planned = rate_factor(self.recipe, step)
        if plateau is None:
            return planned
        left = (plateau.end - step) / (plateau.end - plateau.step)
        return min(planned, left * rate_factor(self.recipe, plateau.step))

    def _rehearse(self) -> None:
        """Adds the gradient of what the base would have foretold otherwise.

        Rehearsal on text of the model's own: Robins 1995, Huang et al. 2024. Its target is the
        base's whole distribution, as in Hinton et al. 2015: zero as long as nothing is forgotten.
        """
        lora, rehearsal = self.recipe.lora, self.recipe.rehearsal
        if self.rehearsal is None or lora is None or rehearsal is None:
            return
        first = self.session.step * rehearsal.rowsAStep
        steps_rows = range(first, first + rehearsal.rowsAStep)
        chosen = [rehearsed_row(at, len(self.rehearsal)) for at in steps_rows]
        rows = self._on_device(self.rehearsal[chosen])
        share_adapters(self.model, lora, 0)
        with torch.no_grad():
            remembered = self.lean.hidden(rows)
        share_adapters(self.model, lora, 1)
        divergence = self.lean.divergence(rows, remembered)
        (rehearsal.weight * divergence / rows.numel()).backward()

    @torch.no_grad()
    def evaluate(self) -> float:
        """Scores the held-out tokens, or so many of them, evenly chosen, that it ends soon.

        Returns the mean loss, where this rank scores and there are any; else 0. Rank 0 scores for
        all; where the weights are parted, all score the same, for each needs the others' parts.
        """
        held_out = self.data.heldOut
        if held_out.numTokens == 0 or held_out.bytes == 0 or (self.rank > 0 and not self.parted):
            return 0.0
        batches = self.objective.held_out_rows(
            held_out, self.data.tokenBytes, self.recipe.batchSize, _MAX_EVALUATED_TOKENS
        )
        nats, scored = 0.0, 0
        for batch in evaluating(self.session.event, batches):
            nats += self.lean(*(self._on_device(part) for part in batch)).item()
            scored += int((batch[-1] >= 0).sum())
        # A part of the tokens is taken for the same part of the bytes.
        scored_bytes = held_out.bytes * scored / held_out.numTokens
        self.val_bpb = nats / math.log(2) / scored_bytes
        if self.rank == 0:
            self.session.event('eval', val_loss=nats / scored, val_bpb=self.val_bpb)
        return nats / scored

    def measure_merge(self) -> None:
        """Scores the base alone, then with the share of the adapters that will be merged."""
        lora = self.recipe.lora
        assert lora is not None
        share_adapters(self.model, lora, 0)
        self.evaluate()
        self.val_bpb_before = self.val_bpb
        share_adapters(self.model, lora, lora.mergeShare)
        self.evaluate()

    def gather(self) -> None:
        """Brings the parts of the model to rank 0, which writes it; all ranks must do so."""
        if self.parted:
            self.gathered = gather_on_first(self.parameters)

    def save_model(self, folder: Path) -> None:
        """Writes the trained model in transformers' layout, adapters merged."""
        if self.recipe.lora is None:
            self.model.save_pretrained(folder, state_dict=self.gathered)
            keep_template(self.run.init, folder)
        else:
            save_merged(self.model, str(self.run.init), folder)


def _load_weights(parameters: Mapping[str, nn.Parameter], path: Path) -> None:
    _copy_weights(parameters, load_file(path), path)


@torch.no_grad()
def _copy_weights(
    parameters: Mapping[str, nn.Parameter], tensors: Mapping[str, Tensor], path: Path
) -> None:
    for name, parameter in parameters.items():
        found, own = tensors.get(name), local(parameter.data)
        if found is None or found.shape != own.shape:
            shape = None if found is None else tuple(found.shape)
            raise CheckpointIncompatible(
                f'{path}: {name} has shape {shape}, expected {tuple(own.shape)}'
            )
        # Copied: a mapped tensor may lie unaligned in memory, and kernels then round otherwise.
        own.copy_(found)


def _under(kind: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those of one kind in a shard, without its name."""
    return {
        key.removeprefix(f'{kind}:'): value
        for key, value in tensors.items()
        if key.startswith(f'{kind}:')
    }


def pretrain(session: Session) -> None:
    """Trains from where the session stands to the recipe's last step."""
    recipe = session.run.recipe
    assert isinstance(recipe, PretrainRecipe)
    join_gang(session)
    with preparing(session.event):
        training = Pretraining(session)
    num_bytes = checkpoint_bytes(training.model)
    session.weighs(training.model, training.objective.scored_share)
    session.started(training.fill_checkpoint, lambda: training.cursor, num_bytes, training.parted)
    while True:
        # Saves what is due, before the evaluation: its time must not be added to what is lost.
        scale = session.turn()
        last = session.step >= session.num_steps
        if last:
            break
        if session.step == session.run.untilStep:
            session.end_rung(training.evaluate(), training.val_bpb)
            return
        if session.step > 0 and session.step % recipe.evalEverySteps == 0:
            session.evaluated(training.evaluate())
        training.step(scale)
    if recipe.lora is None:
        training.evaluate()
    else:
        training.measure_merge()
    training.gather()
    session.finish(training.save_model, training.val_bpb, training.val_bpb_before)


if __name__ == '__main__':
    run_phase('pretrain', pretrain)
