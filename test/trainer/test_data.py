"""The order of data is a pure function of (seed, epoch, position) and leaves nothing out."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainer.data import (
    InvalidCorpus,
    Order,
    TokenStream,
    held_out_windows,
    permute,
    replayed_before,
    windows_of,
)
from trainer.reading import read_object
from trainer.recipes import Replay
from trainer.run_data import HeldOut, TokenData, TokenShard


@pytest.mark.parametrize('size', [1, 2, 3, 16, 17, 100, 1023])
@pytest.mark.parametrize('key', [0, 1, 2**63])
def test_a_permutation_visits_each_position_once(size: int, key: int) -> None:
    assert sorted(permute(at, size, key) for at in range(size)) == list(range(size))


def test_permutations_of_two_keys_differ() -> None:
    first, second = ([permute(at, 100, key) for at in range(100)] for key in (1, 2))
    assert first != second
    assert first != list(range(100))


def test_an_epoch_covers_the_stream_once_from_its_own_offset() -> None:
    order = Order(seed=3, num_tokens=1000, context_length=16)
    offsets = set()
    for epoch in range(3):
        first = epoch * order.windows_per_epoch
        starts = sorted(order.start(first + at) for at in range(order.windows_per_epoch))
        assert np.diff(starts).tolist() == [16] * (len(starts) - 1)
        assert starts[0] < 16
        assert 1000 - 3 * 16 < starts[-1] + 16 < 1000
        offsets.add(starts[0])
    assert len(offsets) > 1


def test_the_order_depends_on_seed_and_cursor_alone() -> None:
    def starts(seed: int) -> list[int]:
        order = Order(seed=seed, num_tokens=500, context_length=8)
        return [order.start(cursor) for cursor in range(200)]

    assert starts(1) == starts(1)
    assert starts(1) != starts(2)


def test_too_little_text_is_refused_with_both_figures() -> None:
    with pytest.raises(InvalidCorpus, match='found 31 training tokens, expected at least twice'):
        Order(seed=0, num_tokens=31, context_length=16)


def test_windows_run_over_the_edges_of_shards(tokens: dict[str, Any]) -> None:
    data = read_object(TokenData, tokens, 'data')
    stream = TokenStream(data, 320)
    whole = np.concatenate([np.fromfile(shard['path'], '<u2') for shard in tokens['shards']])
    assert stream.num_tokens == 2700
    for start in (0, 990, 999, 1000, 2680):
        assert stream.window(start, 20).tolist() == whole[start : start + 20].tolist()


def _parted(tokens: dict[str, Any], share: float | None) -> Any:
    first, second = (TokenShard(**shard) for shard in tokens['shards'])
    data = read_object(TokenData, tokens, 'data')
    data.shards, data.older = [second], [first]
    replay = None if share is None else Replay(share=share)
    return windows_of(data, seed=3, context_length=16, vocab_size=320, replay=replay)


@pytest.mark.parametrize('share', [0.25, 0.3333, 0.9])
def test_what_is_replayed_comes_at_even_distances_in_an_order_of_its_own(
    tokens: dict[str, Any], share: float
) -> None:
    mixed = _parted(tokens, share)
    streams = []
    for shard in reversed(tokens['shards']):
        data = read_object(TokenData, {**tokens, 'shards': [shard]}, 'data')
        streams.append(windows_of(data, seed=3, context_length=16, vocab_size=320, replay=None))
    seen = [0, 0]
    for cursor in range(400):
        again = replayed_before(cursor + 1, share) > replayed_before(cursor, share)
        part, at = mixed.place(cursor)
        assert (part.stream.num_tokens, at) == (streams[again].stream.num_tokens, seen[again])
        assert part.order.start(at) == streams[again].order.start(seen[again])
        seen[again] += 1
        assert abs(seen[1] - share * (cursor + 1)) < 1


def test_a_share_without_older_tokens_and_these_without_a_share_are_refused(
    tokens: dict[str, Any],
) -> None:
    with pytest.raises(ValueError, match='recipe.replay: expected it with data.older'):
        _parted(tokens, None)
    data = read_object(TokenData, tokens, 'data')
    with pytest.raises(ValueError, match='recipe.replay: expected it with data.older'):
        windows_of(data, seed=3, context_length=16, vocab_size=320, replay=Replay(share=0.5))


def test_a_shard_of_another_size_is_refused(tokens: dict[str, Any]) -> None:
    wrong = {**tokens, 'shards': [{'path': tokens['shards'][0]['path'], 'numTokens': 999}]}
    with pytest.raises(InvalidCorpus, match='found 2000 bytes, expected 999 tokens of 2 bytes'):
        TokenStream(read_object(TokenData, wrong, 'data'), 320)


def test_tokens_beyond_the_vocabulary_are_refused(tokens: dict[str, Any]) -> None:
    stream = TokenStream(read_object(TokenData, tokens, 'data'), 50)
    with pytest.raises(InvalidCorpus, match='expected less than vocabSize 50'):
        stream.window(0, 200)


def test_every_held_out_token_is_scored_once(tmp_path: Path) -> None:
    np.arange(1, 38, dtype='<u2').tofile(tmp_path / 'held')
    held_out = HeldOut(path=str(tmp_path / 'held'), numTokens=37, bytes=100)
    batches = list(held_out_windows(held_out, 2, 8, 0, 2, 1000))
    inputs = np.concatenate([inputs for inputs, _ in batches]).ravel()
    targets = np.concatenate([targets for _, targets in batches]).ravel()
    assert targets[targets >= 0].tolist() == list(range(1, 38))
    assert inputs[targets >= 0].tolist() == list(range(0, 37))


def test_of_many_held_out_tokens_whole_windows_are_scored_evenly(tmp_path: Path) -> None:
    np.arange(1, 81, dtype='<u2').tofile(tmp_path / 'held')
    held_out = HeldOut(path=str(tmp_path / 'held'), numTokens=80, bytes=100)
    batches = list(held_out_windows(held_out, 2, 8, 0, 2, 30))
    assert [inputs.shape for inputs, _ in batches] == [(2, 8), (1, 8)]
    inputs = np.concatenate([inputs for inputs, _ in batches])
    targets = np.concatenate([targets for _, targets in batches])
    assert targets[:, 0].tolist() == [1, 25, 49]
    assert (np.diff(targets) == 1).all()
    assert (inputs == targets - 1).all()
