"""Imports a model that was made elsewhere: `python -m trainer.import_base --config FILE`.

A GGUF file or a transformers folder in; out a transformers folder of our layout: model.safetensors
in float32, config.json, tokenizer.json and, where the model chats, chat_template.jinja. Equal
inputs give equal bytes.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from trainer.chat import end_of_text_id
from trainer.checkpoint import write_folder
from trainer.config import ModelShape
from trainer.short_lived import run_module, say

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

# A stream of the server holds keys and values for so many tokens; rotary positions have no weights
# of their own, so that a model may be given a shorter context than it was made with.
_MAX_CONTEXT = 2048


@dataclass(kw_only=True, slots=True)
class ImportRun:
    """A GGUF file, or a folder of transformers, in; a folder out."""

    schemaVersion: Literal[1]
    source: str
    output: str

    def __post_init__(self) -> None:
        source = Path(self.source)
        if source.is_dir():
            if not (source / 'config.json').is_file():
                raise ValueError(f'{source}: found no config.json, expected a transformers folder')
        elif not (source.is_file() and source.suffix == '.gguf'):
            raise ValueError(f'{source}: expected a .gguf file or a transformers folder')


def import_base(run: ImportRun) -> dict[str, Any]:
    """Writes the folder; it appears whole. Says the shape, and whether the model chats."""
    say({'progress': 'reading the weights'})
    shape, found, tokenizer = _read(Path(run.source))
    model = _rebuild(found, shape)
    write_folder(Path(run.output), lambda folder: _fill(folder, model, tokenizer))
    return {
        'output': run.output,
        'shape': {name: getattr(shape, name) for name in ModelShape.__slots__},
        'chat': tokenizer.chat_template is not None,
    }


def _read(source: Path) -> tuple[ModelShape, 'LlamaForCausalLM', 'PreTrainedTokenizerBase']:
    import torch
    from transformers import AutoConfig, AutoTokenizer, LlamaForCausalLM

    where, options = str(source), {'local_files_only': True}
    if source.is_file():
        where, options = str(source.parent), {**options, 'gguf_file': source.name}
    with _refusing(source):
        config = AutoConfig.from_pretrained(where, **options)
    if config.model_type != 'llama':
        raise ValueError(f'{source}: found a {config.model_type} model, expected a llama')
    shape = _shape(config, source)
    with _refusing(source):
        # Never the weights of a pickle, which may hold a program.
        model, told = LlamaForCausalLM.from_pretrained(
            where, dtype=torch.float32, use_safetensors=True, output_loading_info=True, **options
        )
        tokenizer = AutoTokenizer.from_pretrained(where, **options)
    absent = sorted(set(told['missing_keys']) - {'lm_head.weight'})
    if absent:
        raise ValueError(f'{source}: found no weights for {", ".join(absent[:3])}')
    if not tokenizer.is_fast:
        raise ValueError(f'{source}: found no tokenizer.json, expected one of a fast tokenizer')
    return shape, model, tokenizer


@contextmanager
def _refusing(source: Path) -> Iterator[None]:
    """Each library has errors of its own for a file that it cannot read: here they are one."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        raise ValueError(f'{source}: cannot be read as a model: {error}') from error


def _shape(config: Any, source: Path) -> ModelShape:
    rope = config.rope_parameters
    width = config.hidden_size // config.num_attention_heads
    for fault, wrong in (
        (f'rotary positions of type {rope["rope_type"]}', rope['rope_type'] != 'default'),
        ('biases in attention', config.attention_bias),
        ('biases in the feed-forward', config.mlp_bias),
        (f'the activation {config.hidden_act}', config.hidden_act != 'silu'),
        (f'heads of width {config.head_dim}', config.head_dim != width),
    ):
        if wrong:
            raise ValueError(f'{source}: found {fault}, expected a plain llama; take another base')
    return ModelShape(
        family='llama',
        vocabSize=config.vocab_size,
        hiddenSize=config.hidden_size,
        intermediateSize=config.intermediate_size,
        numLayers=config.num_hidden_layers,
        numHeads=config.num_attention_heads,
        numKvHeads=config.num_key_value_heads,
        contextLength=min(config.max_position_embeddings, _MAX_CONTEXT),
        ropeTheta=rope['rope_theta'],
        tieEmbeddings=bool(config.tie_word_embeddings),
    )


def _rebuild(found: 'LlamaForCausalLM', shape: ModelShape) -> 'LlamaForCausalLM':
    """The same weights under a fresh configuration: one that came with a GGUF cannot be saved."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=shape.vocabSize,
        hidden_size=shape.hiddenSize,
        intermediate_size=shape.intermediateSize,
        num_hidden_layers=shape.numLayers,
        num_attention_heads=shape.numHeads,
        num_key_value_heads=shape.numKvHeads,
        head_dim=shape.hiddenSize // shape.numHeads,
        max_position_embeddings=shape.contextLength,
        rope_parameters={'rope_type': 'default', 'rope_theta': shape.ropeTheta},
        tie_word_embeddings=shape.tieEmbeddings,
        rms_norm_eps=found.config.rms_norm_eps,
        bos_token_id=found.config.bos_token_id,
        eos_token_id=found.config.eos_token_id,
    )
    model = LlamaForCausalLM(config)
    model.load_state_dict(found.state_dict())
    return model


def _fill(folder: Path, model: 'LlamaForCausalLM', tokenizer: Any) -> None:
    model.save_pretrained(folder)
    tokenizer.backend_tokenizer.save(str(folder / 'tokenizer.json'))
    end_of_text_id(str(folder / 'tokenizer.json'))
    if tokenizer.chat_template is not None:
        (folder / 'chat_template.jinja').write_text(tokenizer.chat_template, 'utf-8')


if __name__ == '__main__':
    os.environ['HF_HUB_OFFLINE'] = '1'
    run_module(ImportRun, import_base)
