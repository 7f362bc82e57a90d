"""Lets a model write text of its own: `python -m trainer.rehearse --config FILE`.

What it writes at random is what it knows; a model that is adapted later must go on foretelling it.
The output is rows of equal length, little-endian unsigned, a function of model, seed and threads.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from trainer.chat import TEMPLATE_NAME, end_of_text_id
from trainer.short_lived import run_module, say

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

# A step reads all weights, for many rows in the time of one.
_ROWS_A_BATCH = 24


@dataclass(kw_only=True, slots=True)
class RehearseRun:
    """A folder of our layout in; rows of tokens out."""

    schemaVersion: Literal[1]
    model: str
    tokenizer: str
    output: str
    numRows: int
    rowLength: int
    tokenBytes: Literal[2, 4]
    seed: int
    precision: Literal['fp32', 'bf16']
    threads: int

    def __post_init__(self) -> None:
        for name in ('numRows', 'rowLength', 'threads'):
            if getattr(self, name) < 1:
                raise ValueError(f'{name}: found {getattr(self, name)}, expected 1 or more')


def rehearse(run: RehearseRun) -> dict[str, Any]:
    """Writes the rows."""
    say({'progress': 'loading the model'})
    import numpy as np
    import torch
    from transformers import AutoModelForCausalLM

    from trainer.determinism import fix_determinism

    fix_determinism(run.threads, run.seed)
    dtype = torch.bfloat16 if run.precision == 'bf16' else torch.float32
    model = AutoModelForCausalLM.from_pretrained(run.model, dtype=dtype)
    model.eval()
    rows: list[Tensor] = []
    prompts = _prompts(run)
    for at in range(0, run.numRows, _ROWS_A_BATCH):
        say({'progress': f'the base writes what it rehearses, {at} of {run.numRows} rows'})
        # Rows of a batch begin alike, for the prompts differ in length.
        prompt = prompts[(at // _ROWS_A_BATCH) % len(prompts)]
        count = min(_ROWS_A_BATCH, run.numRows - at)
        rows.extend(_write(model, [prompt] * count, run.rowLength))
    tokens = torch.stack(rows).numpy().astype(f'<u{run.tokenBytes}')
    np.ascontiguousarray(tokens).tofile(run.output)
    return {'output': run.output, 'numRows': len(rows)}


def _prompts(run: RehearseRun) -> list[list[int]]:
    """How the batches begin, in turn: as a document, and as a chat where the model chats."""
    document = [end_of_text_id(run.tokenizer)]
    file = Path(run.model) / TEMPLATE_NAME
    template = file.read_text('utf-8') if file.is_file() else ''
    # A template that tells the date would open other rows tomorrow.
    if template == '' or 'strftime' in template:
        return [document]
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(tokenizer_file=run.tokenizer)
    # Up to where the words of the first user would stand.
    mark = '\x00'
    text = tokenizer.apply_chat_template(
        [{'role': 'user', 'content': mark}],
        chat_template=template,
        tokenize=False,
    )
    chat = tokenizer.encode(text.split(mark)[0], add_special_tokens=False)
    return [document, chat] if chat else [document]


def _write(model: 'PreTrainedModel', prompts: list[list[int]], length: int) -> 'Tensor':
    import torch

    inputs = torch.tensor([prompt[:length] for prompt in prompts])
    room = length - inputs.shape[1]
    if room == 0:
        return inputs
    with torch.no_grad():
        # A row does not stop at an end of text: what follows is as much the model's as what was.
        return model.generate(
            input_ids=inputs,
            attention_mask=torch.ones_like(inputs),
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            max_new_tokens=room,
            min_new_tokens=room,
            eos_token_id=None,
            pad_token_id=0,
        )


if __name__ == '__main__':
    os.environ['HF_HUB_OFFLINE'] = '1'
    run_module(RehearseRun, rehearse)
