"""Exports a model to a servable bundle folder: `python -m trainer.export --config FILE`.

model.onnx is one file with its weights inside, of onnxruntime-genai's builder (float32, CPU):
    inputs   input_ids             int64   [batch, sequence]
             attention_mask        int64   [batch, past + sequence]; its row sums are the lengths
             past_key_values.N.key, past_key_values.N.value
                                   float32 [batch, kv heads, past, head width]
    outputs  logits                float32 [batch, sequence, vocabulary]
             present.N.key, present.N.value, as the past with past + sequence
Of a masked model it is the encoder, as trainer/encoder_onnx.py writes it. Equal inputs give equal
bytes.
"""

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from trainer.chat import (
    TEMPLATE_FILE,
    TEMPLATE_NAME,
    end_tokens,
    find_chat_format,
    load_tokenizer,
)
from trainer.checkpoint import write_folder
from trainer.export_encoder import embeds, fill_encoder_bundle
from trainer.model import head_width
from trainer.short_lived import run_module, say
from trainer.special_tokens import END_OF_TEXT

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

_PROBE_TEXT = 'The state of the union is'
_PROBE_GREEDY_TOKENS = 16
_MAX_NEW_TOKENS = 128
# Two engines sum in different orders; a wrong weight moves a logit by far more.
_TOLERANCE = 1e-3
# A protobuf message ends at 2 GiB.
_MAX_ONE_FILE = 1_900_000_000


@dataclass(kw_only=True, slots=True)
class ExportRun:
    """A transformers folder in, a bundle folder out."""

    schemaVersion: Literal[1]
    model: str
    tokenizer: str
    output: str
    chat: bool
    threads: int

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise ValueError(f'threads: found {self.threads}, expected 1 or more')
        for path, name in ((self.model, 'config.json'), (self.model, 'model.safetensors')):
            if not (Path(path) / name).is_file():
                raise ValueError(f'model: {path} holds no {name}; expected a transformers folder')


def export(run: ExportRun) -> dict[str, Any]:
    """Writes the bundle; the folder appears whole."""
    # The builder prints to stdout, where callers expect JSON lines only.
    with contextlib.redirect_stdout(sys.stderr):
        write_folder(Path(run.output), _filling(run))
    files = sorted(path.name for path in Path(run.output).iterdir())
    return {'output': run.output, 'files': files}


def _filling(run: ExportRun) -> Callable[[Path], None]:
    """What writes the files of this model's bundle."""
    from transformers import AutoConfig

    if embeds(AutoConfig.from_pretrained(run.model, local_files_only=True)):
        say_progress('writing the encoder as model.onnx')
        return lambda folder: fill_encoder_bundle(
            folder, model=Path(run.model), tokenizer_file=run.tokenizer, threads=run.threads
        )
    probe = _probe(run)
    return lambda folder: _fill(run, folder, probe)


def _fill(run: ExportRun, folder: Path, probe: dict[str, Any]) -> None:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(run.model, local_files_only=True)
    tokenizer = load_tokenizer(run.tokenizer, config.max_position_embeddings)
    shutil.copyfile(run.tokenizer, folder / 'tokenizer.json')
    # A base that was made elsewhere was taught to chat in its own words.
    own = Path(run.model) / TEMPLATE_NAME
    if own.is_file():
        shutil.copyfile(own, folder / TEMPLATE_NAME)
    else:
        known = find_chat_format(tokenizer.get_vocab())
        template = TEMPLATE_FILE if known is None else known.template
        shutil.copyfile(template, folder / TEMPLATE_NAME)
    shutil.copyfile(Path(run.model) / 'config.json', folder / 'config.json')
    _write(folder / 'tokenizer_config.json', _tokenizer_config(config))
    ends = end_tokens(tokenizer, config.eos_token_id, run.chat)
    _write(folder / 'serving.json', _serving_config(config, run.chat, ends))
    _write(folder / 'probe.json', probe)
    # Beside the output and of a fixed name: the next export clears what a killed one left.
    work = Path(run.output).with_name(f'.{Path(run.output).name}.scratch')
    shutil.rmtree(work, ignore_errors=True)
    try:
        source = work / 'model'
        source.mkdir(parents=True)
        for path in sorted(Path(run.model).iterdir()):
            if path.suffix in ('.json', '.safetensors'):
                (source / path.name).symlink_to(path.resolve())
        if not (source / 'tokenizer.json').exists():
            tokenizer.save_pretrained(source)
        build_onnx(source, work, folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def build_onnx(source: Path, work: Path, folder: Path) -> None:
    """Writes model.onnx into a folder; what it needs meanwhile lies in `work`."""
    say_progress('building model.onnx')
    from onnxruntime_genai.models.builder import create_model, parse_extra_options

    built = work / 'built'
    options = parse_extra_options(None, str(source), str(built), 'fp32', 'cpu', str(work / 'c'), [])
    create_model(None, str(source), str(built), 'fp32', 'cpu', str(work / 'c'), **options)
    import onnx

    model = onnx.load(str(built / 'model.onnx'))
    # The builder stamps the commit of whatever repository it lies in.
    model.producer_version = ''
    if model.ByteSize() > _MAX_ONE_FILE:
        target = str(folder / 'model.onnx')
        onnx.save_model(model, target, save_as_external_data=True, location='model.onnx.data')
    else:
        (folder / 'model.onnx').write_bytes(model.SerializeToString(deterministic=True))


def say_progress(what: str) -> None:
    """A line for the caller, although stdout is turned away while we work."""
    with contextlib.redirect_stdout(sys.__stdout__):
        say({'progress': what})


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, sort_keys=True, ensure_ascii=False) + '\n', 'utf-8')


def _tokenizer_config(config: 'PreTrainedConfig') -> dict[str, Any]:
    return {
        'tokenizer_class': 'PreTrainedTokenizerFast',
        'bos_token': END_OF_TEXT,
        'eos_token': END_OF_TEXT,
        'pad_token': END_OF_TEXT,
        'model_max_length': config.max_position_embeddings,
        'clean_up_tokenization_spaces': False,
    }


def cache_shape(config: 'PreTrainedConfig') -> tuple[int, int, int]:
    """Layers, heads of keys and values, and their width: what a stream of the server keeps."""
    heads = getattr(config, 'num_key_value_heads', None) or config.num_attention_heads
    return config.num_hidden_layers, heads, head_width(config)


def _serving_config(config: 'PreTrainedConfig', chat: bool, ends: list[str]) -> dict[str, Any]:
    layers, kv_heads, head = cache_shape(config)
    context_length = config.max_position_embeddings
    return {
        'schemaVersion': 1,
        'contextLength': context_length,
        'bosToken': END_OF_TEXT,
        'eosTokens': ends,
        'chat': chat,
        'maxNewTokens': min(_MAX_NEW_TOKENS, context_length // 2),
        'numLayers': layers,
        'numKvHeads': kv_heads,
        'headDim': head,
        'vocabSize': config.vocab_size,
    }


def _probe(run: ExportRun) -> dict[str, Any]:
    """What PyTorch in float32 answers to a fixed prompt."""
    say_progress('asking PyTorch for the probe')
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(run.threads)
    model = AutoModelForCausalLM.from_pretrained(run.model, dtype=torch.float32)
    model.eval()
    tokenizer = load_tokenizer(run.tokenizer, model.config.max_position_embeddings)
    prompt = [tokenizer.bos_token_id, *tokenizer.encode(_PROBE_TEXT, add_special_tokens=False)]
    logits: list[float] = []
    ids = list(prompt)
    room = model.config.max_position_embeddings - len(prompt)
    with torch.no_grad():
        for _ in range(min(_PROBE_GREEDY_TOKENS, room)):
            last = model(input_ids=torch.tensor([ids])).logits[0, -1]
            logits = logits or last.tolist()
            ids.append(int(last.argmax()))
    return {
        'schemaVersion': 1,
        'promptIds': prompt,
        'logits': logits,
        'greedyIds': ids[len(prompt) :],
        'tolerance': _TOLERANCE,
    }


if __name__ == '__main__':
    os.environ.setdefault('HF_HUB_OFFLINE', '1')
    run_module(ExportRun, export)
