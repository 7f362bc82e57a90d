"""Which tokens of a window are hidden from a masked model: a pure function of (seed, epoch, place
in the stream), so that a cursor stays the whole state. The count is the same in every window, so
that parts of a batch, and its ranks, weigh alike.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainer.data import Order, TokenStream, keyed_hashes, map_tokens, purpose_key
from trainer.recipes import Mask
from trainer.run_data import HeldOut
from trainer.special_tokens import SPECIAL_TOKENS

Ids = npt.NDArray[np.int64]
Batch = tuple[Tensor, ...]
# What a hash is drawn for; the loader's order has the first two.
_TRAINING, _HELD_OUT = 3, 4


@dataclass(kw_only=True, slots=True)
class Hiding:
    """How tokens are hidden: which of a window, and what stands in their place.

    `vocabulary` counts the tokens of the corpus; the one that marks a hidden word follows them.
    """

    mask: Mask
    vocabulary: int
    boundary: int

    @property
    def mask_id(self) -> int:
        """The id that stands for a hidden word."""
        return self.vocabulary

    def hide(self, window: Ids, hashes: npt.NDArray[np.uint64]) -> tuple[Ids, Ids, Ids]:
        """(inputs, places, targets) of a window; boundaries of documents are hidden last."""
        count = max(1, round(self.mask.rate * len(window)))
        last = np.uint64(2**64 - 1)
        ranked = np.argsort(np.where(window == self.boundary, last, hashes), kind='stable')
        places = np.sort(ranked[:count])
        fates = keyed_hashes(hashes[places], 0)
        words = keyed_hashes(fates, 0)
        first = len(SPECIAL_TOKENS)
        random = first + (words % np.uint64(self.vocabulary - first)).astype(np.int64)
        replaced, redrawn = self.mask.replaced, self.mask.replaced + self.mask.redrawn
        shares = fates.astype(np.float64) / 2.0**64
        targets = window[places]
        inputs = window.copy()
        inputs[places] = np.where(
            shares < replaced, self.mask_id, np.where(shares < redrawn, random, targets)
        )
        return inputs, places, targets

    def training_rows(self, stream: TokenStream, order: Order, cursors: range) -> Batch:
        """The windows at these cursors, each epoch with other words hidden."""
        rows = []
        for cursor in cursors:
            epoch, _ = order.window(cursor)
            start, length = order.start(cursor), order.context_length
            key = purpose_key(order.seed, epoch, _TRAINING)
            rows.append(self.hide(stream.window(start, length), _hashes(start, length, key)))
        return _stacked(rows)

    def held_out_rows(
        self, held_out: HeldOut, width: int, context_length: int, batch_size: int, max_tokens: int
    ) -> Iterator[Batch]:
        """Held-out windows, evenly chosen, with the same words hidden whatever the run."""
        tokens = map_tokens(held_out.path, held_out.numTokens, width).astype(np.int64)
        windows = max(1, len(tokens) // context_length)
        chosen = min(windows, max(1, max_tokens // context_length))
        key = purpose_key(0, 0, _HELD_OUT)
        for at in range(0, chosen, batch_size):
            rows = []
            for row in range(at, min(at + batch_size, chosen)):
                begin = row * windows // chosen * context_length
                window = tokens[begin : begin + context_length]
                rows.append(self.hide(window, _hashes(begin, len(window), key)))
            yield _stacked(rows)


def _hashes(start: int, length: int, key: int) -> npt.NDArray[np.uint64]:
    return keyed_hashes(np.arange(start, start + length, dtype=np.uint64), key)


def _stacked(rows: list[tuple[Ids, Ids, Ids]]) -> Batch:
    return tuple(torch.from_numpy(np.stack(parts)) for parts in zip(*rows, strict=True))
