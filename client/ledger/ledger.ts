/**
 * The token ledger of a run: what each phase was trained on and how often, and whether anything was left out or came
 * twice through all losses. From recorded facts alone; the order itself is counted by the trainer's own code.
 */
import { z } from 'zod';
import {
  corpusManifestSchema,
  modelManifestSchema,
  worldSchema,
  type CorpusManifest,
  type Head,
} from '../../config/manifests.ts';
import type { Mixture } from '../../config/mixture.ts';
import type { PhaseRecipe } from '../../config/recipe.ts';
import { readBlob } from '../../registry/blobs.ts';
import {
  readCheckpointPlace,
  readGenerations,
  type CheckpointPlace,
} from '../../registry/generations.ts';
import { chosenTrial } from '../../registry/decisions.ts';
import { readJob } from '../../registry/jobs.ts';
import { batchesTrained, rollbacksOf } from '../../registry/rollbacks.ts';
import { findStage } from '../../registry/stages.ts';
import type { Store } from '../../registry/store.ts';
import { readHead, type TrialPath } from '../../registry/training.ts';
import { phaseRecipe, trainerOf } from '../report/phases.ts';
import type { Trace } from '../report/trace.ts';
import { joinSteps } from './steps.ts';

const count = z.number().int().nonnegative();
/** How many, by how often: `{"0": 12, "1": 4000}`. */
const timesSchema = z.record(z.string(), count);
const epochSchema = z.strictObject({
  epoch: count,
  visited: count.describe('windows or rows, those that came twice counted twice'),
  distinct: count,
  before: count.optional().describe('tokens that fall off before the first window'),
  after: count.optional().describe('tokens that fall off behind the last window'),
});

const countedFields = {
  kind: z.enum(['tokens', 'rows']),
  size: count.describe('tokens of the corpus, or rows'),
  windowsAnEpoch: count.optional(),
  epochs: z.array(epochSchema),
  seen: timesSchema.describe('tokens that were foretold, or rows, by how often'),
  documents: z
    .strictObject({
      num: count,
      whole: count,
      partly: count,
      never: count,
      named: z.array(z.string()).describe('ids of the first of those never seen'),
    })
    .optional(),
  sources: z
    .array(
      z.strictObject({
        source: count.describe('its number in the mixture of the corpus'),
        documents: count.describe('of an epoch, each as often as it is read'),
        tokens: count.describe('of them'),
        foretold: count.describe('tokens, each as often as it was foretold'),
      }),
    )
    .optional()
    .describe('of a corpus whose sources are mixed; left out, they are not'),
};

/** What trainer/ledger.py answers for a phase. */
export const countedSchema = z.strictObject({
  ...countedFields,
  rehearsed: timesSchema.optional().describe('rows of the base’s own text, by how often'),
  replayed: z
    .strictObject(countedFields)
    .optional()
    .describe('what was trained on before, at a share of its own; left out, none'),
});
export type Counted = z.infer<typeof countedSchema>;

/** What trainer/ledger.py is asked for a phase. */
export interface PhaseData {
  kind: Counted['kind'];
  seed: number;
  contextLength: number;
  size: number;
  /** Windows or rows of the steps that count. */
  cursors: { first: number; end: number }[];
  /** Bytes of the index of each shard. */
  shards: { index: Buffer; numTokens: number }[];
  rehearsed: { numRows: number; seen: number } | null;
  /** What was trained on before, at a share of the cursors. */
  replay: { share: number; size: number; shards: PhaseData['shards'] } | null;
}

const range = { first: count, last: count };
const phaseLedgerSchema = z.strictObject({
  phase: z.string(),
  round: count,
  trainedBy: z.string().describe('another run’s name, when this phase was trained there'),
  finished: z.boolean(),
  numSteps: count.describe('by the recipe'),
  batchSize: count,
  contextLength: count,
  seed: count,
  numGenerations: count.describe('that were opened, those without a word included'),
  counted: countedSchema,
  sources: z
    .array(
      z.strictObject({
        source: z.string(),
        tokens: count.describe('foretold, each as often as it was'),
        share: z.number().describe('of all that were foretold'),
        times: z.number().describe('how often the text that is read of it was, on average'),
      }),
    )
    .optional()
    .describe('what was read of each source, where they are mixed; left out, they are not'),
  steps: z.strictObject({
    durable: count.describe('steps that count: of the model, or of the newest checkpoint'),
    checkpoints: z.strictObject({ num: count, agreeing: count }),
    generations: z.array(
      z.strictObject({
        generation: count,
        began: z.enum(['fresh', 'resumed', 'adopted']),
        from: count,
        to: count,
        checkpoints: z.array(count),
        lost: z.array(z.strictObject({ ...range, againBy: count })),
      }),
    ),
    again: z.strictObject({ steps: count, sameLoss: count }),
    untold: count.describe('durable steps that no event tells of; a checkpoint behind them does'),
    faults: z.array(z.string()).describe('what contradicts the order; none is the proof'),
  }),
  worlds: z
    .array(worldSchema)
    .optional()
    .describe('numbers of hosts other than was planned, or back to it; left out: as planned'),
});
export type PhaseLedger = z.infer<typeof phaseLedgerSchema>;

export const ledgerSchema = z.strictObject({
  schemaVersion: z.literal(1),
  run: z.string(),
  proven: z.boolean().describe('no gaps and no doubles: nothing recorded contradicts the order'),
  phases: z.array(phaseLedgerSchema),
  missing: z.array(z.string()),
});
export type Ledger = z.infer<typeof ledgerSchema>;

export interface LedgerRequest {
  store: Store;
  run: string;
  trace: Trace;
  /** Runs the trainer's own order over the phases. */
  count: (phases: PhaseData[]) => Promise<Counted[]>;
}

type Uncounted = Omit<PhaseLedger, 'counted' | 'sources'>;

interface Facts {
  ledger: Uncounted;
  data: PhaseData;
  mixture: Mixture | undefined;
}

export async function gatherLedger({
  store,
  run,
  trace,
  count: counting,
}: LedgerRequest): Promise<Ledger> {
  const missing: string[] = [];
  const phases: Facts[] = [];
  for (const { phase, round } of trace.trials) {
    const facts = await factsOf(store, run, trace, { phase, round });
    if (typeof facts === 'string') missing.push(`No ledger of ${phase}: ${facts}`);
    else phases.push(facts);
  }
  if (trace.trials.length === 0) missing.push('Nothing of its training is stored.');
  const counted = phases.length === 0 ? [] : await counting(phases.map(({ data }) => data));
  const whole = phases.flatMap(({ ledger, mixture }, index) => {
    const found = counted[index];
    if (found === undefined) return [];
    const sources = mixture && found.sources && readOf(mixture, found.sources);
    return [{ ...withDoubles(ledger, found), ...(sources && { sources }) }];
  });
  return {
    schemaVersion: 1,
    run,
    proven: whole.length > 0 && missing.length === 0 && whole.every(isProven),
    phases: whole,
    missing,
  };
}

/** What was read of each source: from what was foretold, and the text that the mix takes of it. */
function readOf(
  { sources }: Mixture,
  counted: NonNullable<Counted['sources']>,
): NonNullable<PhaseLedger['sources']> {
  const all = counted.reduce((sum, { foretold }) => sum + foretold, 0);
  return counted.map(({ source: number, foretold }) => {
    const { source, used } = sources[number]!;
    return {
      source,
      tokens: foretold,
      share: foretold / Math.max(1, all),
      times: foretold / Math.max(1, used.numTokens),
    };
  });
}

function isProven({ steps: { faults } }: PhaseLedger): boolean {
  return faults.length === 0;
}

/** Within an epoch nothing may come twice; all of it must come before the next begins. */
function withDoubles(facts: Uncounted, counted: Counted): PhaseLedger {
  const faults = [...facts.steps.faults];
  const whole = counted.windowsAnEpoch ?? counted.size;
  for (const { epoch, visited, distinct } of counted.epochs) {
    const name = `epoch ${epoch + 1}`;
    if (visited > distinct) faults.push(`${name} has ${visited - distinct} doubles`);
    const isLast = epoch === counted.epochs.at(-1)!.epoch;
    if (!isLast && distinct < whole) faults.push(`${name} lacks ${whole - distinct} of ${whole}`);
  }
  return { ...facts, counted, steps: { ...facts.steps, faults } };
}

/** The facts of one trial; a sentence where they are not there. */
async function factsOf(
  store: Store,
  run: string,
  trace: Trace,
  { phase, round }: { phase: string; round: number },
): Promise<Facts | string> {
  const at = { run, phase, round };
  const own = { ...at, trial: await chosenTrial(store, at) };
  const model = trace.models.findLast((one) => one.phase === phase && one.round === round);
  let trial: TrialPath = own;
  let head = (await readHead(store, own))?.value ?? null;
  if (head === null && model?.weights != null) {
    const other = await trainerOf(store, phase, model.weights);
    if (other !== null) trial = { ...other, phase };
    head = other === null ? null : ((await readHead(store, trial))?.value ?? null);
  }
  if (head === null) return 'no generation of it was opened in this bucket.';
  const job = await readJob(store, head.stage);
  const planned = trace.recipes.find((one) => one.round === round);
  const recipe = job?.recipe ?? (planned && phaseRecipe(planned, phase)) ?? null;
  const stage = job?.corpus ?? trace.corpus;
  if (recipe === null) return 'its recipe is not stored.';
  const corpus =
    stage === null ? null : await findStage(store, 'preprocess', stage, corpusManifestSchema);
  if (corpus === null) return 'the record of its corpus is not stored.';
  return await readFacts(store, trial, head, recipe, corpus);
}

async function readFacts(
  store: Store,
  trial: TrialPath,
  head: Head,
  recipe: PhaseRecipe,
  corpus: CorpusManifest,
): Promise<Facts> {
  const { phase, numSteps, batchSize, contextLength, seed } = recipe;
  const finished =
    head.finished === null
      ? null
      : modelManifestSchema.parse(JSON.parse((await readBlob(store, head.finished)).toString()));
  const rollbacks = rollbacksOf(head.rollbacks);
  const steps = joinSteps({
    batchSize,
    tokensAStep: phase === 'pretrain' ? batchSize * contextLength : null,
    chain: head.chain,
    rollbacks,
    worlds: head.worlds ?? [],
    places: await placesOf(store, head.chain),
    generations: await readGenerations(store, trial),
    finishedAt: finished?.numSteps ?? null,
    endedAt: (head.endings ?? []).map(({ step }) => step),
  });
  const rehearsal = phase === 'pretrain' ? recipe.rehearsal : undefined;
  const rehearsed =
    rehearsal === undefined
      ? null
      : { numRows: rehearsal.numRows, seen: rehearsal.rowsAStep * steps.durable };
  const cursors = batchesTrained(rollbacks, steps.durable).map(({ first, end }) => ({
    first: first * batchSize,
    end: end * batchSize,
  }));
  const data = {
    seed,
    contextLength,
    cursors,
    rehearsed,
    ...(await sourceOf(store, phase, corpus)),
    replay: await replayOf(store, recipe, corpus),
  };
  const ledger = {
    phase,
    round: trial.round,
    trainedBy: trial.run,
    finished: finished !== null,
    numSteps,
    batchSize,
    contextLength,
    seed,
    numGenerations: head.fence,
    steps,
    ...(head.worlds && { worlds: head.worlds }),
  };
  return { ledger, data, mixture: phase === 'pretrain' ? corpus.mixture : undefined };
}

/** What a phase reads of a corpus. */
async function sourceOf(
  store: Store,
  phase: PhaseRecipe['phase'],
  { shards, instructions }: CorpusManifest,
): Promise<Pick<PhaseData, 'kind' | 'size' | 'shards'>> {
  if (phase !== 'pretrain') {
    const size = phase === 'sft' ? instructions?.numTrain : instructions?.numPreferences;
    return { kind: 'rows', size: size ?? 0, shards: [] };
  }
  return { kind: 'tokens', ...(await indexesOf(store, shards)) };
}

/** What a phase reads again at a share of its own. */
async function replayOf(
  store: Store,
  recipe: PhaseRecipe,
  { older }: CorpusManifest,
): Promise<PhaseData['replay']> {
  if (recipe.phase !== 'pretrain' || recipe.replay === undefined || older === undefined)
    return null;
  return { share: recipe.replay.share, ...(await indexesOf(store, older)) };
}

async function indexesOf(
  store: Store,
  shards: CorpusManifest['shards'],
): Promise<Pick<PhaseData, 'size' | 'shards'>> {
  const indexes: PhaseData['shards'] = [];
  for (const { index, numTokens } of shards) {
    indexes.push({ index: await readBlob(store, index), numTokens });
  }
  const size = shards.reduce((sum, { numTokens }) => sum + numTokens, 0);
  return { size, shards: indexes };
}

async function placesOf(store: Store, chain: Head['chain']): Promise<(CheckpointPlace | string)[]> {
  const places: (CheckpointPlace | string)[] = [];
  for (const entry of chain) {
    places.push(
      await readCheckpointPlace(store, entry).catch((error: unknown) => {
        // A store that is away proves nothing against a checkpoint.
        if (error instanceof Error && error.name.startsWith('Store')) throw error;
        return (error as Error).message;
      }),
    );
  }
  return places;
}
