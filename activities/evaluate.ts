/**
 * Evaluates the bundle that would be served, through the server that would serve it: the server is
 * started on the bundle alone (its probe is the servability gate), then lm-evaluation-harness scores
 * through its API. A model that embeds text is scored by its hidden words and by what it finds.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { ApplicationFailure } from '@temporalio/activity';
import type { BlobRef } from '../config/digest.ts';
import { FailureType } from '../config/failures.ts';
import {
  bundleConfigSchema,
  bundleManifestSchema,
  corpusManifestSchema,
  evaluationSchema,
  servesEmbeddings,
  type BundleManifest,
  type CorpusManifest,
  type EmbeddingConfig,
  type Evaluation,
  type EvaluationSummary,
} from '../config/manifests.ts';
import { evaluateEncoderRunSchema, evaluateRunSchema } from '../config/trainer.ts';
import { blobKey } from '../registry/blobs.ts';
import { findStage, recordStage, stageDigest } from '../registry/stages.ts';
import { codeVersion } from './code-version.ts';
import type { Deps } from './deps.ts';
import { measureEmbedding, measureLatency } from './evaluate-latency.ts';
import { startServer, type EvaluationServer } from './evaluate-server.ts';
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
const sources = [
  'trainer/**/*.py',
  'serving/**/*.ts',
  // What the server makes of tokens is what it answers.
  'config/token-bytes.ts',
  'requirements.txt',
];

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
  const serving = bundleConfigSchema.parse(
    JSON.parse(await readFile(path.join(bundleDir, 'serving.json'), 'utf8')),
  );
  const local = (ref: BlobRef | undefined) => (ref === undefined ? null : cached(deps, ref));
  const apiKeyFile = path.join(folder, 'api-key');
  await writeFile(apiKeyFile, `${randomBytes(24).toString('hex')}\n`, { mode: 0o600 });
  await using server = await startServer(deps, { bundle: bundleDir, apiKeyFile, say });
  const measured = (found: Measured, latency: Latency): Evaluation => ({
    schemaVersion: 1,
    bundle: stageDigest(bundle),
    ...found,
    latency: { ...latency, probeDifference: server.probeDifference },
  });
  if (servesEmbeddings(serving)) {
    const from = { bundle, corpus, serving, server, bundleDir, apiKeyFile, folder };
    const found = await scoreEncoder(deps, from, say);
    say({ kind: 'latency' });
    const { contextLength } = serving;
    return measured(found, await measureEmbedding(server, { contextLength, apiKeyFile }));
  }
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
  const found = outputSchema.parse(JSON.parse(await readFile(config.output, 'utf8')));
  say({ kind: 'latency' });
  return measured(found, await measureLatency(server, apiKeyFile));
}

type Measured = Pick<Evaluation, 'metrics' | 'samples'>;
type Latency = Omit<Evaluation['latency'], 'probeDifference'>;

/** Its head is no part of what is served, so it comes from the weights that the bundle was made of. */
async function scoreEncoder(
  deps: Deps,
  from: {
    bundle: BundleManifest;
    corpus: CorpusManifest;
    serving: EmbeddingConfig;
    server: EvaluationServer;
    bundleDir: string;
    apiKeyFile: string;
    folder: string;
  },
  say: Say,
): Promise<Measured> {
  const { bundle, corpus, serving, server, bundleDir, apiKeyFile, folder } = from;
  const { tokens, numTokens, bytes } = corpus.heldOut;
  const size = await deps.store.size(blobKey(bundle.weights));
  if (size === null) {
    throw ApplicationFailure.nonRetryable(
      `${blobKey(bundle.weights)}, the weights of the bundle, is gone from ${deps.store.place}. Restore the bucket.`,
      FailureType.ArtifactMismatch,
    );
  }
  const config = evaluateEncoderRunSchema.parse({
    schemaVersion: 1,
    baseUrl: server.url,
    apiKeyFile,
    modelName: server.name,
    bundle: bundleDir,
    weights: await cached(deps, { sha256: bundle.weights, bytes: size }),
    contextLength: serving.contextLength,
    heldOut: { path: await cached(deps, tokens), numTokens, bytes },
    tokenBytes: corpus.tokenBytes,
    output: path.join(folder, 'evaluation.json'),
  });
  await runTrainerModule(deps, 'evaluate_encoder', config, folder, say);
  return outputSchema.parse(JSON.parse(await readFile(config.output, 'utf8')));
}
