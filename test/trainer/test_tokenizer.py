"""The tokenizer is a function of its inputs, byte for byte."""

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from trainer.short_lived import Refused
from trainer.special_tokens import SPECIAL_TOKENS
from trainer.tokenizer import TokenizerRun, train_tokenizer


def _corpus(folder: Path) -> list[str]:
    texts = [f'The year {n} was a year of growth, 統計 {n * 7}.' for n in range(300)]
    for name, part in (('a', texts[:150]), ('b', texts[150:])):
        (folder / name).write_text('\n'.join(json.dumps({'text': t}) for t in part) + '\n')
    return [str(folder / 'a'), str(folder / 'b')]


def _train(folder: Path, name: str) -> Path:
    output = folder / name
    run = TokenizerRun(schemaVersion=1, inputs=_corpus(folder), vocabSize=400, output=str(output))
    assert train_tokenizer(run)['vocabSize'] <= 400
    return output


def test_the_same_text_gives_the_same_bytes(tmp_path: Path) -> None:
    assert (
        _train(tmp_path, 'first.json').read_bytes() == _train(tmp_path, 'second.json').read_bytes()
    )


def test_special_tokens_come_first_and_are_never_split(tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_file(str(_train(tmp_path, 'tokenizer.json')))
    assert [tokenizer.token_to_id(token) for token in SPECIAL_TOKENS] == [0, 1, 2, 3]
    assert tokenizer.encode('<|user|>growth<|end|>').ids[0] == 1
    assert tokenizer.encode('<|user|>growth<|end|>').ids[-1] == 3


@pytest.mark.parametrize('text', ['The year 12', '  spaces\n\ttabs ', '統計學', 'naïve 🙂 \x00'])
def test_any_text_comes_back_whole(tmp_path: Path, text: str) -> None:
    tokenizer = Tokenizer.from_file(str(_train(tmp_path, 'tokenizer.json')))
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
