/**
 * Mistakes that the shape of a pipeline file cannot show. They are looked for in the value as it was written,
 * whatever else is wrong with it, so that all mistakes are told at once.
 */
import { existsSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { knownBases } from '../config/base-models.ts';
import { embeddingsFaults, isEmbeddingMetric } from '../config/embeddings.ts';
import { gateMetrics } from '../config/gates.ts';
import { phasesFault, tunes } from '../config/phases.ts';
import { phaseNames, type Phase } from '../config/recipe.ts';
import { isBase } from '../config/start-from.ts';
import { baseFault, basePlaces } from './base-place.ts';
import type { PipelineFault } from './pipeline-fault.ts';
import { checkSources, type Folders } from './pipeline-sources.ts';
import { fieldName, isObject, textAt, valueAt } from './pipeline-words.ts';
import type { Places } from './pipeline-yaml.ts';

type Add = (keys: PropertyKey[], found: string, expected: string, hint?: string | null) => void;

/** Every such mistake in the value. */
export function meaningFaults(value: unknown, folders: Folders, place: Places): PipelineFault[] {
  const faults: PipelineFault[] = [];
  const add: Add = (keys, found, expected, hint = null) =>
    faults.push({ ...place.at(keys), field: fieldName(keys), found, expected, hint });
  checkSources(value, folders, add);
  checkStart(value, folders, add);
  checkModel(value, folders, add);
  checkTokenizer(value, folders, add);
  checkBudget(value, add);
  checkPhases(value, add);
  checkReplay(value, add);
  checkGoal(value, add);
  checkEmbeddings(value, add);
  checkGates(value, add);
  checkQuestions(value, add);
  return faults;
}

/** The path of a base model: its name, and what lies there. */
function checkStart(value: unknown, { baseDir }: Folders, add: Add): void {
  const start = textAt(value, 'startFrom');
  if (start === null || start in knownBases || !isBase(start)) return;
  const fault = baseFault(path.resolve(baseDir, start));
  if (fault === null) return;
  add(['startFrom'], `${JSON.stringify(start)}, ${fault.found}`, basePlaces, fault.hint);
}

/** The phases that are named; null where none are, or what is written is no list of them. */
function phasesOf(value: unknown): readonly Phase[] | null {
  const named = listAt(value, ['phases']);
  const known = named.filter((name): name is Phase => phaseNames.some((one) => one === name));
  return named.length > 0 && known.length === named.length ? known : null;
}

/** What a model from scratch would replay: nothing, for it has been trained on nothing. */
function checkReplay(value: unknown, add: Add): void {
  const replay = valueAt(value, ['data', 'replay']);
  if (replay === undefined || (textAt(value, 'startFrom') ?? 'scratch') !== 'scratch') return;
  add(
    ['data', 'replay'],
    `${JSON.stringify(replay)} with startFrom scratch`,
    'a version to go on from, for there are no older documents yet',
    `Write startFrom: ${textAt(value, 'name') ?? 'policy'}@champion; a schedule begins from scratch where there is none yet.`,
  );
}

function checkPhases(value: unknown, add: Add): void {
  const phases = phasesOf(value);
  if (phases === null) return;
  const fault = phasesFault({
    phases,
    goal: textAt(value, 'goal') ?? undefined,
    startFrom: textAt(value, 'startFrom') ?? 'scratch',
    asks: asksQuestions(value),
    stopOnPlateau: valueAt(value, ['budget', 'stopOnPlateau']) === true,
    sweeps: valueAt(value, ['sweep']) !== undefined,
  });
  if (fault !== null) add([fault.field], fault.found, fault.expected, fault.hint);
}

/** The configuration of a model from scratch: that it lies there, and is one. */
function checkModel(value: unknown, { baseDir }: Folders, add: Add): void {
  const model = valueAt(value, ['model']);
  const named = textAt(model, 'config');
  // Beside a family it is one mistake, which the shape tells.
  if (named === null || valueAt(model, ['family']) !== undefined) return;
  const found = readJson(path.resolve(baseDir, named));
  if (isObject(found) && typeof found['model_type'] === 'string') return;
  const what = found === null ? 'nothing there to read' : 'no JSON object with a model_type';
  const expected = 'the config.json of a causal model of transformers';
  const hint = found === null ? 'It is looked for from the folder of the pipeline file.' : null;
  add(['model', 'config'], `${JSON.stringify(named)}, ${what}`, expected, hint);
}

/** A tokenizer that was made elsewhere: that it lies there. */
function checkTokenizer(value: unknown, { baseDir }: Folders, add: Add): void {
  const named = textAt(valueAt(value, ['tokenizer']), 'from');
  // Beside train it is one mistake, which the shape tells.
  if (named === null || valueAt(value, ['tokenizer', 'train']) !== undefined) return;
  const place = path.resolve(baseDir, named);
  const file = existsSync(path.join(place, 'tokenizer.json'))
    ? path.join(place, 'tokenizer.json')
    : place;
  if (existsSync(file) && statSync(file).isFile()) return;
  const found = existsSync(place) ? 'a folder without a tokenizer.json' : 'nothing there to read';
  const hint = 'It is looked for from the folder of the pipeline file.';
  add(['tokenizer', 'from'], `${JSON.stringify(named)}, ${found}`, 'a tokenizer.json', hint);
}

/** Null where no file can be read; undefined where it is no JSON. */
function readJson(file: string): unknown {
  let text;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    return null;
  }
  try {
    return JSON.parse(text) ?? undefined;
  } catch {
    return undefined;
  }
}

/** Whether a model is taught documents alone, said or by default. */
function adapts(value: unknown): boolean {
  const goal = valueAt(value, ['goal']);
  const start = textAt(value, 'startFrom');
  const phases = phasesOf(value);
  if (goal === undefined && phases !== null) {
    return !tunes(phases) && start !== null && isBase(start);
  }
  if (goal !== undefined || asksQuestions(value)) return goal === 'adapt';
  return start !== null && isBase(start);
}

function checkBudget(value: unknown, add: Add): void {
  const time = valueAt(value, ['budget', 'time']);
  if (typeof time !== 'number') return;
  const hint = Number.isInteger(time) && time > 0 && time < 1000 ? `Did you mean ${time}m?` : null;
  const expected = 'a duration such as 90s, 20m or 2h';
  add(['budget', 'time'], `${time}, a number without a unit`, expected, hint);
}

/** Malformed questions are questions: what is wrong with them is said where they stand. */
function asksQuestions(value: unknown): boolean {
  const questions = valueAt(value, ['questions']);
  if (valueAt(value, ['data', 'conversations']) !== undefined) return true;
  return Array.isArray(questions) ? questions.length > 0 : questions !== undefined;
}

function checkGoal(value: unknown, add: Add): void {
  if (adapts(value) && asksQuestions(value)) {
    const named = valueAt(value, ['goal']) === undefined && phasesOf(value) !== null;
    const found = `questions with ${named ? 'phases [pretrain]' : 'goal adapt'}, which learns from the documents alone`;
    const hint = named
      ? 'Add sft to the phases, which then learns to answer them, or remove them.'
      : 'Set goal: assistant, which then learns to answer them, or remove them.';
    add(['questions'], found, 'none', hint);
  }
  if (valueAt(value, ['goal']) !== 'assistant' || asksQuestions(value)) return;
  // Of phases that nothing can be learnt for, the phases say it.
  if (phasesOf(value) !== null) return;
  const start = textAt(value, 'startFrom');
  const other = start !== null && isBase(start) ? 'adapt' : 'base';
  const hint = `Add questions, or set goal: ${other}.`;
  add(['goal'], 'assistant, and no questions', 'questions that an assistant can learn from', hint);
}

/** What cannot be with goal embeddings, and what only it measures. */
function checkEmbeddings(value: unknown, add: Add): void {
  if (!isObject(value)) return;
  if (value['goal'] === 'embeddings') {
    for (const { keys, found, expected, hint } of embeddingsFaults(value)) {
      // A name that is no metric at all is told as such.
      const known = gateMetrics.some((metric) => metric === keys.at(-1));
      if (keys[0] === 'evaluate' && !known) continue;
      add(keys, found, expected, hint);
    }
    return;
  }
  const gates = valueAt(value, ['evaluate', 'gates']);
  for (const metric of Object.keys(isObject(gates) ? gates : {})) {
    if (!isEmbeddingMetric(metric)) continue;
    const found = `a gate on ${metric}, which goal embeddings alone measures`;
    const hint = 'Set goal: embeddings, or remove the gate.';
    add(['evaluate', 'gates', metric], found, 'a gate that this pipeline measures', hint);
  }
}

/** What no model can reach, and what every one does, are mistakes: mostly a share that was meant in percent. */
function checkRange(metric: string, bound: unknown, keys: PropertyKey[], add: Add): void {
  const isShare = metric.endsWith('.accuracy');
  for (const side of ['min', 'max']) {
    const given = valueAt(bound, [side]);
    if (typeof given !== 'number' || (given >= 0 && (!isShare || given <= 1))) continue;
    const hint = isShare && given > 1 && given <= 100 ? `Did you mean ${given / 100}?` : null;
    add([...keys, side], String(given), isShare ? 'a share from 0 to 1' : '0 or more', hint);
  }
}

function checkGates(value: unknown, add: Add): void {
  const gates = valueAt(value, ['evaluate', 'gates']);
  for (const [metric, bound] of Object.entries(isObject(gates) ? gates : {})) {
    const keys = ['evaluate', 'gates', metric];
    const [min, max] = [valueAt(bound, ['min']), valueAt(bound, ['max'])];
    if (typeof min === 'number' && typeof max === 'number' && min > max) {
      add(keys, `min ${min} above max ${max}`, 'min at most max');
    }
    checkRange(metric, bound, keys, add);
    if (isEmbeddingMetric(metric) || valueAt(value, ['goal']) === 'embeddings') continue;
    const measured = 'a gate that this pipeline measures';
    const phases = phasesOf(value);
    if (metric === 'valBpb') {
      if (phases === null || phases.includes('pretrain')) continue;
      const hint = 'Remove the gate, or add pretrain: held-out text is scored after it.';
      add(keys, `a gate on held-out text with phases [${phases.join(', ')}]`, measured, hint);
      continue;
    }
    if (!gateMetrics.some((known) => known === metric)) continue;
    if (phases !== null && !tunes(phases) && !adapts(value) && asksQuestions(value)) {
      const hint = 'Add sft to the phases, or remove the gate.';
      add(keys, 'a gate on answers with phases [pretrain]', measured, hint);
      continue;
    }
    if (adapts(value)) {
      const hint = 'Remove the gate, or set goal: assistant and add questions.';
      add(keys, 'a gate on answers with goal adapt', measured, hint);
      continue;
    }
    if (!asksQuestions(value)) {
      const hint = 'Add questions, or remove the gate.';
      add(keys, 'a gate on answers, and no questions', measured, hint);
    } else if (valueAt(value, ['goal']) === 'base') {
      const hint = 'Set goal: assistant, or remove the gate.';
      add(keys, 'a gate on answers with goal base', measured, hint);
    }
  }
}

function checkQuestions(value: unknown, add: Add): void {
  const names = new Set<string>();
  for (const [index, group] of listAt(value, ['questions']).entries()) {
    const name = textAt(group, 'name');
    if (name !== null && names.has(name)) {
      const found = `${JSON.stringify(name)} twice`;
      add(['questions', index, 'name'], found, 'a name of its own for each group');
    }
    if (name !== null) names.add(name);
    const trained = new Set(
      listAt(group, ['ask']).map((text) => (typeof text === 'string' ? text.trim() : null)),
    );
    for (const [at, text] of listAt(group, ['askHeldOut']).entries()) {
      if (typeof text !== 'string' || !trained.has(text.trim())) continue;
      const keys = ['questions', index, 'askHeldOut', at];
      const hint = 'Else the evaluation asks what was trained on.';
      add(keys, 'a phrasing that is also in ask', 'other phrasings', hint);
    }
  }
}

function listAt(value: unknown, keys: PropertyKey[]): unknown[] {
  const found = valueAt(value, keys);
  return Array.isArray(found) ? found : [];
}
