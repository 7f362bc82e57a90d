"""What a model is like, as config/recipe.ts says it."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from trainer.reading import check


@dataclass(kw_only=True, slots=True)
class ModelShape:
    """The shape of a causal model; heads are as wide as they fill hiddenSize, if not said."""

    family: Literal['llama', 'qwen2', 'qwen3']
    vocabSize: int
    hiddenSize: int
    intermediateSize: int
    numLayers: int
    numHeads: int
    numKvHeads: int
    contextLength: int
    ropeTheta: float
    tieEmbeddings: bool
    headDim: int | None = None

    @property
    def head_width(self) -> int:
        """Width of a head."""
        return self.headDim or self.hiddenSize // self.numHeads

    def __post_init__(self) -> None:
        for name in ('vocabSize', 'hiddenSize', 'intermediateSize', 'numLayers', 'contextLength'):
            value = getattr(self, name)
            check(value > 0, f'model.{name}: found {value}, expected more than 0')
        for name in ('numHeads', 'numKvHeads'):
            value = getattr(self, name)
            check(value > 0, f'model.{name}: found {value}, expected more than 0')
        # The ONNX operator for grouped-query attention takes no other width of a head.
        check(
            self.headDim is not None or self.hiddenSize % (16 * self.numHeads) == 0,
            f'model.hiddenSize {self.hiddenSize}: '
            f'expected a multiple of 16 times numHeads {self.numHeads}',
        )
        check(
            self.headDim is None or (self.headDim > 0 and self.headDim % 16 == 0),
            f'model.headDim: found {self.headDim}, expected a multiple of 16',
        )
        check(
            self.numHeads % self.numKvHeads == 0,
            f'model.numHeads {self.numHeads}: expected a multiple of numKvHeads {self.numKvHeads}',
        )
        check(self.ropeTheta > 0, f'model.ropeTheta: found {self.ropeTheta}, expected more than 0')


@dataclass(kw_only=True, slots=True)
class MaskedShape:
    """The shape of a ModernBERT; its vocabulary holds the tokens of the corpus and two more.

    Every `globalEvery`-th layer attends to all tokens, the others to `localWindow` around each.
    """

    family: Literal['modernbert']
    vocabSize: int
    hiddenSize: int
    intermediateSize: int
    numLayers: int
    numHeads: int
    contextLength: int
    ropeTheta: float
    globalEvery: int
    localWindow: int

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            check(
                field.name == 'family' or value > 0,
                f'model.{field.name}: found {value}, expected more than 0',
            )
        check(
            self.hiddenSize % (2 * self.numHeads) == 0,
            f'model.hiddenSize {self.hiddenSize}: '
            f'expected a multiple of 2 times numHeads {self.numHeads}',
        )
        check(
            self.localWindow % 2 == 0,
            f'model.localWindow: found {self.localWindow}, expected an even number',
        )


@dataclass(kw_only=True, slots=True)
class GivenModel:
    """A configuration of transformers, and what was measured of it."""

    family: Literal['transformers']
    architecture: str
    config: dict[str, Any]
    vocabSize: int
    hiddenSize: int
    numLayers: int
    contextLength: int
    tieEmbeddings: bool
    numParameters: int
