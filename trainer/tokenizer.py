"""Trains a byte-level tokenizer, BPE or unigram: `python -m trainer.tokenizer --config FILE`.

The special tokens come first, so their ids do not depend on the corpus; equal inputs, equal bytes.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from trainer.short_lived import Refused, run_module
from trainer.special_tokens import SPECIAL_TOKENS


@dataclass(kw_only=True, slots=True)
class TokenizerRun:
    """Text in, tokenizer.json out."""

    schemaVersion: Literal[1]
    inputs: list[str]
    vocabSize: int
    output: str
    kind: Literal['bpe', 'unigram'] = 'bpe'

    def __post_init__(self) -> None:
        smallest = 256 + len(SPECIAL_TOKENS)
        if self.vocabSize < smallest:
            raise ValueError(f'vocabSize: found {self.vocabSize}, expected {smallest} or more')
        if not self.inputs:
            raise ValueError('inputs: found none, expected at least one file')


def read_texts(inputs: list[str]) -> Iterator[str]:
    """The texts of JSON-lines files, in order."""
    for name in inputs:
        with open(name, encoding='utf-8') as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                try:
                    text = json.loads(line)['text']
                except (json.JSONDecodeError, KeyError, TypeError) as error:
                    raise Refused(
                        'InvalidCorpus', f'{name}:{number}: expected an object with "text"'
                    ) from error
                yield text


def train_tokenizer(run: TokenizerRun) -> dict[str, Any]:
    """Trains and writes the tokenizer; it appears whole."""
    tokenizer = _unigram(run) if run.kind == 'unigram' else _bpe(run)
    output = Path(run.output)
    output.parent.mkdir(parents=True, exist_ok=True)
    aside = output.with_name(f'.{output.name}.{os.getpid()}')
    tokenizer.save(str(aside), pretty=False)
    aside.replace(output)
    return {'vocabSize': tokenizer.get_vocab_size()}


def _byte_level(model: models.Model) -> Tokenizer:
    """Knows every byte, whatever the model."""
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return tokenizer


def _unigram(run: TokenizerRun) -> Tokenizer:
    from trainer.unigram import train_pieces

    pieces = train_pieces(read_texts(run.inputs), run.vocabSize - len(SPECIAL_TOKENS))
    # The scores of special tokens are never asked for: text is split at them first.
    vocabulary = [(token, 0.0) for token in SPECIAL_TOKENS] + pieces
    tokenizer = _byte_level(models.Unigram(vocabulary))
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS]
    )
    return tokenizer


def _bpe(run: TokenizerRun) -> Tokenizer:
    tokenizer = _byte_level(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=run.vocabSize,
        min_frequency=2,
        special_tokens=[
            AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS
        ],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(read_texts(run.inputs), trainer=trainer)
    return tokenizer


if __name__ == '__main__':
    run_module(TokenizerRun, train_tokenizer)
