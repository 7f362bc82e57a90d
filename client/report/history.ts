/**
 * Traces a run in Temporal's history: every activity and child workflow with what it was given and what it
 * answered. Needs no worker; a query of the run's own board is added where one answers.
 */
import type { Client } from '@temporalio/client';
import { defaultPayloadConverter, WorkflowNotFoundError } from '@temporalio/common';
import { z } from 'zod';
import { evaluationSchema, modelManifestSchema, type RateChange } from '../../config/manifests.ts';
import { pipelineSchema } from '../../config/pipeline.ts';
import { machineSchema, recipeSchema } from '../../config/recipe.ts';
import { workflowId, type StageName } from '../../workflows/messages.ts';
import { readLiveStatus, stageOfPhase } from '../live-status.ts';
import { evaluationAfter, nothingTraced, type Trace } from './trace.ts';

/** One activity or child workflow of the run. */
interface Call {
  name: string;
  input: unknown;
  result: unknown;
}

const datasetSchema = z.looseObject({
  name: z.string(),
  version: z.number(),
  digest: z.string(),
});
const inputSchema = z.looseObject({
  pipeline: z.unknown(),
  machine: machineSchema,
  ingested: z.looseObject({ dataset: datasetSchema }).optional(),
});
const trainingSchema = z.looseObject({
  round: z.number(),
  recipe: z.looseObject({ phase: z.string() }),
});
const modelSchema = z.looseObject({
  phase: z.string(),
  stage: z.string(),
  weights: z.string(),
  numSteps: z.number(),
  numTokens: z.number(),
  finalLoss: z.number(),
  reused: z.boolean(),
  learningRates: z.array(z.looseObject({ step: z.number(), scale: z.number() })).default([]),
  adapted: modelManifestSchema.shape.adapted,
});
const parentSchema = z.looseObject({
  name: z.string(),
  version: z.number(),
  pretrain: z.string(),
  anchor: z.looseObject({ pretrain: z.string() }).optional(),
});
const baseSchema = z.looseObject({
  name: z.string(),
  title: z.string(),
  license: z.string().nullable(),
  stage: z.string(),
  weights: z.string(),
});
const exportInputSchema = z.looseObject({
  model: z.looseObject({ phase: z.string(), stage: z.string().optional() }),
});
const exportSchema = z.looseObject({ stage: z.string(), bundle: z.string(), onnx: z.string() });
/** What travels of an evaluation; its samples stay in the registry. */
const summarySchema = z.looseObject({
  stage: z.string().optional(),
  ...evaluationSchema.pick({ bundle: true, metrics: true, latency: true }).shape,
  samples: evaluationSchema.shape.samples.default([]),
});
const failureSchema = z.looseObject({
  metric: z.string(),
  value: z.number().nullable(),
  min: z.number().optional(),
  max: z.number().optional(),
});
const planInputSchema = z.looseObject({
  previous: z.looseObject({ recipe: recipeSchema, failures: z.array(failureSchema) }).nullable(),
});

/** Everything that Temporal knows of a run; null when it knows no such run. */
export async function traceHistory(client: Client, run: string): Promise<Trace | null> {
  let status;
  try {
    status = await readLiveStatus(client, run);
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return null;
    throw error;
  }
  const { input, calls } = await readCalls(client, workflowId.pipeline(run));
  const missing: string[] = [];
  if (status.stages.length === 0) {
    missing.push('The control worker does not answer: times and notes of the stages are left out.');
  }
  const started = inputSchema.safeParse(input);
  const trace: Trace = {
    ...nothingTraced(),
    state: status.state,
    failure: status.failure,
    startedAt: status.startedAt,
    endedAt: status.endedAt,
    pipeline: started.success
      ? (pipelineSchema.safeParse(started.data.pipeline).data ?? null)
      : null,
    machine: started.success ? started.data.machine : null,
    dataset: started.data?.ingested?.dataset ?? null,
    stages: status.stages,
    notes: status.notes,
    training: status.training,
    model: status.result?.model ?? null,
    endpoint: status.result?.endpoint ?? null,
    missing,
  };
  for (const call of calls) readCall(trace, call);
  return trace;
}

/** Adds what one call tells. What another version of Temper wrote, and this one cannot read, is passed over. */
function readCall(trace: Trace, { name, input, result }: Call): void {
  switch (name) {
    case 'findDataset':
    case 'ingestCorpus': {
      const found = z.looseObject({ dataset: datasetSchema }).safeParse(result);
      if (found.success) trace.dataset = found.data.dataset;
      return;
    }
    case 'findParent': {
      const found = parentSchema.safeParse(result);
      if (!found.success) return;
      const { name: model, version, pretrain, anchor } = found.data;
      trace.parent = { name: model, version, pretrain };
      trace.rivals = [pretrain, ...(anchor === undefined ? [] : [anchor.pretrain])];
      return;
    }
    case 'importBaseModel': {
      const found = baseSchema.safeParse(result);
      if (!found.success) return;
      const { name: from, title, license, stage, weights } = found.data;
      trace.base = { name: from, title, license, stage, weights };
      return;
    }
    case 'writeRehearsal':
      if (typeof result === 'string') trace.rehearsal = result;
      return;
    case 'preprocessWorkflow': {
      const found = z.looseObject({ corpus: z.string() }).safeParse(result);
      if (found.success) trace.corpus = found.data.corpus;
      return;
    }
    case 'planTraining': {
      const asked = planInputSchema.safeParse(input);
      if (asked.success && asked.data.previous !== null) {
        const { recipe, failures } = asked.data.previous;
        trace.failedGates.push({ round: recipe.round, failures: failures.map(describeFailure) });
      }
      const found = recipeSchema.safeParse(result);
      if (found.success) trace.recipes.push(found.data);
      return;
    }
    case 'trainingWorkflow': {
      const asked = trainingSchema.safeParse(input);
      if (!asked.success) return;
      const { round } = asked.data;
      addTrial(trace, asked.data.recipe.phase, round);
      const found = modelSchema.safeParse(result);
      if (!found.success) return;
      const learningRates = inOrder(found.data.learningRates);
      trace.models.push({ ...found.data, round, learningRates });
      return;
    }
    case 'trialWorkflow': {
      const asked = trainingSchema.safeParse(input);
      if (asked.success) addTrial(trace, asked.data.recipe.phase, asked.data.round);
      return;
    }
    case 'exportOnnx': {
      const asked = exportInputSchema.safeParse(input);
      const found = exportSchema.safeParse(result);
      if (asked.success && found.success) {
        const { stage, bundle, onnx } = found.data;
        // Those that it must equal, measured beside it, are no part of this model.
        if (trace.rivals.includes(asked.data.model.stage ?? '')) {
          trace.rivalExports.push(stage);
          return;
        }
        trace.exports.push({ phase: asked.data.model.phase, stage, bundle, onnx });
      }
      return;
    }
    case 'evaluateModel': {
      const asked = z.looseObject({ exported: z.string() }).safeParse(input);
      const found = z.looseObject({ evaluation: summarySchema }).safeParse(result);
      if (!asked.success || !found.success) return;
      const { exported } = asked.data;
      if (trace.rivalExports.includes(exported)) return;
      const phase = trace.exports.findLast(({ stage }) => stage === exported)?.phase ?? 'pretrain';
      const stage = evaluationAfter[phase]!;
      const { stage: record = null, bundle, metrics, latency, samples } = found.data.evaluation;
      const others = trace.evaluations.filter((earlier) => earlier.stage !== stage);
      const evaluation = { schemaVersion: 1 as const, bundle, metrics, latency, samples };
      trace.evaluations = [...others, { stage, record, evaluation }];
      return;
    }
    case 'registerModelVersion': {
      const asked = z.looseObject({ name: z.string() }).safeParse(input);
      const found = z.looseObject({ version: z.number(), reused: z.boolean() }).safeParse(result);
      if (!asked.success || !found.success) return;
      const { version, reused } = found.data;
      trace.model = { name: asked.data.name, version, reused };
      return;
    }
    case 'requestDeployment': {
      const asked = z.looseObject({ endpoint: z.string() }).safeParse(input);
      if (asked.success && result !== undefined) trace.endpoint = asked.data.endpoint;
    }
  }
}

/** Once, however many rates are tried of it. */
function addTrial({ trials }: Trace, phase: string, round: number): void {
  if (trials.some((one) => one.phase === phase && one.round === round)) return;
  trials.push({ phase, round });
}

/** By step; of two orders that were obeyed at one step, the later counts. */
function inOrder(changes: readonly RateChange[]): RateChange[] {
  const byStep = new Map(changes.map(({ step, scale }) => [step, scale]));
  return [...byStep].map(([step, scale]) => ({ step, scale })).toSorted((a, b) => a.step - b.step);
}

function describeFailure({ metric, value, min, max }: z.infer<typeof failureSchema>): string {
  if (value === null) return `${metric} was not measured`;
  const bound = min !== undefined && value < min ? `below ${min}` : `above ${max}`;
  return `${metric} ${value.toFixed(3)} is ${bound}`;
}

/** The calls of a workflow in the order in which they were made. */
async function readCalls(client: Client, id: string): Promise<{ input: unknown; calls: Call[] }> {
  const history = await client.workflow.getHandle(id).fetchHistory();
  let input: unknown;
  const calls = new Map<string, Call>();
  for (const event of history.events ?? []) {
    const eventId = String(event.eventId);
    const started = event.workflowExecutionStartedEventAttributes;
    const activity = event.activityTaskScheduledEventAttributes;
    const child = event.startChildWorkflowExecutionInitiatedEventAttributes;
    const activityDone = event.activityTaskCompletedEventAttributes;
    const childDone = event.childWorkflowExecutionCompletedEventAttributes;
    if (started) input = firstPayload(started.input);
    if (activity) {
      const name = activity.activityType?.name ?? '';
      calls.set(eventId, { name, input: firstPayload(activity.input), result: undefined });
    }
    if (child) {
      const name = child.workflowType?.name ?? '';
      calls.set(eventId, { name, input: firstPayload(child.input), result: undefined });
    }
    const done = activityDone ?? childDone;
    if (!done) continue;
    const call = calls.get(
      String(activityDone ? activityDone.scheduledEventId : childDone?.initiatedEventId),
    );
    if (call !== undefined) call.result = firstPayload(done.result);
  }
  return { input, calls: [...calls.values()] };
}

type Payload = Parameters<typeof defaultPayloadConverter.fromPayload>[0];

function firstPayload(payloads: { payloads?: Payload[] | null } | null | undefined): unknown {
  const payload = payloads?.payloads?.[0];
  return payload ? defaultPayloadConverter.fromPayload(payload) : undefined;
}

/** Stage that a phase belongs to. */
export function stageOf(phase: string): StageName {
  return stageOfPhase[phase] ?? 'pretrain';
}
