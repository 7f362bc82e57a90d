"""What pretraining learns: to foretell the next word, or the words that were hidden.

Each says which model it builds, which rows a step reads, and how held-out text is scored.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

from trainer.config import TrainerRun
from trainer.data import Order, TokenStream, held_out_windows
from trainer.masking import Batch, Hiding
from trainer.model import build_model, training_pass
from trainer.modernbert import MaskedPass, build_masked
from trainer.recipes import PretrainRecipe
from trainer.run_data import HeldOut
from trainer.shapes import GivenModel, MaskedShape, ModelShape

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Objective(Protocol):
    """What is last of a batch is what it is scored on; what is negative there is not."""

    scored_share: float

    def build(self, seed: int) -> 'PreTrainedModel':
        """A model with random weights that depend on the seed alone."""
        ...

    def training_pass(
        self, model: 'PreTrainedModel', dtype: torch.dtype, device: torch.device
    ) -> nn.Module:
        """From a batch to its sum of nats."""
        ...

    def rows(self, stream: TokenStream, order: Order, cursors: range) -> Batch:
        """The windows at these cursors."""
        ...

    def held_out_rows(
        self, held_out: HeldOut, width: int, batch_size: int, max_tokens: int
    ) -> Iterator[Batch]:
        """Batches that score the held-out tokens, or so many of them, evenly chosen."""
        ...


class NextWord:
    """Each word is foretold from those before it."""

    scored_share = 1.0

    def __init__(self, shape: ModelShape | GivenModel, length: int, end_of_text: int) -> None:
        self._shape, self._length, self._end_of_text = shape, length, end_of_text

    def build(self, seed: int) -> 'PreTrainedModel':
        """As `Objective`."""
        return build_model(self._shape, seed, self._end_of_text)

    def training_pass(
        self, model: 'PreTrainedModel', dtype: torch.dtype, device: torch.device
    ) -> nn.Module:
        """As `Objective`."""
        return training_pass(model, self._shape, self._length, dtype, device)

    def rows(self, stream: TokenStream, order: Order, cursors: range) -> tuple[Tensor, Tensor]:
        """As `Objective`."""
        starts = [order.start(cursor) for cursor in cursors]
        rows = torch.stack(
            [torch.from_numpy(stream.window(start, self._length + 1)) for start in starts]
        )
        return rows[:, :-1].contiguous(), rows[:, 1:].contiguous()

    def held_out_rows(
        self, held_out: HeldOut, width: int, batch_size: int, max_tokens: int
    ) -> Iterator[Batch]:
        """As `Objective`."""
        windows = held_out_windows(
            held_out, width, self._length, self._end_of_text, batch_size, max_tokens
        )
        for inputs, targets in windows:
            yield torch.from_numpy(inputs), torch.from_numpy(targets)


class HiddenWords:
    """Words that were hidden are foretold from those on both sides."""

    def __init__(self, shape: MaskedShape, length: int, hiding: Hiding) -> None:
        self._shape, self._length, self._hiding = shape, length, hiding
        self.scored_share = hiding.mask.rate

    def build(self, seed: int) -> 'PreTrainedModel':
        """As `Objective`."""
        hiding = self._hiding
        return build_masked(
            self._shape, seed, boundary=hiding.boundary, vocabulary=hiding.vocabulary
        )

    def training_pass(
        self, model: 'PreTrainedModel', dtype: torch.dtype, device: torch.device
    ) -> nn.Module:
        """As `Objective`."""
        return MaskedPass(model, dtype)

    def rows(self, stream: TokenStream, order: Order, cursors: range) -> Batch:
        """As `Objective`."""
        return self._hiding.training_rows(stream, order, cursors)

    def held_out_rows(
        self, held_out: HeldOut, width: int, batch_size: int, max_tokens: int
    ) -> Iterator[Batch]:
        """As `Objective`."""
        return self._hiding.held_out_rows(held_out, width, self._length, batch_size, max_tokens)


def objective_of(run: TrainerRun, end_of_text: int) -> Objective:
    """The one that the recipe asks for."""
    recipe, shape = run.recipe, run.model
    assert isinstance(recipe, PretrainRecipe)
    length = recipe.contextLength
    if not isinstance(shape, MaskedShape):
        return NextWord(shape, length, end_of_text)
    assert recipe.mask is not None
    from tokenizers import Tokenizer

    vocabulary = Tokenizer.from_file(run.tokenizer).get_vocab_size()
    hiding = Hiding(mask=recipe.mask, vocabulary=vocabulary, boundary=end_of_text)
    return HiddenWords(shape, length, hiding)
