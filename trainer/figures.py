"""Figures of each step for people: utilisation of the machine, and memory.

Nothing here is computed with: the bits of a model do not depend on it.
"""

import os
import sys
from pathlib import Path
from typing import Any

from trainer.config import TrainerRun
from trainer.peak import peak_flops

_PAGE = os.sysconf('SC_PAGE_SIZE')


class Figures:
    """Model FLOPs utilisation, as PaLM (Chowdhery et al. 2022, appendix B) defines it.

    A token takes 6N + 12·L·H·Q·T operations: N weights that are multiplied, L layers of H heads of
    width Q, rows of T tokens. A frozen weight takes 4 instead of 6, for it has no gradient. What is
    computed again, or by another model beside, does not count.
    """

    def __init__(self, model: Any, peak: float | None, scored_share: float = 1.0) -> None:
        self.weights_flops, self.attention_flops = flops_of(model, scored_share)
        self.peak = peak

    def flops_per_token(self, row_length: float) -> float:
        """Operations of one token, forwards and backwards, in a row of so many."""
        return self.weights_flops + self.attention_flops * row_length

    def mfu(self, num_tokens: int, num_rows: int, seconds: float) -> float | None:
        """The share of the peak that a step has used; None where no peak is known."""
        if self.peak is None:
            return None
        flops = num_tokens * self.flops_per_token(num_tokens / num_rows)
        return round(flops / seconds / self.peak, 5)

    def of_start(self, row_length: float) -> dict[str, float]:
        """What is told once."""
        told = {'flops_per_token': self.flops_per_token(row_length)}
        return told if self.peak is None else {**told, 'peak_flops': self.peak}

    def of_step(self, num_tokens: int, num_rows: int, seconds: float) -> dict[str, float]:
        """What is told of each step."""
        mfu = self.mfu(num_tokens, num_rows, seconds)
        return {**({} if mfu is None else {'mfu': mfu}), **memory_used()}


def figures_of(run: TrainerRun, model: Any, scored_share: float) -> Figures:
    """Those of a run on the machine where it trains."""
    peak = float(os.environ.get('TEMPER_PEAK_FLOPS', '0'))
    recipe = run.recipe
    if recipe.device == 'cuda':
        # Measured here: a launcher that had looked at a GPU would hold memory of it.
        file = None if run.peakFile is None else Path(run.peakFile)
        each = peak_flops(file, 'cuda', recipe.precision, recipe.threads)
        peak = recipe.worldSize * each
    return Figures(model, peak if peak > 0 else None, scored_share)


def flops_of(model: Any, scored_share: float = 1.0) -> tuple[float, float]:
    """Operations a token of the weights, and of the attention for each token of a row.

    Only so many tokens go through the head.
    """
    embedding = model.get_input_embeddings().weight
    head = model.get_output_embeddings()
    # A table that is only looked up multiplies nothing; tied, it is the head as well.
    looked_up = None if head is not None and head.weight is embedding else embedding
    weights = sum(
        (6.0 if parameter.requires_grad else 4.0) * parameter.numel()
        for parameter in model.parameters()
        if parameter is not looked_up
    )
    if scored_share < 1.0 and head is not None:
        weights -= (1.0 - scored_share) * 6.0 * head.weight.numel()
    config = model.config
    # Not every configuration says how wide a head is.
    width = getattr(config, 'head_dim', None) or config.hidden_size // config.num_attention_heads
    return weights, 12.0 * config.num_hidden_layers * config.num_attention_heads * width


def memory_used() -> dict[str, int]:
    """Bytes that this process holds in memory, and at most held on its device, where it has one."""
    try:
        with open('/proc/self/statm', 'rb') as file:
            used = {'memory': int(file.read().split()[1]) * _PAGE}
    except (OSError, ValueError, IndexError):
        used = {}
    torch = sys.modules.get('torch')
    if torch is not None and torch.cuda.is_initialized():
        used['device_memory'] = torch.cuda.max_memory_allocated()
    return used
