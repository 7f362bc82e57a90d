"""A model from elsewhere is brought into our layout, or refused with what was found."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Run
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from trainer.import_base import ImportRun, import_base


@pytest.fixture
def foreign(finished: Run, tokenizer: str, tmp_path: Path) -> Path:
    """A folder as transformers saves it: bfloat16, with a tokenizer that has a chat template."""
    folder = tmp_path / 'foreign'
    LlamaForCausalLM.from_pretrained(finished.path / 'model', dtype=torch.bfloat16).save_pretrained(
        folder
    )
    fast = PreTrainedTokenizerFast(tokenizer_file=tokenizer, eos_token='<|end|>')
    fast.chat_template = 'said: {{ messages[0].content }}'
    fast.save_pretrained(folder)
    return folder


def bring(source: Path, output: Path) -> dict[str, Any]:
    return import_base(ImportRun(schemaVersion=1, source=str(source), output=str(output)))


def change(folder: Path, **config: object) -> None:
    file = folder / 'config.json'
    file.write_text(json.dumps({**json.loads(file.read_text()), **config}))


def test_a_folder_becomes_float32_weights_a_tokenizer_and_its_own_way_to_chat(
    foreign: Path, tmp_path: Path
) -> None:
    outcome = bring(foreign, tmp_path / 'out')
    assert (outcome['shape']['numKvHeads'], outcome['chat']) == (2, True)
    found = {path.name for path in (tmp_path / 'out').iterdir()}
    assert {'model.safetensors', 'config.json', 'tokenizer.json', 'chat_template.jinja'} <= found
    before, after = (load_file(p / 'model.safetensors') for p in (foreign, tmp_path / 'out'))
    for name, tensor in after.items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, before[name].float())
    assert (tmp_path / 'out' / 'chat_template.jinja').read_text().startswith('said: ')


def test_the_same_folder_gives_the_same_bytes(foreign: Path, tmp_path: Path) -> None:
    bring(foreign, tmp_path / 'one')
    bring(foreign, tmp_path / 'two')
    for path in (tmp_path / 'one').iterdir():
        assert path.read_bytes() == (tmp_path / 'two' / path.name).read_bytes(), path.name


def test_a_long_context_is_cut_to_what_a_server_can_hold(foreign: Path, tmp_path: Path) -> None:
    change(foreign, max_position_embeddings=131072)
    assert bring(foreign, tmp_path / 'out')['shape']['contextLength'] == 2048
    config = json.loads((tmp_path / 'out' / 'config.json').read_text())
    assert config['max_position_embeddings'] == 2048


@pytest.mark.parametrize(
    ('config', 'found'),
    [
        ({'model_type': 'gpt2'}, 'found a gpt2 model, expected a llama, qwen2, qwen3'),
        ({'attention_bias': True}, 'found biases in attention'),
        ({'hidden_act': 'gelu'}, 'found the activation gelu'),
        ({'head_dim': 32}, ''),
        (
            {'rope_parameters': {'rope_type': 'linear', 'factor': 2.0, 'rope_theta': 10000.0}},
            'found rotary positions of type linear',
        ),
    ],
)
def test_what_is_no_plain_llama_is_refused(
    foreign: Path, tmp_path: Path, config: dict[str, Any], found: str
) -> None:
    change(foreign, **config)
    with pytest.raises(ValueError, match=found):
        bring(foreign, tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_weights_that_are_cut_off_are_refused(foreign: Path, tmp_path: Path) -> None:
    file = foreign / 'model.safetensors'
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(ValueError, match='cannot be read as a model'):
        bring(foreign, tmp_path / 'out')


def test_weights_with_a_tensor_missing_are_refused(foreign: Path, tmp_path: Path) -> None:
    file = foreign / 'model.safetensors'
    found = load_file(file)
    del found['model.layers.1.mlp.up_proj.weight']
    save_file(found, file, {'format': 'pt'})
    with pytest.raises(ValueError, match='up_proj'):
        bring(foreign, tmp_path / 'out')


def test_a_tokenizer_without_an_end_of_text_is_refused(foreign: Path, tmp_path: Path) -> None:
    file = foreign / 'tokenizer.json'
    file.write_text(file.read_text().replace('<|endoftext|>', '</s>'))
    with pytest.raises(ValueError, match='found no token'):
        bring(foreign, tmp_path / 'out')


@pytest.mark.parametrize(
    ('name', 'bytes_'), [('model.gguf', b'GGUF but no more'), ('model.gguf', b'')]
)
def test_a_gguf_that_is_none_is_refused(tmp_path: Path, name: str, bytes_: bytes) -> None:
    (tmp_path / name).write_bytes(bytes_)
    with pytest.raises(ValueError, match='cannot be read as a model'):
        bring(tmp_path / name, tmp_path / 'out')


def test_neither_a_gguf_nor_a_folder_of_transformers_is_refused(tmp_path: Path) -> None:
    (tmp_path / 'model.bin').write_bytes(b'x')
    for source in (tmp_path / 'model.bin', tmp_path, tmp_path / 'none.gguf'):
        with pytest.raises(ValueError, match='expected a'):
            ImportRun(schemaVersion=1, source=str(source), output=str(tmp_path / 'out'))


def rewrite(folder: Path, change: Any) -> None:
    file = folder / 'model.safetensors'
    found = load_file(file)
    change(found)
    save_file(found, file, {'format': 'pt'})


def untie(found: dict[str, torch.Tensor]) -> None:
    found['lm_head.weight'] = found['model.embed_tokens.weight'] + 1


def add_bias(found: dict[str, torch.Tensor]) -> None:
    found['model.layers.0.self_attn.q_proj.bias'] = torch.ones(64, dtype=torch.bfloat16)


def spoil(found: dict[str, torch.Tensor]) -> None:
    found['model.norm.weight'][3] = float('nan')


@pytest.mark.parametrize(
    ('change', 'found'),
    [
        (untie, 'found a head of its own where config.json says tied'),
        (add_bias, 'found weights that a plain llama has not'),
        (spoil, 'model.norm.weight holds what is no number'),
    ],
)
def test_weights_that_would_be_changed_or_dropped_in_silence_are_refused(
    foreign: Path, tmp_path: Path, change: Any, found: str
) -> None:
    rewrite(foreign, change)
    with pytest.raises(ValueError, match=found):
        bring(foreign, tmp_path / 'out')


def test_an_untied_head_that_is_not_there_is_refused(foreign: Path, tmp_path: Path) -> None:
    change(foreign, tie_word_embeddings=False)
    with pytest.raises(ValueError, match='found no weights for lm_head.weight'):
        bring(foreign, tmp_path / 'out')


def test_a_tokenizer_that_cuts_and_pads_reads_whole_documents_here(
    foreign: Path, tmp_path: Path
) -> None:
    from tokenizers import Tokenizer

    file = str(foreign / 'tokenizer.json')
    cutting = Tokenizer.from_file(file)
    cutting.enable_truncation(4)
    cutting.enable_padding(length=8, pad_id=3, pad_token='<|end|>')
    cutting.save(file)
    bring(foreign, tmp_path / 'out')
    brought = Tokenizer.from_file(str(tmp_path / 'out' / 'tokenizer.json'))
    assert len(brought.encode('Abraham Lincoln spoke of the union in 1862.').ids) > 8
    assert len(brought.encode('a').ids) == 1


@pytest.mark.parametrize(
    ('config', 'found'),
    [
        ({'eos_token_id': [1, 2]}, r'found eos_token_id \[1, 2\]'),
        ({'eos_token_id': 100000}, 'found eos_token_id 100000'),
        ({'vocab_size': 300}, 'the tokenizer has an id'),
    ],
)
def test_what_neither_training_nor_export_could_use_is_refused_first(
    foreign: Path, tmp_path: Path, config: dict[str, Any], found: str
) -> None:
    change(foreign, **config)
    with pytest.raises(ValueError, match=found):
        bring(foreign, tmp_path / 'out')
