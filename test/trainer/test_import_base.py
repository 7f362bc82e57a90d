"""A model from elsewhere is brought into our layout, or refused with what was found."""

import json
from pathlib import Path
from typing import Any

import gguf
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


def write_gguf(source: Path, file: Path) -> None:
    """The weights and the tokenizer of a folder, as llama.cpp's converter of Llamas writes them."""
    config = json.loads((source / 'config.json').read_text())
    tokenizer = json.loads((source / 'tokenizer.json').read_text())
    heads, kv = config['num_attention_heads'], config['num_key_value_heads']
    writer = gguf.GGUFWriter(file, 'llama')
    writer.add_block_count(config['num_hidden_layers'])
    writer.add_context_length(config['max_position_embeddings'])
    writer.add_embedding_length(config['hidden_size'])
    writer.add_feed_forward_length(config['intermediate_size'])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv)
    writer.add_layer_norm_rms_eps(config['rms_norm_eps'])
    writer.add_rope_freq_base(config['rope_parameters']['rope_theta'])
    writer.add_vocab_size(config['vocab_size'])
    added = {token['content']: token['id'] for token in tokenizer['added_tokens']}
    vocabulary = tokenizer['model']['vocab'] | added
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    writer.add_tokenizer_model('gpt2')
    writer.add_tokenizer_pre('smollm')
    writer.add_token_list(tokens)
    writer.add_token_types([control if token in added else normal for token in tokens])
    writer.add_token_merges([' '.join(merge) for merge in tokenizer['model']['merges']])
    writer.add_eos_token_id(vocabulary['<|end|>'])
    writer.add_chat_template('said: {{ messages[0].content }}')
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config['num_hidden_layers'])
    for name, tensor in load_file(source / 'model.safetensors').items():
        rows = tensor.float()
        if (count := heads if 'q_proj' in name else kv if 'k_proj' in name else None) is not None:
            # Halves of a head's rotary pairs lie beside each other there.
            rows = rows.view(count, 2, -1, rows.shape[1]).transpose(1, 2).reshape(rows.shape)
        given = names.get_name(name, try_suffixes=('.weight',))
        writer.add_tensor(given, rows.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_a_gguf_has_the_weights_the_tokenizer_and_the_chat_of_the_folder_it_was_made_of(
    foreign: Path, tmp_path: Path
) -> None:
    write_gguf(foreign, tmp_path / 'model.gguf')
    outcome = bring(tmp_path / 'model.gguf', tmp_path / 'from-gguf')
    assert outcome['shape'] == bring(foreign, tmp_path / 'from-folder')['shape']
    assert outcome['chat']
    one, other = (
        load_file(tmp_path / name / 'model.safetensors') for name in ('from-gguf', 'from-folder')
    )
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name
    texts = ['The state of our union', ' 1,000\n\nwords', '<|endoftext|>']
    ours, theirs = (
        PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / name / 'tokenizer.json'))
        for name in ('from-gguf', 'from-folder')
    )
    assert [ours.encode(text) for text in texts] == [theirs.encode(text) for text in texts]


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
