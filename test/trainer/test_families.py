"""The Qwen families go the whole way that a Llama goes: trained, resumed, exported, adapted."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from conftest import SHAPE, MakeRun, Run
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from trainer.export import ExportRun, export
from trainer.import_base import ImportRun, import_base

# The second with heads that do not fill its width, as the published models of that family have.
SHAPES = {
    'qwen2': {**SHAPE, 'family': 'qwen2'},
    'qwen3': {**SHAPE, 'family': 'qwen3', 'headDim': 32, 'tieEmbeddings': False},
}
ARCHITECTURES = {'qwen2': 'Qwen2ForCausalLM', 'qwen3': 'Qwen3ForCausalLM'}


@pytest.fixture(scope='module', params=SHAPES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope='module')
def make(make_run: MakeRun, family: str) -> Callable[..., Run]:
    def made(resume: Path | None = None, **recipe: Any) -> Run:
        run = make_run(resume, **recipe)
        run.config['model'] = SHAPES[family]
        return run

    return made


@pytest.fixture(scope='module')
def trained(make: Callable[..., Run]) -> Run:
    run = make()
    assert run.finish()['ok'] is True
    return run


@pytest.fixture(scope='module')
def bundle(trained: Run, tokenizer: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp('bundle') / 'out'
    export(
        ExportRun(
            schemaVersion=1,
            model=str(trained.path / 'model'),
            tokenizer=tokenizer,
            output=str(output),
            chat=False,
            threads=1,
        )
    )
    return output


def load(run: Run) -> Any:
    return AutoModelForCausalLM.from_pretrained(run.path / 'model', dtype=torch.float32).eval()


def test_transformers_loads_it_as_its_own_and_finds_the_same_loss(
    trained: Run, family: str
) -> None:
    model = load(trained)
    assert type(model).__name__ == ARCHITECTURES[family]
    held_out = trained.config['data']['heldOut']
    tokens = torch.from_numpy(np.fromfile(held_out['path'], '<u2').astype(np.int64))
    nats, length = 0.0, 16
    for begin in range(0, len(tokens), length):
        targets = tokens[begin : begin + length]
        before = torch.cat((tokens[begin - 1 : begin] if begin else torch.zeros(1), targets[:-1]))
        with torch.no_grad():
            logits = model(before[None].long()).logits[0]
        nats += torch.nn.functional.cross_entropy(logits, targets, reduction='sum').item()
    found = trained.events('eval')[-1]['val_loss']
    assert found == pytest.approx(nats / len(tokens), rel=1e-4)
    assert found < trained.events('eval')[0]['val_loss']


def test_a_resumed_run_ends_with_the_same_bits(make: Callable[..., Run], trained: Run) -> None:
    resumed = make(trained.path / 'checkpoints' / '6')
    assert resumed.finish()['ok'] is True
    assert resumed.weights() == trained.weights()
    assert resumed.losses() == {step: trained.losses()[step] for step in range(7, 13)}


def test_its_onnx_file_answers_as_pytorch_with_and_without_a_past(
    trained: Run, bundle: Path
) -> None:
    ids = torch.randint(0, 320, (1, 20), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = load(trained)(input_ids=ids).logits.numpy()
    serving = json.loads((bundle / 'serving.json').read_text())
    session = onnxruntime.InferenceSession(str(bundle / 'model.onnx'))
    names = [output.name.replace('present', 'past_key_values') for output in session.get_outputs()]
    empty = np.zeros((1, serving['numKvHeads'], 0, serving['headDim']), np.float32)
    past = {name: empty for name in names if name != 'logits'}
    found = []
    for start, end in [(0, 12), *((at, at + 1) for at in range(12, 20))]:
        feeds = {
            'input_ids': ids[:, start:end].numpy(),
            'attention_mask': np.ones((1, end), np.int64),
            **past,
        }
        answer = dict(zip(names, session.run(None, feeds), strict=True))
        found.append(answer.pop('logits'))
        past = answer
    np.testing.assert_allclose(np.concatenate(found, 1), expected, atol=1e-4)


def test_one_from_elsewhere_is_imported_and_adapted(
    make: Callable[..., Run], trained: Run, family: str, tokenizer: str, tmp_path: Path
) -> None:
    foreign = tmp_path / 'foreign'
    shutil.copytree(trained.path / 'model', foreign)
    PreTrainedTokenizerFast(tokenizer_file=tokenizer).save_pretrained(foreign)
    outcome = import_base(
        ImportRun(schemaVersion=1, source=str(foreign), output=str(tmp_path / 'base'))
    )
    assert outcome['shape'] == SHAPES[family]
    # What is no projection must survive the merge, biases and norms too.
    run = make(
        optimizer='adamw',
        learningRate=0.01,
        adamLearningRate=0.01,
        weightDecay=0.0,
        lora={'rank': 4, 'alpha': 8, 'mergeShare': 1},
    )
    run.config['init'] = str(tmp_path / 'base')
    result = run.finish()
    assert result['ok'] is True
    assert result['valBpb'] < result['valBpbBefore']
    before, after = (load_file(p / 'model.safetensors') for p in (foreign, run.path / 'model'))
    assert before.keys() == after.keys()
    for name, tensor in after.items():
        assert torch.equal(tensor, before[name]) is not name.endswith('proj.weight'), name


def test_a_window_of_attention_is_refused(
    trained: Run, family: str, tokenizer: str, tmp_path: Path
) -> None:
    foreign = tmp_path / 'foreign'
    shutil.copytree(trained.path / 'model', foreign)
    PreTrainedTokenizerFast(tokenizer_file=tokenizer).save_pretrained(foreign)
    file = foreign / 'config.json'
    kinds = ['full_attention', 'sliding_attention']
    file.write_text(json.dumps({**json.loads(file.read_text()), 'layer_types': kinds}))
    with pytest.raises(
        ValueError, match=f'looks back a part of the way, expected a plain {family}'
    ):
        import_base(ImportRun(schemaVersion=1, source=str(foreign), output=str(tmp_path / 'out')))
