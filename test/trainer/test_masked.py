"""A masked model goes the way of a causal one: trained, killed, resumed, loaded by transformers."""

import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from conftest import MakeRun, Run
from tokenizers import Tokenizer
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer

from trainer.config import load_run
from trainer.data import Order
from trainer.export import ExportRun, export
from trainer.masking import Hiding
from trainer.recipes import Mask
from trainer.run_data import HeldOut

MASK = {'rate': 0.3, 'replaced': 0.8, 'redrawn': 0.1}


def shape(vocabulary: int) -> dict[str, Any]:
    return {
        'family': 'modernbert',
        'vocabSize': vocabulary + 2,
        'hiddenSize': 64,
        'intermediateSize': 96,
        'numLayers': 3,
        'numHeads': 2,
        'contextLength': 64,
        'ropeTheta': 10000.0,
        'globalEvery': 3,
        'localWindow': 8,
    }


@pytest.fixture(scope='module')
def vocabulary(tokenizer: str) -> int:
    return Tokenizer.from_file(tokenizer).get_vocab_size()


@pytest.fixture(scope='module')
def make(make_run: MakeRun, vocabulary: int) -> Callable[..., Run]:
    def made(resume: Path | None = None, **recipe: Any) -> Run:
        run = make_run(resume, **{'mask': MASK, **recipe})
        run.config['model'] = shape(vocabulary)
        return run

    return made


@pytest.fixture(scope='module')
def trained(make: Callable[..., Run]) -> Run:
    run = make(numSteps=24, saveEverySteps=6)
    assert run.finish()['ok'] is True
    return run


def hiding(vocabulary: int = 1000, **changes: float) -> Hiding:
    return Hiding(mask=Mask(**{**MASK, **changes}), vocabulary=vocabulary, boundary=0)


class Stream:
    """Tokens that say where they stand."""

    num_tokens = 4096

    def window(self, start: int, length: int) -> np.ndarray:
        return np.arange(start, start + length, dtype=np.int64) % 990 + 4


def test_what_is_hidden_depends_on_seed_epoch_and_place_alone() -> None:
    def rows(seed: int, cursors: range) -> tuple[torch.Tensor, ...]:
        order = Order(seed=seed, num_tokens=4096, context_length=64)
        return hiding().training_rows(Stream(), order, cursors)  # type: ignore[arg-type]

    whole, parts = rows(7, range(0, 8)), [rows(7, range(at, at + 2)) for at in range(0, 8, 2)]
    for column, part in enumerate(whole):
        assert torch.equal(part, torch.cat([each[column] for each in parts]))
    _, places, _ = whole
    _, others, _ = rows(8, range(0, 8))
    assert not torch.equal(places, others)
    # The same window an epoch later hides other words.
    order = Order(seed=7, num_tokens=4096, context_length=64)
    first = {order.start(c): c for c in range(order.windows_per_epoch)}
    assert len(first) == order.windows_per_epoch
    again = rows(7, range(order.windows_per_epoch, 2 * order.windows_per_epoch))
    assert not torch.equal(again[1][:8], places)


def test_three_tenths_are_hidden_of_which_a_tenth_is_redrawn_and_a_tenth_stays() -> None:
    order = Order(seed=1, num_tokens=4096, context_length=64)
    inputs, places, targets = hiding().training_rows(Stream(), order, range(0, 400))  # type: ignore[arg-type]
    assert places.shape == (400, round(0.3 * 64))
    shown = inputs.gather(1, places)
    masked = (shown == 1000).float().mean().item()
    kept = (shown == targets).float().mean().item()
    assert masked == pytest.approx(0.8, abs=0.02)
    assert kept == pytest.approx(0.1, abs=0.02)
    redrawn = shown[(shown != 1000) & (shown != targets)]
    assert 4 <= int(redrawn.min()) and int(redrawn.max()) < 1000
    # What was not hidden stands as it was.
    untouched = torch.ones_like(inputs, dtype=torch.bool).scatter(1, places, False)
    windows = np.stack([Stream().window(order.start(c), 64) for c in range(0, 400)])
    assert torch.equal(inputs[untouched], torch.from_numpy(windows)[untouched])


def test_where_a_text_ends_is_not_hidden_as_long_as_there_are_words() -> None:
    class Bounds(Stream):
        def window(self, start: int, length: int) -> np.ndarray:
            tokens = super().window(start, length)
            tokens[::2] = 0
            return tokens

    order = Order(seed=1, num_tokens=4096, context_length=64)
    _, _, targets = hiding().training_rows(Bounds(), order, range(0, 50))  # type: ignore[arg-type]
    assert int(targets.min()) > 0


def test_held_out_text_has_the_same_words_hidden_each_time(tmp_path: Path) -> None:
    np.arange(4, 304, dtype='<u2').tofile(tmp_path / 'held')
    held = HeldOut(path=str(tmp_path / 'held'), numTokens=300, bytes=900)

    def scored(batch_size: int, limit: int = 1 << 18) -> list[torch.Tensor]:
        rows = hiding().held_out_rows(held, 2, 64, batch_size, limit)
        return [torch.cat(parts) for parts in zip(*rows, strict=True)]

    one, other = scored(1), scored(3)
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert len(one[0]) == 300 // 64
    assert len(scored(4, 128)[0]) == 2


def test_transformers_loads_it_and_finds_the_same_loss(trained: Run, vocabulary: int) -> None:
    model = AutoModelForMaskedLM.from_pretrained(trained.path / 'model', dtype=torch.float32)
    assert type(model).__name__ == 'ModernBertForMaskedLM'
    assert type(AutoModel.from_pretrained(trained.path / 'model')).__name__ == 'ModernBertModel'
    kinds = ['full_attention', 'sliding_attention', 'sliding_attention']
    assert model.config.layer_types == kinds
    held = HeldOut(**trained.config['data']['heldOut'])
    nats, count = 0.0, 0
    for inputs, places, targets in hiding(vocabulary).held_out_rows(held, 2, 16, 64, 1 << 18):
        labels = torch.full_like(inputs, -100).scatter(1, places, targets)
        with torch.no_grad():
            nats += model.eval()(input_ids=inputs, labels=labels).loss.item() * targets.numel()
        count += targets.numel()
    last = trained.events('eval')[-1]
    assert last['val_loss'] == pytest.approx(nats / count, rel=1e-4)
    assert last['val_loss'] < trained.events('eval')[0]['val_loss'] < math.log(vocabulary)
    # Bits a byte of the hidden words: they are taken for the same part of the bytes.
    assert last['val_bpb'] == pytest.approx(last['val_loss'] / math.log(2) / 3, rel=1e-4)


def test_a_resumed_run_ends_with_the_same_bits(make: Callable[..., Run], trained: Run) -> None:
    resumed = make(trained.path / 'checkpoints' / '18', numSteps=24, saveEverySteps=6)
    assert resumed.finish()['ok'] is True
    assert resumed.weights() == trained.weights()
    assert resumed.losses() == {step: trained.losses()[step] for step in range(19, 25)}

    def optimizer(run: Run) -> str:
        file = run.path / 'checkpoints' / '24' / 'optimizer.safetensors'
        return hashlib.sha256(file.read_bytes()).hexdigest()

    assert optimizer(resumed) == optimizer(trained)


def test_a_resumed_run_has_the_same_bits_in_bf16_on_two_threads(make: Callable[..., Run]) -> None:
    how = {'precision': 'bf16', 'threads': 2, 'numSteps': 8, 'saveEverySteps': 4}
    whole = make(decaySteps=4, **how)
    assert whole.finish()['ok'] is True
    resumed = make(whole.path / 'checkpoints' / '4', decaySteps=4, **how)
    assert resumed.finish()['ok'] is True
    assert resumed.weights() == whole.weights()


def test_a_smaller_micro_batch_gives_the_same_loss(make: Callable[..., Run], trained: Run) -> None:
    run = make(numSteps=24, saveEverySteps=6, microBatchSize=1)
    assert run.finish()['ok'] is True
    assert run.losses()[24] == pytest.approx(trained.losses()[24], rel=1e-3)


@pytest.mark.parametrize(
    ('model', 'recipe', 'message'),
    [
        ({}, {'mask': None}, r'recipe.mask: found none with model.family modernbert'),
        ({'hiddenSize': 63}, {}, r'model.hiddenSize 63: expected a multiple of 2 times'),
        ({'globalEvery': 0}, {}, r'model.globalEvery: found 0, expected more than 0'),
        ({}, {'mask': {**MASK, 'rate': 1.0}}, r'recipe.mask.rate: found 1.0, expected above 0'),
        ({}, {'mask': {**MASK, 'redrawn': 0.3}}, r'expected at most 1 together'),
    ],
)
def test_what_does_not_fit_a_masked_model_is_refused(
    make: Callable[..., Run],
    model: dict[str, Any],
    recipe: dict[str, Any],
    message: str,
    tmp_path: Path,
) -> None:
    import json

    run = make(**recipe)
    run.config['model'].update(model)
    file = tmp_path / 'run.json'
    file.write_text(json.dumps(run.config))
    with pytest.raises(ValueError, match=message):
        load_run(str(file), 'pretrain')


def test_a_vocabulary_without_room_for_the_mask_is_refused(make: Callable[..., Run]) -> None:
    run = make()
    run.config['model']['vocabSize'] -= 2
    result = run.finish()
    assert result['type'] == 'InvalidConfig'
    assert 'tokens of the tokenizer, the mask and the padding' in result['message']


@pytest.fixture(scope='module')
def bundle(trained: Run, tokenizer: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _export(trained, tokenizer, tmp_path_factory.mktemp('bundle') / 'out')


def _export(trained: Run, tokenizer: str, output: Path) -> Path:
    model = str(trained.path / 'model')
    run = ExportRun(
        schemaVersion=1,
        model=model,
        tokenizer=tokenizer,
        output=str(output),
        chat=False,
        threads=1,
    )
    export(run)
    return output


def test_its_onnx_file_gives_what_pytorch_gives_however_rows_are_padded(
    trained: Run, bundle: Path
) -> None:
    model = AutoModel.from_pretrained(trained.path / 'model', dtype=torch.float32).eval()
    session = onnxruntime.InferenceSession(str(bundle / 'model.onnx'))
    ids = torch.randint(4, 100, (3, 40), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    for row, length in enumerate((40, 7, 1)):
        mask[row, length:] = 0
        ids[row, length:] = model.config.pad_token_id
    feeds = {'input_ids': ids.numpy(), 'attention_mask': mask.numpy()}
    states, vectors = session.run(['last_hidden_state', 'sentence_embedding'], feeds)
    for row, length in enumerate((40, 7, 1)):
        with torch.no_grad():
            alone = model(input_ids=ids[row : row + 1, :length]).last_hidden_state[0]
        np.testing.assert_allclose(states[row, :length], alone.numpy(), atol=1e-4)
        expected = torch.nn.functional.normalize(alone.mean(0), dim=0)
        np.testing.assert_allclose(vectors[row], expected.numpy(), atol=1e-5)


def test_the_same_masked_model_gives_the_same_bundle(
    trained: Run, tokenizer: str, bundle: Path, tmp_path: Path
) -> None:
    again = _export(trained, tokenizer, tmp_path / 'again')

    def digests(folder: Path) -> dict[str, str]:
        return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}

    assert digests(bundle) == digests(again)
    assert sorted(digests(bundle)) == [
        'config.json',
        'model.onnx',
        'probe.json',
        'serving.json',
        'tokenizer.json',
        'tokenizer_config.json',
    ]


def test_its_tokenizer_is_that_of_the_corpus_and_two_tokens_more(
    tokenizer: str, vocabulary: int, bundle: Path
) -> None:
    plain, made = (
        Tokenizer.from_file(tokenizer),
        Tokenizer.from_file(str(bundle / 'tokenizer.json')),
    )
    text = 'Abraham Lincoln spoke of the union'
    assert made.encode(text).ids == [0, *plain.encode(text).ids, 0]
    assert made.token_to_id('<|mask|>') == vocabulary
    assert made.token_to_id('<|pad|>') == vocabulary + 1
    wrapped = AutoTokenizer.from_pretrained(bundle)
    assert wrapped.mask_token_id == vocabulary
    assert wrapped('a union', padding='max_length', max_length=16)['attention_mask'][-1] == 0
