/**
 * The planner's recipe against the best of sixteen searched ones, on unlike corpora. The budget is computing time by
 * the planner's recorded speed of one kind of machine, so that neither a busy machine nor another one changes what is
 * trained.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { pipelineSchema } from '../config/pipeline.ts';
import type { Machine, PlainShape, PretrainRecipe, ReadingRecipe } from '../config/recipe.ts';
import { trainerRunSchema } from '../config/trainer.ts';
import { planRecipe } from '../recipes/plan.ts';
import { pretrainingStepMs } from '../recipes/pretraining.ts';
import { say, type Measured } from './support/bench.ts';
import { corpora, requireSources, writeCorpus, type CorpusName } from './support/corpora.ts';
import { heldOutCurve } from './support/figures.ts';
import { searchGrid } from './support/search-grid.ts';
import { benchFolder, withStack } from './support/stack.ts';
import { prepare, trainByHand } from './support/training.ts';

/** Whose recorded speed is the budget's. */
const machine: Machine = {
  device: 'cpu',
  cores: 2,
  memoryBytes: 24 * 2 ** 30,
  instructionSet: 'avx512_bf16',
};
/** A recipe may end so much above the best that was searched. */
const mostAbove = 1.02;

const preparedSchema = z.object({
  statistics: z.object({ numTokens: z.number(), bytes: z.number() }),
  vocabSize: z.number(),
  tokenizer: z.string(),
  data: trainerRunSchema.shape.data.options[0],
});
type PreparedCorpus = z.infer<typeof preparedSchema>;
const outcomeSchema = z.object({ name: z.string(), valLoss: z.number(), bitsPerByte: z.number() });
type Outcome = z.infer<typeof outcomeSchema>;

interface Trial {
  name: string;
  shape: PlainShape;
  recipe: PretrainRecipe;
}

export interface SearchSettings {
  data: string | undefined;
  corpora: readonly CorpusName[];
  /** Training time that the planner is given, for the recorded machine. */
  seconds: number;
  threads: number;
  /** Trainings to do now, at most. */
  most: number;
  /** Folder of prepared corpora and finished trainings; left out, one that is gone at the end. */
  kept: string | undefined;
}

/** Trains what is not trained yet, and compares. */
export async function measureSearch(settings: SearchSettings): Promise<Measured> {
  const data = requireSources(settings.data, settings.corpora);
  const folder = settings.kept === undefined ? benchFolder('planner') : path.resolve(settings.kept);
  let left = settings.most;
  const found: Record<string, unknown> = {};
  const bounds: Measured['bounds'] = [];
  try {
    for (const name of settings.corpora) {
      const corpus = await prepared(name, data, path.join(folder, name));
      const { planned, trials } = trialsOf(corpus, settings);
      const { numParameters, pretrain } = planned;
      say(
        `${corpora[name].title}: ${(corpus.statistics.numTokens / 1e6).toFixed(2)}M tokens; planned ${(numParameters / 1e6).toFixed(2)}M parameters, ${pretrain.numSteps} steps of ${pretrain.batchSize} rows`,
      );
      const outcomes: (Outcome | null)[] = [];
      for (const trial of trials) {
        const known = finished(folder, name, trial);
        if (known === null && left > 0) {
          left -= 1;
          outcomes.push(await train(folder, name, corpus, trial));
        } else outcomes.push(known);
      }
      const { figures, ratio } = compare(outcomes, planned);
      found[name] = figures;
      bounds.push({
        name: `${corpora[name].title}, planned against the best of ${trials.length - 1} searched`,
        value: ratio,
        max: mostAbove,
      });
    }
  } finally {
    if (settings.kept === undefined) rmSync(folder, { recursive: true, force: true });
  }
  return { figures: found, bounds };
}

/** The planned recipe, then those of the grid, all of the same computing time. */
function trialsOf(
  { statistics, vocabSize }: PreparedCorpus,
  { seconds, threads }: SearchSettings,
): { planned: ReadingRecipe; trials: Trial[] } {
  const planned = planRecipe({
    statistics,
    goal: 'base',
    budgetMs: seconds * 1000,
    machine,
    seed: 1789,
    vocabSize,
    numChats: 0,
    numPreferences: 0,
  });
  const { model, pretrain } = planned;
  if (model.family === 'transformers' || model.family === 'modernbert')
    throw new Error('found a given shape, expected a planned one');
  const computeMs = pretrain.numSteps * pretrainingStepMs(machine, model, pretrain);
  const trials = [
    { name: 'planned', shape: model, recipe: pretrain },
    ...searchGrid({ machine, vocabSize, like: pretrain, computeMs }),
  ].map(({ recipe, ...trial }) => ({
    ...trial,
    // One evaluation and one save, at the end: nothing else is asked of these models.
    recipe: {
      ...recipe,
      threads,
      saveEverySteps: recipe.numSteps,
      evalEverySteps: recipe.numSteps,
    },
  }));
  return { planned, trials };
}

/** Tokens and tokenizer as the pipeline makes them, once for a folder. */
async function prepared(name: CorpusName, data: string, folder: string): Promise<PreparedCorpus> {
  const record = path.join(folder, 'prepared.json');
  if (existsSync(record)) return preparedSchema.parse(JSON.parse(readFileSync(record, 'utf8')));
  rmSync(folder, { recursive: true, force: true });
  const documents = path.join(folder, 'documents');
  writeCorpus(name, data, documents);
  const pipeline = pipelineSchema.parse({
    version: 1,
    name,
    data: {
      sources: [{ path: documents, license: 'public' }],
      heldOut: corpora[name].heldOut,
    },
    goal: 'base',
  });
  const home = path.join(folder, 'home');
  const source = { pipeline, baseDir: folder };
  const {
    statistics,
    vocabSize,
    tokenizer,
    data: tokens,
  } = await withStack(home, (stack) => prepare(stack, source, folder, `prepare-${name}`));
  rmSync(home, { recursive: true, force: true });
  const corpus = { statistics, vocabSize, tokenizer, data: tokens };
  writeFileSync(record, JSON.stringify(corpus));
  return corpus;
}

function outcomeFile(folder: string, corpus: CorpusName, { shape, recipe }: Trial): string {
  const digest = createHash('sha256').update(JSON.stringify({ shape, recipe })).digest('hex');
  return path.join(folder, corpus, 'trained', `${digest.slice(0, 16)}.json`);
}

function finished(folder: string, corpus: CorpusName, trial: Trial): Outcome | null {
  const file = outcomeFile(folder, corpus, trial);
  if (!existsSync(file)) return null;
  return { ...outcomeSchema.parse(JSON.parse(readFileSync(file, 'utf8'))), name: trial.name };
}

async function train(
  folder: string,
  name: CorpusName,
  { tokenizer, data }: PreparedCorpus,
  trial: Trial,
): Promise<Outcome> {
  // Several may train for one folder at once.
  const runDir = path.join(folder, name, `run-${process.pid}`);
  const events = await trainByHand(
    runDir,
    { recipe: { model: trial.shape }, tokenizer, data },
    // Nobody watches these, however long they take.
    { ...trial.recipe, unwatchedExitS: 86_400 },
  );
  const { valLoss } = heldOutCurve(events).at(-1)!;
  const { numTokens, bytes } = data.heldOut;
  const bitsPerByte = ((valLoss / Math.LN2) * numTokens) / bytes;
  const outcome = { name: trial.name, valLoss, bitsPerByte };
  const file = outcomeFile(folder, name, trial);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, JSON.stringify(outcome));
  say(`  ${bitsPerByte.toFixed(4)} bits a byte: ${trial.name}, ${trial.recipe.numSteps} steps`);
  return outcome;
}

/** No ratio as long as one of them is not trained. */
function compare(outcomes: readonly (Outcome | null)[], planned: ReadingRecipe) {
  const [ours = null, ...searched] = outcomes;
  const trained = searched.filter((outcome) => outcome !== null);
  const best = trained.toSorted((a, b) => a.bitsPerByte - b.bitsPerByte)[0] ?? null;
  const whole = ours !== null && best !== null && trained.length === searched.length;
  const ratio = whole ? ours.bitsPerByte / best.bitsPerByte : null;
  if (whole) {
    const above = (100 * (ratio! - 1)).toFixed(2);
    say(
      `  planned ${ours.bitsPerByte.toFixed(4)}, best ${best.bitsPerByte.toFixed(4)} (${best.name}): ${above} %`,
    );
  }
  const { numParameters, pretrain } = planned;
  const figures = { numParameters, recipe: pretrain, planned: ours, best, searched, ratio };
  return { figures, ratio };
}
