"""Supervised fine-tuning on TRL's SFTTrainer, loss on the assistant's words only:
`python -m trainer.launch --config run.json`.
"""

import tempfile
from typing import Any

from trainer.session import Session, run_phase


def sft(session: Session) -> None:
    """Trains from where the session stands to the recipe's last step."""
    # Imported late: a wrong configuration should be told before seconds of imports.
    import torch
    from torch import Tensor, nn
    from trl import SFTConfig, SFTTrainer

    from trainer.finetune import FineTuning, Obedient, arguments, constant_schedule, read_rows
    from trainer.llama import LeanLlama

    tuning = FineTuning(session)
    recipe = session.run.recipe
    dtype = torch.bfloat16 if recipe.precision == 'bf16' else torch.float32
    lean = LeanLlama(tuning.model, recipe.contextLength, dtype)

    class ObedientSft(Obedient, SFTTrainer):
        def compute_loss(
            self, model: nn.Module, inputs: dict[str, Any], *_: Any, **__: Any
        ) -> Tensor:
            """On CPU the trainer's own loss scores the prompts too, only to drop them again."""
            # Rows are padded behind their end, where causal attention does not look.
            targets = inputs['labels'][:, 1:]
            return lean(inputs['input_ids'][:, :-1], targets) / (targets >= 0).sum()

    with tempfile.TemporaryDirectory(prefix='temper-sft-') as scratch:
        trainer = ObedientSft(
            model=tuning.model,
            args=SFTConfig(assistant_only_loss=True, **arguments(session, scratch)),
            train_dataset=read_rows(session.run.data.path, ('messages',)),
            processing_class=tuning.tokenizer,
            optimizers=(tuning.optimizer, constant_schedule(tuning.optimizer)),
        )
        tuning.train(trainer)


if __name__ == '__main__':
    run_phase('sft', sft)
