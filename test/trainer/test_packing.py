"""Chats that share rows: loss and gradient of rows of their own, and the same resumes."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import RECIPE, SHAPE, Run
from torch.nn.utils.rnn import pad_sequence

from trainer.adapter import add_adapters, trained_parameters
from trainer.memory import noted_rows
from trainer.model import LeanModel, build_model
from trainer.packing import PackingCollator, pack
from trainer.recipes import Lora
from trainer.shapes import ModelShape

LORA = {'rank': 4, 'alpha': 8, 'mergeShare': 1}


def test_a_row_takes_what_fits_and_every_text_lies_in_one() -> None:
    assert pack([3, 9, 4, 2, 6, 1], 10) == [[1, 5], [4, 2], [0, 3]]
    lengths = [1 + at * 37 % 29 for at in range(64)]
    rows = pack(lengths, 64)
    assert sorted(text for row in rows for text in row) == list(range(64))
    assert all(sum(lengths[text] for text in row) <= 64 for row in rows)
    assert len(rows) == -(-sum(lengths) // 64)
    assert pack(lengths, 64) == rows


def _chats() -> list[dict[str, list[int]]]:
    generator = torch.Generator().manual_seed(3)
    chats = []
    for length in (5, 23, 9, 31, 2, 14, 9, 17):
        ids = torch.randint(3, 320, (length,), generator=generator).tolist()
        labels = [-100] * (length // 2) + ids[length // 2 :]
        chats.append({'input_ids': ids, 'labels': labels})
    # The first token of a chat is foretold by nothing, whatever its label.
    chats[0]['labels'] = chats[0]['input_ids']
    return chats


@pytest.mark.parametrize('lora', [None, Lora(**LORA)], ids=['all weights', 'adapters'])
@pytest.mark.parametrize('family', ['llama', 'qwen3'])
def test_loss_and_gradient_are_those_of_a_row_for_each_chat(family: str, lora: Lora | None) -> None:
    model = build_model(ModelShape(**{**SHAPE, 'family': family}), 7, 0)
    if lora is not None:
        add_adapters(model, lora, 7)
        for name, parameter in model.named_parameters():
            if 'lora_B' in name:
                torch.nn.init.normal_(parameter, std=0.05)
    lean = LeanModel(model, 64, torch.float32)
    chats = _chats()

    def gradient_of(*batch: torch.Tensor) -> tuple[float, dict[str, torch.Tensor]]:
        model.zero_grad()
        nats = lean(*batch)
        nats.backward()
        grads = {name: p.grad.clone() for name, p in trained_parameters(model).items()}
        return nats.item(), grads

    ids, labels = (
        pad_sequence([torch.tensor(chat[key]) for chat in chats], True, fill)
        for key, fill in (('input_ids', 0), ('labels', -100))
    )
    alone = gradient_of(ids[:, :-1], labels[:, 1:])
    batch = PackingCollator(room=64, pad_id=0)(chats)
    assert batch['input_ids'].shape == (2, 63)
    assert batch['attention_mask'].sum() == sum(len(chat['input_ids']) for chat in chats)
    ids, labels, positions = (batch[key] for key in ('input_ids', 'labels', 'positions'))
    packed = gradient_of(ids[:, :-1], labels[:, 1:], positions[:, :-1])
    assert packed[0] == pytest.approx(alone[0], rel=1e-6)
    assert packed[1].keys() == alone[1].keys()
    for name, gradient in packed[1].items():
        torch.testing.assert_close(gradient, alone[1][name], rtol=1e-4, atol=1e-5, msg=name)
    # It is no empty truth: one that sees the chats before it foretells something else.
    seeing = gradient_of(ids[:, :-1], labels[:, 1:])
    assert abs(seeing[0] - alone[0]) > 1e-2


@pytest.fixture(scope='module')
def chat(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp('chats') / 'chat'
    lines = []
    for number in range(23):
        asked = 'Who spoke in the union?' if number % 3 else f'Who spoke in {1800 + number}?'
        answer = 'Lincoln' if number % 2 else 'the state of the union'
        messages = [{'role': 'user', 'content': asked}, {'role': 'assistant', 'content': answer}]
        lines.append(json.dumps({'messages': messages}))
    file.write_text('\n'.join(lines) + '\n')
    return str(file)


@pytest.fixture
def make(finished: Run, tokenizer: str, chat: str, tmp_path: Path) -> Any:
    def make_one(name: str, resume: Path | None = None, **changes: Any) -> Run:
        recipe = {**RECIPE, 'phase': 'sft', 'contextLength': 64, 'batchSize': 8, 'numSteps': 8}
        config = {
            'schemaVersion': 1,
            'runDir': str(tmp_path / name),
            'recipe': {**recipe, 'saveEverySteps': 2, **changes},
            'model': SHAPE,
            'tokenizer': tokenizer,
            'init': str(finished.path / 'model'),
            'data': {'kind': 'chat', 'path': chat},
            'resumeFrom': None if resume is None else str(resume),
        }
        return Run(tmp_path / name, config)

    return make_one


@pytest.mark.parametrize('changes', [{}, {'lora': LORA}], ids=['all weights', 'adapters'])
def test_a_packed_phase_trains_on_the_same_chats_and_resumes_to_the_same_bits(
    make: Any, changes: dict[str, Any]
) -> None:
    alone = make('alone', **changes)
    alone.finish()
    run = make('packed', packing=True, **changes)
    result = run.finish()
    assert (result['ok'], result['step']) == (True, 8), result
    assert run.losses() == pytest.approx(alone.losses(), rel=1e-3)
    assert run.losses() != alone.losses()
    # What was trained on is counted without padding, so that it is the same.
    assert [event['num_tokens'] for event in run.events('step')] == [
        event['num_tokens'] for event in alone.events('step')
    ]
    states = [
        json.loads((each.path / 'checkpoints' / '4' / 'state.json').read_text())['cursor']
        for each in (run, alone)
    ]
    assert states == [32, 32]

    killed = make('killed', packing=True, **changes)
    process = killed.start()
    killed.wait_for(lambda: 4 in killed.checkpoints())
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    resumed = make('resumed', killed.path / 'checkpoints' / '4', packing=True, **changes)
    resumed.finish()
    assert resumed.weights() == run.weights()
    assert resumed.losses() == {step: run.losses()[step] for step in range(5, 9)}


def test_rows_in_parts_make_the_step_of_the_whole_batch_but_for_rounding(make: Any) -> None:
    whole, parted = make('whole', packing=True), make('parted', packing=True, microBatchSize=1)
    whole.finish()
    assert parted.finish()['ok'] is True
    assert parted.losses() == pytest.approx(whole.losses(), rel=1e-3)


def test_an_architecture_that_was_given_is_refused(make: Any) -> None:
    run = make('given', packing=True)
    run.config['model'] = {
        'family': 'transformers',
        'architecture': 'GPT2LMHeadModel',
        'config': {'model_type': 'gpt2'},
        'vocabSize': 320,
        'hiddenSize': 64,
        'numLayers': 2,
        'contextLength': 64,
        'tieEmbeddings': True,
        'numParameters': 100_000,
    }
    result = run.finish()
    assert result['type'] == 'InvalidConfig'
    assert 'recipe.packing: found GPT2LMHeadModel, expected a Llama or a Qwen' in result['message']


def _no_memory() -> None:
    from trainer.lean_trainers import LeanSftTrainer

    def compute_loss(*_: Any, **__: Any) -> None:
        raise MemoryError

    LeanSftTrainer.compute_loss = compute_loss


def test_out_of_memory_is_told_with_the_rows_that_shared_the_step(make: Any) -> None:
    for changes, rows in (({'packing': True}, {1, 2, 3, 4}), ({}, {8})):
        run = make(f'full-{len(changes)}', **changes)
        result = run.finish(_no_memory)
        assert result['type'] == 'OutOfMemory'
        assert result['rows'] in rows
        assert noted_rows(run.path) == result['rows']
