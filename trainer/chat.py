"""The tokenizer as transformers wants it, and the chat template, whose one copy lies here."""

from pathlib import Path
from typing import TYPE_CHECKING

from trainer.special_tokens import END, END_OF_TEXT

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

TEMPLATE_FILE = Path(__file__).with_name('chat_template.jinja')


def load_tokenizer(path: str, context_length: int) -> 'PreTrainedTokenizerFast':
    """Wraps tokenizer.json with our special tokens and chat template."""
    from transformers import PreTrainedTokenizerFast

    if not Path(path).is_file():
        raise ValueError(f'{path}: no such file, expected a tokenizer.json')
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=path,
        bos_token=END_OF_TEXT,
        eos_token=END_OF_TEXT,
        pad_token=END_OF_TEXT,
        model_max_length=context_length,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = TEMPLATE_FILE.read_text('utf-8')
    return tokenizer


def end_tokens(chat: bool) -> list[str]:
    """The tokens at which an answer ends."""
    return [END, END_OF_TEXT] if chat else [END_OF_TEXT]
