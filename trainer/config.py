"""run.json (config/trainer.ts): what to train, from what, in which directory; checked on reading.

Unknown and missing keys are refused, so that a misspelt setting never trains something else.
"""

import ipaddress
import json
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trainer.decisions import MicroBatch, Rollback
from trainer.reading import check, read_tagged, read_value, require_keys
from trainer.recipes import DpoRecipe, OrpoRecipe, PretrainRecipe, SftRecipe
from trainer.run_data import ChatData, PreferenceData, TokenData
from trainer.shapes import GivenModel, MaskedShape, ModelShape


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
        check(self.numHosts > 1, f'gang.numHosts: found {self.numHosts}, expected 2 or more')
        check(
            0 <= self.host < self.numHosts,
            f'gang.host: found {self.host}, expected 0 to {self.numHosts - 1}',
        )
        check(0 < self.port < 65536, f'gang.port: found {self.port}, expected 1 to 65535')
        for name in ('address', 'localAddress'):
            value = getattr(self, name)
            try:
                ipaddress.IPv4Address(value)
            except ValueError as error:
                raise ValueError(
                    f'gang.{name}: found {value!r}, expected an IPv4 address'
                ) from error
        check(
            self.host != 0 or self.address == self.localAddress,
            f'gang.address: found {self.address}, expected {self.localAddress} on host 0',
        )


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
        check(
            self.gang is None or self.recipe.worldSize % self.gang.numHosts == 0,
            f'recipe.worldSize: found {self.recipe.worldSize}, '
            'expected a multiple of gang.numHosts',
        )
        check(
            self.untilStep is None
            or (self.recipe.phase == 'pretrain' and 0 < self.untilStep < self.recipe.numSteps),
            f'untilStep: found {self.untilStep} in phase {self.recipe.phase}, '
            f'expected a step of pretraining before its last, {self.recipe.numSteps}',
        )
        steps = [rollback.step for rollback in self.rollbacks or []]
        check(
            steps == sorted(set(steps)),
            f'rollbacks: found steps {steps}, expected each after the one before',
        )
        steps = [decided.step for decided in self.microBatches or []]
        check(
            steps == sorted(set(steps)),
            f'microBatches: found steps {steps}, expected each after the one before',
        )
        check(self.keepCheckpoints >= 2, 'keepCheckpoints: expected 2 or more')
        check(
            self.endAt is None or 0 < self.endAt <= self.recipe.numSteps,
            f'endAt: found {self.endAt}, expected 1 to recipe.numSteps {self.recipe.numSteps}',
        )
        # The lean loss goes past the wrapper that would average the ranks' gradients.
        check(
            self.recipe.phase == 'pretrain' or self.recipe.worldSize == 1,
            f'recipe.worldSize: found {self.recipe.worldSize}, expected 1 for {self.recipe.phase}',
        )
        check(
            self.recipe.parallelism == 'ddp'
            or (self.recipe.phase == 'pretrain' and self.model.family in _FAMILIES),
            f'recipe.parallelism: found fsdp2 in phase {self.recipe.phase} of a model of family '
            f'{self.model.family}, expected pretraining of {", ".join(_FAMILIES)}',
        )
        check(
            self.recipe.device == 'cpu' or self.recipe.phase == 'pretrain',
            f'recipe.device: found cuda for {self.recipe.phase}, expected cpu: pretraining alone '
            'runs on GPUs',
        )
        wanted = getattr(self.recipe, 'rehearsal', None) is not None
        found = getattr(self.data, 'rehearsal', None) is not None
        check(
            wanted == found,
            f'data.rehearsal: found {"rows" if found else "none"}, '
            f'expected {"rows" if wanted else "none"} by the recipe',
        )
        masked = isinstance(self.model, MaskedShape)
        hides = getattr(self.recipe, 'mask', None) is not None
        check(
            masked == hides,
            f'recipe.mask: found {"one" if hides else "none"} with model.family '
            f'{self.model.family}, expected one with modernbert alone',
        )
        expected = _DATA_OF_PHASE[self.recipe.phase]
        check(
            self.data.kind == expected,
            f'data.kind: found {self.data.kind!r}, '
            f'expected {expected!r} for phase {self.recipe.phase}',
        )
        check(
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
    recipe = read_tagged(_RECIPES, 'phase', value.get('recipe'), 'recipe')
    check(recipe.phase == phase, f'recipe.phase: found {recipe.phase!r}, expected {phase!r}')
    data = read_tagged(_DATA, 'kind', value.get('data'), 'data')
    families = {name: ModelShape for name in _FAMILIES}
    model = read_tagged(
        {**families, 'modernbert': MaskedShape, 'transformers': GivenModel},
        'family',
        value.get('model'),
        'model',
    )
    require_keys(TrainerRun, value, 'run')
    hints = typing.get_type_hints(TrainerRun)
    plain = {
        key: read_value(hints[key], item, key)
        for key, item in value.items()
        if key not in ('recipe', 'data', 'model')
    }
    return TrainerRun(**plain, recipe=recipe, data=data, model=model)
