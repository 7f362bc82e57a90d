"""The tokenizer is a function of its inputs, byte for byte."""

import json
import os
import subprocess
import sys
import tracemalloc
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest
from conftest import PROJECT
from tokenizers import Tokenizer
from tokenizers.pre_tokenizers import ByteLevel

from trainer.short_lived import Refused
from trainer.special_tokens import SPECIAL_TOKENS
from trainer.tokenizer import TokenizerRun, train_tokenizer
from trainer.unigram import _seeds


def _corpus(folder: Path) -> list[str]:
    texts = [f'The year {n} was a year of growth, 統計 {n * 7}.' for n in range(300)]
    for name, part in (('a', texts[:150]), ('b', texts[150:])):
        (folder / name).write_text('\n'.join(json.dumps({'text': t}) for t in part) + '\n')
    return [str(folder / 'a'), str(folder / 'b')]


def _train(folder: Path, name: str, kind: Any = 'bpe') -> Path:
    output = folder / name
    run = TokenizerRun(
        schemaVersion=1, inputs=_corpus(folder), vocabSize=400, output=str(output), kind=kind
    )
    assert train_tokenizer(run)['vocabSize'] <= 400
    return output


both = pytest.mark.parametrize('kind', ['bpe', 'unigram'])


@both
def test_the_same_text_gives_the_same_bytes(tmp_path: Path, kind: str) -> None:
    first, second = (_train(tmp_path, name, kind) for name in ('first.json', 'second.json'))
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(('hash_seed', 'threads'), [('1', '1'), ('2', '3')])
def test_a_unigram_does_not_depend_on_hashes_or_threads(
    tmp_path: Path, hash_seed: str, threads: str
) -> None:
    here = _train(tmp_path, 'here.json', 'unigram')
    there = tmp_path / 'there.json'
    config = {
        'schemaVersion': 1,
        'inputs': _corpus(tmp_path),
        'vocabSize': 400,
        'output': str(there),
        'kind': 'unigram',
    }
    (tmp_path / 'config.json').write_text(json.dumps(config))
    environment = {
        **os.environ,
        'PYTHONHASHSEED': hash_seed,
        'OMP_NUM_THREADS': threads,
        'RAYON_NUM_THREADS': threads,
        'TOKENIZERS_PARALLELISM': 'true',
    }
    command = [sys.executable, '-m', 'trainer.tokenizer', '--config', str(tmp_path / 'config.json')]
    subprocess.run(command, cwd=PROJECT, env=environment, check=True, capture_output=True)
    assert here.read_bytes() == there.read_bytes()


def test_a_unigram_keeps_the_words_of_the_text_whole(tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_file(str(_train(tmp_path, 'tokenizer.json', 'unigram')))
    assert tokenizer.encode(' growth of 統計').tokens[:2] == ['Ġgrowth', 'Ġof']
    model = json.loads(tokenizer.to_str())['model']
    assert model['type'] == 'Unigram'
    assert set(ByteLevel.alphabet()) <= {token for token, _ in model['vocab']}


@both
def test_special_tokens_come_first_and_are_never_split(tmp_path: Path, kind: str) -> None:
    tokenizer = Tokenizer.from_file(str(_train(tmp_path, 'tokenizer.json', kind)))
    assert [tokenizer.token_to_id(token) for token in SPECIAL_TOKENS] == [0, 1, 2, 3]
    assert tokenizer.encode('<|user|>growth<|end|>').ids[0] == 1
    assert tokenizer.encode('<|user|>growth<|end|>').ids[-1] == 3


@both
@pytest.mark.parametrize('text', ['The year 12', '  spaces\n\ttabs ', '統計學', 'naïve 🙂 \x00'])
def test_any_text_comes_back_whole(tmp_path: Path, text: str, kind: str) -> None:
    tokenizer = Tokenizer.from_file(str(_train(tmp_path, 'tokenizer.json', kind)))
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_a_line_without_text_is_refused_by_its_place(tmp_path: Path) -> None:
    (tmp_path / 'a').write_text('{"text": "fine"}\n{"body": "no"}\n')
    run = TokenizerRun(
        schemaVersion=1, inputs=[str(tmp_path / 'a')], vocabSize=400, output=str(tmp_path / 'o')
    )
    with pytest.raises(Refused, match='a:2: expected an object with "text"'):
        train_tokenizer(run)
    assert not (tmp_path / 'o').exists()


def test_a_vocabulary_smaller_than_the_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match='vocabSize: found 100, expected 260 or more'):
        TokenizerRun(schemaVersion=1, inputs=['a'], vocabSize=100, output='b')


def test_seeds_of_a_unigram_are_those_of_a_plain_count_in_bounded_memory() -> None:
    random = Random(3)
    words = [(''.join(random.choices('eitäÃ©ç', k=30)), random.randint(1, 3)) for _ in range(4000)]
    tracemalloc.start()
    found = _seeds(words, 500)
    bounded = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    plain: Counter[str] = Counter()
    for word, times in words:
        for start in range(30):
            for end in range(start + 2, min(30, start + 18) + 1):
                plain[word[start:end]] += times
    often = [(piece, times * len(piece)) for piece, times in plain.items() if times > 1]
    often.sort(key=lambda one: (-one[1], one[0]))
    assert found == [piece for piece, _ in often[:500]]
    assert bounded < tracemalloc.get_traced_memory()[1] / 4
    tracemalloc.stop()
