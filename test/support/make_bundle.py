"""Makes tiny servable bundles for the tests: a random Llama and a byte-level BPE.

Usage: python test/support/make_bundle.py OUT. Writes OUT/chat, OUT/base (the same weights with
chat false), OUT/other (other weights), OUT/tokenizer (for transformers) and OUT/expected.json:
what PyTorch answers, for the tests to compare with. OUT/embedder is a random ModernBERT.
"""

import hashlib
import json
import runpy
import shutil
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import onnx
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

BOS, EOS, END = '<|bos|>', '<|eos|>', '<|end|>'
CONTEXT = 96
TEMPLATE = (
    '{{ bos_token }}{% for message in messages %}'
    '{{ message.role }}: {{ message.content }}<|end|>\n{% endfor %}'
    '{% if add_generation_prompt %}assistant: {% endif %}'
)
TEXT = [
    'The people of the United States in Congress assembled, and the state of the Union.',
    '國會與人民的聯邦 — naïve café, übergroß, 😀😃😄 emoji and 漢字 again.',
] * 20


def make_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=[BOS, EOS, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    return tokenizer


def make_model(seed: int, vocab_size: int) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=1,
        initializer_range=0.4,
    )
    return LlamaForCausalLM(config).eval().float()


@torch.no_grad()
def greedy(model: LlamaForCausalLM, ids: list[int], count: int) -> list[int]:
    ids = list(ids)
    start = len(ids)
    for _ in range(count):
        ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[start:]


@torch.no_grad()
def log_probabilities(model: LlamaForCausalLM, ids: list[int]) -> list[float]:
    table = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    return [float(table[place, token]) for place, token in enumerate(ids[1:])]


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def export(model: LlamaForCausalLM, tokenizer: Tokenizer, work: Path, out: Path) -> None:
    source = work / 'transformers'
    model.save_pretrained(source)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=BOS, eos_token=EOS)
    fast.save_pretrained(source)
    made = work / 'onnx'
    # The builder is a command; run in this process it need not import PyTorch once more.
    command = ['builder', '-m', str(source), '-o', str(made), '-c', str(work / 'cache')]
    with patch.object(sys, 'argv', [*command, '-p', 'fp32', '-e', 'cpu']):
        runpy.run_module('onnxruntime_genai.models.builder', run_name='__main__')
    out.mkdir(parents=True)
    whole = onnx.load(str(made / 'model.onnx'))
    onnx.save(whole, str(out / 'model.onnx'), save_as_external_data=False)
    tokenizer.save(str(out / 'tokenizer.json'))
    (out / 'chat_template.jinja').write_text(TEMPLATE)
    shape = model.config
    serving = {
        'schemaVersion': 1,
        'contextLength': CONTEXT,
        'bosToken': BOS,
        'eosTokens': [EOS, END],
        'chat': True,
        'maxNewTokens': 16,
        'numLayers': shape.num_hidden_layers,
        'numKvHeads': shape.num_key_value_heads,
        'headDim': shape.hidden_size // shape.num_attention_heads,
        'vocabSize': shape.vocab_size,
    }
    (out / 'serving.json').write_text(json.dumps(serving))
    ids = [0, *tokenizer.encode('The state of').ids]
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0, -1].tolist()
    probe = {
        'schemaVersion': 1,
        'promptIds': ids,
        'logits': logits,
        'greedyIds': greedy(model, ids, 8),
        'tolerance': 1e-3,
    }
    (out / 'probe.json').write_text(json.dumps(probe))


def make_embedder(out: Path) -> dict[str, Any]:
    """A bundle that embeds text, by our own export; returns ids and vectors of texts."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from trainer.export_encoder import fill_encoder_bundle
    from trainer.modernbert import build_masked
    from trainer.shapes import MaskedShape
    from trainer.tokenizer import TokenizerRun, train_tokenizer

    work = out / 'work-embedder'
    work.mkdir(parents=True)
    (work / 'text.jsonl').write_text('\n'.join(json.dumps({'text': text}) for text in TEXT))
    file = str(work / 'tokenizer.json')
    run = TokenizerRun(
        schemaVersion=1, inputs=[str(work / 'text.jsonl')], vocabSize=420, output=file
    )
    vocabulary = train_tokenizer(run)['vocabSize']
    shape = MaskedShape(
        family='modernbert',
        vocabSize=vocabulary + 2,
        hiddenSize=64,
        intermediateSize=96,
        numLayers=3,
        numHeads=2,
        contextLength=CONTEXT,
        ropeTheta=10_000.0,
        globalEvery=3,
        localWindow=16,
    )
    model = build_masked(shape, 7, boundary=0, vocabulary=vocabulary).eval()
    model.save_pretrained(work / 'model')
    folder = out / 'embedder'
    folder.mkdir()
    fill_encoder_bundle(folder, model=work / 'model', tokenizer_file=file, threads=1)
    tokenizer = Tokenizer.from_file(str(folder / 'tokenizer.json'))
    texts = [TEXT[0], TEXT[1], 'a state']
    rows = [tokenizer.encode(text).ids for text in texts]
    vectors = []
    with torch.no_grad():
        for ids in rows:
            states = model.model(input_ids=torch.tensor([ids])).last_hidden_state[0]
            vectors.append(torch.nn.functional.normalize(states.mean(0), dim=0).tolist())
    shutil.rmtree(work)
    return {'texts': texts, 'ids': rows, 'vectors': vectors}


def main(out: Path) -> None:
    tokenizer = make_tokenizer()
    vocab_size = tokenizer.get_vocab_size()
    model = make_model(7, vocab_size)
    export(model, tokenizer, out / 'work-7', out / 'chat')
    export(make_model(8, vocab_size), tokenizer, out / 'work-8', out / 'other')
    shutil.copytree(out / 'chat', out / 'base')
    serving = json.loads((out / 'base' / 'serving.json').read_text())
    (out / 'base' / 'serving.json').write_text(json.dumps({**serving, 'chat': False}))

    text = 'The people of the Union'
    prompt = [0, *tokenizer.encode(text).ids]
    scored = [0, *tokenizer.encode('國會 and café 😀 of the state').ids]
    chat = f'{BOS}user: Who?{END}\nassistant: '
    chat_ids = tokenizer.encode(chat).ids
    expected = {
        'prompt': {'text': text, 'ids': prompt, 'greedy': greedy(model, prompt, 40)},
        'chat': {'ids': chat_ids, 'greedy': greedy(model, chat_ids, 12)},
        'scored': {'ids': scored, 'logprobs': log_probabilities(model, scored)},
        'embedded': make_embedder(out),
        'weights': sha256(out / 'work-7' / 'transformers' / 'model.safetensors'),
    }
    for case in ('prompt', 'chat'):
        ids = expected[case]['greedy']
        expected[case]['completion'] = tokenizer.decode(ids, skip_special_tokens=True)
    (out / 'expected.json').write_text(json.dumps(expected))
    shutil.copytree(
        out / 'work-7' / 'transformers',
        out / 'tokenizer',
        ignore=shutil.ignore_patterns('*.safetensors'),
    )
    for work in ('work-7', 'work-8'):
        shutil.rmtree(out / work)


if __name__ == '__main__':
    main(Path(sys.argv[1]))
