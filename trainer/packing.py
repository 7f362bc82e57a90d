"""Several chats in one row: the chats of a batch are laid out so that little of it is padding.

Which chats a step trains on stays a function of (seed, epoch, position), and so does how they lie.
Each sees itself alone, so loss and gradient are those of a row for each chat, but for rounding.
"""

from typing import Any

import torch
from torch import Tensor


def pack(lengths: list[int], room: int) -> list[list[int]]:
    """Which texts share a row of `room` tokens: longest first, each where least room is left."""
    rows: list[list[int]] = []
    left: list[int] = []
    for text in sorted(range(len(lengths)), key=lambda one: (-lengths[one], one)):
        length = lengths[text]
        fitting = [row for row, free in enumerate(left) if free >= length]
        if fitting:
            row = min(fitting, key=lambda one: (left[one], one))
        else:
            row = len(rows)
            rows.append([])
            left.append(room)
        rows[row].append(text)
        left[row] -= length
    return rows


class PackingCollator:
    """Makes a batch of tokenized chats; `positions` begin anew with each."""

    def __init__(self, *, room: int, pad_id: int) -> None:
        self._room, self._pad_id = room, pad_id

    def __call__(self, chats: list[dict[str, Any]]) -> dict[str, Tensor]:
        rows = pack([len(chat['input_ids']) for chat in chats], self._room)
        width = max(sum(len(chats[text]['input_ids']) for text in row) for row in rows)
        shape = (len(rows), width)
        batch = {
            'input_ids': torch.full(shape, self._pad_id),
            'attention_mask': torch.zeros(shape, dtype=torch.long),
            'labels': torch.full(shape, -100),
            'positions': torch.zeros(shape, dtype=torch.long),
        }
        for number, row in enumerate(rows):
            at = 0
            for text in row:
                ids, labels = chats[text]['input_ids'], chats[text]['labels']
                here = slice(at, at + len(ids))
                batch['input_ids'][number, here] = torch.tensor(ids)
                batch['attention_mask'][number, here] = 1
                # Nothing before it foretells the first token of a chat.
                batch['labels'][number, here] = torch.tensor([-100, *labels[1:]])
                batch['positions'][number, here] = torch.arange(len(ids))
                at += len(ids)
        return batch
