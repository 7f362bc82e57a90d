"""What supervised fine-tuning and preference alignment share on TRL's trainers.

The Trainer runs one long pass over a data order that is a function of (seed, epoch, position); its
own checkpoints, schedule and logs stay unused, so that all phases resume by the same rules.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from datasets.utils.logging import disable_progress_bar
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import Sampler
from transformers import PreTrainedModel, PreTrainedTokenizerFast, Trainer, TrainerCallback
from transformers.utils import logging

from trainer.adapter import (
    add_adapters,
    load_base,
    save_merged,
    share_adapters,
    trained_parameters,
)
from trainer.alive import preparing
from trainer.chat import TEMPLATE_FILE, TEMPLATE_NAME, load_tokenizer, require_chat_format
from trainer.checkpoint import CheckpointIncompatible
from trainer.data import InvalidCorpus, keyed_place
from trainer.determinism import fix_determinism, restore_rng, rng_tensors
from trainer.gang import join_gang
from trainer.given import OwnPass
from trainer.memory import parts
from trainer.model import LeanModel, training_pass
from trainer.optimizer import checkpoint_bytes, load_state, rate_factor, state_tensors
from trainer.recipes import PhaseRecipe
from trainer.session import Session

_WEIGHTS, _OPTIMIZER, _RNG = 'model.safetensors', 'optimizer.safetensors', 'rng.safetensors'
_BETAS = (0.9, 0.98)


class CursorSampler(Sampler[int]):
    """The rows of batches by number, epoch after epoch, each in a keyed permutation of its own."""

    def __init__(self, *, seed: int, num_rows: int, batch_size: int, batches: list[int]) -> None:
        self._seed, self._num_rows = seed, num_rows
        self._batch_size, self._batches = batch_size, batches

    def __len__(self) -> int:
        return len(self._batches) * self._batch_size

    def __iter__(self) -> Iterator[int]:
        for batch in self._batches:
            first = batch * self._batch_size
            for cursor in range(first, first + self._batch_size):
                yield keyed_place(cursor, self._num_rows, self._seed)[1]


class Obedient(Trainer):
    """Mixed into a TRL trainer: our data order, and the figures of each step."""

    sampler: CursorSampler
    micro_batch: Callable[[int], int]
    step_loss: float
    step_tokens: int

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> CursorSampler:
        return self.sampler

    def count_tokens(self, inputs: dict[str, Any]) -> int:
        """What a batch holds, padding left out."""
        return int(inputs['attention_mask'].sum())

    def training_step(self, model: nn.Module, inputs: dict[str, Any], *rest: Any) -> Tensor:
        self.step_tokens = self.count_tokens(inputs)
        rows = self.rows_of(inputs)
        size = self.micro_batch(rows)
        if size < rows:
            loss = self._in_parts(model, inputs, rows, size)
        else:
            loss = super().training_step(model, inputs, *rest)
        self.step_loss = loss.item()
        return loss

    def rows_of(self, inputs: dict[str, Any]) -> int:
        """How many rows of the data a batch holds."""
        return len(inputs['input_ids'])

    def part_of(self, inputs: dict[str, Any], rows: int, piece: slice) -> dict[str, Any]:
        """Those rows of a batch."""
        return {name: value[piece] for name, value in inputs.items()}

    def weight_of(self, part: dict[str, Any], inputs: dict[str, Any]) -> Tensor:
        """What the mean loss of a part counts in that of the whole batch."""
        raise NotImplementedError

    def _in_parts(self, model: nn.Module, inputs: dict[str, Any], rows: int, size: int) -> Tensor:
        """The loss and gradient of the whole batch, with memory for a part of it."""
        model.train()
        inputs = self._prepare_inputs(inputs)
        total = torch.zeros(())
        for piece in parts(rows, size):
            part = self.part_of(inputs, rows, piece)
            loss = self.compute_loss(model, part) * self.weight_of(part, inputs)
            self.accelerator.backward(loss)
            total += loss.detach()
        return total


class Obey(TrainerCallback):
    """Ties the Trainer's loop to the session: commands and rate before a step, figures after."""

    def __init__(self, session: Session, trainer: Obedient) -> None:
        self._session, self._trainer = session, trainer
        self._lr = self._norm = 0.0

    def on_step_begin(self, *_: Any, optimizer: torch.optim.Optimizer, **__: Any) -> None:
        recipe = self._session.run.recipe
        scale = self._session.turn()
        self._lr = recipe.learningRate * rate_factor(recipe, self._session.step) * scale
        for group in optimizer.param_groups:
            group['lr'] = self._lr

    def on_pre_optimizer_step(self, *_: Any, model: nn.Module, **__: Any) -> None:
        limit = self._session.run.recipe.gradClip
        self._norm = nn.utils.clip_grad_norm_(model.parameters(), limit).item()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self._session.stepped(
            loss=self._trainer.step_loss,
            lr=self._lr,
            grad_norm=self._norm,
            num_tokens=self._trainer.step_tokens,
        )


def read_rows(path: str, fields: tuple[str, ...]) -> Dataset:
    """Reads JSON lines whose fields are lists of messages."""
    rows = []
    try:
        lines = Path(path).read_text('utf-8').splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidCorpus(f'{path}: {error}') from error
    for number, line in enumerate(lines, start=1):
        try:
            value = json.loads(line)
            rows.append({field: [_message(m) for m in value[field]] for field in fields})
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidCorpus(
                f'{path}:{number}: expected {", ".join(fields)}, each a list of '
                f'{{role, content}} ({error})'
            ) from error
    if not rows:
        raise InvalidCorpus(f'{path}: found no rows, expected at least one')
    return Dataset.from_list(rows)


def read_preferences(path: str) -> Dataset:
    """Reads pairs of answers; one that is no better than the other teaches nothing."""
    rows = read_rows(path, ('prompt', 'chosen', 'rejected'))
    for number, row in enumerate(rows, start=1):
        empty = [field for field in ('prompt', 'chosen', 'rejected') if not row[field]]
        if empty:
            raise InvalidCorpus(
                f'{path}: pair {number} has no {" and no ".join(empty)}, expected a question with '
                'a better and a worse answer'
            )
        if row['chosen'] == row['rejected']:
            raise InvalidCorpus(
                f'{path}: chosen and rejected of pair {number} are the same '
                f'({row["chosen"][-1]["content"][:80]!r}), expected a better and a worse answer'
            )
    return rows


def _message(value: dict[str, str]) -> dict[str, str]:
    return {'role': value['role'], 'content': value['content']}


def arguments(session: Session) -> dict[str, Any]:
    """The Trainer's arguments that all phases share: nothing saved, logged or sent by it."""
    recipe = session.run.recipe
    return {
        'output_dir': str(Path(session.run.runDir) / 'scratch'),
        'max_steps': max(1, session.num_steps - session.step),
        'per_device_train_batch_size': recipe.batchSize // recipe.worldSize,
        'max_length': recipe.contextLength,
        # The lean pass casts by itself.
        'bf16': False,
        'fp16': False,
        'use_cpu': True,
        'gradient_checkpointing': False,
        'max_grad_norm': 0.0,
        'seed': recipe.seed,
        'save_strategy': 'no',
        'eval_strategy': 'no',
        'logging_strategy': 'no',
        'report_to': [],
        'disable_tqdm': True,
        'dataloader_num_workers': 0,
        'dataloader_pin_memory': False,
        'lr_scheduler_type': 'constant',
        'remove_unused_columns': True,
        'include_num_input_tokens_seen': 'no',
    }


class FineTuning:
    """Model, optimizer and place in the data of a fine-tuning phase."""

    def __init__(self, session: Session) -> None:
        quiet()
        join_gang(session)
        run = session.run
        fix_determinism(run.recipe.threads, run.recipe.seed)
        if run.init is None:
            raise ValueError(f'init: found null, expected a model folder for {run.recipe.phase}')
        self.session, self.recipe = session, run.recipe
        self.chat = require_chat_format(run.tokenizer)
        self.state = session.resume()
        self.tokenizer: PreTrainedTokenizerFast = load_tokenizer(
            run.tokenizer, run.model.contextLength
        )
        self.dtype = torch.bfloat16 if run.recipe.precision == 'bf16' else torch.float32
        if run.recipe.lora is None:
            self.model = load_model(run.init, run.model.vocabSize)
        else:
            # Frozen weights need no more precision than the products that they go into.
            self.model = load_model(run.init, run.model.vocabSize, self.dtype)
            add_adapters(self.model, run.recipe.lora, run.recipe.seed)
        self._parameters = trained_parameters(self.model)
        self._names = {id(parameter): name for name, parameter in self._parameters.items()}
        self.optimizer = make_optimizer(self.model, run.recipe)

    def lean(self, model: PreTrainedModel) -> LeanModel | OwnPass:
        """The pass through a model that trains, in the recipe's precision."""
        shape = self.session.run.model
        return training_pass(model, shape, self.recipe.contextLength, self.dtype)

    def sampler(self, num_rows: int) -> CursorSampler:
        """The rows that are still to be trained on."""
        done = self.session.step
        return CursorSampler(
            seed=self.recipe.seed,
            num_rows=num_rows,
            batch_size=self.recipe.batchSize,
            batches=self.session.batches(range(done, max(done + 1, self.session.num_steps))),
        )

    def train(self, trainer: Obedient) -> None:
        """Runs the Trainer from where the session stands to the last step; writes the model."""
        trainer.sampler = self.sampler(len(trainer.train_dataset))
        trainer.micro_batch = self.session.micro_batch
        if self.state is not None:
            with preparing(self.session.event):
                self._load(Path(self.session.run.resumeFrom or ''))
        trainer.add_callback(Obey(self.session, trainer))
        self.session.weighs(self.model)
        self.session.started(
            self._fill_checkpoint,
            lambda: self.session.batches_done() * self.recipe.batchSize,
            checkpoint_bytes(self.model),
        )
        if self.session.step < self.session.num_steps:
            trainer.train()
        self.session.turn()
        self.session.finish(self._save_model, None)

    def _fill_checkpoint(self, folder: Path) -> None:
        weights = {name: p.detach() for name, p in self._parameters.items()}
        save_file(weights, folder / _WEIGHTS)
        save_file(state_tensors([self.optimizer], self._names), folder / _OPTIMIZER)
        save_file(rng_tensors(), folder / _RNG)

    def _load(self, folder: Path) -> None:
        tensors = load_file(folder / _WEIGHTS)
        for name, parameter in self._parameters.items():
            if name not in tensors or tensors[name].shape != parameter.shape:
                raise CheckpointIncompatible(f'{folder}: {name} is missing or of another shape')
            parameter.data.copy_(tensors[name])
        load_state([self.optimizer], self._names, load_file(folder / _OPTIMIZER))
        restore_rng(load_file(folder / _RNG))

    def _save_model(self, folder: Path) -> None:
        lora = self.recipe.lora
        if lora is None:
            self.model.save_pretrained(folder)
        else:
            share_adapters(self.model, lora, lora.mergeShare)
            save_merged(self.model, str(self.session.run.init), folder)
        # What is served is asked in the words that were taught, whatever the base was asked in.
        if self.chat.template != TEMPLATE_FILE:
            shutil.copyfile(self.chat.template, folder / TEMPLATE_NAME)


def quiet() -> None:
    """Progress bars and reports of the libraries say nothing that the events do not."""
    os.environ['HF_HUB_OFFLINE'] = '1'
    disable_progress_bar()
    logging.set_verbosity_error()
    logging.disable_progress_bar()


def load_model(folder: str, vocab_size: int, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """Loads the model to start from."""
    if not (Path(folder) / 'model.safetensors').is_file():
        raise ValueError(f'init: {folder} holds no model.safetensors')
    model = load_base(folder, dtype)
    if model.config.vocab_size != vocab_size:
        raise CheckpointIncompatible(
            f'{folder}: vocabulary of {model.config.vocab_size}, expected {vocab_size}'
        )
    return model


def make_optimizer(model: nn.Module, recipe: PhaseRecipe) -> torch.optim.AdamW:
    """AdamW; norms are not decayed."""
    trained = trained_parameters(model).values()
    decayed = [p for p in trained if p.ndim >= 2]
    plain = [p for p in trained if p.ndim < 2]
    groups = [
        {'params': decayed, 'weight_decay': recipe.weightDecay},
        {'params': plain, 'weight_decay': 0.0},
    ]
    return torch.optim.AdamW(groups, lr=0.0, betas=_BETAS, fused=True)


def constant_schedule(optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
    """The Trainer wants a schedule; the rate itself is set before each step."""
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)
