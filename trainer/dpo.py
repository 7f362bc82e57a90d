"""Direct preference optimisation on TRL's DPOTrainer, against the model that the phase began with:
`python -m trainer.launch --config run.json`.
"""

import copy

from trainer.alive import preparing
from trainer.phase import run_phase
from trainer.recipes import DpoRecipe
from trainer.session import Session


def dpo(session: Session) -> None:
    """Trains from where the session stands to the recipe's last step."""
    # Imported late: a wrong configuration should be told before seconds of imports.
    from trl import DPOConfig

    from trainer.finetune import (
        FineTuning,
        arguments,
        constant_schedule,
        load_model,
        read_preferences,
    )
    from trainer.lean_trainers import AdaptersOff, LeanDpoTrainer

    run = session.run
    assert isinstance(run.recipe, DpoRecipe)
    with preparing(session.event):
        tuning = FineTuning(session)
        if run.recipe.lora is None:
            reference = load_model(run.init or '', run.model.vocabSize)
            lean_reference = tuning.lean(reference)
        else:
            # TRL wants another object; what it holds are the same weights.
            reference = copy.copy(tuning.model)
            lean_reference = AdaptersOff(tuning.model, tuning.lean(tuning.model), run.recipe.lora)
        trainer = LeanDpoTrainer(
            model=tuning.model,
            ref_model=reference,
            args=DPOConfig(beta=run.recipe.beta, **arguments(session)),
            train_dataset=read_preferences(run.data.path),
            processing_class=tuning.tokenizer,
            optimizers=(tuning.optimizer, constant_schedule(tuning.optimizer)),
        )
        trainer.lean = tuning.lean(tuning.model)
        trainer.lean_reference = lean_reference
    tuning.train(trainer)


if __name__ == '__main__':
    run_phase('dpo', dpo)
