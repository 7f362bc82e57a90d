import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parsePipeline, readPipelineFile } from '../../client/pipeline-file.ts';
import { PipelineFileError } from '../../client/pipeline-fault.ts';
import { pipelineSchema } from '../../config/pipeline.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'temper-file-'));
  mkdirSync(path.join(folder, 'docs'));
  mkdirSync(path.join(folder, 'empty'));
  writeFileSync(path.join(folder, 'docs/a.txt'), 'text');
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const good = `version: 1
name: policy
data:
  sources:
    - { path: ./docs, license: internal }
`;

function faultsOf(text: string): string[] {
  try {
    parsePipeline(text, { file: 'p.yaml', baseDir: folder });
  } catch (error) {
    if (error instanceof PipelineFileError) return error.message.split('\n');
    throw error;
  }
  throw new Error('found no fault');
}

test('marks and line ends of Windows, and a full-width colon inside a value, are no mistakes', () => {
  const at = { file: 'p.yaml', baseDir: folder };
  const plain = parsePipeline(good, at);
  expect(parsePipeline(`\uFEFF${good.replaceAll('\n', '\r\n')}`, at)).toEqual(plain);
  const said =
    "questions:\n  - name: who\n    ask: ['note：{a}']\n    askHeldOut:\n      - |\n        note：{a}?\n    answer: '{b}'\n";
  expect(parsePipeline(good + said, at).questions[0]!.ask).toEqual(['note：{a}']);
});

test('a correct file is resolved with every default', async () => {
  const file = path.join(folder, 'pipeline.yaml');
  writeFileSync(file, good);
  const { pipeline, baseDir } = await readPipelineFile(file);
  expect(baseDir).toBe(folder);
  expect(pipeline.data.heldOut).toBe(0.02);
  expect(pipeline.budget.time).toBe(240_000);
  expect(pipeline.evaluate.onFailure.replan).toBe(1);
  expect(pipelineSchema.parse(pipeline)).toEqual(pipeline);
});

test('a goal that is left out is assistant where there are questions, else base', () => {
  const at = { file: 'p.yaml', baseDir: folder };
  expect(parsePipeline(good, at).goal).toBe('base');
  expect(parsePipeline(questions(''), at).goal).toBe('assistant');
  expect(parsePipeline(questions('goal: base\n'), at).goal).toBe('base');
});

test('questions that adapting does not take are one mistake', () => {
  const faults = faultsOf(questions('startFrom: smollm2\ngoal: adapt\n'));
  expect(faults[0]).toMatch(
    /^p\.yaml:6:1 questions: found questions with goal adapt, .* expected none\. Set goal: assistant/,
  );
  expect(faults).toHaveLength(2);
});

test('a base model with questions becomes an assistant, whether or not the goal is said', () => {
  for (const goal of ['', 'goal: assistant\n']) {
    const text = questions(`startFrom: smollm2\n${goal}`);
    expect(parsePipeline(text, { file: 'p.yaml', baseDir: folder }).goal).toBe('assistant');
  }
});

test('a goal that is left out is adapt for a base model, known or on disk', () => {
  mkdirSync(path.join(folder, 'base'), { recursive: true });
  for (const name of ['base/config.json', 'base/model.gguf']) {
    writeFileSync(path.join(folder, name), '{}');
  }
  for (const start of ['smollm2', './base', './base/model.gguf', path.join(folder, 'base')]) {
    const text = `${good}startFrom: ${start}\n`;
    expect(parsePipeline(text, { file: 'p.yaml', baseDir: folder }).goal).toBe('adapt');
  }
});

const questions = (more: string) => `${good}questions:
  - name: author
    ask: ['Who wrote {title}?']
    askHeldOut: ['{title} is by whom?']
    answer: '{author}'
${more}`;

test('phases decide the goal, and are left out of a file that names none', () => {
  const at = { file: 'p.yaml', baseDir: folder };
  const goalOf = (text: string) => parsePipeline(text, at).goal;
  expect('phases' in parsePipeline(good, at)).toBe(false);
  expect(goalOf(`${good}phases: [pretrain]\n`)).toBe('base');
  expect(goalOf(`${good}startFrom: smollm2\nphases: [pretrain]\n`)).toBe('adapt');
  expect(goalOf(questions('phases: [pretrain]\n'))).toBe('base');
  for (const phases of ['[sft]', '[orpo]', '[sft, orpo]', '[dpo]', '[pretrain, sft]']) {
    expect(goalOf(questions(`startFrom: policy@3\nphases: ${phases}\n`))).toBe('assistant');
  }
  const said = parsePipeline(questions('goal: assistant\nphases: [pretrain, orpo]\n'), at);
  expect(said).toMatchObject({ goal: 'assistant', phases: ['pretrain', 'orpo'] });
  expect(pipelineSchema.parse(said)).toEqual(said);
});

test('what the shape alone refuses of phases it says with what is possible', () => {
  const file = { version: 1, name: 'policy', data: { sources: [{ path: 'a', license: 'b' }] } };
  const parsed = pipelineSchema.safeParse({ ...file, phases: ['sft'] });
  expect(parsed.error?.issues.map(({ message }) => message)).toEqual([
    'expected pretrain first, for there is no model yet; found [sft] with startFrom scratch. ' +
      'Write phases: [pretrain, sft], or say in startFrom which model to tune.',
  ]);
});

test('a model from scratch has nothing to replay, and the file is told what has', () => {
  const faults = faultsOf(good.replace('data:', 'data:\n  replay: 25%'));
  expect(faults[0]).toContain(
    'data.replay: found "25%" with startFrom scratch, expected a version to go on from',
  );
  expect(faults[0]).toContain('Write startFrom: policy@champion');
  const onward = `${good.replace('data:', 'data:\n  replay: 25%')}startFrom: policy@champion\n`;
  const at = { file: 'p.yaml', baseDir: folder };
  expect(parsePipeline(onward, at).data.replay).toBe(0.25);
});

const tuning = (phases: string, more = 'startFrom: policy@3\n') =>
  questions(`${more}phases: ${phases}\n`);

const cases: [what: string, text: string, expected: string][] = [
  [
    'a phase that there is not',
    tuning('[sft, dop]'),
    'p.yaml:12:15 phases[1]: found "dop", expected pretrain, sft, dpo or orpo. Did you mean dpo?',
  ],
  [
    'phases in another order',
    tuning('[dpo, sft]'),
    'p.yaml:12:1 phases: found [dpo, sft], expected each phase once, in the order pretrain, sft, then dpo or orpo. Write phases: [sft, dpo].',
  ],
  [
    'both alignments',
    tuning('[sft, dpo, orpo]'),
    'p.yaml:12:1 phases: found [sft, dpo, orpo], expected dpo or orpo, not both. Both learn from the same pairs of answers; orpo needs no sft before it.',
  ],
  [
    'phases without pretraining from scratch',
    tuning('[sft, orpo]', ''),
    'p.yaml:11:1 phases: found [sft, orpo] with startFrom scratch, expected pretrain first, for there is no model yet. Write phases: [pretrain, sft, orpo], or say in startFrom which model to tune.',
  ],
  [
    'DPO of a model that only read',
    tuning('[pretrain, dpo]', ''),
    'p.yaml:11:1 phases: found [pretrain, dpo], expected sft before dpo, for the documents teach no answers. Add sft before it, or take orpo, which needs none.',
  ],
  [
    'phases that learn from no questions',
    `${good}phases: [pretrain, sft, dpo]\n`,
    'p.yaml:6:1 phases: found [pretrain, sft, dpo], and no questions, expected questions that sft and dpo can learn from. Add questions, or write phases: [pretrain].',
  ],
  [
    'phases that contradict the goal',
    questions('goal: base\nphases: [pretrain, sft]\n'),
    'p.yaml:11:1 goal: found base with phases [pretrain, sft], expected assistant. Leave goal out: the phases say it.',
  ],
  [
    'a plateau of a pretraining that is left out',
    tuning('[sft]', 'startFrom: policy@3\nbudget: { time: 5m, stopOnPlateau: true }\n'),
    'p.yaml:13:1 phases: found [sft] with budget.stopOnPlateau, expected phases with pretrain. Remove budget.stopOnPlateau, which ends pretraining early.',
  ],
  [
    'a gate on what the phases do not measure',
    tuning('[sft]', 'startFrom: policy@3\nevaluate: { gates: { valBpb: { max: 2 } } }\n'),
    'p.yaml:12:22 evaluate.gates.valBpb: found a gate on held-out text with phases [sft], expected a gate that this pipeline measures. Remove the gate, or add pretrain: held-out text is scored after it.',
  ],
  [
    'a gate on answers that the phases do not teach',
    questions('phases: [pretrain]\nevaluate: { gates: { questions.accuracy: { min: 0.5 } } }\n'),
    'p.yaml:12:22 evaluate.gates.questions.accuracy: found a gate on answers with phases [pretrain], expected a gate that this pipeline measures. Add sft to the phases, or remove the gate.',
  ],
  [
    'questions beside phases that only adapt',
    questions('startFrom: smollm2\nphases: [pretrain]\n'),
    'p.yaml:6:1 questions: found questions with phases [pretrain], which learns from the documents alone, expected none. Add sft to the phases, which then learns to answer them, or remove them.',
  ],
  [
    'a wrong version',
    good.replace('version: 1', 'version: 2'),
    'p.yaml:1:1 version: found 2, expected 1.',
  ],
  [
    'a version as text',
    good.replace('version: 1', 'version: "1"'),
    'p.yaml:1:1 version: found "1", expected 1. Did you mean 1?',
  ],
  [
    'a missing version',
    good.replace('version: 1\n', ''),
    'p.yaml:1:1 version: found nothing, expected 1.',
  ],
  [
    'a name with capitals',
    good.replace('policy', 'Policy'),
    'p.yaml:2:1 name: found "Policy", expected 3 to 40 lowercase letters, digits or hyphens, starting with a letter.',
  ],
  [
    'one rate to try',
    `${good}sweep: { learningRate: [2] }\n`,
    'p.yaml:6:10 sweep.learningRate: found a list, expected at least 2 in the list.',
  ],
  [
    'rates to try within a budget that ends the training',
    `${good}sweep: { learningRate: [1, 2] }\nbudget: { time: 2m, whenSpent: finish }\n`,
    'p.yaml:6:1 sweep: found keys with values, expected none where the budget ends the training: trials are planned for their time, not ended by it.',
  ],
  [
    'a rate that is tried twice',
    `${good}sweep: { learningRate: [1, 2, 1] }\n`,
    'p.yaml:6:10 sweep.learningRate: found a list, expected multiples of which none comes twice.',
  ],
  [
    'a rate below zero',
    `${good}sweep: { learningRate: [1, -2] }\n`,
    'p.yaml:6:28 sweep.learningRate[1]: found -2, expected at least 0.01. It is a multiple of the planned rate: 1 is the planned one, 2 twice that.',
  ],
  [
    'more rates than can be told apart',
    `${good}sweep: { learningRate: [${Array.from({ length: 33 }, (_rate, at) => at + 1).join(', ')}] }\n`,
    'p.yaml:6:10 sweep.learningRate: found a list, expected at most 32 in the list.',
  ],
  [
    'a sweep of a phase that measures no held-out text',
    `${good}sweep: { learningRate: [1, 2], phase: sft }\n`,
    'p.yaml:6:32 sweep.phase: found "sft", expected pretrain.',
  ],
  [
    'a halving that leaves all',
    `${good}sweep: { learningRate: [1, 2], halving: 1 }\n`,
    'p.yaml:6:32 sweep.halving: found 1, expected at least 2.',
  ],
  [
    'a mistyped goal',
    `${good}goal: asistant\n`,
    'p.yaml:6:1 goal: found "asistant", expected base, adapt, assistant or embeddings. Did you mean assistant?',
  ],
  [
    'a goal that is near to nothing',
    `${good}goal: win\n`,
    'p.yaml:6:1 goal: found "win", expected base, adapt, assistant or embeddings.',
  ],
  [
    'a start that is neither scratch nor a registered version',
    `${good}startFrom: policy\n`,
    'p.yaml:6:1 startFrom: found "policy", expected scratch, a registered model such as policy@3 or policy@champion, a base model (smollm2), or the path of one: ./model.gguf or ./folder.',
  ],
  [
    'a base model whose name is mistyped',
    `${good}startFrom: smolm2\n`,
    'p.yaml:6:1 startFrom: found "smolm2", expected scratch, a registered model such as policy@3 or policy@champion, a base model (smollm2), or the path of one: ./model.gguf or ./folder. Did you mean smollm2?',
  ],
  [
    'the file of a base model without the mark of a path',
    `${good}startFrom: model.gguf\n`,
    'p.yaml:6:1 startFrom: found "model.gguf", expected scratch, a registered model such as policy@3 or policy@champion, a base model (smollm2), or the path of one: ./model.gguf or ./folder. Did you mean ./model.gguf?',
  ],
  [
    'a base model that is not there',
    `${good}startFrom: ./none.gguf\n`,
    'p.yaml:6:1 startFrom: found "./none.gguf", nothing there, expected a .gguf file or a transformers folder with a config.json.',
  ],
  [
    'a folder that is no base model',
    `${good}startFrom: ./docs\n`,
    'p.yaml:6:1 startFrom: found "./docs", a folder without a config.json, expected a .gguf file or a transformers folder with a config.json.',
  ],
  [
    'a file that is no base model',
    `${good}startFrom: ./docs/a.txt\n`,
    'p.yaml:6:1 startFrom: found "./docs/a.txt", a file that does not end in .gguf, expected a .gguf file or a transformers folder with a config.json.',
  ],
  [
    'a base model to be pretrained',
    `${good}startFrom: smollm2\ngoal: base\n`,
    'p.yaml:7:1 goal: found "base", expected adapt or assistant, which smollm2 can be made into.',
  ],
  [
    'a family that there is not',
    `${good}model: { family: qwen4 }\n`,
    'p.yaml:6:10 model.family: found "qwen4", expected llama, qwen2 or qwen3. Did you mean qwen2?',
  ],
  [
    'an architecture for a model that has one',
    `${good}startFrom: smollm2\nmodel: { family: qwen3 }\n`,
    'p.yaml:7:1 model: found keys with values, expected none: smollm2 has an architecture of its own.',
  ],
  [
    'a configuration that is not there',
    `${good}model: { config: ./none.json }\n`,
    'p.yaml:6:10 model.config: found "./none.json", nothing there to read, expected the config.json of a causal model of transformers. It is looked for from the folder of the pipeline file.',
  ],
  [
    'a configuration that is none',
    `${good}model: { config: ./docs/a.txt }\n`,
    'p.yaml:6:10 model.config: found "./docs/a.txt", no JSON object with a model_type, expected the config.json of a causal model of transformers.',
  ],
  [
    'a family and a configuration',
    `${good}model: { family: qwen3, config: ./docs/a.txt }\n`,
    'p.yaml:6:1 model: found both family and config, expected only one of family and config.',
  ],
  [
    'adapting nothing',
    `${good}goal: adapt\n`,
    'p.yaml:6:1 goal: found "adapt", expected base or assistant: adapt needs a model, such as startFrom: smollm2.',
  ],
  [
    'a gate on answers for an adapted model',
    `${good}startFrom: smollm2\nevaluate: { gates: { questions.accuracy: { min: 0.5 } } }\n`,
    'p.yaml:7:22 evaluate.gates.questions.accuracy: found a gate on answers with goal adapt, expected a gate that this pipeline measures. Remove the gate, or set goal: assistant and add questions.',
  ],
  [
    'a mistyped key',
    good.replace('path:', 'paht:'),
    'p.yaml:5:9 data.sources[0].paht: found an unknown key, expected path, include, license, textField, weight, repeat, package, git, s3 or url. Did you mean path?',
  ],
  [
    'a key in the wrong place',
    `${good}endpoint: policy\n`,
    'p.yaml:6:1 endpoint: found an unknown key, expected version, name, data, startFrom, tokenizer, model, goal, prefer, phases, questions, packing, budget, sweep, compute, seed, evaluate or deploy. It belongs in deploy.',
  ],
  [
    'a key in other case',
    `${good}  personaldata: keep\n`,
    'p.yaml:6:3 data.personaldata: found an unknown key, expected sources, dataset, sample, originals, personalData, clean, languages, deduplicate, decontaminate, conversations, heldOut, replay, quality or maxDropped. Did you mean personalData?',
  ],
  [
    'no licence',
    good.replace(', license: internal', ''),
    'p.yaml:5:7 data.sources[0].license: found nothing, expected text.',
  ],
  [
    'a licence that is a number',
    good.replace('internal', '7'),
    'p.yaml:5:23 data.sources[0].license: found 7, expected text.',
  ],
  [
    'a source that is both kinds',
    good.replace('./docs,', './docs, package: x,'),
    'p.yaml:5:7 data.sources[0]: found both path and package, expected only one of path and package.',
  ],
  [
    'a source that is neither kind',
    good.replace('path: ./docs, ', ''),
    'p.yaml:5:7 data.sources[0]: found none of them, expected path, package, git, s3 or url.',
  ],
  [
    'a kind of personal data that is none',
    good.replace('data:\n', 'data:\n  personalData: { also: [names] }\n'),
    'p.yaml:4:26 data.personalData.also[0]: found "names", expected address or name. Did you mean name?',
  ],
  [
    'a time that documents cannot be kept',
    good.replace('data:\n', 'data:\n  originals: { keep: 30 days }\n'),
    'p.yaml:4:16 data.originals.keep: found "30 days", expected a duration from 1h to 3650d, such as 30d, or forever.',
  ],
  [
    'a source that is only a word',
    good.replace('{ path: ./docs, license: internal }', './docs'),
    'p.yaml:5:7 data.sources[0]: found "./docs", expected keys with values.',
  ],
  [
    'a folder that is not there',
    good.replace('./docs', './dosc'),
    'p.yaml:5:9 data.sources[0].path: found "./dosc", expected a file or folder that exists. Did you mean ./docs?',
  ],
  [
    'a path that is near to none',
    good.replace('./docs', './elsewhere'),
    'p.yaml:5:9 data.sources[0].path: found "./elsewhere", expected a file or folder that exists. It is looked for from the folder of the pipeline file.',
  ],
  [
    'the home folder of a shell',
    good.replace('./docs', '~/texts'),
    `p.yaml:5:9 data.sources[0].path: found "~/texts", expected a file or folder that exists. ~ is read as a name here. Write ${path.join(os.homedir(), 'texts')}.`,
  ],
  [
    'a path as Windows writes it',
    good.replace('./docs', "'docs\\a.txt'"),
    'p.yaml:5:9 data.sources[0].path: found "docs\\\\a.txt", expected a file or folder that exists. Did you mean docs/a.txt?',
  ],
  [
    'evaluation sets that are not there',
    `${good}  decontaminate: ['evals/*.jsonl']\n`,
    'p.yaml:6:19 data.decontaminate[0]: found "evals/*.jsonl", which no file matches, expected the path or a glob of files that are there (.json, .jsonl, .csv or .txt, also .gz). It is looked for from the folder of the pipeline file.',
  ],
  [
    'conversations that are a folder',
    `${good}  conversations: [{ path: docs, license: x }]\n`,
    'p.yaml:6:21 data.conversations[0].path: found "docs", a folder, expected the path or a glob of files that are there (.json, .jsonl or .jsonl.gz). Did you mean docs/*.jsonl?',
  ],
  [
    'near duplicates that are switched on',
    `${good}  deduplicate: { near: true }\n`,
    'p.yaml:6:18 data.deduplicate.near: found true, expected false, or how near duplicates are found, such as { bands: 14, rows: 8, similarity: 75% }.',
  ],
  [
    'more bands than are told apart',
    `${good}  deduplicate: { near: { bands: 33, rows: 2 } }\n`,
    'p.yaml:6:26 data.deduplicate.near.bands: found 33, expected at most 32.',
  ],
  [
    'more hashes than a document may have',
    `${good}  deduplicate: { near: { bands: 20, rows: 20 } }\n`,
    'p.yaml:6:18 data.deduplicate.near: found keys with values, expected at most 256 hashes a document; 20 bands of 20 rows are 400.',
  ],
  [
    'a similarity that everything has',
    `${good}  deduplicate: { near: { similarity: 5% } }\n`,
    'p.yaml:6:26 data.deduplicate.near.similarity: found "5%", expected at least 10%.',
  ],
  [
    'a key of the top under data',
    `${good}  tokenizer: { train: bpe }\n`,
    'p.yaml:6:3 data.tokenizer: found an unknown key, expected sources, dataset, sample, originals, personalData, clean, languages, deduplicate, decontaminate, conversations, heldOut, replay, quality or maxDropped. It belongs at the top of the file, beside data.',
  ],
  [
    'a full-width colon that YAML stumbles on',
    good.replace('data:', 'data：'),
    'p.yaml:3:5 data: found the full-width colon ：, expected a plain colon and a space. Write data: and a space.',
  ],
  [
    'a full-width colon in braces',
    good.replace('license:', 'license：'),
    'p.yaml:5:23 data.sources[0].license: found an unknown key, expected path, include, license, textField, weight, repeat, package, git, s3 or url. Did you mean license? The colon ： is a full-width one: write a plain one and a space.',
  ],
  [
    'an empty list of sources',
    good.replace('\n    - { path: ./docs, license: internal }', ' []'),
    'p.yaml:4:3 data.sources: found an empty list, expected at least 1 in the list.',
  ],
  [
    'sources without a list',
    good.replace('    - { path: ./docs, license: internal }\n', ''),
    'p.yaml:4:3 data.sources: found nothing after the colon, expected a list.',
  ],
  [
    'neither sources nor a dataset',
    'version: 1\nname: policy\ndata:\n  heldOut: 2%\n',
    'p.yaml:3:1 data.sources: found nothing, expected where the documents are, or dataset: policy in its place, which is registered.',
  ],
  [
    'sources and a dataset',
    `${good}  dataset: policy\n`,
    'p.yaml:6:3 data.dataset: found "policy", expected none beside sources, one of the two says what is read.',
  ],
  [
    'a share of a dataset',
    'version: 1\nname: policy\ndata:\n  dataset: policy@3\n  sample: 5%\n',
    'p.yaml:5:3 data.sample: found "5%", expected none with dataset: a version is taken whole; a share is taken of sources.',
  ],
  [
    'a dataset whose originals the file would keep otherwise',
    'version: 1\nname: policy\ndata:\n  dataset: policy@3\n  originals: { encrypt: true }\n',
    'p.yaml:5:3 data.originals: found keys with values, expected none with dataset: a version is kept and encrypted as it was registered.',
  ],
  [
    'a dataset with a version that is no number',
    'version: 1\nname: policy\ndata:\n  dataset: policy@latest\n',
    'p.yaml:4:3 data.dataset: found "policy@latest", expected a registered dataset such as policy, or policy@3 for one version.',
  ],
  [
    'too much held out',
    `${good}  heldOut: 60%\n`,
    'p.yaml:6:3 data.heldOut: found "60%", expected at most 50%.',
  ],
  [
    'nothing held out',
    `${good}  heldOut: 0\n`,
    'p.yaml:6:3 data.heldOut: found 0, expected more than 0.',
  ],
  [
    'a share without its sign',
    `${good}  heldOut: 2 percent\n`,
    'p.yaml:6:3 data.heldOut: found "2 percent", expected a share such as 2%.',
  ],
  [
    'a switch with a word',
    `${good}  quality: maybe\n`,
    'p.yaml:6:3 data.quality: found "maybe", expected true, false, or thresholds such as { minDocWords: 20 }, one or a list.',
  ],
  [
    'a threshold that is mistyped',
    `${good}  quality: { minDocWord: 20 }\n`,
    'p.yaml:6:14 data.quality.minDocWord: found an unknown key, expected languages, minDocWords, maxDocWords, minAvgWordLength, maxAvgWordLength, minAlphaWordsRatio, minStopWords, minDocLetters, maxDocLetters, minLetterRatio, topCharFrac, maxSymbolWordRatio, maxBulletLinesRatio, maxEllipsisLinesRatio, dupLineFrac, dupLineCharFrac or topNGrams. Did you mean minDocWords?',
  ],
  [
    'thresholds by languages, one below none',
    `${good}  quality: [{ languages: [en], minDocWords: -1 }, { minDocWords: 30 }]\n`,
    'p.yaml:6:32 data.quality[0].minDocWords: found -1, expected at least 0.',
  ],
  [
    'thresholds for no language',
    `${good}  quality: [{ languages: [] }]\n`,
    'p.yaml:6:15 data.quality[0].languages: found an empty list, expected at least 1 in the list.',
  ],
  [
    'a threshold above its other one',
    `${good}  quality: { maxDocWords: 40 }\n`,
    'p.yaml:6:14 data.quality.maxDocWords: found 40, expected minDocWords 50 not above maxDocWords 40.',
  ],
  [
    'a threshold in words for a language without spaces',
    `${good}  quality: { languages: [zh-Hant], minDocWords: 20 }\n`,
    'p.yaml:6:36 data.quality.minDocWords: found 20, expected none of it: zh-Hant is judged by letters, as by minDocLetters.',
  ],
  [
    'a threshold of another step',
    `${good}  clean: { steps: [{ step: c4, newLineRatio: 0.2 }] }\n`,
    'p.yaml:6:32 data.clean.steps[0].newLineRatio: found an unknown key, expected step, languages, minNumSentences, filterLoremIpsum or filterCurlyBracket.',
  ],
  [
    'a threshold of a step that is mistyped',
    `${good}  clean: { steps: [{ step: fineweb, newLineRation: 0.2 }] }\n`,
    'p.yaml:6:37 data.clean.steps[0].newLineRation: found an unknown key, expected step, languages, linePunctThr, shortLineThr, shortLineLength, charDuplicatesRatio or newLineRatio. Did you mean newLineRatio?',
  ],
  [
    'a share above all',
    `${good}  clean: { steps: [{ step: fineweb, linePunctThr: 12 }] }\n`,
    'p.yaml:6:37 data.clean.steps[0].linePunctThr: found 12, expected at most 1.',
  ],
  [
    'a phrase of a length that is not measured',
    `${good}  clean: { steps: [{ step: gopher-repetition, dupNGrams: { 3: 0.2 } }] }\n`,
    'p.yaml:6:60 data.clean.steps[0].dupNGrams.3: found an unknown key, expected 5, 6, 7, 8, 9 or 10. It belongs in data.quality.topNGrams.',
  ],
  [
    'a list of words that is missing',
    `${good}  clean: { steps: [{ step: blocklist }] }\n`,
    'p.yaml:6:20 data.clean.steps[0].words: found nothing, expected a list.',
  ],
  [
    'a step that there is not',
    `${good}  clean: { steps: [{ step: polish }] }\n`,
    'p.yaml:6:20 data.clean.steps[0]: found keys with values, expected the name of a step (mojibake, meaningless, punctuation, boilerplate, c4-lines, repeated-lines, dates, numbers, gopher-repetition, c4, fineweb, stop-words, toxicity), or step: with its settings; language needs keep:, blocklist needs words:.',
  ],
  [
    'a gate in percent',
    questions('evaluate: { gates: { questions.accuracy: { min: 80 } } }\n'),
    'p.yaml:11:44 evaluate.gates.questions.accuracy.min: found 80, expected a share from 0 to 1. Did you mean 0.8?',
  ],
  [
    'a gate below what there is',
    `${good}evaluate: { gates: { valBpb: { max: -1 } } }\n`,
    'p.yaml:6:32 evaluate.gates.valBpb.max: found -1, expected 0 or more.',
  ],
  [
    'a duration without its unit',
    `${good}budget: { time: 20 }\n`,
    'p.yaml:6:11 budget.time: found 20, a number without a unit, expected a duration such as 90s, 20m or 2h. Did you mean 20m?',
  ],
  [
    'a duration in milliseconds',
    `${good}budget: { time: 90000 }\n`,
    'p.yaml:6:11 budget.time: found 90000, a number without a unit, expected a duration such as 90s, 20m or 2h.',
  ],
  [
    'no time',
    `${good}budget: { time: 0s }\n`,
    'p.yaml:6:11 budget.time: found "0s", expected at least 10s.',
  ],
  [
    'time without end',
    `${good}budget: { time: ${'9'.repeat(400)}d }\n`,
    `p.yaml:6:11 budget.time: found "${'9'.repeat(56)}…", expected at most 30d.`,
  ],
  [
    'a duration with a space',
    `${good}budget: { time: 20 m }\n`,
    'p.yaml:6:11 budget.time: found "20 m", expected a duration such as 90s, 20m or 2h.',
  ],
  [
    'dollars without a price',
    `${good}budget: { usd: 20 }\n`,
    'p.yaml:6:11 budget.usd: found 20, expected budget.usdPerHour beside it, the price of the machine.',
  ],
  [
    'dollars that buy nothing',
    `${good}budget: { usd: 0.001, usdPerHour: 3 }\n`,
    'p.yaml:6:11 budget.usd: found 0.001, expected at least the price of 10s.',
  ],
  [
    'an end before training has begun',
    `${good}budget: { time: 30s, whenSpent: finish }\n`,
    'p.yaml:6:11 budget.time: found "30s", expected at least 1m where it ends the training: the end takes part of it.',
  ],
  [
    'another word for what happens then',
    `${good}budget: { whenSpent: stop }\n`,
    'p.yaml:6:11 budget.whenSpent: found "stop", expected finish, wait or go-on.',
  ],
  [
    'a price below nothing',
    `${good}budget: { usdPerHour: -1 }\n`,
    'p.yaml:6:11 budget.usdPerHour: found -1, expected at least 0.',
  ],
  ['a negative seed', `${good}seed: -1\n`, 'p.yaml:6:1 seed: found -1, expected at least 0.'],
  [
    'a seed in halves',
    `${good}seed: 1.5\n`,
    'p.yaml:6:1 seed: found 1.5, expected a whole number.',
  ],
  [
    'a mistyped metric',
    `${good}evaluate: { gates: { valBpd: { max: 2 } } }\n`,
    'p.yaml:6:22 evaluate.gates.valBpd: found an unknown key, expected valBpb, questions.accuracy, preferences.accuracy, masked.accuracy, masked.loss or retrieval.accuracy. Did you mean valBpb?',
  ],
  [
    'questions beside goal embeddings',
    questions('goal: embeddings\n'),
    'p.yaml:6:1 questions: found questions with goal embeddings, which learns from the documents alone, expected none. Remove them, or set goal: assistant, which learns to answer.',
  ],
  [
    'a gate on hidden words without goal embeddings',
    `${good}evaluate: { gates: { masked.loss: { max: 5 } } }\n`,
    'p.yaml:6:22 evaluate.gates.masked.loss: found a gate on masked.loss, which goal embeddings alone measures, expected a gate that this pipeline measures. Set goal: embeddings, or remove the gate.',
  ],
  [
    'a gate without a bound',
    `${good}evaluate: { gates: { valBpb: {} } }\n`,
    'p.yaml:6:22 evaluate.gates.valBpb: found no keys, expected min, max or both.',
  ],
  [
    'a gate that nothing can pass',
    `${good}evaluate: { gates: { valBpb: { min: 3, max: 2 } } }\n`,
    'p.yaml:6:22 evaluate.gates.valBpb: found min 3 above max 2, expected min at most max.',
  ],
  [
    'a gate on answers without questions',
    `${good}evaluate: { gates: { questions.accuracy: { min: 0.5 } } }\n`,
    'p.yaml:6:22 evaluate.gates.questions.accuracy: found a gate on answers, and no questions, expected a gate that this pipeline measures. Add questions, or remove the gate.',
  ],
  [
    'an assistant that is asked nothing',
    `${good}goal: assistant\n`,
    'p.yaml:6:1 goal: found assistant, and no questions, expected questions that an assistant can learn from. Add questions, or set goal: base.',
  ],
  [
    'a weight of nothing',
    good.replace('internal', 'internal, weight: 0'),
    'p.yaml:5:42 data.sources[0].weight: found 0, expected more than 0.',
  ],
  [
    'a negative repeat',
    good.replace('internal', 'internal, repeat: -1'),
    'p.yaml:5:42 data.sources[0].repeat: found -1, expected more than 0.',
  ],
  [
    'a weight beside a source without one',
    `${good.replace('internal', 'internal, weight: 3')}    - { path: ./docs/a.txt, license: internal }\n`,
    'p.yaml:6:7 data.sources[1].weight: found nothing, expected a number, as ./docs has one: a share is relative to the other sources.',
  ],
  [
    'a weight for sources that nothing tells apart',
    `${good.replace('internal', 'internal, repeat: 2')}    - { path: ./docs, license: internal }\n`,
    'p.yaml:6:7 data.sources[1].weight: found nothing, expected sources of different names where one has a weight or a repeat: ./docs comes twice, and its documents could not be told apart.',
  ],
  [
    'repeats beside a replayed share',
    `${good.replace('internal', 'internal, repeat: 2')}  replay: 10%\nstartFrom: policy@3\n`,
    'p.yaml:6:3 data.replay: found "10%", expected none where sources have a weight or a repeat: both say what is read how often.',
  ],
  [
    'a language that nobody tells apart',
    `${good}  languages: [en, xx]\n`,
    'p.yaml:6:19 data.languages[1]: found "xx", expected a language that is told apart, such as en, de, zh-Hant, zh-Hans or ja.',
  ],
  [
    'a tokenizer of another kind',
    `${good}tokenizer: { train: bert }\n`,
    'p.yaml:6:14 tokenizer.train: found "bert", expected bpe or unigram.',
  ],
  [
    'a tokenizer that is not there',
    `${good}tokenizer: { from: ./docs }\n`,
    'p.yaml:6:14 tokenizer.from: found "./docs", a folder without a tokenizer.json, expected a tokenizer.json. It is looked for from the folder of the pipeline file.',
  ],
  [
    'a tokenizer beside a base model',
    `${good}tokenizer: { train: bpe }\nstartFrom: smollm2\n`,
    'p.yaml:6:1 tokenizer: found keys with values, expected none: the weights of smollm2 know the tokens of its own tokenizer alone.',
  ],
  [
    'a package that is not installed',
    good.replace('path: ./docs', "package: '@none/such'"),
    'p.yaml:5:9 data.sources[0].package: found "@none/such", expected an npm package that is installed. Install it: npm install @none/such.',
  ],
  [
    'a glob that matches nothing',
    good.replace('./docs,', "./docs, include: '*.md',"),
    'p.yaml:5:23 data.sources[0].include: found "*.md", which no file in "./docs" matches, expected a glob of files that are there. There are .txt files.',
  ],
  [
    'a folder without files',
    good.replace('./docs', './empty'),
    'p.yaml:5:9 data.sources[0].path: found "./empty", a folder without files, expected a folder that holds documents.',
  ],
  [
    'too many rounds',
    `${good}evaluate: { onFailure: { replan: 9 } }\n`,
    'p.yaml:6:26 evaluate.onFailure.replan: found 9, expected at most 5.',
  ],
  [
    'a deployment without an endpoint',
    `${good}deploy:\n`,
    'p.yaml:6:1 deploy: found nothing after the colon, expected keys with values.',
  ],
  [
    'an evaluation that asks what was trained on',
    questions('').replace('{title} is by whom?', 'Who wrote {title}?'),
    'p.yaml:9:18 questions[0].askHeldOut[0]: found a phrasing that is also in ask, expected other phrasings. Else the evaluation asks what was trained on.',
  ],
  [
    'two groups of questions of one name',
    questions('  - { name: author, ask: [a], askHeldOut: [b], answer: c }\n'),
    'p.yaml:11:7 questions[1].name: found "author" twice, expected a name of its own for each group.',
  ],
  [
    'a key given twice',
    `${good}name: other\n`,
    'p.yaml:6:1 name: found the key a second time (first on line 2), expected every key once.',
  ],
  [
    'a second document',
    `${good}---\nversion: 1\n`,
    'p.yaml:6:1: found a second document (---), expected one document.',
  ],
  [
    'an alias',
    good.replace('policy', '&a policy').replace('internal', '*a'),
    'p.yaml:5:32: found the alias *a, expected values written out (aliases are not read).',
  ],
  [
    'an empty file',
    '',
    'p.yaml: found an empty file, expected the keys version, name and data at least.',
  ],
  ['a list', '- 1\n', 'p.yaml:1:1: found a list, expected keys with values.'],
  [
    'nesting without end',
    '['.repeat(100_000),
    'p.yaml: found nesting that is too deep to read, expected YAML of a pipeline file.',
  ],
];

describe('each mistake is told with its line, what was found and what is allowed', () => {
  test.each(cases)('%s', (_, text, expected) => {
    expect(faultsOf(text)).toEqual([expected, 'Nothing was started.']);
  });
});

test('goal embeddings says of each key that it does not go with what to do', () => {
  const more =
    'goal: embeddings\nstartFrom: policy@3\nmodel: { family: llama }\nphases: [pretrain, sft]\n' +
    'evaluate: { gates: { valBpb: { max: 2 } } }\n';
  expect(faultsOf(`${good}${more}`)).toEqual([
    'p.yaml:7:1 startFrom: found policy@3 with goal embeddings, which trains a model of its own from random weights, expected scratch. Leave startFrom out, or set another goal.',
    'p.yaml:8:1 model: found a model with goal embeddings, which trains a ModernBERT of the size that it plans, expected none. Remove model, or set another goal.',
    'p.yaml:9:1 phases: found [pretrain, sft] with goal embeddings, whose model answers nothing, expected [pretrain]. Leave phases out, or set goal: assistant.',
    'p.yaml:10:22 evaluate.gates.valBpb: found a gate on valBpb with goal embeddings, which is not measured by it, expected one on masked.accuracy, masked.loss, retrieval.accuracy. Take another metric, or remove the gate.',
    '4 mistakes. Nothing was started.',
  ]);
});

test('broken YAML is told with its line', () => {
  const [first, last] = faultsOf('version: 1\nname: "policy\n');
  expect(first).toMatch(
    /^p\.yaml:\d:\d+: found YAML that cannot be read: .*, expected valid YAML\.$/,
  );
  expect(last).toBe('Nothing was started.');
});

test('all mistakes are told at once, in the order of the file', () => {
  const text = good
    .replace('version: 1', 'version: 3')
    .replace('license: internal', 'licence: x')
    .concat('goal: base\ngoal: bsae\nseed: x\n');
  const lines = faultsOf(text);
  const numbers = lines.map((line) => /^p\.yaml:(\d+)/.exec(line)?.[1]);
  expect(numbers).toEqual(['1', '5', '7', '7', '8', undefined]);
  expect(lines.at(-1)).toBe('5 mistakes. Nothing was started.');
});

test('neither a wrong shape nor an alias hides what the file means', () => {
  const text = questions('  - { name: author, ask: [a], askHeldOut: [b], answer: *a }\n')
    .replace('version: 1', 'version: 3')
    .replace('policy', '&a policy')
    .replace('./docs', './dosc')
    .replace('{title} is by whom?', 'Who wrote {title}?')
    .concat('goal: base\nseed: *a\nevaluate: { gates: { questions.accuracy: { min: 0.5 } } }\n');
  const fields = faultsOf(text).map((line) => /^p\.yaml:\d+:\d+ ?([^:]*):/.exec(line)?.[1]);
  expect(fields).toEqual([
    'version',
    'data.sources[0].path',
    'questions[0].askHeldOut[0]',
    'questions[1].name',
    '',
    '',
    'evaluate.gates.questions.accuracy',
    undefined,
  ]);
});

test('a million laughs are refused before they are told', () => {
  const laughs = Array.from(
    { length: 20 },
    (_, i) => `l${i + 1}: &l${i + 1} [*l${i}, *l${i}, *l${i}]`,
  );
  const began = performance.now();
  expect(faultsOf(`l0: &l0 ha\n${laughs.join('\n')}\n`).join()).toContain('found the alias *l0');
  expect(performance.now() - began).toBeLessThan(1000);
});

describe('a file that is none', () => {
  const read = (name: string) =>
    readPipelineFile(path.join(folder, name)).catch((error: Error) => error);
  test('missing', async () => {
    expect(String(await read('no.yaml'))).toMatch(
      /no\.yaml: found no such file, expected a pipeline file/,
    );
  });
  test('a folder', async () => {
    expect(String(await read('docs'))).toMatch(/docs: found a folder, expected a pipeline file/);
  });
  test('binary', async () => {
    writeFileSync(path.join(folder, 'b.yaml'), Buffer.from([1, 0, 2]));
    expect(String(await read('b.yaml'))).toMatch(/found binary content/);
  });
  test('not UTF-8', async () => {
    writeFileSync(path.join(folder, 'l.yaml'), Buffer.from('name: caf\xe9', 'latin1'));
    expect(String(await read('l.yaml'))).toMatch(/found bytes that are not UTF-8/);
  });
  test('too large', async () => {
    writeFileSync(path.join(folder, 'big.yaml'), `# ${'x'.repeat(300_000)}`);
    expect(String(await read('big.yaml'))).toMatch(/found more than 256 KB/);
  });
});
