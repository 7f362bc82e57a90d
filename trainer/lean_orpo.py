"""TRL's ORPOTrainer (Hong et al. 2024) on the lean pass, over the words of the chat template alone.

TRL adds a beginning and an end of text that no answer of the served model has, and scores the
questions too; here a row is what DPO reads, and only the assistant's words are learnt.
"""

from typing import Any

import torch
from torch import Tensor, nn
from trl.experimental.orpo import ORPOTrainer

from trainer.data import InvalidCorpus
from trainer.finetune import Obedient
from trainer.model import LeanModel

# Of an answer that is certain the odds are infinite, and their gradient is no number.
_MOST_LIKELY = -1e-6


class LeanOrpoTrainer(Obedient, ORPOTrainer):
    """Mean nats a token of the better answers, plus the weighed odds of better against worse."""

    lean: LeanModel

    def tokenize_row(self, feature: dict[str, Any], *_: Any) -> dict[str, list[int]]:
        """Both answers behind their question, as long as a row may be."""
        row: dict[str, list[int]] = {}
        for kind in ('chosen', 'rejected'):
            split = self.build_tokenized_answer(feature['prompt'], feature[kind])
            prompt = split['prompt_input_ids']
            ids = (prompt + split['input_ids'])[: self.max_length]
            row[f'{kind}_input_ids'] = ids
            row[f'{kind}_attention_mask'] = [1] * len(ids)
            row[f'{kind}_labels'] = ([-100] * len(prompt) + ids[len(prompt) :])[: self.max_length]
        if row['chosen_labels'] == row['rejected_labels']:
            raise InvalidCorpus(
                f'preferences: within {self.max_length} tokens both answers to '
                f'{feature["prompt"][-80:]!r} are the same; shorten the question or the answers'
            )
        return row

    def count_tokens(self, inputs: dict[str, Any]) -> int:
        """Of both answers with their questions."""
        return int(inputs['chosen_attention_mask'].sum() + inputs['rejected_attention_mask'].sum())

    def rows_of(self, inputs: dict[str, Any]) -> int:
        return len(inputs['chosen_input_ids'])

    def weight_of(self, part: dict[str, Any], inputs: dict[str, Any]) -> Tensor:
        return torch.tensor(self.rows_of(part) / self.rows_of(inputs))

    def compute_loss(self, model: nn.Module, inputs: dict[str, Any], *_: Any, **__: Any) -> Tensor:
        rows = self.concatenated_inputs(inputs, padding_value=self.padding_value)
        targets = rows['concatenated_labels'][:, 1:]
        nats = self.lean.row_nats(rows['concatenated_input_ids'][:, :-1], targets)
        lengths = (targets >= 0).sum(1).clamp(min=1)
        likely = -nats / lengths
        chosen, rejected = likely.clamp(max=_MOST_LIKELY).chunk(2)
        weighed: Tensor = self.odds_ratio_loss(chosen, rejected)[0]
        return -torch.mean(likely.chunk(2)[0] + weighed)
