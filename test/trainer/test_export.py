"""The exported bundle answers as PyTorch does, and has the same bytes each time."""

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from conftest import Run, chatml_tokenizer
from transformers import LlamaForCausalLM

from trainer.chat import end_tokens, load_tokenizer
from trainer.export import ExportRun, export
from trainer.tokenizer import TokenizerRun, train_tokenizer


def _export(finished: Run, tokenizer: str, output: Path) -> Path:
    run = ExportRun(
        schemaVersion=1,
        model=str(finished.path / 'model'),
        tokenizer=tokenizer,
        output=str(output),
        chat=True,
        threads=1,
    )
    export(run)
    return output


@pytest.fixture(scope='module')
def bundle(finished: Run, tokenizer: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _export(finished, tokenizer, tmp_path_factory.mktemp('bundle') / 'out')


def test_what_a_killed_export_left_is_cleared(
    finished: Run, tokenizer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / '.out.scratch' / 'built').mkdir(parents=True)
    (tmp_path / '.out.scratch' / 'built' / 'model.onnx').write_bytes(b'half')
    # Where every other temporary file goes: to a folder that is not there.
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path / 'none'))
    _export(finished, tokenizer, tmp_path / 'out')
    assert sorted(path.name for path in tmp_path.iterdir()) == ['out']


def _feeds(ids: list[list[int]], past: dict[str, Any], length: int) -> dict[str, Any]:
    rows = np.array(ids, dtype=np.int64)
    return {
        'input_ids': rows,
        'attention_mask': np.ones((len(rows), length), dtype=np.int64),
        **past,
    }


def _empty(rows: int) -> dict[str, Any]:
    return {
        f'past_key_values.{layer}.{part}': np.zeros((rows, 2, 0, 16), dtype=np.float32)
        for layer in range(2)
        for part in ('key', 'value')
    }


def test_a_model_of_a_unigram_vocabulary_is_exported_and_answers(
    finished: Run, tokenizer: str, tmp_path: Path
) -> None:
    text = Path(tokenizer).with_name('text.jsonl')
    unigram = tmp_path / 'unigram.json'
    train_tokenizer(
        TokenizerRun(
            schemaVersion=1,
            inputs=[str(text)],
            vocabSize=320,
            output=str(unigram),
            kind='unigram',
        )
    )
    folder = _export(finished, str(unigram), tmp_path / 'out')
    assert (folder / 'tokenizer.json').read_bytes() == unigram.read_bytes()
    probe = json.loads((folder / 'probe.json').read_text())
    session = onnxruntime.InferenceSession(str(folder / 'model.onnx'))
    ids = [probe['promptIds']]
    logits = session.run(['logits'], _feeds(ids, _empty(1), len(ids[0])))[0][0, -1]
    assert np.abs(logits - np.array(probe['logits'])).max() < probe['tolerance']
    chat = load_tokenizer(str(unigram), 64).apply_chat_template(
        [{'role': 'user', 'content': 'Who spoke?'}], add_generation_prompt=True, tokenize=False
    )
    assert chat == '<|endoftext|><|user|>Who spoke?<|end|><|assistant|>'


def test_the_same_model_gives_the_same_bytes(
    finished: Run, tokenizer: str, bundle: Path, tmp_path: Path
) -> None:
    again = _export(finished, tokenizer, tmp_path / 'again')

    def digests(folder: Path) -> dict[str, str]:
        return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}

    assert digests(bundle) == digests(again)
    assert sorted(digests(bundle)) == [
        'chat_template.jinja',
        'config.json',
        'model.onnx',
        'probe.json',
        'serving.json',
        'tokenizer.json',
        'tokenizer_config.json',
    ]


def test_logits_equal_those_of_pytorch_with_and_without_a_past(finished: Run, bundle: Path) -> None:
    model = LlamaForCausalLM.from_pretrained(finished.path / 'model', dtype=torch.float32).eval()
    ids = torch.randint(0, 320, (2, 20), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = model(input_ids=ids).logits.numpy()
    session = onnxruntime.InferenceSession(str(bundle / 'model.onnx'))
    names = [output.name.replace('present', 'past_key_values') for output in session.get_outputs()]
    found, past = [], _empty(2)
    # With a past, the operator takes one token a row at a time.
    for start, end in [(0, 12), *((at, at + 1) for at in range(12, 20))]:
        values = session.run(None, _feeds(ids[:, start:end].tolist(), past, end))
        answer = dict(zip(names, values, strict=True))
        found.append(answer.pop('logits'))
        past = answer
    np.testing.assert_allclose(np.concatenate(found, 1), expected, atol=1e-4)


def test_the_probe_is_answered_within_its_tolerance(bundle: Path) -> None:
    probe = json.loads((bundle / 'probe.json').read_text())
    session = onnxruntime.InferenceSession(str(bundle / 'model.onnx'))
    ids = list(probe['promptIds'])
    for at, greedy in enumerate(probe['greedyIds']):
        logits = session.run(['logits'], _feeds([ids], _empty(1), len(ids)))[0][0, -1]
        if at == 0:
            assert np.abs(logits - np.array(probe['logits'])).max() < probe['tolerance']
        assert int(logits.argmax()) == greedy
        ids.append(greedy)
    assert len(probe['greedyIds']) == 16


def test_serving_json_says_the_shape(bundle: Path) -> None:
    assert json.loads((bundle / 'serving.json').read_text()) == {
        'schemaVersion': 1,
        'contextLength': 64,
        'bosToken': '<|endoftext|>',
        'eosTokens': ['<|end|>', '<|endoftext|>'],
        'chat': True,
        'maxNewTokens': 32,
        'numLayers': 2,
        'numKvHeads': 2,
        'headDim': 16,
        'vocabSize': 320,
    }


@pytest.mark.parametrize(
    ('chatml', 'chat', 'ends'),
    [
        (False, True, ['<|end|>', '<|endoftext|>']),
        (True, True, ['<|im_end|>', '<|endoftext|>']),
        (True, False, ['<|endoftext|>']),
    ],
)
def test_an_answer_ends_with_the_turn_of_the_vocabularys_form_of_chat(
    tokenizer: str, tmp_path: Path, chatml: bool, chat: bool, ends: list[str]
) -> None:
    file = chatml_tokenizer(tokenizer, tmp_path) if chatml else tokenizer
    wrapped = load_tokenizer(file, 64)
    assert end_tokens(wrapped, wrapped.eos_token_id, chat) == ends


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='holds no config.json; expected a transformers folder'):
        ExportRun(
            schemaVersion=1,
            model=str(tmp_path),
            tokenizer='t',
            output='o',
            chat=False,
            threads=1,
        )
