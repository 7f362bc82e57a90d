"""Odds ratio preference optimisation on TRL's ORPOTrainer: the better answer is learnt and
preferred at once, without a reference model. `python -m trainer.launch --config run.json`.
"""

import os

from trainer.alive import preparing
from trainer.phase import run_phase
from trainer.recipes import OrpoRecipe
from trainer.session import Session


def orpo(session: Session) -> None:
    """Trains from where the session stands to the recipe's last step."""
    # Imported late: a wrong configuration should be told before seconds of imports.
    os.environ.setdefault('TRL_EXPERIMENTAL_SILENCE', '1')
    from trl.experimental.orpo import ORPOConfig

    from trainer.finetune import FineTuning, arguments, constant_schedule, read_preferences
    from trainer.lean_orpo import LeanOrpoTrainer

    run = session.run
    assert isinstance(run.recipe, OrpoRecipe)
    with preparing(session.event):
        tuning = FineTuning(session)
        trainer = LeanOrpoTrainer(
            model=tuning.model,
            args=ORPOConfig(beta=run.recipe.beta, **arguments(session)),
            train_dataset=read_preferences(run.data.path),
            processing_class=tuning.tokenizer,
            optimizers=(tuning.optimizer, constant_schedule(tuning.optimizer)),
        )
        trainer.lean = tuning.lean(tuning.model)
    tuning.train(trainer)


if __name__ == '__main__':
    run_phase('orpo', orpo)
