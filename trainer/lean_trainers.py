"""TRL's trainers with their losses computed by the lean pass: the same figures for less work.

On CPU their own losses score the prompts too, only to drop them again. Rows are padded behind their
end, where causal attention does not look, so no mask of attention is needed.
"""

from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from trl import DPOTrainer, SFTTrainer

from trainer.adapter import share_adapters
from trainer.finetune import Obedient
from trainer.model import LeanModel
from trainer.recipes import Lora


class Reference(Protocol):
    """The model that the phase began with."""

    def row_nats(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """As `LeanModel.row_nats`."""
        ...


class AdaptersOff:
    """The model that the phase began with: where adapters are trained, the frozen base itself."""

    def __init__(self, model: nn.Module, lean: LeanModel, lora: Lora) -> None:
        self._model, self._lean, self._lora = model, lean, lora

    def row_nats(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """As `LeanModel.row_nats`, as if nothing had been learnt."""
        share_adapters(self._model, self._lora, 0)
        try:
            return self._lean.row_nats(inputs, targets)
        finally:
            share_adapters(self._model, self._lora, 1)


class LeanSftTrainer(Obedient, SFTTrainer):
    """Mean nats over the assistant's tokens."""

    lean: LeanModel

    def weight_of(self, part: dict[str, Any], inputs: dict[str, Any]) -> Tensor:
        scored, whole = ((each['labels'][:, 1:] >= 0).sum() for each in (part, inputs))
        return scored / whole.clamp(min=1)

    def compute_loss(self, model: nn.Module, inputs: dict[str, Any], *_: Any, **__: Any) -> Tensor:
        targets = inputs['labels'][:, 1:]
        ids, positions = inputs['input_ids'][:, :-1], inputs.get('positions')
        nats = (
            self.lean(ids, targets)
            if positions is None
            else self.lean(ids, targets, positions[:, :-1])
        )
        return nats / (targets >= 0).sum().clamp(min=1)


class LeanDpoTrainer(Obedient, DPOTrainer):
    """The sigmoid loss of direct preference optimisation against a frozen reference."""

    lean: LeanModel
    lean_reference: Reference

    def rows_of(self, inputs: dict[str, Any]) -> int:
        return len(inputs['input_ids']) // 2

    def part_of(self, inputs: dict[str, Any], rows: int, piece: slice) -> dict[str, Any]:
        # The chosen answers stand before the rejected ones.
        return {
            name: torch.cat((value[:rows][piece], value[rows:][piece]))
            for name, value in inputs.items()
        }

    def weight_of(self, part: dict[str, Any], inputs: dict[str, Any]) -> Tensor:
        return torch.tensor(len(part['input_ids']) / len(inputs['input_ids']))

    def compute_loss(self, model: nn.Module, inputs: dict[str, Any], *_: Any, **__: Any) -> Tensor:
        ids, wanted = inputs['input_ids'], inputs['completion_mask'][:, 1:] != 0
        targets = ids[:, 1:].masked_fill(~wanted, -100)
        chosen, rejected = (-self.lean.row_nats(ids[:, :-1], targets)).chunk(2)
        with torch.no_grad():
            before = -self.lean_reference.row_nats(ids[:, :-1], targets)
        chosen_before, rejected_before = before.chunk(2)
        margin = (chosen - chosen_before) - (rejected - rejected_before)
        return -F.logsigmoid(self.args.beta * margin).mean()
