/**
 * Evaluates the bundle that would be served, through the server that would serve it: the server is
 * started on the bundle alone (its probe is the servability gate), then lm-evaluation-harness scores
 * through its API.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { ApplicationFailure, Context } from '@temporalio/activity';
import { execa } from 'execa';
import { z } from 'zod';
import type { BlobRef } from '../config/digest.ts';
import { FailureType } from '../config/failures.ts';
import {
  bundleManifestSchema,
  corpusManifestSchema,
  evaluationSchema,
  servingConfigSchema,
  type Evaluation,
} from '../config/manifests.ts';
import { evaluateRunSchema } from '../config/trainer.ts';
import { findStage, recordStage, stageDigest } from '../registry/stages.ts';
import { codeVersion } from './code-version.ts';
import type { Deps } from './deps.ts';
import { cached, ensureFile } from './files.ts';
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
const readySchema = z.union([
  z.looseObject({ ok: z.literal(true), url: z.url(), probeDifference: z.number() }),
  z.looseObject({ ok: z.literal(false), message: z.string() }),
]);

export function createEvaluateActivities(deps: Deps) {
  const { store } = deps;
  return {
    async evaluateModel(
      input: EvaluateInput,
    ): Promise<{ evaluation: Evaluation; reused: boolean }> {
      const stage = stageDigest({
        ...input,
        code: codeVersion(deps.projectDir, [
          'trainer/**/*.py',
          'serving/**/*.ts',
          'requirements.txt',
        ]),
      });
      const found = await findStage(store, 'evaluate', stage, evaluationSchema);
      if (found !== null) return { evaluation: found, reused: true };
      const bundle = await requireStage(store, 'export', input.exported, bundleManifestSchema);
      const corpus = await requireStage(store, 'preprocess', input.corpus, corpusManifestSchema);
      const evaluation = await withWorkDir(deps, async (folder): Promise<Evaluation> => {
        const bundleDir = path.join(folder, 'bundle');
        for (const [name, ref] of Object.entries(bundle.files)) {
          await ensureFile(deps, ref, path.join(bundleDir, name));
        }
        const serving = servingConfigSchema.parse(
          JSON.parse(await readFile(path.join(bundleDir, 'serving.json'), 'utf8')),
        );
        const fetch = (ref: BlobRef | undefined) => (ref === undefined ? null : cached(deps, ref));
        const apiKeyFile = path.join(folder, 'api-key');
        await writeFile(apiKeyFile, `${randomBytes(24).toString('hex')}\n`, { mode: 0o600 });
        await using server = await startServer(deps, bundleDir, apiKeyFile);
        const config = evaluateRunSchema.parse({
          schemaVersion: 1,
          baseUrl: server.url,
          apiKeyFile,
          modelName: 'candidate',
          tokenizer: path.join(bundleDir, 'tokenizer.json'),
          contextLength: serving.contextLength,
          heldOut: input.heldOut ? await cached(deps, corpus.heldOut.documents) : null,
          questions: await fetch(corpus.instructions?.questions),
          preferences: await fetch(corpus.instructions?.preferencesHeldOut),
          chat: serving.chat,
          workDir: folder,
          output: path.join(folder, 'evaluation.json'),
        });
        await runTrainerModule(deps, 'evaluate', config, folder);
        const { metrics, samples } = outputSchema.parse(
          JSON.parse(await readFile(config.output, 'utf8')),
        );
        return {
          schemaVersion: 1,
          bundle: stageDigest(bundle),
          metrics,
          latency: {
            ...(await measureLatency(server.url, apiKeyFile)),
            probeDifference: server.probeDifference,
          },
          samples,
        };
      });
      return {
        evaluation: await recordStage(store, 'evaluate', stage, evaluationSchema, evaluation),
        reused: false,
      };
    },
  };
}
export type EvaluateActivities = ReturnType<typeof createEvaluateActivities>;

interface EvaluationServer extends AsyncDisposable {
  url: string;
  probeDifference: number;
}

/** The server ends with its standard input, so it cannot outlive this worker. */
async function startServer(
  deps: Deps,
  bundle: string,
  apiKeyFile: string,
): Promise<EvaluationServer> {
  const context = Context.current();
  const child = execa(
    process.execPath,
    [
      'serving/local.ts',
      '--bundle',
      bundle,
      '--name',
      'candidate',
      '--api-key-file',
      apiKeyFile,
      '--port',
      '0',
    ],
    {
      cwd: deps.projectDir,
      stdin: 'pipe',
      stderr: 'inherit',
      buffer: false,
      reject: false,
      forceKillAfterDelay: 5000,
    },
  );
  const stop = async () => {
    child.kill('SIGTERM');
    await child;
  };
  try {
    // Not the child's own iterator: leaving it would wait for the child to end.
    for await (const line of createInterface({ input: child.stdout })) {
      context.heartbeat({ kind: 'serve', line: line.slice(0, 200) });
      const ready = readySchema.safeParse(parseJson(line));
      if (!ready.success) continue;
      if (!ready.data.ok) {
        throw ApplicationFailure.nonRetryable(ready.data.message, FailureType.ModelNotServable);
      }
      const { url, probeDifference } = ready.data;
      child.stdout.resume();
      return { url, probeDifference, [Symbol.asyncDispose]: stop };
    }
    throw new Error(`the server for ${bundle} ended before it was ready`);
  } catch (error) {
    await stop();
    throw error;
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const completionSchema = z.looseObject({ usage: z.looseObject({ completion_tokens: z.number() }) });

/** One stream of greedy decoding, the median of five: time to the first token, and tokens a second after it. */
async function measureLatency(
  url: string,
  apiKeyFile: string,
): Promise<{ firstTokenMs: number; tokensPerSecond: number }> {
  const key = (await readFile(apiKeyFile, 'utf8')).trim();
  const ask = async (maxTokens: number) => {
    const startedAt = performance.now();
    const response = await fetch(`${url}/v1/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify({
        model: 'candidate',
        prompt: 'The state of the union',
        max_tokens: maxTokens,
        temperature: 0,
      }),
    });
    if (!response.ok) throw new Error(`latency: the server answered ${response.status}`);
    const { usage } = completionSchema.parse(await response.json());
    return { ms: performance.now() - startedAt, numTokens: usage.completion_tokens };
  };
  const median = (values: number[]) =>
    values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
  const first: number[] = [];
  const rates: number[] = [];
  for (let round = 0; round < 5; round += 1) {
    const one = await ask(1);
    const many = await ask(64);
    first.push(one.ms);
    if (many.numTokens > 1)
      rates.push(((many.numTokens - 1) / Math.max(1, many.ms - one.ms)) * 1000);
  }
  return { firstTokenMs: median(first), tokensPerSecond: rates.length === 0 ? 0 : median(rates) };
}
