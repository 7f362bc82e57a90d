"""The tokenizer as transformers wants it, and the chat template, whose one copy lies here."""

from pathlib import Path
from typing import TYPE_CHECKING

from trainer.special_tokens import END, END_OF_TEXT

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

TEMPLATE_NAME = 'chat_template.jinja'
TEMPLATE_FILE = Path(__file__).with_name(TEMPLATE_NAME)


def load_tokenizer(
    path: str, context_length: int, template: Path = TEMPLATE_FILE
) -> 'PreTrainedTokenizerFast':
    """Wraps tokenizer.json with our special tokens and a chat template."""
    from transformers import PreTrainedTokenizerFast

    _require_file(path)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=path,
        bos_token=END_OF_TEXT,
        eos_token=END_OF_TEXT,
        pad_token=END_OF_TEXT,
        model_max_length=context_length,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = template.read_text('utf-8')
    return tokenizer


def end_tokens(tokenizer: 'PreTrainedTokenizerFast', eos_id: int, chat: bool) -> list[str]:
    """The tokens at which an answer ends: of our chats, and of the model's own configuration."""
    vocabulary = tokenizer.get_vocab()
    ends = [END] if chat and END in vocabulary else []
    return list(dict.fromkeys([*ends, tokenizer.convert_ids_to_tokens(eos_id), END_OF_TEXT]))


def end_of_text_id(path: str) -> int:
    """The id of the token that parts documents; raises ValueError where there is none."""
    from tokenizers import Tokenizer

    _require_file(path)
    found = Tokenizer.from_file(path).token_to_id(END_OF_TEXT)
    if found is None:
        raise ValueError(f'{path}: found no token {END_OF_TEXT}, which parts documents')
    return found


def _require_file(path: str) -> None:
    if not Path(path).is_file():
        raise ValueError(f'{path}: no such file, expected a tokenizer.json')
