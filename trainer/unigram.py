"""The pieces of a unigram tokenizer over the letters that stand for bytes (Kudo 2018).

The tokenizers library walks hash maps in random order and sums in as many parts as there are
threads, so that its pieces differ from run to run. Here every sum is taken in one order.
"""

import math
from array import array
from collections import Counter
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from tokenizers import pre_tokenizers

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
# Of byte letters, of which a Han character has three; longer words are cut.
_LONGEST_PIECE = 18
_LONGEST_WORD = 30
# Text that is looked at, and letters of different words, the most frequent first: bounds the time.
_MOST_CHARACTERS = 12_000_000
_MOST_LETTERS = 1_000_000
_SEEDS_PER_PIECE = 8
# In which beginnings of seeds are counted, to bound memory.
_SEED_PARTS = 16
_KEPT_PER_ROUND = 0.75
_PASSES = 2
# Of a byte that the text does not have, against all pieces.
_UNSEEN = 1e-9


def train_pieces(texts: Iterable[str], count: int) -> list[tuple[str, float]]:
    """So many pieces at most, with log probabilities, the likeliest first; every byte is one."""
    words = _count_words(texts)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = letters + _seeds(words, count * _SEEDS_PER_PIECE)
    lattice = _Lattice(words, {piece: at for at, piece in enumerate(pieces)})
    frequency = np.ones(len(pieces))
    wanted = max(0, count - len(letters))
    while True:
        for _ in range(_PASSES):
            frequency = lattice.expect(_normal(frequency, len(letters)))
        likely = _normal(frequency, len(letters))
        alive = [at for at in range(len(letters), len(pieces)) if frequency[at] > 0.5]
        if len(alive) <= wanted:
            break
        losses = _losses(pieces, likely, frequency, alive)
        kept = max(wanted, int(len(alive) * _KEPT_PER_ROUND))
        best = sorted(alive, key=lambda at: (-losses[at], pieces[at]))[:kept]
        dead = np.ones(len(pieces), bool)
        dead[: len(letters)] = False
        dead[best] = False
        frequency[dead] = 0.0
    # Rounded, so that the last bit of a logarithm is no part of the file.
    scored = [(pieces[at], round(math.log(likely[at]), 6)) for at in [*range(len(letters)), *alive]]
    return sorted(scored, key=lambda one: (-one[1], one[0]))


def _count_words(texts: Iterable[str]) -> list[tuple[str, int]]:
    """Words as byte letters and how often they come, the most frequent first."""
    splitter = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    found: Counter[str] = Counter()
    characters = 0
    for text in texts:
        for word, _ in splitter.pre_tokenize_str(text):
            for start in range(0, len(word), _LONGEST_WORD):
                found[word[start : start + _LONGEST_WORD]] += 1
        characters += len(text)
        if characters >= _MOST_CHARACTERS:
            break
    words: list[tuple[str, int]] = []
    letters = 0
    for word, count in sorted(found.items(), key=lambda one: (-one[1], one[0])):
        letters += len(word)
        if letters > _MOST_LETTERS and words:
            break
        words.append((word, count))
    return words


def _seeds(words: list[tuple[str, int]], count: int) -> list[str]:
    """Parts of words of two letters and more that come twice, by the letters that they cover."""
    places = [(array('q'), array('q')) for _ in range(_SEED_PARTS)]
    for at, (word, _) in enumerate(words):
        for start in range(len(word) - 1):
            numbers, starts = places[(31 * ord(word[start]) + ord(word[start + 1])) % _SEED_PARTS]
            numbers.append(at)
            starts.append(start)
    best: list[tuple[str, int]] = []
    # One part of the beginnings after the other: all at once would take gigabytes of Chinese.
    for numbers, starts in places:
        found: Counter[str] = Counter()
        for at, start in zip(numbers, starts, strict=True):
            word, times = words[at]
            for end in range(start + 2, min(len(word), start + _LONGEST_PIECE) + 1):
                found[word[start:end]] += times
        best += [(piece, times * len(piece)) for piece, times in found.items() if times > 1]
        best.sort(key=lambda one: (-one[1], one[0]))
        del best[count:]
    return [piece for piece, _ in best]


class _Lattice:
    """Every way to put words together of pieces: edges between the places of all words."""

    def __init__(self, words: list[tuple[str, int]], pieces: dict[str, int]) -> None:
        starts, ends, used, heads, tails = (array('q') for _ in range(5))
        firsts: list[int] = []
        base = 0
        for word, _ in words:
            firsts.append(base)
            for start in range(len(word)):
                for end in range(start + 1, min(len(word), start + _LONGEST_PIECE) + 1):
                    piece = pieces.get(word[start:end])
                    if piece is None:
                        continue
                    starts.append(base + start)
                    ends.append(base + end)
                    used.append(piece)
                    heads.append(start)
                    tails.append(end)
            base += len(word) + 1
        lengths = np.array([len(word) for word, _ in words], np.int64)
        self._num_pieces, self._num_places = len(pieces), base
        self._starts, self._ends = np.array(starts, np.int64), np.array(ends, np.int64)
        self._pieces = np.array(used, np.int64)
        self._firsts = np.array(firsts, np.int64)
        self._lasts = self._firsts + lengths
        self._forward = _layers(np.array(tails, np.int64))
        self._backward = _layers(np.array(heads, np.int64))[::-1]
        self._times = np.array([times for _, times in words], np.float64)
        self._words = np.repeat(np.arange(len(words)), lengths + 1)[self._starts]

    def expect(self, likely: Floats) -> Floats:
        """How often each piece is expected, over all ways of all words."""
        before, behind = np.zeros(self._num_places), np.zeros(self._num_places)
        before[self._firsts] = 1.0
        for edges in self._forward:
            ways = before[self._starts[edges]] * likely[self._pieces[edges]]
            np.add.at(before, self._ends[edges], ways)
        behind[self._lasts] = 1.0
        for edges in self._backward:
            ways = behind[self._ends[edges]] * likely[self._pieces[edges]]
            np.add.at(behind, self._starts[edges], ways)
        each = self._times / before[self._lasts]
        ways = before[self._starts] * likely[self._pieces] * behind[self._ends]
        return np.bincount(self._pieces, ways * each[self._words], minlength=self._num_pieces)


def _layers(depths: Ints) -> list[Ints]:
    """The edges of each depth, in the order in which they were found."""
    order = np.argsort(depths, kind='stable')
    return np.split(order, np.flatnonzero(np.diff(depths[order])) + 1)


def _normal(frequency: Floats, num_letters: int) -> Floats:
    """Probabilities; a letter that is never used keeps a little."""
    floor = np.zeros(len(frequency))
    floor[:num_letters] = math.fsum(frequency.tolist()) * _UNSEEN
    kept = np.maximum(frequency, floor)
    return kept / math.fsum(kept.tolist())


def _losses(
    pieces: list[str], likely: Floats, frequency: Floats, alive: list[int]
) -> dict[int, float]:
    """How much less likely the text becomes without each piece, when others stand for it."""
    logs = {pieces[at]: math.log(value) for at, value in enumerate(likely.tolist()) if value > 0}
    losses = {}
    for at in alive:
        piece = pieces[at]
        best = [0.0] + [-math.inf] * len(piece)
        for end in range(1, len(piece) + 1):
            for start in range(end):
                part = logs.get(piece[start:end])
                if part is not None and end - start < len(piece):
                    best[end] = max(best[end], best[start] + part)
        losses[at] = float(frequency[at]) * (logs[piece] - best[-1])
    return losses
