"""Fine-tuning and alignment on TRL: they learn, and resume to the same bits."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import RECIPE, SHAPE, Run, chatml_tokenizer
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from trainer.chat import find_chat_format, load_tokenizer

_FINE = {**RECIPE, 'contextLength': 64, 'learningRate': 0.01, 'numSteps': 10, 'saveEverySteps': 2}
PHASES = {
    'sft': {**_FINE, 'phase': 'sft'},
    'dpo': {**_FINE, 'phase': 'dpo', 'beta': 0.1},
    'orpo': {**_FINE, 'phase': 'orpo', 'beta': 0.1},
}


def _messages(role: str, content: str) -> list[dict[str, str]]:
    return [{'role': role, 'content': content}]


@pytest.fixture(scope='session')
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp('rows')
    chat, preferences = [], []
    for year in range(1800, 1823):
        asked = _messages('user', f'Who spoke in {year}?')
        right, wrong = 'Lincoln' if year % 2 else 'the union', 'the state'
        chat.append({'messages': asked + _messages('assistant', right)})
        preferences.append(
            {
                'prompt': asked,
                'chosen': _messages('assistant', right),
                'rejected': _messages('assistant', wrong),
            }
        )
    for name, lines in (('chat', chat), ('preferences', preferences)):
        (folder / name).write_text('\n'.join(json.dumps(line) for line in lines) + '\n')
    return {
        'sft': {'kind': 'chat', 'path': str(folder / 'chat')},
        'dpo': {'kind': 'preferences', 'path': str(folder / 'preferences')},
        'orpo': {'kind': 'preferences', 'path': str(folder / 'preferences')},
    }


@pytest.fixture(params=['sft', 'dpo', 'orpo'])
def make(
    request: pytest.FixtureRequest,
    finished: Run,
    tokenizer: str,
    rows: dict[str, Any],
    tmp_path: Path,
) -> Any:
    def make_one(name: str, resume: Path | None = None, **recipe: Any) -> Run:
        config = {
            'schemaVersion': 1,
            'runDir': str(tmp_path / name),
            'recipe': {**PHASES[request.param], **recipe},
            'model': SHAPE,
            'tokenizer': tokenizer,
            'init': str(finished.path / 'model'),
            'data': rows[request.param],
            'resumeFrom': None if resume is None else str(resume),
        }
        return Run(tmp_path / name, config)

    return make_one


LORA = {'rank': 4, 'alpha': 8, 'mergeShare': 1}


@pytest.mark.parametrize('lora', [None, LORA], ids=['all weights', 'adapters'])
def test_a_phase_learns_and_a_killed_one_resumes_to_the_same_bits(
    make: Any, lora: dict[str, float] | None
) -> None:
    changes = {} if lora is None else {'lora': lora}
    run = make('whole', **changes)
    result = run.finish()
    assert result['ok'] is True, result
    assert result['step'] == 10
    losses = run.losses()
    assert losses[10] < losses[1] - 0.1
    assert run.checkpoints() == [2, 4, 6, 8, 10]
    assert all(event['grad_norm'] > 0 for event in run.events('step'))

    killed = make('killed', **changes)
    process = killed.start()
    killed.wait_for(lambda: 4 in killed.checkpoints())
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    step = killed.checkpoints()[-1] if killed.checkpoints()[-1] < 10 else 8
    resumed = make('resumed', killed.path / 'checkpoints' / str(step), **changes)
    resumed.finish()
    assert resumed.weights() == run.weights()
    assert resumed.losses() == {at: losses[at] for at in range(step + 1, 11)}


def test_adapters_alone_are_saved_and_merged_into_a_model_that_loads(
    make: Any, finished: Run
) -> None:
    run = make('adapters', numSteps=6, lora=LORA, precision='bf16')
    assert run.finish()['ok'] is True
    saved = load_file(run.path / 'checkpoints' / '6' / 'model.safetensors')
    assert saved and all('.lora_' in name for name in saved)
    before, after = (
        AutoModelForCausalLM.from_pretrained(folder / 'model').state_dict()
        for folder in (finished.path, run.path)
    )
    assert before.keys() == after.keys()
    for name, tensor in after.items():
        assert torch.equal(tensor, before[name]) is ('_proj' not in name), name
    # Our own template needs no file: it is the one that export falls back on.
    assert not (run.path / 'model' / 'chat_template.jinja').exists()


def test_a_vocabulary_of_chatml_is_taught_chatml_and_the_model_says_so(
    make: Any, tokenizer: str, tmp_path: Path
) -> None:
    run = make('chatml', numSteps=6, lora=LORA)
    run.config['tokenizer'] = chatml_tokenizer(tokenizer, tmp_path)
    assert run.finish()['ok'] is True
    assert run.losses()[6] < run.losses()[1]
    written = (run.path / 'model' / 'chat_template.jinja').read_text('utf-8')
    assert written == find_chat_format({'<|im_start|>', '<|im_end|>'}).template.read_text('utf-8')


def test_a_vocabulary_without_a_form_of_chat_is_refused(
    make: Any, tokenizer: str, tmp_path: Path
) -> None:
    run = make('refused')
    text = Path(tokenizer).read_text('utf-8').replace('<|end|>', '<|unknown|>')
    (tmp_path / 'other.json').write_text(text, 'utf-8')
    run.config['tokenizer'] = str(tmp_path / 'other.json')
    result = run.finish()
    assert result['type'] == 'InvalidConfig'
    assert 'found no tokens that part the turns of a chat' in result['message']


def test_a_phase_that_was_taken_back_skips_its_batches_and_resumes_to_the_same_bits(
    make: Any,
) -> None:
    whole = make('first')
    whole.finish()
    back = make('back', whole.path / 'checkpoints' / '4')
    back.config['rollbacks'] = [{'step': 4, 'skippedTo': 6, 'scale': 0.5}]
    result = back.finish()
    assert (result['ok'], result['step']) == (True, 10), result
    assert result['rollbacks'] == [[4, 6, 0.5]]
    rates = [{event['step']: event['lr'] for event in run.events('step')} for run in (whole, back)]
    assert rates[1] == {step: rates[0][step] / 2 for step in range(5, 11)}
    # The weights are those of the whole run, the batch is another.
    assert back.losses()[5] != whole.losses()[5]
    state = json.loads((back.path / 'checkpoints' / '8' / 'state.json').read_text())
    assert state['cursor'] == 10 * back.config['recipe']['batchSize']

    resumed = make('again', back.path / 'checkpoints' / '6')
    resumed.config['rollbacks'] = back.config['rollbacks']
    assert resumed.finish()['ok'] is True
    assert resumed.weights() == back.weights()
    assert resumed.losses() == {step: back.losses()[step] for step in range(7, 11)}


def test_a_phase_that_is_ended_gives_the_model_of_that_step_and_goes_on_to_the_same_bits(
    make: Any,
) -> None:
    whole = make('all')
    whole.finish()
    ended = make('ended', whole.path / 'checkpoints' / '6')
    ended.config['endAt'] = 6
    result = ended.finish()
    assert (result['ok'], result['step'], ended.losses()) == (True, 6, {}), result
    begun = make('begun')
    begun.config['endAt'] = 6
    assert begun.finish()['step'] == 6
    assert begun.weights() == ended.weights()
    resumed = make('on', begun.path / 'checkpoints' / '6')
    resumed.finish()
    assert resumed.weights() == whole.weights()


def tokenize_slowly() -> None:
    import time

    import trainer.alive
    import trainer.finetune

    trainer.alive._EVERY_S = 0.1
    real = trainer.finetune.read_rows

    def read_rows(*arguments: Any) -> Any:
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            pass
        return real(*arguments)

    trainer.finetune.read_rows = read_rows


def test_a_long_preparation_says_that_it_goes_on(make: Any) -> None:
    run = make('slow', numSteps=6)
    run.finish(tokenize_slowly)
    said = [event for event in run.events('working') if event['what'] == 'preparing']
    assert len(said) >= 5
    (start,) = run.events('start')
    assert all(event['at'] <= start['at'] for event in said)
    assert {path.name for path in run.path.iterdir()} <= {
        'checkpoints',
        'events.jsonl',
        'lock',
        'model',
        'result.json',
        'rows',
        'run.json',
        'scratch',
    }


def test_a_phase_without_a_model_to_start_from_is_refused(make: Any) -> None:
    run = make('refused')
    run.config['init'] = None
    result = run.finish()
    assert result['type'] == 'InvalidConfig'
    assert 'init: found null' in result['message']


def test_more_than_one_rank_is_refused(make: Any) -> None:
    result = make('refused', worldSize=2).finish()
    assert result['type'] == 'InvalidConfig'
    assert 'recipe.worldSize: found 2, expected 1' in result['message']


def test_rows_of_another_form_are_an_invalid_corpus(make: Any, tmp_path: Path) -> None:
    (tmp_path / 'rows').write_text('{"text": "no"}\n')
    run = make('refused')
    run.config['data'] = {**run.config['data'], 'path': str(tmp_path / 'rows')}
    result = run.finish()
    assert result['type'] == 'InvalidCorpus'
    assert 'rows:1: expected' in result['message']


@pytest.mark.parametrize(
    ('chatml', 'learned', 'asked'),
    [
        (False, 'Lincoln<|end|>', '<|endoftext|><|user|>Who?<|end|><|assistant|>'),
        (
            True,
            'Lincoln<|im_end|>',
            '<|im_start|>user\nWho?<|im_end|>\n<|im_start|>assistant\n',
        ),
    ],
)
def test_only_the_assistants_words_and_their_end_are_learnt(
    tokenizer: str, tmp_path: Path, chatml: bool, learned: str, asked: str
) -> None:
    wrapped = load_tokenizer(chatml_tokenizer(tokenizer, tmp_path) if chatml else tokenizer, 64)
    talk = _messages('user', 'Who?') + _messages('assistant', 'Lincoln')
    encoded = wrapped.apply_chat_template(
        talk, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    learnt = [
        token
        for token, mask in zip(encoded['input_ids'], encoded['assistant_masks'], strict=True)
        if mask
    ]
    assert wrapped.decode(learnt) == learned
    prompt = wrapped.apply_chat_template(talk[:1], tokenize=False, add_generation_prompt=True)
    assert prompt == asked


@pytest.mark.parametrize(
    ('changed', 'message'),
    [
        ({'rejected': None}, 'pairs:2: expected prompt, chosen, rejected'),
        ({'rejected': []}, 'pair 2 has no rejected, expected a question with a better and a worse'),
        (
            {'rejected': _messages('assistant', 'Lincoln')},
            "chosen and rejected of pair 2 are the same ('Lincoln')",
        ),
    ],
    ids=['without a field', 'without an answer', 'with equal answers'],
)
def test_preferences_that_are_no_pairs_are_refused(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    from trainer.data import InvalidCorpus
    from trainer.finetune import read_preferences

    pair = {
        'prompt': _messages('user', 'Who?'),
        'chosen': _messages('assistant', 'Lincoln'),
        'rejected': _messages('assistant', 'the state'),
    }
    second = {key: value for key, value in {**pair, **changed}.items() if value is not None}
    file = tmp_path / 'pairs'
    file.write_text('\n'.join(json.dumps(line) for line in (pair, second)))
    with pytest.raises(InvalidCorpus) as raised:
        read_preferences(str(file))
    assert message in str(raised.value)


@pytest.mark.parametrize('phase', ['dpo', 'orpo'])
def test_a_phase_on_equal_answers_ends_as_an_invalid_corpus(
    phase: str, finished: Run, tokenizer: str, rows: dict[str, Any], tmp_path: Path
) -> None:
    lines = Path(rows[phase]['path']).read_text().splitlines()
    pair = json.loads(lines[0])
    (tmp_path / 'pairs').write_text(json.dumps({**pair, 'rejected': pair['chosen']}))
    config = {
        'schemaVersion': 1,
        'runDir': str(tmp_path / 'run'),
        'recipe': PHASES[phase],
        'model': SHAPE,
        'tokenizer': tokenizer,
        'init': str(finished.path / 'model'),
        'data': {'kind': 'preferences', 'path': str(tmp_path / 'pairs')},
        'resumeFrom': None,
    }
    result = Run(tmp_path / 'run', config).finish()
    assert result['type'] == 'InvalidCorpus'
    assert 'chosen and rejected of pair 1 are the same' in result['message']


def test_the_model_of_a_phase_loads_and_speaks(make: Any) -> None:
    run = make('spoken', numSteps=6)
    assert run.finish()['ok'] is True
    model = AutoModelForCausalLM.from_pretrained(run.path / 'model')
    assert model.config.model_type == 'llama'
    asked = torch.tensor([[5, 6, 7]])
    assert model.generate(asked, max_new_tokens=3, min_new_tokens=3).shape == (1, 6)


def test_the_aligned_model_is_another_than_the_first(make: Any, finished: Run) -> None:
    run = make('moved', numSteps=6)
    run.finish()
    first, last = (
        LlamaForCausalLM.from_pretrained(folder / 'model').lm_head.weight
        for folder in (finished.path, run.path)
    )
    assert not torch.equal(first, last)


@pytest.mark.parametrize('phase', ['sft', 'dpo'])
def test_the_lean_loss_equals_that_of_trl(
    phase: str, finished: Run, tokenizer: str, rows: dict[str, Any], tmp_path: Path
) -> None:
    from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

    from trainer.finetune import load_model, read_rows
    from trainer.lean_trainers import LeanDpoTrainer, LeanSftTrainer
    from trainer.model import LeanModel

    folder = str(finished.path / 'model')
    common = {
        'output_dir': str(tmp_path),
        'per_device_train_batch_size': 5,
        'use_cpu': True,
        'bf16': False,
        'gradient_checkpointing': False,
        'report_to': [],
    }
    fields = ('messages',) if phase == 'sft' else ('prompt', 'chosen', 'rejected')
    given = {
        'model': load_model(folder, 320),
        'train_dataset': read_rows(rows[phase]['path'], fields),
        'processing_class': load_tokenizer(tokenizer, 64),
    }
    if phase == 'sft':
        trainer = LeanSftTrainer(args=SFTConfig(assistant_only_loss=True, **common), **given)
    else:
        reference = load_model(folder, 320)
        trainer = LeanDpoTrainer(args=DPOConfig(beta=0.1, **common), ref_model=reference, **given)
        trainer.lean_reference = LeanModel(reference, 64, torch.float32)
    # Moved away from the reference, or both losses would be log 2 whatever they computed.
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            parameter.mul_(1.1)
    trainer.lean = LeanModel(trainer.model, 64, torch.float32)
    trainer.sampler = range(23)  # type: ignore[assignment]
    inputs = next(iter(trainer.get_train_dataloader()))
    found = trainer.compute_loss(trainer.model, dict(inputs))
    theirs = (SFTTrainer if phase == 'sft' else DPOTrainer).compute_loss
    expected = theirs(trainer, trainer.model, dict(inputs))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    if phase == 'dpo':
        assert abs(found.item() - 0.6931) > 1e-3


@pytest.fixture
def odds(finished: Run, tokenizer: str, rows: dict[str, Any], tmp_path: Path) -> Any:
    from trl.experimental.orpo import ORPOConfig

    from trainer.finetune import load_model, read_preferences
    from trainer.lean_orpo import LeanOrpoTrainer
    from trainer.model import LeanModel

    def make_one(max_length: int = 64) -> Any:
        trainer = LeanOrpoTrainer(
            model=load_model(str(finished.path / 'model'), 320),
            args=ORPOConfig(
                beta=0.3,
                output_dir=str(tmp_path),
                per_device_train_batch_size=5,
                max_length=max_length,
                use_cpu=True,
                bf16=False,
                gradient_checkpointing=False,
                report_to=[],
            ),
            train_dataset=read_preferences(rows['orpo']['path']),
            processing_class=load_tokenizer(tokenizer, 64),
        )
        trainer.lean = LeanModel(trainer.model, 64, torch.float32)
        trainer.sampler = range(23)  # type: ignore[assignment]
        return trainer

    return make_one


def test_the_loss_of_orpo_is_the_likelihood_of_the_better_answer_and_the_odds_of_trl(
    odds: Any,
) -> None:
    trainer = odds()
    inputs = next(iter(trainer.get_train_dataloader()))
    found = trainer.compute_loss(trainer.model, dict(inputs))
    chosen, rejected = trainer.concatenated_forward(trainer.model, dict(inputs))[:2]
    likelihood = -chosen.mean()
    expected = likelihood - trainer.odds_ratio_loss(chosen, rejected)[0].mean()
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    assert found.item() > likelihood.item() + 0.01


def test_orpo_reads_the_words_of_the_template_and_learns_those_of_the_assistant(odds: Any) -> None:
    trainer = odds()
    row, decode = trainer.train_dataset[0], trainer.processing_class.decode
    assert decode(row['chosen_input_ids']) == (
        '<|endoftext|><|user|>Who spoke in 1800?<|end|><|assistant|>the union<|end|>'
    )
    learnt = [token for token in row['rejected_labels'] if token >= 0]
    assert decode(learnt) == 'the state<|end|>'


def test_answers_that_are_certain_keep_the_loss_of_orpo_finite(odds: Any) -> None:
    trainer = odds()
    inputs = dict(next(iter(trainer.get_train_dataloader())))
    certain = torch.zeros(10, requires_grad=True)
    trainer.lean.row_nats = lambda *_: certain * 1
    loss = trainer.compute_loss(trainer.model, inputs)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(certain.grad).all()


def test_answers_that_a_short_row_cuts_off_are_refused(odds: Any) -> None:
    from trainer.data import InvalidCorpus

    with pytest.raises(InvalidCorpus, match='within 5 tokens both answers to .* are the same'):
        odds(5)


def test_the_reference_of_adapters_is_the_model_that_they_were_put_around(finished: Run) -> None:
    from trainer.adapter import add_adapters, trained_parameters
    from trainer.finetune import load_model
    from trainer.lean_trainers import AdaptersOff
    from trainer.model import LeanModel
    from trainer.recipes import Lora

    folder, lora = str(finished.path / 'model'), Lora(**LORA)
    model = load_model(folder, 320)
    add_adapters(model, lora, 7)
    with torch.no_grad():
        for parameter in trained_parameters(model).values():
            parameter.add_(0.1)
    lean = LeanModel(model, 64, torch.float32)
    ids = torch.randint(0, 320, (3, 20), generator=torch.Generator().manual_seed(1))
    targets = torch.randint(0, 320, (3, 20), generator=torch.Generator().manual_seed(2))
    first = LeanModel(load_model(folder, 320), 64, torch.float32).row_nats(ids, targets)
    now = lean.row_nats(ids, targets)
    assert not torch.allclose(now, first)
    assert torch.equal(AdaptersOff(model, lean, lora).row_nats(ids, targets), first)
    assert torch.equal(lean.row_nats(ids, targets), now)


def test_a_batch_in_parts_makes_the_step_of_the_whole_one_but_for_rounding(make: Any) -> None:
    whole = make('whole', numSteps=4, warmupSteps=1, decaySteps=2)
    assert whole.finish()['ok'] is True
    halved = make('halved', numSteps=4, warmupSteps=1, decaySteps=2, microBatchSize=3)
    assert halved.finish()['ok'] is True
    expected, found = ({e['step']: e for e in run.events('step')} for run in (whole, halved))
    for step in range(1, 5):
        assert found[step]['loss'] == pytest.approx(expected[step]['loss'], rel=1e-3), step
        assert found[step]['num_tokens'] == expected[step]['num_tokens']
    # Of the first step, before rounding can tell: not the mean of the parts' means.
    assert found[1]['loss'] == pytest.approx(expected[1]['loss'], rel=1e-5)
    assert found[1]['grad_norm'] == pytest.approx(expected[1]['grad_norm'], rel=1e-3)
