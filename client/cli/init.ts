/** `temper init`: looks at a folder of documents and writes a pipeline file for it; starts nothing. */
import { existsSync } from 'node:fs';
import { access, constants, readdir, readFile, realpath, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { estimateTokens } from '../../recipes/vocabulary.ts';
import { knownBases, maxTokensPerCharacter } from '../../config/base-models.ts';
import type { Survey } from '../../config/survey.ts';
import { homeFolder, projectDir } from '../../infra/layout.ts';
import { carriedBy, type Carried } from '../base-carries.ts';
import { baseFault, basePlaces } from '../base-place.ts';
import { ClientError } from '../errors.ts';
import { foresee, leftOutLine } from '../foresee.ts';
import { nearest } from '../nearest.ts';
import {
  adaptationBudgetFor,
  budgetFor,
  heldOutFor,
  heldOutFromScratch,
  includeFor,
  nameOf,
  pipelineText,
  readableKinds,
  schemaFileName,
  type Goal,
  type PipelineChoices,
} from '../pipeline-template.ts';
import { slugOf, suggestQuestions } from '../suggest-questions.ts';
import { ExitCode, printJson, say, type CommonOptions } from './output.ts';
import { screenOf } from './progress.ts';
import { headline, notReadLines, readLines, roughly, textFieldHint } from './survey-text.ts';
import { lookAtFolder } from './survey.ts';
import { count, plain, truncate } from './text.ts';

export interface InitOptions extends CommonOptions {
  output: string;
  name?: string;
  sample?: string;
  /** Of records and tables, the field that holds their text. */
  textField?: string;
  /** A base model to adapt: a known one, or the path of one. */
  from?: string;
  goal?: string;
  force?: boolean;
}

/** As the file that is written says it. */
const judgedBy = { personalData: 'redact', quality: true, clean: undefined } as const;
const schemaFile = path.join(projectDir, 'config', schemaFileName);
/** Fewer documents than this teach a model little, and leave none to measure with. */
const fewDocuments = 50;

export async function initCommand(folder: string, options: InitOptions): Promise<number> {
  const place = await checkFolder(folder);
  const file = path.resolve(options.output);
  const schemaCopy = path.join(path.dirname(file), schemaFileName);
  await checkOutput(file, schemaCopy, options);
  const name = checkName(options.name) ?? nameOf(path.basename(place));
  const sample = checkSample(options.sample);
  const from = await checkFrom(options.from, path.dirname(file));

  const called = await pathFrom(path.dirname(file), place);
  const looking = look({ folder: place, name: called }, options, shareOf(sample));
  const known = modelVersions(name);
  // Loaded while the thread looks.
  const [survey, { parsePipeline, placingIn }] = await Promise.all([
    looking,
    import('../pipeline-file.ts'),
  ]);
  refuseIfNothing(survey, folder);
  const carried = from?.known === undefined ? null : carriedBy(from.known, survey);
  refuseIfForeign(from, carried);
  const numTokens = carried?.numTokens ?? estimateTokens(survey.textBytes);
  const suggestion = suggestQuestions(survey);
  const goal = checkGoal(options.goal, survey, { from, canAsk: suggestion !== null });
  const written = path.relative(process.cwd(), file) || file;
  const shown = written.startsWith('..') ? file : written;
  const include = includeFor(survey, { ownFilesInside: isInside(file, place) });
  const text = pipelineText({
    command: commandLine(folder, options),
    file: shown,
    seen: `${headline(survey)}, about ${roughly(numTokens)} tokens`,
    name,
    path: called,
    include,
    textField: survey.textField,
    sample,
    goal,
    from,
    budget:
      from === null
        ? budgetFor(numTokens * shareOf(sample))
        : adaptationBudgetFor(numTokens * shareOf(sample), goal),
    heldOut: (from === null ? heldOutFromScratch : heldOutFor)(
      survey.numDocuments * shareOf(sample),
    ),
    suggestion,
  });
  const pipeline = parsePipeline(text, { file: options.output, baseDir: path.dirname(file) });
  const foreseen = foresee(pipeline, [asIncluded(survey, include)]);
  await write(file, text, options.force === true);
  await write(schemaCopy, await readFile(schemaFile, 'utf8'), true);

  const versions = await known;
  if (options.json === true) {
    const files = { file, schema: schemaCopy };
    const startFrom = from?.startFrom ?? 'scratch';
    printJson({
      ...files,
      name,
      startFrom,
      goal,
      numTokens,
      survey,
      suggestion,
      versions,
      foreseen,
    });
    return ExitCode.ok;
  }
  const columns = process.stdout.isTTY === true ? (process.stdout.columns ?? 80) : Infinity;
  const line = (words: string) => say(options, `  ${truncate(words, columns - 2)}`);
  say(options, `${headline(survey)}  →  ${shown}`);
  for (const words of readLines(survey, numTokens)) line(words);
  for (const words of notReadLines(survey, columns - 2)) line(words);
  const folderName = options.name === undefined ? path.basename(place) : null;
  const noted = {
    name,
    folderName,
    sample,
    versions,
    suggestion,
    goal,
    from,
    carried,
    // What stops a run is said below.
    leftOut: foreseen?.fault === null ? leftOutLine(foreseen, pipeline.data.maxDropped) : null,
    fieldGiven: options.textField !== undefined,
    stops: foreseen?.fault != null,
  };
  for (const words of noteLines(survey, noted)) line(words);
  say(options);
  if (foreseen?.fault) {
    // Not cut where a terminal ends: it is what to do next.
    const { line: at, column } = placingIn(text, shown).placeOf(foreseen.fault.keys);
    say(options, `${shown}:${at}:${column} ${foreseen.fault.message}`);
    say(options);
  }
  for (const words of nextLines(shown, name, goal)) say(options, `  ${words}`);
  return ExitCode.ok;
}

async function checkFolder(folder: string): Promise<string> {
  const wrong = (found: string, todo: string) =>
    new ClientError(
      'input',
      `${plain(folder)}: found ${found}, expected a folder of documents. ${todo}`,
    );
  const place = path.resolve(folder);
  const state = await stat(place).catch((error: NodeJS.ErrnoException) => {
    throw error.code === 'ENOENT' || error.code === 'ENOTDIR'
      ? wrong('nothing there', 'Correct the path.')
      : wrong(`a place that cannot be looked at (${error.code})`, 'Correct its permissions.');
  });
  if (state.isFile()) {
    const parent = path.dirname(path.relative('', place)) || '.';
    throw wrong('a file', `Give the folder that it lies in: npx temper init ${parent}`);
  }
  if (!state.isDirectory()) throw wrong('neither a file nor a folder', 'Correct the path.');
  try {
    await access(place, constants.R_OK | constants.X_OK);
    await readdir(place);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw wrong(`a folder that cannot be opened (${code})`, 'Correct its permissions.');
  }
  return realpath(place);
}

async function checkOutput(file: string, schemaCopy: string, options: InitOptions): Promise<void> {
  const parent = await stat(path.dirname(file)).catch(() => null);
  if (parent?.isDirectory() !== true) {
    throw new ClientError(
      'input',
      `--output: found no folder ${path.dirname(file)}, expected one to write into. Make it, or name another.`,
    );
  }
  if ((await stat(file).catch(() => null))?.isDirectory() === true) {
    const inside = path.join(options.output, 'pipeline.yaml');
    throw new ClientError(
      'input',
      `--output: found a folder, expected a file. Did you mean ${inside}?`,
    );
  }
  if (options.force === true) return;
  if (existsSync(file)) {
    throw new ClientError(
      'input',
      `${options.output} is there already and was left as it is. Overwrite it with --force, or name another with --output.`,
    );
  }
  if (!existsSync(schemaCopy) || (await isOurSchema(schemaCopy))) return;
  throw new ClientError(
    'input',
    `${schemaCopy} is there already and is not Temper's. Overwrite it with --force, or choose another folder with --output.`,
  );
}

async function isOurSchema(file: string): Promise<boolean> {
  try {
    const { title } = JSON.parse(await readFile(file, 'utf8')) as { title?: unknown };
    return title === 'Temper pipeline file';
  } catch {
    return false;
  }
}

function checkName(name: string | undefined): string | null {
  if (name === undefined || /^[a-z][a-z0-9-]{1,38}[a-z0-9]$/.test(name)) return name ?? null;
  throw new ClientError(
    'input',
    `--name: found "${plain(name)}", expected 3 to 40 lowercase letters, digits or hyphens, starting with a letter. ` +
      `Did you mean ${nameOf(name)}?`,
  );
}

function checkSample(sample: string | undefined): string | null {
  if (sample === undefined) return null;
  const share = /^\d+(\.\d+)?%$/.test(sample) ? shareOf(sample) : 0;
  if (share > 0 && share <= 1) return share === 1 ? null : sample;
  throw new ClientError(
    'input',
    `--sample: found "${plain(sample)}", expected a share above 0% and up to 100%, such as 1%.`,
  );
}

type Base = NonNullable<PipelineChoices['from']> & {
  /** Left out for one that lies on disk. */
  known?: (typeof knownBases)[string];
};

/** The base model that `--from` names, with its path as the pipeline file should name it; null: from scratch. */
async function checkFrom(from: string | undefined, baseDir: string): Promise<Base | null> {
  if (from === undefined || from === 'scratch') return null;
  const known = Object.hasOwn(knownBases, from) ? knownBases[from] : undefined;
  if (known !== undefined) return { startFrom: from, title: known.title, known };
  const names = Object.keys(knownBases);
  const refuse = (found: string, expected: string, hint = '') =>
    new ClientError(
      'input',
      `--from: found ${found}, expected ${expected}.${hint} Nothing was written.`,
    );
  const bases = `a base model (${names.join(', ')}), or the path of one: ./model.gguf or ./folder`;
  if (/^[a-z][a-z0-9-]*@(champion|\d+)$/.test(from)) {
    const hint = ` Leave --from out, and write startFrom: ${from} into the file.`;
    throw refuse(`the registered model ${from}`, bases, hint);
  }
  const place = path.resolve(from);
  if (!from.includes('/') && !from.endsWith('.gguf')) {
    const near = existsSync(place) ? `./${from}` : nearest(from, names);
    throw refuse(`"${plain(from)}"`, bases, near === null ? '' : ` Did you mean ${plain(near)}?`);
  }
  const fault = baseFault(place);
  if (fault !== null) {
    const hint = fault.hint === null ? '' : ` ${fault.hint}`;
    throw refuse(`${plain(from)}, ${fault.found}`, basePlaces, hint);
  }
  // The folder alone: a link to a file may lead to one without its ending.
  const whole = path.join(await realpath(path.dirname(place)), path.basename(place));
  const relative = await pathFrom(baseDir, whole);
  const startFrom = relative.includes('/') ? relative : `${relative}/`;
  return { startFrom, title: plain(path.basename(place)) };
}

/** `--force` overwrites a file; it does not make a tokenizer know a language. */
function refuseIfForeign(from: Base | null, carried: Carried | null): void {
  if (from === null || carried === null || carried.tooMuch === null) return;
  const { language, share, name } = carried.tooMuch;
  throw new ClientError(
    'input',
    `${from.title} spends about ${carried.tokensPerCharacter.toFixed(1)} tokens a character on your corpus ` +
      `(${Math.round(share * 100)} % ${language}); the limit is ${maxTokensPerCharacter}. ` +
      `Start from scratch, without --from, or give a base model that knows ${name}: --from ./model.gguf. Nothing was written.`,
  );
}

function checkGoal(
  goal: string | undefined,
  survey: Survey,
  { from, canAsk }: { from: Base | null; canAsk: boolean },
): Goal {
  if (from !== null) {
    if (goal === undefined || goal === 'adapt') return 'adapt';
    if (goal !== 'assistant') {
      const todo = `Leave --goal out, or --from ${plain(from.startFrom)}.`;
      throw new ClientError(
        'input',
        `--goal: found "${plain(goal)}", expected adapt or assistant with --from. ${todo}`,
      );
    }
  } else if (goal === undefined || goal === 'base') return 'base';
  if (goal === 'adapt') {
    throw new ClientError('input', '--goal adapt: expected a base model, such as --from smollm2.');
  }
  if (goal === 'embeddings') return goal;
  if (goal !== 'assistant') {
    throw new ClientError(
      'input',
      `--goal: found "${plain(goal)}", expected base, assistant or embeddings.`,
    );
  }
  if (canAsk) return goal;
  const found = survey.fields.map(({ field }) => plain(field)).slice(0, 8);
  throw new ClientError(
    'input',
    `--goal assistant: found ${found.length === 0 ? 'no metadata' : `only ${found.join(', ')}`} beside the texts, ` +
      'expected fields that answer questions about a document, such as title and author, in 20 documents at least. ' +
      `Use --goal ${from === null ? 'base' : 'adapt'}, or add such fields to the JSON records or the front matter.`,
  );
}

function shareOf(sample: string | null): number {
  return sample === null ? 1 : Number(sample.slice(0, -1)) / 100;
}

/** As a run finds it: what the glob leaves out is not there. */
function asIncluded(survey: Survey, include: string | null): Survey {
  if (include === null) return survey;
  return { ...survey, notRead: survey.notRead.filter(({ reason }) => reason !== 'unknown_type') };
}

async function look(
  source: { folder: string; name: string },
  options: InitOptions,
  sample: number,
): Promise<Survey> {
  const screen = screenOf(process.stderr, process.env);
  const began = performance.now();
  let drawn = false;
  try {
    const request = {
      ...source,
      include: '**/!(temper.schema.json)',
      ...(options.textField !== undefined && { textField: options.textField }),
      judge: { ...judgedBy, sample },
    };
    return await lookAtFolder(request, (done, total) => {
      const quietMs = screen.isTTY ? 300 : 2000;
      if (options.json === true || performance.now() - began < quietMs) return;
      const words = `looking: ${count(done)} of ${count(total)} files`;
      if (screen.isTTY) screen.write(`\r\u001b[2K${truncate(words, screen.columns - 1)}`);
      else if (!drawn) screen.write(`${words}\n`);
      drawn = true;
    });
  } finally {
    if (drawn && screen.isTTY) screen.write('\r\u001b[2K');
  }
}

function refuseIfNothing(survey: Survey, folder: string): void {
  if (survey.numDocuments > 0) return;
  if (survey.numFiles === 0) {
    const hidden = survey.hidden === 0 ? '' : ` (${survey.hidden} hidden are left alone)`;
    throw new ClientError(
      'input',
      `${plain(folder)}: found no files${hidden}, expected documents: ${readableKinds}. Put some there. Nothing was written.`,
    );
  }
  const reasons = notReadLines(survey).filter((line) => line.startsWith('not read'));
  const said = reasons.map((line) => line.replace(/^not read\s+/, '')).join('; ');
  const hint = textFieldHint(survey);
  throw new ClientError(
    'input',
    `${plain(folder)}: found nothing to read in ${count(survey.numFiles)} ${survey.numFiles === 1 ? 'file' : 'files'}: ${said}. ` +
      `Expected text in ${readableKinds}.${hint === null ? '' : ` These ${hint}.`} Nothing was written.`,
  );
}

/** The path of the documents as the file should name it: relative where that is no longer than needed. */
async function pathFrom(baseDir: string, place: string): Promise<string> {
  const relative = path.relative(await realpath(baseDir), place);
  if (relative === '') return './';
  if (relative.startsWith('../../../')) return place;
  return relative.startsWith('..') ? relative : `./${relative}`;
}

function isInside(file: string, folder: string): boolean {
  const relative = path.relative(folder, file);
  return relative !== '' && !relative.startsWith('..') && !path.isAbsolute(relative);
}

async function write(file: string, text: string, replace: boolean): Promise<void> {
  await writeFile(file, text, { flag: replace ? 'w' : 'wx' }).catch(
    (error: NodeJS.ErrnoException) => {
      throw new ClientError(
        'input',
        `${file}: cannot be written (${error.code}). Choose another place with --output.`,
        error,
      );
    },
  );
}

function commandLine(folder: string, options: InitOptions): string {
  const word = (text: string) =>
    /^[\w@%+=:,./-]+$/.test(text) ? text : `'${plain(text).replaceAll("'", `'\\''`)}'`;
  const given = { ...options, ...(options.goal === 'base' && { goal: undefined }) };
  const flags = (['name', 'sample', 'textField', 'from', 'goal'] as const).flatMap((flag) =>
    given[flag] === undefined
      ? []
      : [`--${flag === 'textField' ? 'text-field' : flag}`, word(given[flag])],
  );
  const output = options.output === 'pipeline.yaml' ? [] : ['--output', word(options.output)];
  return ['npx temper init', word(folder), ...output, ...flags].join(' ');
}

/** How many versions the registry has under this name; null where no registry is near, for init starts nothing. */
async function modelVersions(name: string): Promise<number | null> {
  const home = homeFolder(process.env);
  const remote = (process.env['TEMPORAL_ADDRESS'] ?? '') !== '';
  if (remote || !existsSync(path.join(home, 'stack.json'))) return null;
  try {
    const { resolveStack } = await import('../../infra/settings.ts');
    const { isPortFree } = await import('../../infra/ports.ts');
    const stack = await resolveStack(home);
    if (await isPortFree(stack.ports.s3)) return null;
    const { openStore } = await import('../../registry/store.ts');
    const { listVersions } = await import('../../registry/models.ts');
    const store = openStore({
      endpoint: `http://127.0.0.1:${stack.ports.s3}`,
      region: 'us-east-1',
      bucket: stack.bucket,
      accessKeyId: stack.secrets.s3AccessKeyId,
      secretAccessKey: stack.secrets.s3SecretAccessKey,
      patienceMs: 300,
    });
    const late = new Promise<null>((resolve) => setTimeout(resolve, 1000, null).unref());
    const versions = listVersions(store, name).then(({ length }) => length);
    return await Promise.race([versions, late]).finally(() => store.close());
  } catch {
    return null;
  }
}

interface Noted {
  name: string;
  /** That the name was made from; null: it was given. */
  folderName: string | null;
  sample: string | null;
  versions: number | null;
  suggestion: ReturnType<typeof suggestQuestions>;
  goal: Goal;
  from: Base | null;
  carried: Carried | null;
  /** What a run would leave out, in a line. */
  leftOut: string | null;
  /** The field of the text was given. */
  fieldGiven: boolean;
  stops: boolean;
}

function noteLines(survey: Survey, noted: Noted): string[] {
  const { name, folderName, sample, versions, suggestion, goal, from, carried, leftOut } = noted;
  const notes: string[] = [];
  if (leftOut !== null) notes.push(leftOut.replace(/^left out: /, 'left out     '));
  const hint = textFieldHint(survey);
  if (hint !== null) notes.push(`text field   ${hint}`);
  if (folderName !== null && slugOf(folderName) === '') {
    const why = `a name has the letters a to z, digits and hyphens, of which ${plain(folderName)} has none`;
    notes.push(`name         ${name}, for ${why}; choose another with --name`);
  }
  if (from !== null) {
    const license = from.known === undefined ? '' : `, ${from.known.license}`;
    const spent =
      carried === null
        ? 'the run measures whether its tokenizer carries these languages'
        : `about ${carried.tokensPerCharacter.toFixed(2)} tokens a character`;
    notes.push(`adapts       ${from.title}${license}: ${spent}`);
  }
  if (survey.textField !== 'text' && !noted.fieldGiven)
    notes.push(`text field   ${plain(survey.textField)}, as no record has text`);
  if (suggestion !== null) {
    const asked = suggestion.questions.map(({ answer }) => answer.slice(1, -1)).join(' and ');
    const how = goal === 'assistant' ? 'are in the file' : 'stand in the file as a comment';
    notes.push(`questions    ${plain(`on ${asked} of each ${suggestion.key} ${how}`)}`);
  }
  if (versions !== null && versions > 0) {
    const so = versions === 1 ? 'a model' : `${versions} versions of a model`;
    notes.push(`name         ${name}: there is ${so} of this name; a run adds the next version`);
  }
  const taken = Math.round(survey.numDocuments * shareOf(sample));
  if (sample !== null) {
    notes.push(
      `sample       ${sample}, about ${count(taken)} of ${count(survey.numDocuments)} documents`,
    );
  }
  if (taken < fewDocuments && !noted.stops) {
    const few = `few          about ${count(taken)} ${taken === 1 ? 'document' : 'documents'}`;
    const todo =
      sample === null ? 'more text makes a better model' : 'a larger --sample tells more';
    notes.push(`${few}: enough to see it work; ${todo}`);
  }
  return notes;
}

function nextLines(file: string, name: string, goal: Goal): string[] {
  const named = file === 'pipeline.yaml' ? '' : ` ${file}`;
  const made = goal === 'adapt' ? 'adapt and serve it' : 'train and serve it';
  const lines: [string, string][] = [
    [`npx temper plan${named}`, 'what it would take, before anything is spent'],
    [`npx temper run${named}`, made],
    ...(goal === 'base' || goal === 'embeddings'
      ? []
      : ([[`npx temper chat ${name} "…"`, 'ask it something']] satisfies [string, string][])),
  ];
  const width = Math.max(...lines.map(([command]) => command.length));
  return lines.map(([command, what]) => `${command.padEnd(width)}   ${what}`);
}
