/**
 * Goes on with a run from S3 alone: what it was asked and what it found then stands there, every finished stage is
 * found by its digest, and training goes on from the newest checkpoint of the chain, fenced above the lost execution.
 */
import type { Client } from '@temporalio/client';
import { WorkflowNotFoundError } from '@temporalio/common';
import { runControlSchema, type Head } from '../config/manifests.ts';
import { pipelineSchema } from '../config/pipeline.ts';
import { phaseNames, recipeSchema, type Phase } from '../config/recipe.ts';
import {
  runInputsSchema,
  runSpecSchema,
  type RunInputs,
  type RunSpec,
} from '../config/run-records.ts';
import { readRecord } from '../registry/json.ts';
import { chosenTrial } from '../registry/decisions.ts';
import { listVersions } from '../registry/models.ts';
import { getRunRecord } from '../registry/runs.ts';
import type { Store } from '../registry/store.ts';
import { readHead } from '../registry/training.ts';
import { workflowId, type PipelineInput } from '../workflows/messages.ts';
import { ClientError } from './errors.ts';
import { unknownRun } from './unknown-run.ts';

/** A phase of training as its head tells of it. */
export interface FoundTraining {
  phase: string;
  round: number;
  /** Newest step that a checkpoint holds. */
  durableStep: number;
  /** By the plan; null where a later round has another. */
  numSteps: number | null;
  /** Generations that were opened: the next one is above them all. */
  numGenerations: number;
  finished: boolean;
}

/** What S3 remembers of a run. */
export interface Recoverable {
  run: string;
  input: PipelineInput;
  /** How Temporal knows it; null: not at all. */
  known: string | null;
  /** A dataset that was read, such as policy@1; null: the sources are read again. */
  dataset: string | null;
  corpus: string | null;
  recipe: { round: number; numParameters: number } | null;
  trainings: FoundTraining[];
  /** The version that it has registered already. */
  version: string | null;
  /** Who had paused it: an order that was meant for the lost execution. */
  pausedBy: string | null;
}

export interface RecoverRequest {
  run: string;
  /** Folder of the sources; left out, the recorded one. */
  baseDir?: string | undefined;
}

/** Whether a run may be called so. */
export function isRunName(run: string): boolean {
  return /^[a-z][a-z0-9-]{1,59}$/.test(run);
}

/** Looks for what is needed; refuses a run that goes on, has finished or is not known. Starts nothing. */
export async function findRecoverable(
  temporal: Client,
  store: Store,
  { run, baseDir }: RecoverRequest,
): Promise<Recoverable> {
  const isName = isRunName(run);
  const spec = isName ? await getRunRecord(store, run, 'spec', runSpecSchema) : null;
  const known = isName ? await stateInTemporal(temporal, run) : null;
  if (known === 'running') {
    throw new ClientError(
      'input',
      `run ${run} goes on: Temporal knows it as running, so there is nothing to recover. Watch it: npx temper status ${run} --watch`,
    );
  }
  if (known === 'completed') {
    throw new ClientError(
      'input',
      `run ${run} has finished: there is nothing to recover. npx temper status ${run} shows what it made.`,
    );
  }
  if (spec === null) throw await unknownRun({ temporal, store, run });
  const inputs = await getRunRecord(store, run, 'inputs', runInputsSchema);
  const input = inputOf(run, spec, inputs, baseDir);
  const recipe = await getRunRecord(store, run, 'plan', recipeSchema);
  const trainings: FoundTraining[] = [];
  for (const { phase, round, head } of await headsOf(store, run)) {
    const planned = recipe?.round === round ? recipe[phase as Phase] : null;
    trainings.push({
      phase,
      round,
      durableStep: head.chain.at(-1)?.step ?? 0,
      numSteps: planned?.numSteps ?? null,
      numGenerations: head.fence,
      finished: head.finished !== null,
    });
  }
  const control = await readRecord(store, `runs/${run}/control.json`, runControlSchema);
  const versions = await listVersions(store, input.pipeline.name);
  const version = versions.findLast(({ lineage }) => lineage.run === run) ?? null;
  const dataset = input.ingested?.dataset;
  return {
    run,
    input,
    known,
    dataset: dataset === undefined ? null : `${dataset.name}@${dataset.version}`,
    corpus: inputs?.corpus ?? null,
    recipe: recipe && { round: recipe.round, numParameters: recipe.numParameters },
    trainings,
    version: version && `${version.name}@${version.version}`,
    pausedBy: control?.value.paused?.by ?? null,
  };
}

/** Temporal's own word; null for a run that it does not know. */
async function stateInTemporal(temporal: Client, run: string): Promise<string | null> {
  try {
    const { status } = await temporal.workflow.getHandle(workflowId.pipeline(run)).describe();
    return status.name.toLowerCase();
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return null;
    throw error;
  }
}

/** What the lost execution was given, with what it found in place of what may have changed since. */
export function inputOf(
  run: string,
  spec: RunSpec,
  inputs: RunInputs | null,
  baseDir = spec.baseDir,
): PipelineInput {
  const parsed = pipelineSchema.safeParse(spec.pipeline);
  if (!parsed.success) {
    const faults = parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`);
    throw new ClientError(
      'input',
      `runs/${run}/spec.json holds a pipeline that this version of Temper cannot read (${faults.join('; ')}). Recover it with the version that started it.`,
    );
  }
  if (baseDir === undefined) {
    throw new ClientError(
      'input',
      `runs/${run}/spec.json was written by an older version of Temper, which did not keep the folder of the sources. Name it: npx temper recover ${run} --base-dir <folder>`,
    );
  }
  const ingested = spec.ingested ?? inputs?.ingested;
  const { startFrom, name } = parsed.data;
  // An alias may have moved since; the version that the run set out from is the one to follow.
  const pinned = inputs?.startFrom ?? startFrom;
  const parent = startFrom === `${name}@champion` ? /@(\d+)$/.exec(pinned)?.[1] : undefined;
  const own = parent === undefined ? undefined : Number(parent);
  const follows = spec.follows === undefined ? own : spec.follows;
  return {
    run,
    pipeline: { ...parsed.data, startFrom: pinned },
    baseDir,
    machine: spec.machine,
    ...(ingested && { ingested: { ...ingested, reused: true } }),
    ...(inputs?.corpus && { corpus: inputs.corpus }),
    ...(inputs?.given && { given: inputs.given }),
    ...(spec.challenge && { challenge: true }),
    ...(follows !== undefined && { follows }),
  };
}

const phaseOrder: readonly string[] = phaseNames;

/** The heads of a run's trainings, by round and phase. */
export async function headsOf(
  store: Store,
  run: string,
): Promise<{ phase: string; round: number; head: Head }[]> {
  const found = new Map<string, { phase: string; round: number; head: Head }>();
  for await (const { key } of store.list(`runs/${run}/`)) {
    const [, , phase, round, trial, file] = key.split('/');
    if (file !== 'head.json' || trial === undefined || found.has(`${phase}/${round}`)) continue;
    const at = { phase: phase!, round: Number(round) };
    const head = await readHead(store, {
      run,
      ...at,
      trial: await chosenTrial(store, { run, ...at }),
    });
    if (head !== null) found.set(`${phase}/${round}`, { ...at, head: head.value });
  }
  return [...found.values()].toSorted(
    (a, b) => a.round - b.round || phaseOrder.indexOf(a.phase) - phaseOrder.indexOf(b.phase),
  );
}
