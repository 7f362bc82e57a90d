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
from typing import TYPE_CHECKING, Any, Literal, get_args, get_type_hints

from trainer.chat import TEMPLATE_NAME
from trainer.checkpoint import write_folder
from trainer.memory import require_room
from trainer.model import causal_config, head_width
from trainer.shapes import ModelShape
from trainer.short_lived import run_module, say
from trainer.special_tokens import END_OF_TEXT

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# A stream of the server holds keys and values for so many tokens; rotary positions have no weights
# of their own, so that a model may be given a shorter context than it was made with.
_MAX_CONTEXT = 2048
_FAMILIES = get_args(get_type_hints(ModelShape)['family'])


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
        'shape': {
            name: value
            for name in ModelShape.__slots__
            if (value := getattr(shape, name)) is not None
        },
        'chat': tokenizer.chat_template is not None,
    }


def _read(source: Path) -> tuple[ModelShape, 'PreTrainedModel', 'PreTrainedTokenizerBase']:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    where, options = str(source), {'local_files_only': True}
    if source.is_file():
        where, options = str(source.parent), {**options, 'gguf_file': source.name}
    with _refusing(source):
        # Checked first: to read the weights takes long.
        tokenizer = AutoTokenizer.from_pretrained(where, **options)
        config = AutoConfig.from_pretrained(where, **options)
    if config.model_type not in _FAMILIES:
        raise ValueError(
            f'{source}: found a {config.model_type} model, expected a {", ".join(_FAMILIES)}'
        )
    shape = _shape(config, source)
    _check_tokenizer(tokenizer, config, source)
    with torch.device('meta'):
        parameters = AutoModelForCausalLM.from_config(config).num_parameters()
    require_room(parameters, str(source))
    with _refusing(source):
        # Never the weights of a pickle, which may hold a program.
        model, told = AutoModelForCausalLM.from_pretrained(
            where, dtype=torch.float32, use_safetensors=True, output_loading_info=True, **options
        )
    _check_weights(model, told, source)
    return shape, model, tokenizer


def _check_weights(model: 'PreTrainedModel', told: dict[str, Any], source: Path) -> None:
    """Refuses weights that are not all there, that nobody would use, or that are no numbers."""
    import torch

    if absent := sorted(told['missing_keys']):
        raise ValueError(f'{source}: found no weights for {", ".join(absent[:3])}')
    unused = sorted(key for key in told['unexpected_keys'] if 'rotary_emb' not in key)
    if unused:
        raise ValueError(
            f'{source}: found weights that a plain {model.config.model_type} has not: {unused[0]}'
        )
    state = model.state_dict()
    for name, tensor in state.items():
        if not torch.isfinite(tensor).all():
            raise ValueError(f'{source}: {name} holds what is no number')
    head, words = state['lm_head.weight'], state['model.embed_tokens.weight']
    if model.config.tie_word_embeddings and not torch.equal(head, words):
        raise ValueError(f'{source}: found a head of its own where config.json says tied')


def _check_tokenizer(tokenizer: Any, config: Any, source: Path) -> None:
    """Refuses what training, export or the server could not use, before anything is spent."""
    if not tokenizer.is_fast:
        raise ValueError(f'{source}: found no tokenizer.json, expected one of a fast tokenizer')
    vocabulary = tokenizer.get_vocab()
    if END_OF_TEXT not in vocabulary:
        raise ValueError(
            f'{source}: found no token {END_OF_TEXT}, which parts documents '
            f'(its end is {tokenizer.eos_token}); take another base'
        )
    if (last := max(vocabulary.values())) >= config.vocab_size:
        raise ValueError(
            f'{source}: the tokenizer has an id {last}, '
            f'the model rows for {config.vocab_size} tokens alone'
        )
    ends = config.eos_token_id
    if not isinstance(ends, int) or ends not in vocabulary.values():
        raise ValueError(f'{source}: found eos_token_id {ends}, expected one id of its tokenizer')
    if not isinstance(tokenizer.chat_template, str | None):
        raise ValueError(f'{source}: found several chat templates, expected one')
    if 'ByteLevel' not in str(tokenizer.backend_tokenizer.decoder):
        raise ValueError(f'{source}: found a tokenizer that is not byte-level; take another base')


@contextmanager
def _refusing(source: Path) -> Iterator[None]:
    """Each library has errors of its own for a file that it cannot read: here they are one."""
    try:
        yield
    except (MemoryError, InterruptedError, BlockingIOError, TimeoutError):
        raise
    except Exception as error:
        raise ValueError(f'{source}: cannot be read as a model: {error}') from error


def _shape(config: Any, source: Path) -> ModelShape:
    rope = config.rope_parameters
    family = config.model_type
    kinds = getattr(config, 'layer_types', None) or []
    for fault, wrong in (
        (f'rotary positions of type {rope["rope_type"]}', rope['rope_type'] != 'default'),
        ('biases in attention', getattr(config, 'attention_bias', False)),
        ('biases in the feed-forward', getattr(config, 'mlp_bias', False)),
        (f'the activation {config.hidden_act}', config.hidden_act != 'silu'),
        ('attention that looks back a part of the way', set(kinds) - {'full_attention'}),
    ):
        if wrong:
            raise ValueError(
                f'{source}: found {fault}, expected a plain {family}; take another base'
            )
    width = head_width(config)
    implied = width * config.num_attention_heads == config.hidden_size
    return ModelShape(
        family=family,
        vocabSize=config.vocab_size,
        hiddenSize=config.hidden_size,
        intermediateSize=config.intermediate_size,
        numLayers=config.num_hidden_layers,
        numHeads=config.num_attention_heads,
        numKvHeads=config.num_key_value_heads,
        contextLength=min(config.max_position_embeddings, _MAX_CONTEXT),
        ropeTheta=rope['rope_theta'],
        tieEmbeddings=bool(config.tie_word_embeddings),
        headDim=None if implied else width,
    )


def _rebuild(found: 'PreTrainedModel', shape: ModelShape) -> 'PreTrainedModel':
    """The same weights under a fresh configuration: one that came with a GGUF cannot be saved."""
    from transformers import AutoModelForCausalLM

    config = causal_config(
        shape,
        rms_norm_eps=found.config.rms_norm_eps,
        bos_token_id=found.config.bos_token_id,
        eos_token_id=found.config.eos_token_id,
    )
    model = AutoModelForCausalLM.from_config(config)
    model.load_state_dict(found.state_dict())
    return model


def _fill(folder: Path, model: 'PreTrainedModel', tokenizer: Any) -> None:
    model.save_pretrained(folder)
    # Of those who trained it: here a document is read whole.
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.save(str(folder / 'tokenizer.json'))
    if tokenizer.chat_template is not None:
        (folder / TEMPLATE_NAME).write_text(tokenizer.chat_template, 'utf-8')


if __name__ == '__main__':
    os.environ['HF_HUB_OFFLINE'] = '1'
    run_module(ImportRun, import_base)
