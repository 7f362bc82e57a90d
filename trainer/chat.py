"""The tokenizer as transformers wants it, and the two forms of chat that can be taught, each with
its template: our own, and ChatML for vocabularies that have its tokens and not ours.
"""

from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.special_tokens import (
    ASSISTANT,
    CHATML_BEGIN,
    CHATML_END,
    END,
    END_OF_TEXT,
    USER,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

TEMPLATE_NAME = 'chat_template.jinja'
TEMPLATE_FILE = Path(__file__).with_name(TEMPLATE_NAME)


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatFormat:
    """How a chat is written: a template that marks the assistant's words, and what ends them."""

    template: Path
    end: str
    tokens: tuple[str, ...]


_FORMATS = (
    ChatFormat(template=TEMPLATE_FILE, end=END, tokens=(USER, ASSISTANT, END)),
    ChatFormat(
        template=TEMPLATE_FILE.with_name('chatml_template.jinja'),
        end=CHATML_END,
        tokens=(CHATML_BEGIN, CHATML_END),
    ),
)


def find_chat_format(vocabulary: Container[str]) -> ChatFormat | None:
    """The form of chat whose tokens a vocabulary has; None where it has those of neither."""
    for known in _FORMATS:
        if all(token in vocabulary for token in known.tokens):
            return known
    return None


def require_chat_format(path: str) -> ChatFormat:
    """The form of chat of a tokenizer.json; raises ValueError where it can be taught none."""
    from tokenizers import Tokenizer

    _require_file(path)
    found = find_chat_format(Tokenizer.from_file(path).get_vocab())
    if found is None:
        expected = ' or '.join(' '.join(known.tokens) for known in _FORMATS)
        raise ValueError(
            f'{path}: found no tokens that part the turns of a chat, expected {expected}; '
            'set goal: adapt, or take another base'
        )
    return found


def load_tokenizer(
    path: str, context_length: int, template: Path | None = None
) -> 'PreTrainedTokenizerFast':
    """Wraps tokenizer.json with our special tokens and a chat template: that of its vocabulary,
    if none is given.
    """
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
    if template is None:
        known = find_chat_format(tokenizer.get_vocab())
        template = TEMPLATE_FILE if known is None else known.template
    tokenizer.chat_template = template.read_text('utf-8')
    return tokenizer


def end_tokens(tokenizer: 'PreTrainedTokenizerFast', eos_id: int, chat: bool) -> list[str]:
    """The tokens at which an answer ends: of its chats, and of the model's own configuration."""
    known = find_chat_format(tokenizer.get_vocab())
    ends = [known.end] if chat and known is not None else []
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
