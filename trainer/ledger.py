"""Counts what training was given, by its loader's order: `python -m trainer.ledger --config FILE`.

Every cursor that became durable is looked up in trainer/data.py, which alone knows the order. A
whole epoch visits each of its windows once, so that only a part of one is walked.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from trainer.data import Order, keyed_place, rehearsed_row, replayed_before
from trainer.short_lived import Refused, run_module, say

Array = npt.NDArray[np.int64]
_MAX_NAMED = 20
_SAY_EVERY = 1 << 18


@dataclass(kw_only=True, slots=True)
class Cursors:
    """Cursors [first, end) that were trained on."""

    first: int
    end: int


@dataclass(kw_only=True, slots=True)
class ShardIndex:
    """The documents of a shard: JSON lines of id, first token and number of tokens."""

    path: str
    numTokens: int


@dataclass(kw_only=True, slots=True)
class Rehearsed:
    """Text of the base that was rehearsed beside."""

    numRows: int
    seen: int


@dataclass(kw_only=True, slots=True)
class Replayed:
    """What was trained on before, at a share of the cursors."""

    share: float
    size: int
    shards: list[ShardIndex]


@dataclass(kw_only=True, slots=True)
class PhaseData:
    """One phase: windows over a stream of tokens, or rows."""

    kind: Literal['tokens', 'rows']
    seed: int
    contextLength: int
    size: int
    cursors: list[Cursors]
    shards: list[ShardIndex]
    rehearsed: Rehearsed | None = None
    replay: Replayed | None = None

    def __post_init__(self) -> None:
        indexed = sum(shard.numTokens for shard in self.shards)
        if self.kind == 'tokens' and indexed != self.size:
            raise ValueError(f'shards: found {indexed} tokens, expected {self.size}')
        if self.size < 1:
            raise ValueError(f'size: found {self.size}, expected 1 or more')


@dataclass(kw_only=True, slots=True)
class LedgerRun:
    """The phases of a run."""

    schemaVersion: Literal[1]
    phases: list[PhaseData]


def _parts(cursors: list[Cursors], size: int) -> Iterator[tuple[int, int, int]]:
    """(epoch, first cursor, end cursor) of every part of an epoch."""
    for each in sorted(cursors, key=lambda one: one.first):
        at = each.first
        while at < each.end:
            epoch = at // size
            end = min(each.end, (epoch + 1) * size)
            yield epoch, at, end
            at = end


def _visits(data: PhaseData, size: int) -> Iterator[tuple[int, Array]]:
    """Each epoch in turn, with how often each of its places was visited."""
    for epoch, parts in groupby(_parts(data.cursors, size), key=lambda part: part[0]):
        found = np.zeros(size, np.int64)
        for _, first, end in parts:
            if end - first == size:
                found += 1
                continue
            for cursor in range(first, end):
                found[keyed_place(cursor, size, data.seed)[1]] += 1
                if (cursor - first) % _SAY_EVERY == 0:
                    say({'progress': f'epoch {epoch + 1}: {cursor - first} of {end - first}'})
        yield epoch, found


def _facts(epoch: int, found: Array) -> dict[str, int]:
    return {'epoch': epoch, 'visited': int(found.sum()), 'distinct': int((found > 0).sum())}


def _histogram(counts: Array, weights: Array | None = None) -> dict[str, int]:
    """How many were seen so often."""
    found: Counter[int] = Counter()
    times, inverse = np.unique(counts, return_inverse=True)
    sums = np.bincount(inverse, weights=weights, minlength=len(times))
    for time, total in zip(times, sums, strict=True):
        found[int(time)] += round(float(total))
    return {str(time): found[time] for time in sorted(found) if found[time] > 0}


def count_rows(data: PhaseData) -> dict[str, Any]:
    """Rows of chats or preferences, by how often they were trained on."""
    total = np.zeros(data.size, np.int64)
    epochs = []
    for epoch, found in _visits(data, data.size):
        total += found
        epochs.append(_facts(epoch, found))
    return {'kind': 'rows', 'size': data.size, 'epochs': epochs, 'seen': _histogram(total)}


def count_tokens(data: PhaseData) -> dict[str, Any]:
    """Tokens that were foretold, by how often; a window foretells all but the token it begins with.

    An epoch's visits are piecewise constant over the stream, so pieces are counted and not tokens.
    """
    order = Order(seed=data.seed, num_tokens=data.size, context_length=data.contextLength)
    length, size = data.contextLength, order.windows_per_epoch
    edges: list[Array] = [np.array([0, data.size], np.int64)]
    changes: list[Array] = [np.zeros(2, np.int64)]
    epochs = []
    for epoch, found in _visits(data, size):
        first = order.offset(epoch) + 1
        change = np.diff(found, prepend=0, append=0)
        where = np.flatnonzero(change)
        edges.append(first + where * length)
        changes.append(change[where])
        after = data.size - first - size * length
        epochs.append({**_facts(epoch, found), 'before': first, 'after': after})
    at, inverse = np.unique(np.concatenate(edges), return_inverse=True)
    change = np.zeros(len(at), np.int64)
    np.add.at(change, inverse, np.concatenate(changes))
    times = np.cumsum(change)[:-1]
    sources = _sources(data, at, times)
    return {
        'kind': 'tokens',
        'size': data.size,
        'windowsAnEpoch': size,
        'epochs': epochs,
        'seen': _histogram(times, np.diff(at)),
        'documents': _documents(data, at, times),
        **({'sources': sources} if sources else {}),
    }


def _documents(data: PhaseData, at: Array, times: Array) -> dict[str, Any]:
    """Documents by how much of them was seen at all."""
    covered = np.concatenate([[0], np.cumsum(np.diff(at) * (times > 0))])

    def seen_before(tokens: Array) -> Array:
        piece = np.clip(np.searchsorted(at, tokens, side='right') - 1, 0, len(times) - 1)
        return covered[piece] + np.where(times[piece] > 0, tokens - at[piece], 0)

    found: Counter[str] = Counter(num=0, whole=0, partly=0, never=0)
    named: list[str] = []
    base = 0
    for shard in data.shards:
        lines = Path(shard.path).read_text('utf-8').splitlines()
        documents = [json.loads(line) for line in lines if line]
        first = base + np.array([document['first'] for document in documents], np.int64)
        # A document without tokens is the token that ends it.
        number = np.array([max(1, document['num']) for document in documents], np.int64)
        if len(documents) > 0 and int((first + number).max()) > base + shard.numTokens:
            raise Refused('InvalidCorpus', f'{shard.path}: it names tokens behind its shard')
        seen = seen_before(first + number) - seen_before(first)
        never = np.flatnonzero(seen == 0)
        named += [str(documents[each]['id']) for each in never[: _MAX_NAMED - len(named)]]
        whole = int((seen == number).sum())
        found['num'] += len(documents)
        found['whole'] += whole
        found['never'] += len(never)
        found['partly'] += len(documents) - whole - len(never)
        base += shard.numTokens
    return {**found, 'named': named}


def _sources(data: PhaseData, at: Array, times: Array) -> list[dict[str, int]]:
    """What was foretold of each source, each token as often as it was; none where none is named."""
    foretold = np.concatenate([[0], np.cumsum(np.diff(at) * times)])

    def foretold_before(tokens: Array) -> Array:
        piece = np.clip(np.searchsorted(at, tokens, side='right') - 1, 0, len(times) - 1)
        return foretold[piece] + times[piece] * (tokens - at[piece])

    found: dict[int, Counter[str]] = {}
    base = 0
    for shard in data.shards:
        for line in Path(shard.path).read_text('utf-8').splitlines():
            document = json.loads(line) if line else {}
            if (source := document.get('source')) is None:
                continue
            # With the token that ends it.
            edges = base + document['first'] + np.array([0, document['num'] + 1], np.int64)
            before, after = foretold_before(edges)
            total = found.setdefault(source, Counter(documents=0, tokens=0, foretold=0))
            total['documents'] += 1
            total['tokens'] += document['num'] + 1
            total['foretold'] += int(after - before)
        base += shard.numTokens
    return [{'source': source, **found[source]} for source in sorted(found)]


def _rehearsed(rehearsed: Rehearsed) -> dict[str, int]:
    rounds, rest = divmod(rehearsed.seen, rehearsed.numRows)
    counts = np.full(rehearsed.numRows, rounds, np.int64)
    for row in range(rest):
        counts[rehearsed_row(rounds * rehearsed.numRows + row, rehearsed.numRows)] += 1
    return _histogram(counts)


def _count(data: PhaseData) -> dict[str, Any]:
    if data.kind == 'rows':
        return count_rows(data)
    replay = data.replay
    if replay is None:
        return count_tokens(data)

    def mapped(place: Callable[[int], int]) -> list[Cursors]:
        return [Cursors(first=place(each.first), end=place(each.end)) for each in data.cursors]

    def older(cursor: int) -> int:
        return replayed_before(cursor, replay.share)

    unread = replace(data, cursors=mapped(lambda cursor: cursor - older(cursor)))
    again = replace(data, cursors=mapped(older), size=replay.size, shards=replay.shards)
    return {**count_tokens(unread), 'replayed': count_tokens(again)}


def ledger(run: LedgerRun) -> dict[str, Any]:
    """What every phase was given."""
    phases = []
    for data in run.phases:
        counted = _count(data)
        if data.rehearsed is not None:
            counted['rehearsed'] = _rehearsed(data.rehearsed)
        phases.append(counted)
    return {'phases': phases}


if __name__ == '__main__':
    run_module(LedgerRun, ledger)
