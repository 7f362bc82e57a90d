"""The ledger counts what the loader gives: checked against the loader's own windows, one by one."""

import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import PROJECT

from trainer.data import Order, keyed_place
from trainer.finetune import CursorSampler
from trainer.ledger import (
    Cursors,
    LedgerRun,
    PhaseData,
    Replayed,
    ShardIndex,
    count_rows,
    count_tokens,
    ledger,
)


def _index(folder: Path, name: str, lengths: list[int]) -> ShardIndex:
    """A shard of documents of these lengths, each followed by the token that ends it."""
    first, lines = 0, []
    for number, length in enumerate(lengths):
        lines.append(json.dumps({'id': f'{name}-{number}', 'first': first, 'num': length}))
        first += length + 1
    (folder / name).write_text('\n'.join(lines) + '\n')
    return ShardIndex(path=str(folder / name), numTokens=first)


def _tokens(folder: Path, seed: int, length: int, ends: list[tuple[int, int]]) -> PhaseData:
    chance = random.Random(seed)
    shards = [
        _index(folder, f'{seed}-{shard}', [chance.randrange(0, 40) for _ in range(9)])
        for shard in range(3)
    ]
    return PhaseData(
        kind='tokens',
        seed=seed,
        contextLength=length,
        size=sum(shard.numTokens for shard in shards),
        cursors=[Cursors(first=first, end=end) for first, end in ends],
        shards=shards,
    )


def _by_hand(data: PhaseData) -> Any:
    """How often the loader gives each token as a target."""
    order = Order(seed=data.seed, num_tokens=data.size, context_length=data.contextLength)
    times = np.zeros(data.size, np.int64)
    for part in data.cursors:
        for cursor in range(part.first, part.end):
            start = order.start(cursor)
            times[start + 1 : start + data.contextLength + 1] += 1
    return times


@pytest.mark.parametrize('seed', range(12))
def test_every_token_is_counted_as_often_as_the_loader_gives_it(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed * 31)
    end = chance.randrange(1, 200)
    parts = [(0, end)] if seed % 3 else [(0, end), (end + 7, end + 40)]
    data = _tokens(tmp_path, seed, chance.choice([4, 8, 16]), parts)
    times = _by_hand(data)
    counted = count_tokens(data)
    assert counted['seen'] == {str(time): n for time, n in sorted(Counter(times.tolist()).items())}
    base, whole, never, partly = 0, 0, [], 0
    for shard in data.shards:
        for line in Path(shard.path).read_text().splitlines():
            document = json.loads(line)
            first = base + document['first']
            seen = times[first : first + max(1, document['num'])] > 0
            whole += bool(seen.all())
            partly += bool(seen.any() and not seen.all())
            never += [] if seen.any() else [document['id']]
        base += shard.numTokens
    assert counted['documents'] == {
        'num': 27,
        'whole': whole,
        'partly': partly,
        'never': len(never),
        'named': never[:20],
    }


@pytest.mark.parametrize('seed', range(4))
def test_of_each_source_is_counted_what_the_loader_gives_of_it(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed * 17)
    data = _tokens(tmp_path, seed, 8, [(0, chance.randrange(1, 150))])
    times = _by_hand(data)
    expected: dict[int, Counter[str]] = {}
    base = 0
    for shard in data.shards:
        lines = []
        for line in Path(shard.path).read_text().splitlines():
            document = {**json.loads(line), 'source': chance.randrange(3)}
            lines.append(json.dumps(document))
            first = base + document['first']
            found = expected.setdefault(document['source'], Counter())
            found['documents'] += 1
            found['tokens'] += document['num'] + 1
            found['foretold'] += int(times[first : first + document['num'] + 1].sum())
        Path(shard.path).write_text('\n'.join(lines) + '\n')
        base += shard.numTokens
    counted = count_tokens(data)
    assert counted['sources'] == [{'source': n, **expected[n]} for n in sorted(expected)]


def test_where_no_source_is_named_none_is_counted(tmp_path: Path) -> None:
    assert 'sources' not in count_tokens(_tokens(tmp_path, 2, 8, [(0, 9)]))


def test_a_whole_epoch_leaves_out_the_edges_alone(tmp_path: Path) -> None:
    data = _tokens(tmp_path, 5, 8, [])
    size = Order(seed=5, num_tokens=data.size, context_length=8).windows_per_epoch
    data.cursors = [Cursors(first=0, end=size)]
    counted = count_tokens(data)
    (epoch,) = counted['epochs']
    assert (epoch['visited'], epoch['distinct']) == (size, size)
    assert counted['seen'] == {'0': epoch['before'] + epoch['after'], '1': size * 8}
    assert epoch['before'] + epoch['after'] + size * 8 == data.size


def test_a_cursor_that_was_trained_on_twice_shows(tmp_path: Path) -> None:
    counted = count_tokens(_tokens(tmp_path, 2, 8, [(0, 9), (5, 9)]))
    assert counted['epochs'][0]['visited'] == 13
    assert counted['epochs'][0]['distinct'] == 9
    assert counted['seen']['2'] == 4 * 8


@pytest.mark.parametrize(('rows', 'end'), [(7, 3), (7, 7), (7, 33), (1, 4)])
def test_rows_are_counted_as_the_sampler_gives_them(rows: int, end: int) -> None:
    sampler = CursorSampler(seed=3, num_rows=rows, batch_size=1, batches=list(range(end)))
    by_hand = Counter(Counter(sampler).values())
    by_hand[0] = rows - sum(by_hand.values())
    data = PhaseData(
        kind='rows',
        seed=3,
        contextLength=8,
        size=rows,
        cursors=[Cursors(first=0, end=end)],
        shards=[],
    )
    expected = {str(time): n for time, n in sorted(by_hand.items()) if n > 0}
    assert count_rows(data)['seen'] == expected


def test_the_order_of_earlier_runs_stays() -> None:
    """Changing it would make checkpoints go on with other text."""
    order = Order(seed=1789, num_tokens=1000, context_length=16)
    assert [order.start(at) for at in (0, 1, 61, 62)] == [290, 2, 864, 320]
    assert [keyed_place(at, 7, 3)[1] for at in range(9)] == [5, 1, 0, 3, 2, 6, 4, 3, 4]


def _run(config: object, tmp_path: Path) -> tuple[int, dict[str, Any]]:
    (tmp_path / 'config.json').write_text(json.dumps(config))
    done = subprocess.run(
        [sys.executable, '-m', 'trainer.ledger', '--config', str(tmp_path / 'config.json')],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


def test_the_module_counts_phases_and_what_was_rehearsed_beside(tmp_path: Path) -> None:
    phase = {
        'kind': 'rows',
        'seed': 3,
        'contextLength': 8,
        'size': 4,
        'cursors': [{'first': 0, 'end': 6}],
        'shards': [],
    }
    rehearsed = {**phase, 'rehearsed': {'numRows': 5, 'seen': 7}}
    code, outcome = _run({'schemaVersion': 1, 'phases': [phase, rehearsed]}, tmp_path)
    assert code == 0
    assert [each['seen'] for each in outcome['phases']] == [{'1': 2, '2': 2}] * 2
    assert outcome['phases'][1]['rehearsed'] == {'1': 3, '2': 2}


def test_an_index_that_does_not_fit_the_corpus_is_refused(tmp_path: Path) -> None:
    shard = _index(tmp_path, 'shard', [5, 6])
    phase = {
        'kind': 'tokens',
        'seed': 3,
        'contextLength': 4,
        'size': 99,
        'cursors': [],
        'shards': [{'path': shard.path, 'numTokens': shard.numTokens}],
    }
    code, outcome = _run({'schemaVersion': 1, 'phases': [phase]}, tmp_path)
    assert (code, outcome['type']) == (1, 'InvalidConfig')
    assert outcome['message'] == 'shards: found 13 tokens, expected 99'


def test_what_is_replayed_is_counted_apart_as_the_loader_gives_it(tmp_path: Path) -> None:
    data = _tokens(tmp_path, 5, 8, [(0, 41), (48, 90)])
    older = _tokens(tmp_path, 9, 8, [])
    data.replay = Replayed(share=0.3, size=older.size, shards=older.shards)
    times = [np.zeros(size, np.int64) for size in (data.size, older.size)]
    orders = [
        Order(seed=data.seed, num_tokens=size, context_length=8) for size in (data.size, older.size)
    ]
    for part in data.cursors:
        for cursor in range(part.first, part.end):
            before = cursor * 3 // 10
            again = (cursor + 1) * 3 // 10 > before
            start = orders[again].start(before if again else cursor - before)
            times[again][start + 1 : start + 9] += 1
    (counted,) = ledger(LedgerRun(schemaVersion=1, phases=[data]))['phases']
    for found, expected in zip((counted, counted['replayed']), times, strict=True):
        by_hand = Counter(expected.tolist())
        assert found['seen'] == {str(time): by_hand[time] for time in sorted(by_hand)}
        assert found['documents']['num'] == 27
    visited = [
        sum(epoch['visited'] for epoch in each['epochs']) for each in (counted, counted['replayed'])
    ]
    assert sum(visited) == 41 + 42
    assert visited[1] == 12 + 13
