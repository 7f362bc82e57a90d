"""The configuration of a training run (config/trainer.ts, config/recipe.ts), checked on reading.

Unknown and missing keys are refused, so that a misspelt setting never trains something else.
"""

import dataclasses
import ipaddress
import json
import math
import types
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

T = TypeVar('T')


def read_object(cls: type[T], value: object, where: str) -> T:
    """Builds a dataclass from parsed JSON; names the path of what does not fit."""
    if not isinstance(value, dict):
        raise ValueError(f'{where}: found {type(value).__name__}, expected an object')
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(cls)
    if unknown := sorted(set(value) - set(fields)):
        raise ValueError(
            f'{where}: unknown {", ".join(unknown)}; known are {", ".join(sorted(fields))}'
        )
    missing = sorted(
        name
        for name, field in fields.items()
        if name not in value and field.default is dataclasses.MISSING
    )
    if missing:
        raise ValueError(f'{where}: {", ".join(missing)} missing')
    return cls(**{key: _read(hints[key], item, f'{where}.{key}') for key, item in value.items()})


def _read(hint: Any, value: object, where: str) -> Any:
    origin = typing.get_origin(hint)
    if origin is Literal:
        allowed = typing.get_args(hint)
        if value in allowed and type(value) in {type(item) for item in allowed}:
            return value
        raise ValueError(f'{where}: found {value!r}, expected one of {allowed}')
    if origin is list:
        if not isinstance(value, list):
            raise ValueError(f'{where}: found {type(value).__name__}, expected a list')
        (item_hint,) = typing.get_args(hint)
        return [_read(item_hint, item, f'{where}[{i}]') for i, item in enumerate(value)]
    if origin is dict:
        if not isinstance(value, dict):
            raise ValueError(f'{where}: found {type(value).__name__}, expected an object')
        return value
    if origin is types.UnionType:
        inner = [option for option in typing.get_args(hint) if option is not type(None)]
        if value is None and len(inner) < len(typing.get_args(hint)):
            return None
        (only,) = inner
        return _read(only, value, where)
    if dataclasses.is_dataclass(hint):
        return read_object(typing.cast(type, hint), value, where)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not hint:
        raise ValueError(f'{where}: found {value!r}, expected {getattr(hint, "__name__", hint)}')
    return value


def _check(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


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
            _check(value > 0, f'model.{name}: found {value}, expected more than 0')
        for name in ('numHeads', 'numKvHeads'):
            value = getattr(self, name)
            _check(value > 0, f'model.{name}: found {value}, expected more than 0')
        # The ONNX operator for grouped-query attention takes no other width of a head.
        _check(
            self.headDim is not None or self.hiddenSize % (16 * self.numHeads) == 0,
            f'model.hiddenSize {self.hiddenSize}: '
            f'expected a multiple of 16 times numHeads {self.numHeads}',
        )
        _check(
            self.headDim is None or (self.headDim > 0 and self.headDim % 16 == 0),
            f'model.headDim: found {self.headDim}, expected a multiple of 16',
        )
        _check(
            self.numHeads % self.numKvHeads == 0,
            f'model.numHeads {self.numHeads}: expected a multiple of numKvHeads {self.numKvHeads}',
        )
        _check(self.ropeTheta > 0, f'model.ropeTheta: found {self.ropeTheta}, expected more than 0')


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
            _check(
                field.name == 'family' or value > 0,
                f'model.{field.name}: found {value}, expected more than 0',
            )
        _check(
            self.hiddenSize % (2 * self.numHeads) == 0,
            f'model.hiddenSize {self.hiddenSize}: '
            f'expected a multiple of 2 times numHeads {self.numHeads}',
        )
        _check(
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


@dataclass(kw_only=True, slots=True)
class Lora:
    """Low-rank adapters around a frozen base; what they add is scaled by alpha / rank.

    Of what they learnt, `mergeShare` is added to the base in the end.
    """

    rank: int
    alpha: float
    mergeShare: float

    def __post_init__(self) -> None:
        _check(self.rank > 0, f'recipe.lora.rank: found {self.rank}, expected more than 0')
        _check(self.alpha > 0, f'recipe.lora.alpha: found {self.alpha}, expected more than 0')
        _check(
            0 < self.mergeShare <= 1,
            f'recipe.lora.mergeShare: found {self.mergeShare}, expected above 0 and at most 1',
        )


@dataclass(kw_only=True, slots=True)
class PhaseRecipe:
    """What every phase shares."""

    seed: int
    numSteps: int
    batchSize: int
    contextLength: int
    learningRate: float
    warmupSteps: int
    decaySteps: int
    weightDecay: float
    gradClip: float
    precision: Literal['fp32', 'bf16']
    worldSize: int
    threads: int
    saveEverySteps: int
    unwatchedExitS: float
    lora: Lora | None = None
    microBatchSize: int | None = None

    def __post_init__(self) -> None:
        for name in (
            'numSteps',
            'batchSize',
            'contextLength',
            'worldSize',
            'threads',
            'saveEverySteps',
        ):
            value = getattr(self, name)
            _check(value > 0, f'recipe.{name}: found {value}, expected more than 0')
        for name in ('seed', 'warmupSteps', 'decaySteps', 'weightDecay'):
            value = getattr(self, name)
            _check(value >= 0, f'recipe.{name}: found {value}, expected 0 or more')
        for name in ('learningRate', 'gradClip', 'unwatchedExitS'):
            value = getattr(self, name)
            _check(
                value > 0 and math.isfinite(value),
                f'recipe.{name}: found {value}, expected a finite number above 0',
            )
        _check(
            self.warmupSteps + self.decaySteps <= self.numSteps,
            f'recipe.numSteps {self.numSteps}: fewer than warmupSteps + decaySteps '
            f'({self.warmupSteps} + {self.decaySteps})',
        )
        _check(
            self.batchSize % self.worldSize == 0,
            f'recipe.batchSize {self.batchSize}: expected a multiple of worldSize {self.worldSize}',
        )
        _check(
            self.microBatchSize is None or self.microBatchSize > 0,
            f'recipe.microBatchSize: found {self.microBatchSize}, expected more than 0',
        )


@dataclass(kw_only=True, slots=True)
class Rehearsal:
    """Rows of text that the base wrote itself, on which it must go on foretelling the same."""

    numRows: int
    rowLength: int
    rowsAStep: int
    weight: float

    def __post_init__(self) -> None:
        for name in ('numRows', 'rowLength', 'rowsAStep'):
            value = getattr(self, name)
            _check(value > 0, f'recipe.rehearsal.{name}: found {value}, expected more than 0')
        _check(
            self.weight > 0, f'recipe.rehearsal.weight: found {self.weight}, expected more than 0'
        )


@dataclass(kw_only=True, slots=True)
class Replay:
    """What was trained on before, as a share of the windows."""

    share: float

    def __post_init__(self) -> None:
        _check(
            0 < self.share < 1,
            f'recipe.replay.share: found {self.share}, expected above 0 and below 1',
        )


@dataclass(kw_only=True, slots=True)
class PlateauRule:
    """Pretraining ends early when so many evaluations did not lower the loss by such a share."""

    evaluations: int
    leastFall: float

    def __post_init__(self) -> None:
        _check(
            self.evaluations > 0,
            f'recipe.plateau.evaluations: found {self.evaluations}, expected more than 0',
        )
        _check(
            0 <= self.leastFall < 1,
            f'recipe.plateau.leastFall: found {self.leastFall}, expected 0 or more and below 1',
        )


@dataclass(kw_only=True, slots=True)
class Mask:
    """Share of the tokens that are hidden, and how: by the mask, by another word, or not at all."""

    rate: float
    replaced: float
    redrawn: float

    def __post_init__(self) -> None:
        _check(
            0 < self.rate < 1,
            f'recipe.mask.rate: found {self.rate}, expected above 0 and below 1',
        )
        for name in ('replaced', 'redrawn'):
            value = getattr(self, name)
            _check(0 <= value <= 1, f'recipe.mask.{name}: found {value}, expected 0 to 1')
        _check(
            self.replaced + self.redrawn <= 1,
            f'recipe.mask: found {self.replaced} replaced and {self.redrawn} redrawn, '
            'expected at most 1 together',
        )


@dataclass(kw_only=True, slots=True)
class PretrainRecipe(PhaseRecipe):
    """Pretraining: two rates when Muon moves the matrices; `mask`: of a masked model."""

    phase: Literal['pretrain']
    optimizer: Literal['adamw', 'muon']
    adamLearningRate: float
    evalEverySteps: int
    rehearsal: Rehearsal | None = None
    replay: Replay | None = None
    plateau: PlateauRule | None = None
    mask: Mask | None = None

    def __post_init__(self) -> None:
        PhaseRecipe.__post_init__(self)
        _check(self.mask is None or self.lora is None, 'recipe.lora: expected none with a mask')
        _check(self.adamLearningRate > 0, 'recipe.adamLearningRate: expected more than 0')
        _check(self.evalEverySteps > 0, 'recipe.evalEverySteps: expected more than 0')
        _check(
            self.lora is None or self.optimizer == 'adamw',
            f'recipe.optimizer: found {self.optimizer!r}, expected adamw for adapters',
        )
        # Its second pass goes past the wrapper that averages the ranks' gradients.
        _check(
            self.rehearsal is None or (self.lora is not None and self.worldSize == 1),
            'recipe.rehearsal: expected adapters, whose base remembers, and worldSize 1',
        )
        _check(
            self.rehearsal is None or self.rehearsal.rowLength <= self.contextLength,
            f'recipe.rehearsal.rowLength: expected at most contextLength {self.contextLength}',
        )


@dataclass(kw_only=True, slots=True)
class SftRecipe(PhaseRecipe):
    """Supervised fine-tuning; with `packing` the chats of a batch share rows."""

    phase: Literal['sft']
    packing: bool = False


@dataclass(kw_only=True, slots=True)
class DpoRecipe(PhaseRecipe):
    """Direct preference optimisation."""

    phase: Literal['dpo']
    beta: float

    def __post_init__(self) -> None:
        PhaseRecipe.__post_init__(self)
        _check(self.beta > 0, f'recipe.beta: found {self.beta}, expected more than 0')


@dataclass(kw_only=True, slots=True)
class OrpoRecipe(PhaseRecipe):
    """Odds ratio preference optimisation; `beta` weighs the odds ratio against the likelihood."""

    phase: Literal['orpo']
    beta: float

    def __post_init__(self) -> None:
        PhaseRecipe.__post_init__(self)
        _check(self.beta > 0, f'recipe.beta: found {self.beta}, expected more than 0')


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


@dataclass(kw_only=True, slots=True)
class Rollback:
    """A return that was decided: from `step` on another factor; the next batch is `skippedTo`."""

    step: int
    skippedTo: int
    scale: float

    def __post_init__(self) -> None:
        _check(
            0 <= self.step < self.skippedTo,
            f'rollbacks: found step {self.step} and skippedTo {self.skippedTo}, '
            'expected a step and a later batch',
        )
        _check(
            0 < self.scale <= 1,
            f'rollbacks.scale: found {self.scale}, expected above 0 and at most 1',
        )


@dataclass(kw_only=True, slots=True)
class Gang:
    """This host's place among those that train together, and where their ranks meet.

    `address` and `port` are the leading host's, on the run's network; `meeting` is new each time.
    """

    meeting: str
    numHosts: int
    host: int
    address: str
    port: int
    localAddress: str

    def __post_init__(self) -> None:
        _check(self.numHosts > 1, f'gang.numHosts: found {self.numHosts}, expected 2 or more')
        _check(
            0 <= self.host < self.numHosts,
            f'gang.host: found {self.host}, expected 0 to {self.numHosts - 1}',
        )
        _check(0 < self.port < 65536, f'gang.port: found {self.port}, expected 1 to 65535')
        for name in ('address', 'localAddress'):
            value = getattr(self, name)
            try:
                ipaddress.IPv4Address(value)
            except ValueError as error:
                raise ValueError(
                    f'gang.{name}: found {value!r}, expected an IPv4 address'
                ) from error
        _check(
            self.host != 0 or self.address == self.localAddress,
            f'gang.address: found {self.address}, expected {self.localAddress} on host 0',
        )


@dataclass(kw_only=True, slots=True)
class MicroBatch:
    """A decision for want of memory: from `step` on, at most so many sequences at once."""

    step: int
    size: int

    def __post_init__(self) -> None:
        _check(self.step >= 0, f'microBatches.step: found {self.step}, expected 0 or more')
        _check(self.size > 0, f'microBatches.size: found {self.size}, expected more than 0')


_FAMILIES = typing.get_args(typing.get_type_hints(ModelShape)['family'])
_RECIPES = {
    'pretrain': PretrainRecipe,
    'sft': SftRecipe,
    'dpo': DpoRecipe,
    'orpo': OrpoRecipe,
}
_DATA = {'tokens': TokenData, 'chat': ChatData, 'preferences': PreferenceData}
_DATA_OF_PHASE = {
    'pretrain': 'tokens',
    'sft': 'chat',
    'dpo': 'preferences',
    'orpo': 'preferences',
}


@dataclass(kw_only=True, slots=True)
class TrainerRun:
    """run.json: what to train, from what, in which directory."""

    schemaVersion: Literal[1]
    runDir: str
    recipe: PretrainRecipe | SftRecipe | DpoRecipe | OrpoRecipe
    model: ModelShape | MaskedShape | GivenModel
    tokenizer: str
    init: str | None
    data: TokenData | ChatData | PreferenceData
    resumeFrom: str | None
    keepCheckpoints: int = 2
    rollbacks: list[Rollback] | None = None
    gang: Gang | None = None
    untilStep: int | None = None
    endAt: int | None = None
    microBatches: list[MicroBatch] | None = None
    peakFile: str | None = None

    def __post_init__(self) -> None:
        _check(
            self.gang is None or self.recipe.worldSize % self.gang.numHosts == 0,
            f'recipe.worldSize: found {self.recipe.worldSize}, '
            'expected a multiple of gang.numHosts',
        )
        _check(
            self.untilStep is None
            or (self.recipe.phase == 'pretrain' and 0 < self.untilStep < self.recipe.numSteps),
            f'untilStep: found {self.untilStep} in phase {self.recipe.phase}, '
            f'expected a step of pretraining before its last, {self.recipe.numSteps}',
        )
        steps = [rollback.step for rollback in self.rollbacks or []]
        _check(
            steps == sorted(set(steps)),
            f'rollbacks: found steps {steps}, expected each after the one before',
        )
        steps = [decided.step for decided in self.microBatches or []]
        _check(
            steps == sorted(set(steps)),
            f'microBatches: found steps {steps}, expected each after the one before',
        )
        _check(self.keepCheckpoints >= 2, 'keepCheckpoints: expected 2 or more')
        _check(
            self.endAt is None or 0 < self.endAt <= self.recipe.numSteps,
            f'endAt: found {self.endAt}, expected 1 to recipe.numSteps {self.recipe.numSteps}',
        )
        # The lean loss goes past the wrapper that would average the ranks' gradients.
        _check(
            self.recipe.phase == 'pretrain' or self.recipe.worldSize == 1,
            f'recipe.worldSize: found {self.recipe.worldSize}, expected 1 for {self.recipe.phase}',
        )
        wanted = getattr(self.recipe, 'rehearsal', None) is not None
        found = getattr(self.data, 'rehearsal', None) is not None
        _check(
            wanted == found,
            f'data.rehearsal: found {"rows" if found else "none"}, '
            f'expected {"rows" if wanted else "none"} by the recipe',
        )
        masked = isinstance(self.model, MaskedShape)
        hides = getattr(self.recipe, 'mask', None) is not None
        _check(
            masked == hides,
            f'recipe.mask: found {"one" if hides else "none"} with model.family '
            f'{self.model.family}, expected one with modernbert alone',
        )
        expected = _DATA_OF_PHASE[self.recipe.phase]
        _check(
            self.data.kind == expected,
            f'data.kind: found {self.data.kind!r}, '
            f'expected {expected!r} for phase {self.recipe.phase}',
        )
        _check(
            self.recipe.contextLength <= self.model.contextLength,
            f'recipe.contextLength {self.recipe.contextLength}: expected at most '
            f'model.contextLength {self.model.contextLength}',
        )


def load_run(path: str, phase: str) -> TrainerRun:
    """Reads run.json for one phase; raises ValueError naming what does not fit."""
    try:
        value = json.loads(Path(path).read_text(encoding='utf-8'))
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(f'{path}: {error}') from error
    if not isinstance(value, dict):
        raise ValueError(f'{path}: found {type(value).__name__}, expected an object')
    recipe = _read_tagged(_RECIPES, 'phase', value.get('recipe'), 'recipe')
    _check(recipe.phase == phase, f'recipe.phase: found {recipe.phase!r}, expected {phase!r}')
    data = _read_tagged(_DATA, 'kind', value.get('data'), 'data')
    families = {name: ModelShape for name in _FAMILIES}
    model = _read_tagged(
        {**families, 'modernbert': MaskedShape, 'transformers': GivenModel},
        'family',
        value.get('model'),
        'model',
    )
    known = {field.name for field in dataclasses.fields(TrainerRun)}
    if unknown := sorted(set(value) - known):
        raise ValueError(f'run: unknown {", ".join(unknown)}')
    hints = typing.get_type_hints(TrainerRun)
    plain = {
        key: _read(hints[key], item, key)
        for key, item in value.items()
        if key not in ('recipe', 'data', 'model')
    }
    required = {
        field.name
        for field in dataclasses.fields(TrainerRun)
        if field.default is dataclasses.MISSING
    }
    if missing := sorted(required - set(value)):
        raise ValueError(f'run: {", ".join(missing)} missing')
    return TrainerRun(**plain, recipe=recipe, data=data, model=model)


def _read_tagged(kinds: dict[str, type], tag: str, value: object, where: str) -> Any:
    kind = value.get(tag) if isinstance(value, dict) else None
    if kind not in kinds:
        raise ValueError(f'{where}.{tag}: found {kind!r}, expected one of {", ".join(kinds)}')
    return read_object(kinds[kind], value, where)
