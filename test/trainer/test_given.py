"""A configuration of transformers that was given is counted and tried, then trained as it is."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import RECIPE, MakeRun, Run
from transformers import AutoConfig, AutoModelForCausalLM

from trainer.export import ExportRun, export
from trainer.given import build_given
from trainer.measure import MeasureRun, measure
from trainer.reading import read_object
from trainer.shapes import GivenModel

SIZES = {
    'hidden_size': 64,
    'intermediate_size': 128,
    'num_hidden_layers': 3,
    'num_attention_heads': 4,
    'num_key_value_heads': 2,
    'max_position_embeddings': 64,
}
GEMMA = {'model_type': 'gemma', 'head_dim': 16, **SIZES}
# What it drops out while it learns comes from the random state that a checkpoint holds.
GPT2 = {'model_type': 'gpt2', 'n_embd': 64, 'n_layer': 2, 'n_head': 4, 'n_positions': 64}
ADAMW = {'optimizer': 'adamw', 'learningRate': 0.005, 'adamLearningRate': 0.005}


def measured(config: dict[str, Any]) -> dict[str, Any]:
    return measure(MeasureRun(schemaVersion=1, config=config))


def shape_of(config: dict[str, Any], vocab_size: int = 320) -> dict[str, Any]:
    found = measured(config)
    parameters, _ = found.pop('parameters'), found.pop('unservable')
    count = parameters['fixed'] + parameters['perToken'] * vocab_size
    sizes = {'vocabSize': vocab_size, 'numParameters': count}
    return {'family': 'transformers', 'config': config, **found, **sizes}


@pytest.mark.parametrize('config', [GEMMA, GPT2, {'model_type': 'llama', **SIZES}])
def test_parameters_are_counted_without_weights_for_any_vocabulary(config: dict[str, Any]) -> None:
    shape = shape_of(config, 777)
    model = build_given(read_object(GivenModel, shape, 'model'), 1, 0)
    assert sum(parameter.numel() for parameter in model.parameters()) == shape['numParameters']
    assert type(model).__name__ == shape['architecture']
    tied = model.get_input_embeddings().weight is model.get_output_embeddings().weight
    assert tied is shape['tieEmbeddings']


@pytest.mark.parametrize(
    ('config', 'why'),
    [
        (GEMMA, None),
        ({'model_type': 'mistral', 'sliding_window': None, 'head_dim': 16, **SIZES}, None),
        (GPT2, 'the ONNX builder does not know a GPT2LMHeadModel'),
        # Built, and yet another function: only asking it shows that.
        ({'model_type': 'olmo', **SIZES}, 'its ONNX file answers otherwise than PyTorch, by '),
    ],
)
def test_whether_it_can_be_served_is_found_by_trying(
    config: dict[str, Any], why: str | None
) -> None:
    found = measured(config)['unservable']
    assert found is None if why is None else found.startswith(why)


@pytest.mark.parametrize(
    ('config', 'why'),
    [
        ({'model_type': 'nope'}, "found model_type 'nope', expected one of the causal models"),
        ({'hidden_size': 64}, 'found model_type None'),
        ({'model_type': 'llama', **SIZES, 'hidden_size': 65}, 'not one of a llama model'),
        ({'model_type': 'bert', **SIZES}, 'sees the tokens that follow, expected a causal model'),
    ],
)
def test_what_is_no_causal_model_is_refused(config: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        measured(config)


def test_a_context_that_a_stream_cannot_hold_is_cut() -> None:
    long = {'model_type': 'llama', **SIZES, 'max_position_embeddings': 131_072}
    assert measured(long)['contextLength'] == 1024


@pytest.fixture(scope='module', params=[GEMMA, GPT2], ids=['gemma', 'gpt2'])
def make(request: pytest.FixtureRequest, make_run: MakeRun) -> Callable[..., Run]:
    shape = shape_of(request.param)

    def made(resume: Path | None = None, **recipe: Any) -> Run:
        run = make_run(resume, **{**ADAMW, **recipe})
        run.config['model'] = shape
        return run

    return made


@pytest.fixture(scope='module')
def trained(make: Callable[..., Run]) -> Run:
    run = make()
    assert run.finish()['ok'] is True
    return run


def test_it_learns_and_transformers_finds_the_same_loss(trained: Run) -> None:
    model = AutoModelForCausalLM.from_pretrained(trained.path / 'model').eval()
    assert type(model).__name__ == trained.config['model']['architecture']
    held_out = trained.config['data']['heldOut']
    tokens = torch.from_numpy(np.fromfile(held_out['path'], '<u2').astype(np.int64))
    nats = 0.0
    for begin in range(0, len(tokens), 16):
        targets = tokens[begin : begin + 16]
        before = torch.cat((tokens[begin - 1 : begin] if begin else torch.zeros(1), targets[:-1]))
        with torch.no_grad():
            logits = model(before[None].long()).logits[0]
        nats += torch.nn.functional.cross_entropy(logits, targets, reduction='sum').item()
    first, *_, last = trained.events('eval')
    assert last['val_loss'] == pytest.approx(nats / len(tokens), rel=1e-4)
    assert last['val_loss'] < first['val_loss']


def test_a_resumed_run_ends_with_the_same_bits(make: Callable[..., Run], trained: Run) -> None:
    resumed = make(trained.path / 'checkpoints' / '6')
    assert resumed.finish()['ok'] is True
    assert resumed.weights() == trained.weights()
    assert resumed.losses() == {step: trained.losses()[step] for step in range(7, 13)}


def test_it_goes_on_from_itself_and_is_tuned_to_chat(
    make: Callable[..., Run], trained: Run, tmp_path: Path
) -> None:
    onwards = make(numSteps=4, warmupSteps=1, decaySteps=1)
    onwards.config['init'] = str(trained.path / 'model')
    assert onwards.finish()['ok'] is True
    assert onwards.losses()[1] < trained.losses()[1]
    said = {'role': 'user', 'content': 'Who?'}, {'role': 'assistant', 'content': 'Lincoln'}
    (tmp_path / 'chat').write_text(json.dumps({'messages': said}) + '\n')
    tuned = make()
    recipe = {**RECIPE, 'phase': 'sft', 'contextLength': 64, 'learningRate': 0.01}
    tuned.config['recipe'] = {**recipe, 'batchSize': 1}
    tuned.config['init'] = str(onwards.path / 'model')
    tuned.config['data'] = {'kind': 'chat', 'path': str(tmp_path / 'chat')}
    assert tuned.finish()['ok'] is True
    assert tuned.losses()[12] < tuned.losses()[1]


def test_its_bundle_says_what_a_stream_keeps(
    make_run: MakeRun, tokenizer: str, tmp_path: Path
) -> None:
    shape = read_object(GivenModel, shape_of(GEMMA), 'model')
    build_given(shape, 1, 0).save_pretrained(tmp_path / 'model')
    export(
        ExportRun(
            schemaVersion=1,
            model=str(tmp_path / 'model'),
            tokenizer=tokenizer,
            output=str(tmp_path / 'bundle'),
            chat=False,
            threads=1,
        )
    )
    serving = json.loads((tmp_path / 'bundle' / 'serving.json').read_text())
    found = [serving[name] for name in ('numLayers', 'numKvHeads', 'headDim', 'vocabSize')]
    assert found == [3, 2, 16, 320]
    assert AutoConfig.from_pretrained(tmp_path / 'bundle').model_type == 'gemma'
