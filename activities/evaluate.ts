/**
 * Evaluates the bundle that would be served, through the server that would serve it: the server is
 * started on the bundle alone (its probe is the servability gate), then lm-evaluation-harness scores
 * through its API.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import type { BlobRef } from '../config/digest.ts';
import {
  bundleManifestSchema,
  corpusManifestSchema,
  type CorpusManifest,
  evaluationSchema,
  servingConfigSchema,
  type Evaluation,
  type EvaluationSummary,
} from '../config/manifests.ts';
import { evaluateRunSchema } from '../config/trainer.ts';
import { findStage, recordStage, stageDigest } from '../registry/stages.ts';
import { codeVersion } from './code-version.ts';
import type { Deps } from './deps.ts';
import { measureLatency } from './evaluate-latency.ts';
import { startServer } from './evaluate-server.ts';
import { cached, ensureFile } from './files.ts';
import { withHeartbeats, type Say } from './heartbeats.ts';
import { runTrainerModule } from './python.ts';
import { requireStage } from './stage-records.ts';
import { withWorkDir } from './work-dir.ts';

export interface EvaluateInput {
  /** Digest of the export's stage record. */
  exported: string;
  corpus: string;
  /** Bits per byte cost a pass over the held-out text, and say little of a model tuned to answer. */
  heldOut: boolean;
}

const outputSchema = evaluationSchema.pick({ metrics: true, samples: true });
/** The programs of an evaluation, each started anew from these files. */
const sources = ['trainer/**/*.py', 'serving/**/*.ts', 'requirements.txt'];

export function createEvaluateActivities(deps: Deps) {
  const { store } = deps;
  return {
    /** The answers that it read stay in the record of the stage: text of the corpus belongs into no history. */
    async evaluateModel(
      input: EvaluateInput,
    ): Promise<{ evaluation: EvaluationSummary; reused: boolean }> {
      const stage = stageDigest({ ...input, code: codeVersion(deps.projectDir, sources) });
      const found = await findStage(store, 'evaluate', stage, evaluationSchema);
      if (found !== null) return { evaluation: summarise(stage, found), reused: true };
      const made = await withHeartbeats({ kind: 'evaluate' }, (say) =>
        withWorkDir(deps, (folder) => evaluate(deps, input, folder, say)),
      );
      const recorded = await recordStage(store, 'evaluate', stage, evaluationSchema, made);
      return { evaluation: summarise(stage, recorded), reused: false };
    },
  };
}
export type EvaluateActivities = ReturnType<typeof createEvaluateActivities>;

function summarise(stage: string, { bundle, metrics, latency }: Evaluation): EvaluationSummary {
  return { stage, bundle, metrics, latency };
}

/** Instruction data where it has something to measure by; conversations alone ask no questions. */
function asked(
  { instructions }: CorpusManifest,
  number: 'numQuestions' | 'numPreferencesHeldOut',
): CorpusManifest['instructions'] | undefined {
  const nothing = instructions?.conversations !== undefined && instructions[number] === 0;
  return nothing ? undefined : instructions;
}

async function evaluate(
  deps: Deps,
  input: EvaluateInput,
  folder: string,
  say: Say,
): Promise<Evaluation> {
  const bundle = await requireStage(deps.store, 'export', input.exported, bundleManifestSchema);
  const corpus = await requireStage(deps.store, 'preprocess', input.corpus, corpusManifestSchema);
  const bundleDir = path.join(folder, 'bundle');
  for (const [name, ref] of Object.entries(bundle.files)) {
    await ensureFile(deps, ref, path.join(bundleDir, name));
  }
  const serving = servingConfigSchema.parse(
    JSON.parse(await readFile(path.join(bundleDir, 'serving.json'), 'utf8')),
  );
  const local = (ref: BlobRef | undefined) => (ref === undefined ? null : cached(deps, ref));
  const apiKeyFile = path.join(folder, 'api-key');
  await writeFile(apiKeyFile, `${randomBytes(24).toString('hex')}\n`, { mode: 0o600 });
  await using server = await startServer(deps, { bundle: bundleDir, apiKeyFile, say });
  const config = evaluateRunSchema.parse({
    schemaVersion: 1,
    baseUrl: server.url,
    apiKeyFile,
    modelName: server.name,
    tokenizer: path.join(bundleDir, 'tokenizer.json'),
    chatTemplate: path.join(bundleDir, 'chat_template.jinja'),
    contextLength: serving.contextLength,
    heldOut: input.heldOut ? await cached(deps, corpus.heldOut.documents) : null,
    questions: await local(asked(corpus, 'numQuestions')?.questions),
    preferences: await local(asked(corpus, 'numPreferencesHeldOut')?.preferencesHeldOut),
    chat: serving.chat,
    workDir: folder,
    output: path.join(folder, 'evaluation.json'),
  });
  await runTrainerModule(deps, 'evaluate', config, folder, say);
  const { metrics, samples } = outputSchema.parse(
    JSON.parse(await readFile(config.output, 'utf8')),
  );
  say({ kind: 'latency' });
  const latency = await measureLatency(server, apiKeyFile);
  return {
    schemaVersion: 1,
    bundle: stageDigest(bundle),
    metrics,
    latency: { ...latency, probeDifference: server.probeDifference },
    samples,
  };
}
