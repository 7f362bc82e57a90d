"""Supervised fine-tuning on TRL's SFTTrainer, loss on the assistant's words only:
`python -m trainer.launch --config run.json`.
"""

from trainer.alive import preparing
from trainer.phase import run_phase
from trainer.session import Session
from trainer.shapes import GivenModel


def sft(session: Session) -> None:
    """Trains from where the session stands to the recipe's last step."""
    # Imported late: a wrong configuration should be told before seconds of imports.
    from trl import SFTConfig

    from trainer.finetune import FineTuning, arguments, constant_schedule, read_rows
    from trainer.lean_trainers import LeanSftTrainer
    from trainer.packing import PackingCollator

    recipe = session.run.recipe
    if recipe.packing and isinstance(session.run.model, GivenModel):
        raise ValueError(
            f'recipe.packing: found {session.run.model.architecture}, expected a Llama or a Qwen: '
            'another architecture may let the chats of a row see each other'
        )
    with preparing(session.event):
        tuning = FineTuning(session)
        trainer = LeanSftTrainer(
            model=tuning.model,
            args=SFTConfig(assistant_only_loss=True, **arguments(session)),
            train_dataset=read_rows(session.run.data.path, ('messages',)),
            processing_class=tuning.tokenizer,
            optimizers=(tuning.optimizer, constant_schedule(tuning.optimizer)),
        )
        if recipe.packing:
            pad_id = tuning.tokenizer.pad_token_id
            trainer.data_collator = PackingCollator(room=recipe.contextLength, pad_id=pad_id)
        trainer.lean = tuning.lean(tuning.model)
    tuning.train(trainer)


if __name__ == '__main__':
    run_phase('sft', sft)
