/**
 * What a schedule starts: reads the sources, ends at once when the champion knows them all, else goes on
 * pretraining from the champion and puts the challenger in its place only if it is not worse.
 */
import {
  ActivityFailure,
  ApplicationFailure,
  ChildWorkflowFailure,
  executeChild,
  log,
  proxyActivities,
  setCurrentDetails,
  workflowInfo,
} from '@temporalio/workflow';
import type { IngestActivities, IngestResult } from '../activities/ingest.ts';
import type { GateFailure, ParentModel, PlanActivities } from '../activities/plan.ts';
import type { ReleaseActivities } from '../activities/release.ts';
import { FailureType } from '../config/failures.ts';
import { control, ingesting } from './activity-options.ts';
import {
  runOfStart,
  workflowId,
  type ContinuousInput,
  type ContinuousResult,
  type PipelineResult,
} from './messages.ts';
import { pipelineWorkflow } from './pipeline.ts';
import { readDocuments } from './read-documents.ts';
import { datasetAttribute, modelAttribute, runAttribute } from './search-attributes.ts';

const { ingestCorpus } = proxyActivities<IngestActivities>({
  ...ingesting,
  summary: 'read the sources: is there anything new?',
});
const { findDataset } = proxyActivities<IngestActivities>({
  ...ingesting,
  summary: 'look up the dataset: is there anything new?',
});
const { findChampion, findSuccessor } = proxyActivities<PlanActivities>({
  ...control,
  summary: 'look up the champion',
});
const { promoteModel } = proxyActivities<ReleaseActivities>({
  ...control,
  summary: 'move the alias champion',
});

export async function continuousPretrainingWorkflow(
  input: ContinuousInput,
): Promise<ContinuousResult> {
  const { pipeline, baseDir } = input;
  const { workflowId: id, startTime } = workflowInfo();
  const run = runOfStart(id, startTime);
  const champion = await findChampion({ model: pipeline.name });
  const ingested = await readDocuments({ run, pipeline, baseDir }, { findDataset, ingestCorpus });
  const result = await decide(input, run, champion, ingested);
  setCurrentDetails(result.reason);
  log.info('continuous pretraining ended', { run, outcome: result.outcome, reason: result.reason });
  return result;
}

async function decide(
  input: ContinuousInput,
  run: string,
  champion: ParentModel | null,
  ingested: IngestResult,
): Promise<ContinuousResult> {
  if (champion === null) return await challenge(input, run, champion, ingested);
  const { name, version } = champion;
  const dataset = ingested.dataset.digest;
  if (champion.dataset.digest === dataset) return nothingNew(champion, ingested);
  // Somebody put the champion back: the same challenge would give the same version again, every night.
  const successor = await findSuccessor({ name, version, dataset });
  if (successor === null) return await challenge(input, run, champion, ingested);
  const reason =
    `kept champion ${nameOf(champion)}: ${name}@${successor} was made from it of the same documents, ` +
    `and does not serve. Promote it (npx temper models promote ${name}@${successor}), or add documents.`;
  return { outcome: 'kept', reason, run: null, champion: versionOf(champion) };
}

function nothingNew(champion: ParentModel, { numDocuments }: IngestResult): ContinuousResult {
  const documents = numDocuments.toLocaleString('en-US');
  return {
    outcome: 'nothing-new',
    reason: `nothing new since ${nameOf(champion)}: ${documents} documents, the same digest`,
    run: null,
    champion: versionOf(champion),
  };
}

async function challenge(
  { pipeline, baseDir, machine }: ContinuousInput,
  run: string,
  champion: ParentModel | null,
  ingested: IngestResult,
): Promise<ContinuousResult> {
  const { name } = pipeline;
  const startFrom = champion === null ? firstStart(pipeline) : nameOf(champion);
  setCurrentDetails(`something new: run \`${run}\` starts from ${startFrom}`);
  // The champion has an architecture and a tokenizer of its own.
  const { model: _model, tokenizer: _tokenizer, ...onward } = pipeline;
  try {
    const made = await executeChild(pipelineWorkflow, {
      workflowId: workflowId.pipeline(run),
      staticSummary: `${name}: ${ingested.dataset.name}@${ingested.dataset.version}, from ${startFrom}`,
      typedSearchAttributes: [
        { key: runAttribute, value: run },
        { key: modelAttribute, value: name },
        { key: datasetAttribute, value: ingested.dataset.name },
      ],
      args: [
        {
          run,
          pipeline: { ...(champion === null ? pipeline : onward), startFrom },
          baseDir,
          machine,
          ingested,
          challenge: champion !== null,
          follows: champion?.version ?? null,
        },
      ],
    });
    const { version } = made.model;
    const reason = whyPromoted(made);
    // An endpoint's own workflow has moved the alias, to what it serves.
    if (made.endpoint === null) {
      const expectedChampion = champion?.version ?? null;
      await promoteModel({ model: name, version, by: `run ${run}`, reason, expectedChampion });
    }
    return { outcome: 'promoted', reason, run, champion: { name, version } };
  } catch (failure) {
    const kept = whyKept(failure, champion && versionOf(champion), name);
    if (kept === null) throw failure;
    const reason = `kept champion ${nameOf(kept.champion)}: ${kept.why}`;
    return { outcome: 'kept', reason, run, champion: kept.champion };
  }
}

/** Before there is a champion, what the file says; a champion of its own it cannot have meant yet. */
function firstStart({ name, startFrom }: ContinuousInput['pipeline']): string {
  return startFrom === `${name}@champion` ? 'scratch' : startFrom;
}

/** Why the champion stays, and which one that is by now; null for a failure of another kind. */
function whyKept(
  failure: unknown,
  champion: ContinuousResult['champion'] | null,
  name: string,
): { why: string; champion: ContinuousResult['champion'] } | null {
  const root = rootOf(failure);
  if (root?.type === FailureType.ChampionMoved) {
    const [version] = (root.details ?? []) as [number | null];
    return version === null ? null : { why: root.message, champion: { name, version } };
  }
  if (root?.type !== FailureType.EvaluationGateFailed || champion === null) return null;
  const [missed] = (root.details ?? []) as [GateFailure[]?];
  const lost = missed?.find(({ rival }) => rival !== undefined);
  if (lost?.rival === undefined || lost.value === null) return { why: root.message, champion };
  const { rival } = lost;
  const whose =
    nameOf(rival) === nameOf(champion) ? '' : ` of ${nameOf(rival)}, the best of its line`;
  const figures = `${lost.value.toFixed(3)} > ${rival.value.toFixed(3)} bits a byte`;
  return { why: `challenger ${figures}${whose}`, champion };
}

/** What an activity or the pipeline itself threw. */
function rootOf(failure: unknown): ApplicationFailure | null {
  if (failure instanceof ChildWorkflowFailure || failure instanceof ActivityFailure) {
    return rootOf(failure.cause);
  }
  return failure instanceof ApplicationFailure ? failure : null;
}

function whyPromoted({ model, rival, evaluations }: PipelineResult): string {
  const base = evaluations.find(({ stage }) => stage === 'evaluate-base');
  const value = base?.evaluation.metrics['valBpb']?.value;
  const figure = value === undefined ? '' : `: ${value.toFixed(3)} bits a byte on held-out text`;
  const other =
    rival === undefined ? '' : `, ${nameOf(rival)} ${rival.valBpb?.toFixed(3) ?? 'unknown'}`;
  const promoted = rival === undefined ? 'is the first champion' : 'is champion';
  return `${nameOf(model)} ${promoted}${figure}${other}`;
}

function nameOf({ name, version }: { name: string; version: number }): string {
  return `${name}@${version}`;
}

function versionOf({ name, version }: ParentModel): ContinuousResult['champion'] {
  return { name, version };
}
