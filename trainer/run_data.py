"""What a phase trains on: the files that run.json names."""

from dataclasses import dataclass
from typing import Literal


@dataclass(kw_only=True, slots=True)
class TokenShard:
    """Tokens, little-endian unsigned, without a header."""

    path: str
    numTokens: int


@dataclass(kw_only=True, slots=True)
class HeldOut:
    """Tokens that are scored and never trained on; `bytes` counts their UTF-8 text."""

    path: str
    numTokens: int
    bytes: int


@dataclass(kw_only=True, slots=True)
class TokenData:
    """Packed token shards; `rehearsal` is a file of rows of tokens, of the same width.

    `older` is what was trained on before, where the recipe replays it at a share of its own.
    """

    kind: Literal['tokens']
    shards: list[TokenShard]
    tokenBytes: Literal[2, 4]
    heldOut: HeldOut
    rehearsal: str | None = None
    older: list[TokenShard] | None = None


@dataclass(kw_only=True, slots=True)
class ChatData:
    """Lines {messages: [{role, content}, …]}."""

    kind: Literal['chat']
    path: str


@dataclass(kw_only=True, slots=True)
class PreferenceData:
    """Lines {prompt, chosen, rejected}, each a list of messages."""

    kind: Literal['preferences']
    path: str
