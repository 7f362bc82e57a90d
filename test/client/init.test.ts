import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeMixedFolder, missingFiles } from '../../bench/support/mixed-folder.ts';
import { parsePipeline, readPipelineFile } from '../../client/pipeline-file.ts';
import { carriedBy } from '../../client/base-carries.ts';
import {
  adaptationBudgetFor,
  budgetFor,
  heldOutFor,
  heldOutFromScratch,
  includeFor,
  nameOf,
  pipelineText,
  type PipelineChoices,
} from '../../client/pipeline-template.ts';
import { suggestQuestions } from '../../client/suggest-questions.ts';
import { knownBases, maxTokensPerCharacter } from '../../config/base-models.ts';
import { pipelineFileSchema } from '../../config/pipeline.ts';
import type { Survey, SurveyedField } from '../../config/survey.ts';
import { readableEndings } from '../../corpus/formats/names-of-formats.ts';
import { scannedPdf } from '../corpus/make-files.ts';
import { variousText } from '../support/texts.ts';

const projectDir = path.resolve(import.meta.dirname, '../..');
const main = path.join(projectDir, 'client/cli/main.ts');
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'temper-init-'));
  put('docs/a.txt', 'text');
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function put(name: string, content: string | Uint8Array): void {
  mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
  writeFileSync(path.join(folder, name), content);
}
function init(args: string[], cwd = folder) {
  return execa(process.execPath, [main, 'init', ...args], {
    cwd,
    reject: false,
    env: { TEMPER_HOME: path.join(folder, 'home'), TEMPORAL_ADDRESS: '', NO_COLOR: '1' },
  });
}
const read = (name: string) => readFileSync(path.join(folder, name), 'utf8');

const readable =
  '{txt,md,markdown,html,htm,xhtml,json,jsonl,ndjson,csv,tsv,tab,parquet,arrow,warc,pdf,docx,epub,mbox,eml,zip,tar,tgz,tzst}{,.gz,.zst}';
const hant = '關於一定之數量，同時以文字及號碼表示者，應以文字為準。';
const english = 'The case shall be decided according to the customs of the place.';

const field = (name: string, more: Partial<SurveyedField> = {}): SurveyedField => ({
  field: name,
  numDocuments: 100,
  numValues: 90,
  meanLength: 12,
  words: true,
  example: 'x',
  ...more,
});
const surveyOf = (more: Partial<Survey> = {}): Survey => ({
  numFiles: 100,
  bytes: 1,
  formats: [],
  endings: ['jsonl'],
  numDocuments: 100,
  textBytes: 1,
  languages: [{ language: 'en', numDocuments: 100, textBytes: 1 }],
  notRead: [],
  hidden: 0,
  textField: 'text',
  fields: [],
  ...more,
});
const choices = (more: Partial<PipelineChoices> = {}): PipelineChoices => ({
  command: 'npx temper init ./docs',
  file: 'pipeline.yaml',
  seen: '3 files, en 100 %',
  name: 'policy',
  path: './docs',
  include: null,
  textField: 'text',
  sample: null,
  goal: 'base',
  from: null,
  budget: '4m',
  heldOut: '2%',
  suggestion: null,
  ...more,
});
const parse = (text: string) => parsePipeline(text, { file: 'p.yaml', baseDir: folder });

describe('the text of the file', () => {
  test('names every field that a pipeline file has', () => {
    const text = pipelineText(choices());
    const missing = Object.entries(pipelineFileSchema.shape)
      .flatMap(([name, schema]) => {
        const inner = name === 'data' ? Object.keys(pipelineFileSchema.shape.data.shape) : [];
        return [name, ...inner, ...(schema === undefined ? ['?'] : [])];
      })
      .filter((name) => !new RegExp(`^ *(# )?${name}:`, 'm').test(text));
    expect(missing).toEqual([]);
  });

  test('says only what the defaults say, but for what was chosen', () => {
    const least = parse(
      `version: 1\nname: policy\ndata:\n  sources:\n    - { path: ./docs, license: internal }\n`,
    );
    const { deploy, ...rest } = parse(pipelineText(choices()));
    expect(rest).toEqual(least);
    expect(deploy).toEqual({ endpoint: 'policy', approval: 'none' });
  });

  test('is whole with every commented value in its place', () => {
    const text = pipelineText(choices({ suggestion: suggested() }))
      .replace('  gates: {}\n', '')
      .replaceAll(/^( *)# ( *)(questions:|gates:|include:|textField:|sample:)/gm, '$1$2$3')
      .replaceAll(/^# ( +(?:- |ask|answer|- '))/gm, '$1')
      .replaceAll(/^  # {3}(\w)/gm, '    $1')
      .replace('goal: base', 'goal: assistant');
    const pipeline = parse(text);
    expect(pipeline.questions.map(({ name, answer }) => [name, answer])).toEqual([
      ['author', '{author}'],
      ['year', '{year}'],
    ]);
    expect(Object.keys(pipeline.evaluate.gates)).toHaveLength(3);
    expect(pipeline.data.sample).toBe(1);
  });

  test('holds any path, field and glob', () => {
    for (const [index, name] of [
      "it's",
      '中文 資料',
      'a: b',
      '#x',
      '- y',
      'yes',
      '"q"',
    ].entries()) {
      put(`odd${index}/${name}/a.txt`, 'text');
      const text = pipelineText(choices({ path: `./odd${index}/${name}`, textField: name }));
      const [source] = parse(text).data.sources!;
      expect(source).toMatchObject({ path: `./odd${index}/${name}`, textField: name });
    }
  });

  test('adapts a base model, with no question but as a comment', () => {
    const from = { startFrom: 'smollm2', title: 'SmolLM2-135M-Instruct' };
    const adapting = choices({ goal: 'adapt', from, budget: '6m', heldOut: '10%' });
    for (const suggestion of [null, suggested()]) {
      const text = pipelineText({ ...adapting, suggestion });
      const pipeline = parse(text);
      expect(pipeline).toMatchObject({ startFrom: 'smollm2', goal: 'adapt', questions: [] });
      expect(pipeline).toMatchObject({ budget: { time: 360_000 }, data: { heldOut: 0.1 } });
      expect(text.includes('# questions:\n#   - name: author')).toBe(suggestion !== null);
      // Nothing else is measured of an adapted model.
      expect(text.match(/^ *# +([\w.]+): \{ (min|max)/gm)).toEqual(['  #   valBpb: { max']);
    }
  });

  test('the commented questions of a base model to adapt make an assistant of it', () => {
    const from = { startFrom: 'smollm2', title: 'SmolLM2-135M-Instruct' };
    const text = pipelineText(choices({ goal: 'adapt', from, suggestion: suggested() }))
      .replace('goal: adapt', 'goal: assistant')
      .replaceAll(/^# ( *)(questions:|- |ask|answer)/gm, '$1$2');
    expect(parse(text)).toMatchObject({ goal: 'assistant', startFrom: 'smollm2' });
    expect(parse(text).questions).toHaveLength(2);
  });

  test('makes an assistant of a base model, with its questions and gates on answers', () => {
    const from = { startFrom: 'smollm2', title: 'SmolLM2-135M-Instruct' };
    const text = pipelineText(choices({ goal: 'assistant', from, suggestion: suggested() }));
    expect(parse(text)).toMatchObject({ goal: 'assistant', startFrom: 'smollm2' });
    expect(parse(text).questions).toHaveLength(2);
    expect(text.match(/^ *# +([\w.]+): \{ (min|max)/gm)).toHaveLength(3);
  });

  test('proposes gates on what is found where texts are to be embedded', () => {
    const text = pipelineText(choices({ goal: 'embeddings' }));
    expect(parse(text)).toMatchObject({ goal: 'embeddings', startFrom: 'scratch' });
    expect(text).not.toContain('valBpb');
    const gated = text.replace('gates: {}\n  # gates:', 'gates:').replaceAll('  #   ', '    ');
    expect(Object.keys(parse(gated).evaluate.gates)).toEqual([
      'retrieval.accuracy',
      'masked.accuracy',
    ]);
  });

  test('is an assistant with questions where that is the goal', () => {
    const pipeline = parse(pipelineText(choices({ goal: 'assistant', suggestion: suggested() })));
    expect([pipeline.goal, pipeline.questions.length]).toEqual(['assistant', 2]);
  });
});

const suggested = () =>
  suggestQuestions(
    surveyOf({
      fields: [field('author', { numValues: 30 }), field('title'), field('year', { words: false })],
    }),
  );

test.each([
  ['docs', 'docs'],
  ['My Policies (2024)', 'my-policies-2024'],
  ['2024', 'docs-2024'],
  ['ab', 'ab-docs'],
  ['法規', 'my-model'],
  ['Résumés', 'resumes'],
  ['x'.repeat(60), 'x'.repeat(40)],
  ['--a--b--c', 'a-b-c'],
])('the folder %s gives the name %s', (from, name) => {
  expect(nameOf(from)).toBe(name);
  expect(pipelineFileSchema.shape.name.safeParse(name).success).toBe(true);
});

test('the budget grows with the text', () => {
  expect([1e5, 2e6, 2e7, 1e8, 1e9].map(budgetFor)).toEqual(['2m', '4m', '20m', '1h', '4h']);
});

test('to adapt takes minutes for a little text, and holds out enough to measure with', () => {
  const budgets = (goal: 'adapt' | 'assistant') =>
    [1e5, 5e5, 5e6].map((numTokens) => adaptationBudgetFor(numTokens, goal));
  expect(budgets('adapt')).toEqual(['6m', '20m', '1h']);
  expect(budgets('assistant')).toEqual(['12m', '40m', '2h']);
  expect([2, 100, 300, 5000].map(heldOutFor)).toEqual(['20%', '10%', '5%', '2%']);
  expect([2, 100, 150, 5000].map(heldOutFromScratch)).toEqual(['20%', '10%', '2%', '2%']);
  for (const numDocuments of [60, 200, 600]) {
    expect((Number.parseInt(heldOutFor(numDocuments)) * numDocuments) / 100).toBeGreaterThan(5);
  }
});

describe('what a tokenizer made for English spends', () => {
  const spent = (...languages: [language: string, textBytes: number][]) =>
    carriedBy(knownBases['smollm2']!, {
      languages: languages.map(([language, textBytes]) => ({
        language,
        textBytes,
        numDocuments: 1,
      })),
    });

  test('on English is little, on Chinese more than it carries', () => {
    expect(spent(['en', 300_000])).toMatchObject({ numTokens: 72_000, tooMuch: null });
    const { tokensPerCharacter, tooMuch } = spent(['en', 15_000], ['zh-Hant', 285_000]);
    expect(tokensPerCharacter).toBeGreaterThan(maxTokensPerCharacter);
    expect(tooMuch).toEqual({ language: 'zh-Hant', share: 0.95, name: 'Chinese' });
  });

  test.each<[string, [string, number][]]>([
    [
      'half Chinese',
      [
        ['zh-Hant', 100],
        ['en', 100],
      ],
    ],
    ['Cyrillic letters', [['Cyrillic script', 100]]],
    ['no letters', [['no letters', 100]]],
  ])('on %s is left to the run to measure', (_, languages) => {
    expect(spent(...languages)).toMatchObject({ tooMuch: null });
  });

  test.each(['ja', 'ko', 'th', 'lo', 'km', 'my', 'zh', 'zh-Hans'])('on %s is too much', (name) => {
    expect(spent([name, 3000]).tooMuch).toMatchObject({ language: name, share: 1 });
  });
});

test('files that are not read are left out by the glob, and so are our own', () => {
  const strange = {
    reason: 'unknown_type',
    kind: 'office' as const,
    count: 1,
    detail: '',
    examples: [],
  };
  const survey = surveyOf({ endings: ['TXT', 'jsonl.gz'], notRead: [strange] });
  expect(includeFor(surveyOf(), { ownFilesInside: false })).toBeNull();
  const outside = includeFor(survey, { ownFilesInside: false })!;
  const inside = includeFor(surveyOf({ endings: ['json'] }), { ownFilesInside: true })!;
  const taken = (glob: string, names: string[]) =>
    names.filter((name) => path.matchesGlob(name, glob));
  expect(taken(outside, ['a.TXT', 'x/b.jsonl.gz', 'c.odt', 'd.txt', 'e.Txt'])).toEqual([
    'a.TXT',
    'x/b.jsonl.gz',
    'd.txt',
  ]);
  const read = readableEndings.map((ending) => `later.${ending}`);
  expect(taken(outside, read)).toEqual(read);
  expect(taken(inside, ['a.json', 'x/b.json', 'temper.schema.json', 'pipeline.yaml'])).toEqual([
    'a.json',
    'x/b.json',
  ]);
});

describe('questions from metadata', () => {
  test('ask for a field by the title of the document', () => {
    const found = suggested()!;
    expect(found.key).toBe('title');
    expect(found.questions[0]).toMatchObject({ name: 'author', answer: '{author}' });
    expect(found.questions[0]!.ask[0]).toBe('What is the author of {title}?');
  });
  test('are in the language of most of the text', () => {
    const languages = [{ language: 'zh-Hant', numDocuments: 9, textBytes: 9 }];
    const found = suggestQuestions(
      surveyOf({ languages, fields: [field('title'), field('author')] }),
    );
    expect(found!.questions[0]!.ask[0]).toBe('{title}的author是什麼？');
  });
  test('no phrasing kept for evaluation is trained on', () => {
    for (const language of ['en', 'zh-Hant', 'zh-Hans']) {
      const languages = [{ language, numDocuments: 9, textBytes: 9 }];
      const [group] = suggestQuestions(
        surveyOf({ languages, fields: [field('title'), field('author')] }),
      )!.questions;
      expect(new Set([...group!.ask, ...group!.askHeldOut]).size).toBe(10);
    }
  });
  test.each([
    ['no metadata', []],
    ['a title alone', [field('title')]],
    ['addresses and numbers of a machine', [field('title'), field('url'), field('doc_id')]],
    ['the same answer everywhere', [field('title'), field('level', { numValues: 1 })]],
    ['too few documents', [field('title', { numDocuments: 5 }), field('author')]],
    [
      'no field that names a document',
      [field('author', { numValues: 3 }), field('level', { numValues: 3 })],
    ],
    ['long answers', [field('title'), field('summary', { meanLength: 400 })]],
  ])('are not suggested from %s', (_, fields) => {
    expect(suggestQuestions(surveyOf({ fields }))).toBeNull();
  });
});

describe('temper init', () => {
  test('looks at a folder, writes a file that is right, and puts the schema beside it', async () => {
    put('laws/a.txt', hant.repeat(4));
    put('laws/b.md', `---\ntitle: b\n---\n${english}`);
    put('laws/scan.pdf', scannedPdf());
    put('laws/.hidden', 'x');
    const { stdout, exitCode } = await init(['laws']);
    expect(exitCode).toBe(0);
    expect(stdout.split('\n').map((line) => line.trimEnd())).toEqual([
      '3 files, zh-Hant 84 %, en 16 %  →  pipeline.yaml',
      '  read         1 .txt, 1 .md',
      '  text         2 documents, 388 B, about 120 tokens',
      '  not read     1 scanned PDF, needs OCR: scan.pdf',
      '  left alone   1 hidden name that starts with a dot',
      '',
      'pipeline.yaml:55:3 data.maxDropped: a run would stop: ingest and preprocess dropped 3 of 3 documents, 100 % (needs_ocr 1, repeated_phrase 1, too_short 1), ' +
        'expected at most 50 %. Correct the sources, set data.quality: false, or raise data.maxDropped.',
      '',
      '  npx temper plan   what it would take, before anything is spent',
      '  npx temper run    train and serve it',
    ]);
    const { pipeline } = await readPipelineFile(path.join(folder, 'pipeline.yaml'));
    expect(pipeline).toMatchObject({ name: 'laws', goal: 'base', deploy: { endpoint: 'laws' } });
    expect(pipeline.data.sources).toMatchObject([{ path: './laws', include: '**/*' }]);
    expect(read('pipeline.yaml')).toMatch(
      /^# yaml-language-server: \$schema=\.\/temper\.schema\.json\n/,
    );
    expect(read('temper.schema.json')).toBe(
      readFileSync(path.join(projectDir, 'config/temper.schema.json'), 'utf8'),
    );
  });

  test('says which fields there are, and takes the one that is named', async () => {
    put(
      'odd/a.csv',
      ['id,said', ...['x', 'y', 'z'].map((id) => `${id},${variousText(id)}`)].join('\n'),
    );
    const odd = await init(['odd', '-o', 'odd.yaml']);
    expect(odd.exitCode).toBe(2);
    expect(odd.stderr).toMatch(
      /found nothing to read in 1 file: 3 records without the field that holds the text .*: a\.csv#1.* Expected text in \.txt, .*\.csv, .*\.pdf.* These records and tables have the fields id, said; name the one that holds the text with --text-field\. Nothing was written\.$/,
    );
    const { stdout } = await init(['odd', '-o', 'odd.yaml', '--text-field', 'said']);
    expect(stdout).toMatch(/^ {2}text {9}3 documents, /m);
    expect(stdout).not.toMatch(/a run would stop|text field/);
    expect(read('odd.yaml')).toContain('`npx temper init odd --output odd.yaml --text-field said`');
  });

  test('a folder without a Latin letter in its name is told what its model is called', async () => {
    for (const name of ['a', 'b', 'c']) put(`政府公報/${name}.txt`, variousText(name));
    const { stdout } = await init(['政府公報', '-o', 'gazette.yaml']);
    expect(stdout).toContain(
      '  name         my-model, for a name has the letters a to z, digits and hyphens, of which 政府公報 has none; choose another with --name\n',
    );
  });

  test('leaves a file that is there alone, until it is told to', async () => {
    put('mine.yaml', 'mine');
    put('laws2/a.txt', english);
    const refused = await init(['laws2', '--output', 'mine.yaml']);
    expect([refused.exitCode, read('mine.yaml')]).toEqual([2, 'mine']);
    expect(refused.stderr).toMatch(/^mine\.yaml is there already.*--force/);
    expect((await init(['laws2', '--output', 'mine.yaml', '--force'])).exitCode).toBe(0);
    expect(read('mine.yaml')).toContain('name: laws2');
  });

  test('leaves a schema file that is not ours alone', async () => {
    put('others/temper.schema.json', '{"title":"mine"}');
    put('others/docs/a.txt', english);
    const { exitCode, stderr } = await init(['docs'], path.join(folder, 'others'));
    expect(exitCode).toBe(2);
    expect(stderr).toContain("is not Temper's");
  });

  test('in the folder itself, its own files are no documents', async () => {
    put('here/a.json', `{"text":"${english}"}`);
    const cwd = path.join(folder, 'here');
    const first = await init(['.', '--json'], cwd);
    expect(JSON.parse(first.stdout).survey.numFiles).toBe(1);
    const { pipeline } = await readPipelineFile(path.join(cwd, 'pipeline.yaml'));
    expect(pipeline.data.sources).toMatchObject([
      { path: './', include: `**/!(temper.schema).${readable}` },
    ]);
    const again = JSON.parse((await init(['.', '--json', '--force'], cwd)).stdout);
    expect(again.survey.numDocuments).toBe(1);
    expect(await readPipelineFile(path.join(cwd, 'pipeline.yaml'))).toMatchObject({ pipeline });
  });

  test('writes the sample, the name, and questions for an assistant', async () => {
    const line = (index: number) =>
      JSON.stringify({ text: english, title: `Law ${index}`, author: `Minister ${index % 3}` });
    put('asked/a.jsonl', Array.from({ length: 40 }, (_, index) => line(index)).join('\n'));
    const options = [
      '--name',
      'statutes',
      '--sample',
      '50%',
      '--goal',
      'assistant',
      '-o',
      'ask.yaml',
    ];
    const { stdout, exitCode } = await init(['asked', ...options]);
    expect(exitCode).toBe(0);
    expect(stdout).toContain('sample       50%, about 20 of 40 documents');
    expect(stdout).toContain('questions    on author of each title are in the file');
    const { pipeline } = await readPipelineFile(path.join(folder, 'ask.yaml'));
    expect(pipeline).toMatchObject({ name: 'statutes', goal: 'assistant', data: { sample: 0.5 } });
    expect(pipeline.questions).toHaveLength(1);
    expect(read('ask.yaml')).toContain(
      '`npx temper init asked --output ask.yaml --name statutes --sample 50% --goal assistant`',
    );
  });

  describe('--from', () => {
    const base = (name: string, files: string[]) => {
      for (const file of files) put(`${name}/${file}`, '{}');
    };

    test('writes a file that adapts a known base model, and says what comes next', async () => {
      for (const name of ['a', 'b', 'c']) put(`guide/${name}.txt`, variousText(name));
      const { stdout, exitCode } = await init(['guide', '--from', 'smollm2', '-o', 'adapt.yaml']);
      expect(exitCode).toBe(0);
      expect(stdout.split('\n').map((line) => line.trimEnd())).toEqual([
        '3 files, en 100 %  →  adapt.yaml',
        '  read         3 .txt',
        '  text         3 documents, 2.2 KB, about 520 tokens',
        '  adapts       SmolLM2-135M-Instruct, Apache-2.0: about 0.24 tokens a character',
        '  few          about 3 documents: enough to see it work; more text makes a better model',
        '',
        '  npx temper plan adapt.yaml   what it would take, before anything is spent',
        '  npx temper run adapt.yaml    adapt and serve it',
        '  npx temper chat guide "…"    ask it something',
      ]);
      const { pipeline } = await readPipelineFile(path.join(folder, 'adapt.yaml'));
      expect(pipeline).toMatchObject({ startFrom: 'smollm2', goal: 'adapt', questions: [] });
      expect(pipeline).toMatchObject({ budget: { time: 360_000 }, data: { heldOut: 0.2 } });
      expect(read('adapt.yaml')).toContain(
        '`npx temper init guide --output adapt.yaml --from smollm2`',
      );
    });

    test('names a model on disk as the pipeline file will look for it', async () => {
      put('guide/a.txt', english);
      base('bases/tiny', ['config.json']);
      base('bases', ['tiny.gguf']);
      base('bases/here', ['config.json']);
      mkdirSync(path.join(folder, 'elsewhere'), { recursive: true });
      for (const [from, cwd, startFrom] of [
        ['bases/tiny', '.', '../bases/tiny'],
        ['./bases/tiny.gguf', '.', '../bases/tiny.gguf'],
        [path.join(folder, 'bases/tiny.gguf'), '.', '../bases/tiny.gguf'],
        ['./', 'bases/here', '../bases/here'],
      ] as const) {
        const output = path.join(folder, 'elsewhere/p.yaml');
        const args = [path.join(folder, 'guide'), '--from', from, '-o', output, '--force'];
        const { exitCode, stdout } = await init(args, path.join(folder, cwd));
        expect(exitCode).toBe(0);
        expect(stdout).toContain('the run measures whether its tokenizer carries these languages');
        expect((await readPipelineFile(output)).pipeline).toMatchObject({
          startFrom,
          goal: 'adapt',
        });
      }
    });
  });

  test('as JSON, everything on one line', async () => {
    put('json/a.txt', hant);
    const { stdout } = await init(['json', '--json', '--output', 'json.yaml']);
    expect(stdout.split('\n')).toHaveLength(1);
    expect(JSON.parse(stdout)).toMatchObject({
      file: path.join(folder, 'json.yaml'),
      name: 'json',
      goal: 'base',
      suggestion: null,
      versions: null,
      survey: { numFiles: 1, languages: [{ language: 'zh-Hant' }] },
    });
  });

  describe('refuses in one sentence, and writes nothing:', () => {
    const refused = async (args: string[]) => {
      const { exitCode, stderr, stdout } = await init([...args, '--output', 'none.yaml']);
      expect(exitCode).toBe(2);
      expect(stdout).toBe('');
      expect(() => read('none.yaml')).toThrow('ENOENT');
      // How far it is shows where a look takes its time.
      const lines = stderr.split('\n').filter((line) => !line.startsWith('looking: '));
      expect(lines).toHaveLength(1);
      return lines[0]!;
    };
    test('a folder that is not there', async () => {
      expect(await refused(['absent'])).toBe(
        'absent: found nothing there, expected a folder of documents. Correct the path.',
      );
    });
    test('a file', async () => {
      put('one/a.txt', english);
      expect(await refused(['one/a.txt'])).toBe(
        'one/a.txt: found a file, expected a folder of documents. Give the folder that it lies in: npx temper init one',
      );
    });
    test('an empty folder', async () => {
      mkdirSync(path.join(folder, 'void/sub'), { recursive: true });
      put('void/.hidden', 'x');
      expect(await refused(['void'])).toMatch(/^void: found no files \(1 hidden are left alone\)/);
    });
    test('only scans, with their names', async () => {
      put('scans/a.pdf', scannedPdf());
      put('scans/b.tiff', 'II*');
      const sentence = await refused(['scans']);
      expect(sentence).toMatch(/^scans: found nothing to read in 2 files: /);
      expect(sentence).toContain('1 scanned PDF, needs OCR: a.pdf');
      expect(sentence).toContain('1 picture, needs OCR: b.tiff');
    });
    test('only binaries', async () => {
      put('bin/a.exe', Uint8Array.of(77, 90, 0));
      put('bin/b.txt', Uint8Array.of(0, 1));
      expect(await refused(['bin'])).toContain('1 binary, no text: b.txt');
    });
    test.runIf(process.getuid?.() !== 0)('a folder that cannot be opened', async () => {
      mkdirSync(path.join(folder, 'closed'), { mode: 0 });
      expect(await refused(['closed'])).toContain('found a folder that cannot be opened (EACCES)');
      chmodSync(path.join(folder, 'closed'), 0o700);
    });
    test.each([
      [['--name', 'My Policy'], /--name: found "My Policy".*Did you mean my-policy\?/],
      [['--sample', '0%'], /--sample: found "0%", expected a share above 0%/],
      [
        ['--sample', '1'],
        /--sample: found "1", expected a share above 0% and up to 100%, such as 1%/,
      ],
      [['--goal', 'chat'], /--goal: found "chat", expected base, assistant or embeddings/],
      [
        ['--goal', 'embeddings', '--from', 'smollm2'],
        /--goal: found "embeddings", expected adapt or assistant with --from\./,
      ],
      [['--goal', 'assistant'], /--goal assistant: found no metadata beside the texts/],
      [['--goal', 'adapt'], /--goal adapt: expected a base model, such as --from smollm2/],
      [
        ['--goal', 'base', '--from', 'smollm2'],
        /--goal: found "base", expected adapt or assistant with --from\./,
      ],
      [
        ['--goal', 'assistant', '--from', 'smollm2'],
        /--goal assistant: found no metadata beside the texts.* Use --goal adapt, or add such fields/,
      ],
      [
        ['--from', 'smolm2'],
        /^--from: found "smolm2", expected a base model \(smollm2\), or the path of one.* Did you mean smollm2\?/,
      ],
      [['--from', 'gpt-4'], /^--from: found "gpt-4", expected a base model \(smollm2\)/],
      [['--from', 'fine'], /Did you mean \.\/fine\?/],
      [
        ['--from', 'policy@champion'],
        /found the registered model policy@champion.*Leave --from out, and write startFrom: policy@champion into the file\./,
      ],
      [['--from', './none.gguf'], /found \.\/none\.gguf, nothing there, expected a \.gguf file or/],
      [['--from', './fine'], /found \.\/fine, a folder without a config\.json/],
      [['--from', './fine/a.txt'], /found \.\/fine\/a\.txt, a file that does not end in \.gguf/],
    ])('%j', async (options, sentence) => {
      put('fine/a.txt', english);
      expect(await refused(['fine', ...options])).toMatch(sentence);
    });
  });

  test('a language that the base model does not carry is refused, even with --force', async () => {
    put('hant/a.txt', hant.repeat(4));
    put('kept.yaml', 'mine');
    const args = ['hant', '--from', 'smollm2', '--output', 'kept.yaml', '--force'];
    const { exitCode, stderr } = await init(args);
    expect([exitCode, stderr, read('kept.yaml')]).toEqual([
      2,
      'SmolLM2-135M-Instruct spends about 1.8 tokens a character on your corpus (100 % zh-Hant); the limit is 1.5. ' +
        'Start from scratch, without --from, or give a base model that knows Chinese: --from ./model.gguf. Nothing was written.',
      'mine',
    ]);
    expect((await init(['hant', '-o', 'kept.yaml', '--force'])).exitCode).toBe(0);
  });

  test('an output folder that is not there is named', async () => {
    put('fine/a.txt', english);
    const { exitCode, stderr } = await init(['fine', '--output', 'nowhere/p.yaml']);
    expect([exitCode, stderr]).toEqual([
      2,
      `--output: found no folder ${path.join(folder, 'nowhere')}, expected one to write into. Make it, or name another.`,
    ]);
  });
});

test('the bench says which of its texts are missing, and makes the same 200 files of them each time', async () => {
  const data = path.join(folder, 'data');
  mkdirSync(data);
  expect(missingFiles(data)).toHaveLength(3);
  const { gzipSync } = await import('node:zlib');
  const law = (id: number) =>
    JSON.stringify({
      id: `${id}`,
      title: `t${id}`,
      category: 'c',
      level: 'l',
      updated: 'u',
      text: hant,
    });
  const laws = gzipSync(Array.from({ length: 800 }, (_, id) => law(id)).join('\n'));
  writeFileSync(path.join(data, 'tw_law_zh.jsonl.gz'), laws);
  writeFileSync(path.join(data, 'tw_law_en.jsonl.gz'), laws);
  writeFileSync(path.join(data, 'c4_demo.jsonl'), `{"text":"${english}"}\n`.repeat(300));
  expect(missingFiles(data)).toEqual([]);
  const made = await makeMixedFolder(path.join(folder, 'made'), data);
  expect(made).toMatchObject({ numFiles: 200, numRecords: 600 });
  expect(await makeMixedFolder(path.join(folder, 'again'), data)).toEqual(made);
});
