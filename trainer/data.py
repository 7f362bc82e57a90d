"""The order of training data: a pure function of (seed, epoch, position), so a cursor is a number.

The shards are one long stream of tokens. An epoch cuts it into windows, starting at an offset of
its own, and visits them in a keyed permutation that needs no memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trainer.recipes import Replay
from trainer.run_data import HeldOut, TokenData

_MASK = (1 << 64) - 1
_FEISTEL_ROUNDS = 4
# A share is counted in ten-thousandths, so that no rounding moves a window.
_SHARES = 10_000


class InvalidCorpus(Exception):
    """The token files are not what the configuration says."""


def _mix(value: int) -> int:
    """The finaliser of splitmix64: a good hash of 64 bits."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def purpose_key(seed: int, epoch: int, purpose: int) -> int:
    """A key of its own for each thing that is drawn in an epoch."""
    return _mix(_mix(_mix(seed) ^ epoch) ^ purpose)


def keyed_hashes(values: npt.NDArray[np.uint64], key: int) -> npt.NDArray[np.uint64]:
    """`_mix` of each value and a key."""
    value = (values ^ np.uint64(key)) + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def permute(position: int, size: int, key: int) -> int:
    """Where `position` goes in a keyed permutation of range(size): a Feistel net, cycles walked."""
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    low_bits = (1 << half) - 1
    while True:
        left, right = position >> half, position & low_bits
        for round_number in range(_FEISTEL_ROUNDS):
            left, right = right, left ^ (_mix(key ^ (round_number << 56) ^ right) & low_bits)
        position = (left << half) | right
        if position < size:
            return position


def keyed_place(cursor: int, size: int, seed: int) -> tuple[int, int]:
    """Epoch and place of a cursor in a pass of so many, each pass in a permutation of its own."""
    epoch, position = divmod(cursor, size)
    return epoch, permute(position, size, purpose_key(seed, epoch, 2))


def rehearsed_row(at: int, num_rows: int) -> int:
    """Which row of the base's own text is rehearsed: one after the other, over and over."""
    return at % num_rows


@dataclass(kw_only=True, slots=True)
class Order:
    """Which window of the stream a cursor means."""

    seed: int
    num_tokens: int
    context_length: int

    def __post_init__(self) -> None:
        if self.num_tokens < 2 * self.context_length:
            raise InvalidCorpus(
                f'found {self.num_tokens} training tokens, expected at least twice '
                f'contextLength {self.context_length}; give more text or a shorter context'
            )

    @property
    def windows_per_epoch(self) -> int:
        """Windows of context_length inputs, whatever the offset."""
        return (self.num_tokens - self.context_length) // self.context_length

    def offset(self, epoch: int) -> int:
        """First token of the epoch's first window."""
        return purpose_key(self.seed, epoch, 1) % self.context_length

    def window(self, cursor: int) -> tuple[int, int]:
        """The epoch of a cursor (windows seen so far), and which of its windows it means."""
        return keyed_place(cursor, self.windows_per_epoch, self.seed)

    def start(self, cursor: int) -> int:
        """First token of the window at this cursor."""
        epoch, window = self.window(cursor)
        return self.offset(epoch) + window * self.context_length


class TokenStream:
    """Memory-mapped shards read as one stream."""

    def __init__(self, data: TokenData, vocab_size: int) -> None:
        self._vocab_size = vocab_size
        self._width = data.tokenBytes
        self._shards = [self._map(shard.path, shard.numTokens) for shard in data.shards]
        self._ends = np.cumsum([len(shard) for shard in self._shards])
        self.num_tokens = int(self._ends[-1]) if self._shards else 0

    def _map(self, path: str, num_tokens: int) -> npt.NDArray[np.unsignedinteger]:
        return map_tokens(path, num_tokens, self._width)

    def window(self, start: int, length: int) -> npt.NDArray[np.int64]:
        """Tokens [start, start + length), across shards."""
        parts: list[npt.NDArray[np.unsignedinteger]] = []
        shard = int(np.searchsorted(self._ends, start, side='right'))
        while length > 0:
            begin = start - (int(self._ends[shard - 1]) if shard else 0)
            part = self._shards[shard][begin : begin + length]
            parts.append(part)
            start += len(part)
            length -= len(part)
            shard += 1
        tokens = np.concatenate(parts).astype(np.int64)
        if tokens.max(initial=0) >= self._vocab_size:
            raise InvalidCorpus(
                f'found token {tokens.max()}, expected less than vocabSize {self._vocab_size}; '
                'the shards were made with another tokenizer'
            )
        return tokens


@dataclass(frozen=True, slots=True)
class Windows:
    """A stream, and the order of its windows."""

    stream: TokenStream
    order: Order


def replayed_before(cursor: int, share: float) -> int:
    """How many of the windows before a cursor are replayed: they come at even distances."""
    return cursor * round(share * _SHARES) // _SHARES


class Replayed:
    """Windows of two streams: every so often one of what was trained on before."""

    def __init__(self, unread: Windows, older: Windows, share: float) -> None:
        self._unread, self._older, self._share = unread, older, share

    def place(self, cursor: int) -> tuple[Windows, int]:
        """The stream that a cursor is of, and which of its own cursors that is."""
        before = replayed_before(cursor, self._share)
        if replayed_before(cursor + 1, self._share) > before:
            return self._older, before
        return self._unread, cursor - before


def windows_of(
    data: TokenData, *, seed: int, context_length: int, vocab_size: int, replay: Replay | None
) -> Windows | Replayed:
    """What a cursor means: the corpus as one stream, or in two where a share of it is replayed."""

    def windows(part: TokenData) -> Windows:
        stream = TokenStream(part, vocab_size)
        order = Order(seed=seed, num_tokens=stream.num_tokens, context_length=context_length)
        return Windows(stream, order)

    if (replay is None) != (data.older is None):
        raise ValueError('recipe.replay: expected it with data.older, and neither alone')
    if replay is None or data.older is None:
        return windows(data)
    older = windows(replace(data, shards=data.older))
    return Replayed(windows(data), older, replay.share)


def map_tokens(path: str, num_tokens: int, width: int) -> npt.NDArray[np.unsignedinteger]:
    """Maps a token file after checking its size."""
    file = Path(path)
    size = file.stat().st_size if file.is_file() else -1
    if size != num_tokens * width:
        raise InvalidCorpus(
            f'{path}: found {"no file" if size < 0 else f"{size} bytes"}, '
            f'expected {num_tokens} tokens of {width} bytes'
        )
    if num_tokens == 0:
        return np.zeros(0, dtype=f'<u{width}')
    return np.memmap(file, dtype=f'<u{width}', mode='r')


def held_out_windows(
    held_out: HeldOut, width: int, context_length: int, first: int, batch_size: int, max_tokens: int
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """(inputs, targets) that score held-out tokens once; `first` stands before the first.

    Windows beyond max_tokens are left out evenly, so that what is scored speaks for the whole. The
    last row may be filled up with targets of -100, which score nothing.
    """
    tokens = map_tokens(held_out.path, held_out.numTokens, width)
    windows = -(-len(tokens) // context_length)
    rows = min(windows, max(1, max_tokens // context_length))
    for at in range(0, rows, batch_size):
        shape = (min(batch_size, rows - at), context_length)
        inputs, targets = np.full(shape, first, np.int64), np.full(shape, -100, np.int64)
        for row in range(shape[0]):
            begin = (at + row) * windows // rows * context_length
            end = min(begin + context_length, len(tokens))
            targets[row, : end - begin] = tokens[begin:end]
            if begin > 0:
                inputs[row, 0] = tokens[begin - 1]
            inputs[row, 1 : end - begin] = tokens[begin : end - 1]
        yield inputs, targets
