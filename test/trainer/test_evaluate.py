"""Evaluation asks a server through lm-evaluation-harness and turns its answers into metrics."""

import json
import math
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from conftest import chatml_tokenizer
from tokenizers import Tokenizer

from trainer.chat import TEMPLATE_FILE
from trainer.evaluate import (
    EvaluateRun,
    evaluate,
    held_out_rows,
    mean_metric,
    plain,
    ratio_metric,
    spread,
)

_KEY = 'secret-of-this-test'


class _Server(BaseHTTPRequestHandler):
    """Gives every token half a nat, but "Lincoln" a tenth, and always answers the same."""

    tokenizer: Tokenizer
    asked: list[dict[str, Any]]

    def do_POST(self) -> None:
        assert self.headers['Authorization'] == f'Bearer {_KEY}'
        body = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
        self.asked.append(body)
        choices = [self._choice(index, ids, body) for index, ids in enumerate(body['prompt'])]
        content = json.dumps({'choices': choices}).encode()
        self.send_response(200)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _choice(self, index: int, ids: list[int], body: dict[str, Any]) -> dict[str, Any]:
        if not body.get('echo'):
            return {'index': index, 'text': ' abraham  LINCOLN. '}
        liked = 'Lincoln' in self.tokenizer.decode(ids)
        scores = [None, *[-0.1 if liked else -0.5 for _ in ids]]
        top = [None, *[{'x': score} for score in scores[1:]]]
        return {
            'index': index,
            'text': '',
            'logprobs': {'token_logprobs': scores, 'top_logprobs': top},
        }

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server(tokenizer: str) -> Iterator[str]:
    _Server.tokenizer, _Server.asked = Tokenizer.from_file(tokenizer), []
    with ThreadingHTTPServer(('127.0.0.1', 0), _Server) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{running.server_address[1]}'
        running.shutdown()


def _lines(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text('\n'.join(json.dumps(row, ensure_ascii=False) for row in rows) + '\n')
    return str(path)


_OURS = str(TEMPLATE_FILE)


@pytest.mark.parametrize(
    ('chat', 'chatml', 'asked'),
    [
        (True, False, '<|endoftext|><|user|>Who spoke?<|end|><|assistant|>'),
        (False, False, '<|endoftext|>Question: Who spoke?\nAnswer:'),
        (True, True, 'of another template: Who spoke?<|im_end|>'),
    ],
)
def test_a_served_model_is_scored(
    server: str, tokenizer: str, tmp_path: Path, chat: bool, chatml: bool, asked: str
) -> None:
    template = _OURS
    if chatml:
        tokenizer = chatml_tokenizer(tokenizer, tmp_path)
        _Server.tokenizer = Tokenizer.from_file(tokenizer)
        template = str(tmp_path / 'chat_template.jinja')
        Path(template).write_text(
            'of another template: {{ messages[0].content + "<|im_end|>" }}', 'utf-8'
        )
    texts = ['The union stands. ' * 9, 'In 1850 the state — spoke.']
    questions = [
        {'question': 'Who spoke?', 'answer': 'Abraham Lincoln', 'name': 'a'},
        {'question': 'Who else?', 'answer': 'the union', 'name': 'b'},
    ]
    preferences = [
        {'question': 'Who?', 'chosen': 'Lincoln', 'rejected': 'the state of the state union'},
        {'question': 'Who?', 'chosen': 'the state of the state', 'rejected': 'Lincoln'},
    ]
    (tmp_path / 'key').write_text(f'{_KEY}\n')
    run = EvaluateRun(
        schemaVersion=1,
        baseUrl=server,
        apiKeyFile=str(tmp_path / 'key'),
        modelName='candidate',
        tokenizer=tokenizer,
        chatTemplate=template,
        contextLength=64,
        heldOut=_lines(tmp_path / 'held', [{'text': text} for text in texts]),
        questions=_lines(tmp_path / 'questions', questions),
        preferences=_lines(tmp_path / 'preferences', preferences),
        chat=chat,
        workDir=str(tmp_path),
        output=str(tmp_path / 'out.json'),
    )
    evaluate(run)
    output = json.loads((tmp_path / 'out.json').read_text())
    metrics = output['metrics']
    num_tokens = sum(len(_Server.tokenizer.encode(text).ids) for text in texts)
    num_bytes = sum(len(text.encode()) for text in texts)
    assert metrics['valBpb']['value'] == pytest.approx(0.5 * num_tokens / math.log(2) / num_bytes)
    assert metrics['valBpb']['count'] == 2
    assert metrics['questions.accuracy']['value'] == 0.5
    assert metrics['preferences.accuracy']['value'] == 0.5
    assert output['samples'][0] == {
        'question': 'Who spoke?',
        'expected': 'Abraham Lincoln',
        'answer': 'abraham  LINCOLN.',
    }
    prompts = [
        _Server.tokenizer.decode(ids, skip_special_tokens=False)
        for body in _Server.asked
        if not body.get('echo')
        for ids in body['prompt']
    ]
    assert asked in prompts
    end = '<|im_end|>' if chatml else '<|end|>' if chat else '\n'
    stops = [body['stop'] for body in _Server.asked if 'stop' in body]
    assert stops and all(end in stop for stop in stops)
    ranked = [
        _Server.tokenizer.decode(ids, skip_special_tokens=False)
        for body in _Server.asked
        if body.get('echo')
        for ids in body['prompt']
    ]
    assert any(text.endswith(f'Lincoln{end}') for text in ranked)
    assert all(len(ids) <= 64 for body in _Server.asked for ids in body['prompt'])


@pytest.mark.parametrize(
    ('one', 'other', 'equal'),
    [
        ('Abraham Lincoln', ' abraham  lincoln. ', True),
        ('Democratic-Republican', 'democratic republican', True),
        ('Democratic', 'Democratic-Republican', False),
        ('', '  ', True),
    ],
)
def test_answers_are_equal_up_to_case_punctuation_and_space(
    one: str, other: str, equal: bool
) -> None:
    assert (plain(one) == plain(other)) is equal


def test_what_is_asked_of_many_is_evenly_spread() -> None:
    rows = [{'n': n} for n in range(10)]
    assert [row['n'] for row in spread(rows, 4)] == [0, 2, 5, 7]
    assert spread(rows, 10) == rows


def test_held_out_text_is_cut_at_the_limit(tokenizer: str, tmp_path: Path) -> None:
    from trainer.chat import load_tokenizer

    wrapped = load_tokenizer(tokenizer, 64)
    texts = ['The union stands.', 'The state stands and spoke in 1850.', 'Never reached.']
    path = _lines(tmp_path / 'held', [{'text': text} for text in texts])
    first = len(wrapped.encode(texts[0]))
    rows, left = held_out_rows(path, wrapped, first + 3)
    assert rows[0]['text'] == texts[0]
    assert texts[1].startswith(rows[1]['text'])
    assert len(wrapped.encode(rows[1]['text'])) == 3
    assert left == 1


def test_a_ratio_weighs_documents_by_their_bytes() -> None:
    metric = ratio_metric([(-math.log(2) * 30, 10), (-math.log(2) * 10, 10)])
    assert metric['value'] == pytest.approx(2.0)
    assert metric['stderr'] == pytest.approx(1.0)
    assert ratio_metric([(-1.0, 1)])['stderr'] is None


def test_a_share_has_the_error_of_a_mean() -> None:
    metric = mean_metric([1.0, 1.0, 0.0, 0.0, 1.0])
    assert metric == {'value': 0.6, 'stderr': pytest.approx(math.sqrt(0.24 / 4)), 'count': 5}
