/** What this node served last, on its own disk: with it, a restart needs neither S3 nor anybody else. */
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import type { Deployment } from '../config/manifests.ts';
import { deploymentSchema } from '../config/manifests.ts';

const lastGoodSchema = z.strictObject({
  schemaVersion: z.literal(1),
  deployments: z.record(z.string(), deploymentSchema),
});

export interface LastGood {
  all(): Deployment[];
  /** Written aside and renamed, so that a crash leaves the old state or the new one. */
  set(deployment: Deployment): Promise<void>;
}

/** A file that cannot be read counts as none: the registry then says what to serve. */
export async function openLastGood(file: string): Promise<LastGood> {
  let deployments: Record<string, Deployment> = {};
  try {
    deployments = lastGoodSchema.parse(JSON.parse(await readFile(file, 'utf8'))).deployments;
  } catch {
    // Nothing served yet.
  }
  let writing = Promise.resolve();

  async function write(): Promise<void> {
    await mkdir(path.dirname(file), { recursive: true });
    const aside = `${file}.${process.pid}`;
    const handle = await open(aside, 'w');
    try {
      await handle.writeFile(JSON.stringify({ schemaVersion: 1, deployments }));
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(aside, file);
  }

  return {
    all: () => Object.values(deployments),
    set(deployment) {
      deployments = { ...deployments, [deployment.endpoint]: deployment };
      writing = writing.catch(() => {}).then(write);
      return writing;
    },
  };
}
