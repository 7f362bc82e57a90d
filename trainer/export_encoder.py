"""A masked model as a bundle that embeds text: encoder, tokenizer, what the server must know of
them, and a probe that it must answer as PyTorch does.
"""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.special_tokens import END_OF_TEXT, MASK, PAD

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedConfig

# Of different lengths: read at once, the shorter is padded, which must change nothing.
_PROBE_TEXTS = ('The state of the union is strong.', 'Laws, letters and reports of the year past.')
# Between two numbers of a vector whose length is 1; engines sum in different orders.
_TOLERANCE = 1e-4
_MASKED_MODEL = 'modernbert'


def embeds(config: 'PreTrainedConfig') -> bool:
    """Whether a model is a masked one, which embeds text and continues none."""
    return config.model_type == _MASKED_MODEL


def masked_tokenizer(path: str) -> 'Tokenizer':
    """The tokenizer of a corpus with the mask and the padding behind its tokens.

    A text stands between two of the tokens that part documents, as in training.
    """
    from tokenizers import AddedToken, Tokenizer, processors

    tokenizer = Tokenizer.from_file(path)
    added = [AddedToken(token, special=True, normalized=False) for token in (MASK, PAD)]
    tokenizer.add_special_tokens(added)
    boundary = tokenizer.token_to_id(END_OF_TEXT)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f'{END_OF_TEXT} $A {END_OF_TEXT}', special_tokens=[(END_OF_TEXT, boundary)]
    )
    return tokenizer


def fill_encoder_bundle(folder: Path, *, model: Path, tokenizer_file: str, threads: int) -> None:
    """Writes every file of the bundle."""
    import torch
    from transformers import AutoModel

    from trainer.encoder_onnx import encoder_graph

    torch.set_num_threads(threads)
    encoder = AutoModel.from_pretrained(model, dtype=torch.float32, local_files_only=True).eval()
    config = encoder.config
    tokenizer = masked_tokenizer(tokenizer_file)
    if tokenizer.get_vocab_size() != config.vocab_size:
        raise ValueError(
            f'tokenizer: found {tokenizer.get_vocab_size()} tokens with the mask and the padding, '
            f'expected {config.vocab_size}, those of the model'
        )
    tokenizer.save(str(folder / 'tokenizer.json'), pretty=False)
    shutil.copyfile(model / 'config.json', folder / 'config.json')
    _write(folder / 'tokenizer_config.json', _tokenizer_config(config))
    _write(folder / 'serving.json', _serving_config(config))
    _write(folder / 'probe.json', _probe(encoder, tokenizer))
    graph = encoder_graph(encoder)
    (folder / 'model.onnx').write_bytes(graph.SerializeToString(deterministic=True))


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, sort_keys=True, ensure_ascii=False) + '\n', 'utf-8')


def _tokenizer_config(config: 'PreTrainedConfig') -> dict[str, Any]:
    return {
        'tokenizer_class': 'PreTrainedTokenizerFast',
        'cls_token': END_OF_TEXT,
        'sep_token': END_OF_TEXT,
        'pad_token': PAD,
        'mask_token': MASK,
        'model_max_length': config.max_position_embeddings,
        'clean_up_tokenization_spaces': False,
        'model_input_names': ['input_ids', 'attention_mask'],
    }


def _serving_config(config: 'PreTrainedConfig') -> dict[str, Any]:
    return {
        'schemaVersion': 1,
        'task': 'embeddings',
        'contextLength': config.max_position_embeddings,
        'boundaryToken': END_OF_TEXT,
        'padToken': PAD,
        'dimensions': config.hidden_size,
        'vocabSize': config.vocab_size,
    }


def _probe(encoder: Any, tokenizer: 'Tokenizer') -> dict[str, Any]:
    """What PyTorch in float32 makes of fixed texts, each read alone."""
    import torch

    room = encoder.config.max_position_embeddings
    rows = [tokenizer.encode(text).ids[:room] for text in _PROBE_TEXTS]
    embeddings = []
    with torch.no_grad():
        for ids in rows:
            states = encoder(input_ids=torch.tensor([ids])).last_hidden_state[0]
            embeddings.append(torch.nn.functional.normalize(states.mean(0), dim=0).tolist())
    return {
        'schemaVersion': 1,
        'inputIds': rows,
        'embeddings': embeddings,
        'tolerance': _TOLERANCE,
    }
