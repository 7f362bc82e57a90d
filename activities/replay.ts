/**
 * Parts a corpus by what a model was trained on before: its own documents, which are trained on again at the share
 * that the pipeline file sets, and those that are new to it.
 */
import { ApplicationFailure } from '@temporalio/activity';
import { FailureType } from '../config/failures.ts';
import { corpusManifestSchema, type CorpusManifest } from '../config/manifests.ts';
import { putBlob, readBlob } from '../registry/blobs.ts';
import { readJob } from '../registry/jobs.ts';
import type { ParentModel } from '../registry/parents.ts';
import { findStage, recordStage, stageDigest } from '../registry/stages.ts';
import { codeVersion } from './code-version.ts';
import type { Deps } from './deps.ts';
import { withHeartbeats } from './heartbeats.ts';
import { requireStage } from './stage-records.ts';

export interface ReplayInput {
  /** Digest of the stage record of the corpus. */
  corpus: string;
  parent: Pick<ParentModel, 'name' | 'version' | 'pretrain'>;
}

type Shard = CorpusManifest['shards'][number];
interface Indexed {
  id: string;
  first: number;
  num: number;
  source?: number;
}

export function createReplayActivities(deps: Deps) {
  const { store } = deps;
  const code = codeVersion(deps.projectDir, ['activities/replay.ts']);

  async function indexOf({ index }: Shard): Promise<Indexed[]> {
    const lines = (await readBlob(store, index)).toString('utf8').split('\n');
    return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as Indexed);
  }

  /** Ids of the documents whose tokens a model was pretrained on last. */
  async function trainedOn({
    name,
    version,
    pretrain,
  }: ReplayInput['parent']): Promise<Set<string>> {
    const job = pretrain === null ? null : await readJob(store, pretrain);
    if (job === null) {
      throw ApplicationFailure.nonRetryable(
        `data.replay: what ${name}@${version} was pretrained on is not recorded. Remove replay, or start from another version.`,
        FailureType.InvalidConfig,
      );
    }
    const { shards, older } = await requireStage(
      store,
      'preprocess',
      job.corpus,
      corpusManifestSchema,
    );
    const ids = new Set<string>();
    for (const shard of [...shards, ...(older ?? [])])
      for (const { id } of await indexOf(shard)) ids.add(id);
    return ids;
  }

  /** The documents of a shard that are chosen, as a shard of their own; null where it has none. */
  async function chosenOf(
    shard: Shard,
    width: number,
    isChosen: (id: string) => boolean,
  ): Promise<Shard | null> {
    const index = await indexOf(shard);
    const chosen = index.filter(({ id }) => isChosen(id));
    if (chosen.length === 0) return null;
    if (chosen.length === index.length) return shard;
    const tokens = await readBlob(store, shard.tokens);
    const parts: Buffer[] = [];
    const lines: string[] = [];
    let first = 0;
    for (const { id, first: from, num, ...rest } of chosen) {
      // The token that ends a document stands behind it.
      const part = tokens.subarray(from * width, (from + num + 1) * width);
      lines.push(`${JSON.stringify({ first, id, num, ...rest })}\n`);
      parts.push(part);
      first += part.length / width;
    }
    return {
      tokens: await putBlob(store, Buffer.concat(parts)),
      index: await putBlob(store, Buffer.from(lines.join(''))),
      numDocuments: chosen.length,
      numTokens: first,
    };
  }

  async function part(corpus: string, parent: ReplayInput['parent'], stage: string): Promise<void> {
    const { name, version } = parent;
    const whole = await requireStage(store, 'preprocess', corpus, corpusManifestSchema);
    const known = await trainedOn(parent);
    const shards: Shard[] = [];
    const older: Shard[] = [];
    for (const shard of whole.shards) {
      const unknown = await chosenOf(shard, whole.tokenBytes, (id) => !known.has(id));
      const again = await chosenOf(shard, whole.tokenBytes, (id) => known.has(id));
      if (unknown !== null) shards.push(unknown);
      if (again !== null) older.push(again);
    }
    const missing = shards.length === 0 ? 'no document that is new to' : null;
    const found = missing ?? (older.length === 0 ? 'none of the documents of' : null);
    if (found !== null) {
      throw ApplicationFailure.nonRetryable(
        `data.replay: found ${found} ${name}@${version} among the sources, expected older and new ones. ` +
          'Name the older sources beside the new ones, or remove replay.',
        FailureType.InvalidConfig,
      );
    }
    await recordStage(store, 'preprocess', stage, corpusManifestSchema, {
      ...whole,
      shards,
      older,
    });
  }

  return {
    /** Resolves with the digest of the parted corpus, which is one like any other. */
    async partReplay({ corpus, parent }: ReplayInput): Promise<string> {
      const stage = stageDigest({ corpus, replay: { pretrain: parent.pretrain }, code });
      if ((await findStage(store, 'preprocess', stage, corpusManifestSchema)) !== null)
        return stage;
      await withHeartbeats({ kind: 'replay' }, async () => await part(corpus, parent, stage));
      return stage;
    },
  };
}
export type ReplayActivities = ReturnType<typeof createReplayActivities>;
