"""Pretrains a Llama on token shards: `python -m trainer.pretrain --config run.json`, or by torchrun
with the arguments of trainer/launch.py. Everything that decides the bits stands in the recipe.
"""

import math
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from trainer.checkpoint import CheckpointIncompatible
from trainer.config import PretrainRecipe, TokenData
from trainer.data import Order, TokenStream, held_out_windows
from trainer.determinism import fix_determinism, restore_rng, rng_tensors
from trainer.gang import join_gang
from trainer.llama import LeanLlama, build_model
from trainer.optimizer import PhaseOptimizer, checkpoint_bytes, rate_factor
from trainer.session import Session, run_phase

_WEIGHTS, _OPTIMIZER, _RNG = 'model.safetensors', 'optimizer.safetensors', 'rng.safetensors'
_END_OF_TEXT_ID = 0
# The evaluation on the way watches; the stage that follows measures the whole.
_MAX_EVALUATED_TOKENS = 1 << 18


class Pretraining:
    """Model, optimizer and place in the data: the state that a checkpoint holds."""

    def __init__(self, session: Session) -> None:
        run = session.run
        assert isinstance(run.recipe, PretrainRecipe) and isinstance(run.data, TokenData)
        self.session, self.run, self.recipe, self.data = session, run, run.recipe, run.data
        fix_determinism(run.recipe.threads, run.recipe.seed)
        self.stream = TokenStream(run.data, run.model.vocabSize)
        self.order = Order(
            seed=run.recipe.seed,
            num_tokens=self.stream.num_tokens,
            context_length=run.recipe.contextLength,
        )
        state = session.resume()
        self.cursor = 0
        self.model = build_model(run.model, run.recipe.seed, _END_OF_TEXT_ID)
        self.optimizer = PhaseOptimizer(self.model, run.recipe)
        if run.init is not None:
            self._load_weights(Path(run.init) / _WEIGHTS)
        if state is not None:
            folder = Path(run.resumeFrom or '')
            self.cursor = int(state['cursor'])
            self._load_weights(folder / _WEIGHTS)
            self.optimizer.load(load_file(folder / _OPTIMIZER))
            restore_rng(load_file(folder / _RNG))
        dtype = torch.bfloat16 if run.recipe.precision == 'bf16' else torch.float32
        self.lean = LeanLlama(self.model, run.recipe.contextLength, dtype)
        self.rank = dist.get_rank() if dist.is_initialized() else 0
        self.forward: nn.Module = (
            nn.parallel.DistributedDataParallel(self.lean) if dist.is_initialized() else self.lean
        )
        self.val_bpb: float | None = None

    def _load_weights(self, path: Path) -> None:
        tensors = load_file(path)
        for name, parameter in self.model.named_parameters():
            found = tensors.get(name)
            if found is None or found.shape != parameter.shape:
                shape = None if found is None else tuple(found.shape)
                raise CheckpointIncompatible(
                    f'{path}: {name} has shape {shape}, expected {tuple(parameter.shape)}'
                )
            # Copied: a mapped tensor may lie unaligned in memory, and kernels then round otherwise.
            parameter.data.copy_(found)

    def fill_checkpoint(self, folder: Path) -> None:
        """Writes the tensors that a resume needs."""
        weights = {name: p.detach() for name, p in self.model.named_parameters()}
        save_file(weights, folder / _WEIGHTS)
        save_file(self.optimizer.tensors(), folder / _OPTIMIZER)
        save_file(rng_tensors(), folder / _RNG)

    def _batch(self) -> tuple[Tensor, Tensor]:
        """This rank's share of the step's windows."""
        length = self.recipe.contextLength
        share = self.recipe.batchSize // self.recipe.worldSize
        first = self.cursor + self.rank * share
        starts = [self.order.start(cursor) for cursor in range(first, first + share)]
        rows = torch.stack(
            [torch.from_numpy(self.stream.window(start, length + 1)) for start in starts]
        )
        return rows[:, :-1].contiguous(), rows[:, 1:].contiguous()

    def step(self, scale: float) -> None:
        """One optimizer step."""
        inputs, targets = self._batch()
        loss = self.forward(inputs, targets) / targets.numel()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.gradClip)
        rate = self.optimizer.step(scale * rate_factor(self.recipe, self.session.step))
        self.optimizer.zero_grad()
        mean = loss.detach()
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

    @torch.no_grad()
    def evaluate(self) -> None:
        """Scores the held-out tokens, or so many of them, evenly chosen, that it ends soon."""
        held_out, length = self.data.heldOut, self.recipe.contextLength
        if held_out.numTokens == 0 or held_out.bytes == 0 or self.rank > 0:
            return
        batches = held_out_windows(
            held_out,
            self.data.tokenBytes,
            length,
            _END_OF_TEXT_ID,
            self.recipe.batchSize,
            _MAX_EVALUATED_TOKENS,
        )
        nats, scored = 0.0, 0
        for inputs, targets in self.session.working('evaluating', batches):
            nats += self.lean(torch.from_numpy(inputs), torch.from_numpy(targets)).item()
            scored += int((targets >= 0).sum())
        # A part of the tokens is taken for the same part of the bytes.
        scored_bytes = held_out.bytes * scored / held_out.numTokens
        self.val_bpb = nats / math.log(2) / scored_bytes
        self.session.event('eval', val_loss=nats / scored, val_bpb=self.val_bpb)

    def save_model(self, folder: Path) -> None:
        """Writes the trained model in transformers' layout."""
        self.model.save_pretrained(folder)


def pretrain(session: Session) -> None:
    """Trains from where the session stands to the recipe's last step."""
    recipe = session.run.recipe
    assert isinstance(recipe, PretrainRecipe)
    join_gang(session)
    with session.preparing():
        training = Pretraining(session)
    num_bytes = checkpoint_bytes(training.model)
    session.started(training.fill_checkpoint, lambda: training.cursor, num_bytes)
    while True:
        # Saves what is due, before the evaluation: its time must not be added to what is lost.
        scale = session.turn()
        last = session.step >= recipe.numSteps
        if last or (session.step > 0 and session.step % recipe.evalEverySteps == 0):
            training.evaluate()
        if last:
            break
        training.step(scale)
    session.finish(training.save_model, training.val_bpb)


if __name__ == '__main__':
    run_phase('pretrain', pretrain)
