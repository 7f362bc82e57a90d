"""Direct preference optimisation on TRL's DPOTrainer, against the model that the phase began with:
`python -m trainer.launch --config run.json`.
"""

from trainer.config import DpoRecipe
from trainer.session import Session, run_phase


def dpo(session: Session) -> None:
    """Trains from where the session stands to the recipe's last step."""
    # Imported late: a wrong configuration should be told before seconds of imports.
    from trl import DPOConfig

    from trainer.finetune import FineTuning, arguments, constant_schedule, load_model, read_rows
    from trainer.lean_trainers import LeanDpoTrainer

    run = session.run
    assert isinstance(run.recipe, DpoRecipe)
    with session.preparing():
        tuning = FineTuning(session)
        reference = load_model(run.init or '', run.model.vocabSize)
        trainer = LeanDpoTrainer(
            model=tuning.model,
            ref_model=reference,
            args=DPOConfig(beta=run.recipe.beta, **arguments(session)),
            train_dataset=read_rows(run.data.path, ('prompt', 'chosen', 'rejected')),
            processing_class=tuning.tokenizer,
            optimizers=(tuning.optimizer, constant_schedule(tuning.optimizer)),
        )
        trainer.lean = tuning.lean(tuning.model)
        trainer.lean_reference = tuning.lean(reference)
    tuning.train(trainer)


if __name__ == '__main__':
    run_phase('dpo', dpo)
