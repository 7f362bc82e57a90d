/** Bundles on this host's disk: downloaded once, verified whenever an engine is to start on them. */
import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { BlobRef } from '../config/digest.ts';
import type { BundleManifest } from '../config/manifests.ts';
import { bundleManifestSchema } from '../config/manifests.ts';
import { downloadBlob } from '../registry/blobs.ts';
import { stageDigest } from '../registry/stages.ts';
import type { Store } from '../registry/store.ts';
import { UnservableError } from './errors.ts';

const manifestFile = 'manifest.json';
const numKept = 4;

export interface BundleCache {
  /** The verified folder of a bundle, or null when it is not (or no longer) whole on this disk. */
  find(digest: string): Promise<string | null>;
  /** As `find`, downloading what is not there. */
  fetch(store: Store, digest: string, manifest: BundleManifest): Promise<string>;
  /** Removes the bundles used longest ago, never those named. */
  prune(keep: ReadonlySet<string>): Promise<void>;
}

/** SHA-256 and length of a file. */
export async function describeFile(file: string): Promise<BlobRef> {
  const hash = createHash('sha256');
  let bytes = 0;
  await pipeline(createReadStream(file, { highWaterMark: 2 ** 20 }), async (chunks) => {
    for await (const chunk of chunks as AsyncIterable<Buffer>) {
      hash.update(chunk);
      bytes += chunk.length;
    }
  });
  return { sha256: hash.digest('hex'), bytes };
}

/** The cache in `root`, one folder a bundle, named by its digest; what a crash left half done is removed. */
export async function openBundleCache(root: string): Promise<BundleCache> {
  await mkdir(root, { recursive: true });
  const leftovers = (await readdir(root)).filter((name) => name.endsWith('.part'));
  for (const name of leftovers) await rm(path.join(root, name), { recursive: true, force: true });

  async function find(digest: string): Promise<string | null> {
    const folder = path.join(root, digest);
    try {
      const manifest = bundleManifestSchema.parse(
        JSON.parse(await readFile(path.join(folder, manifestFile), 'utf8')),
      );
      if (stageDigest(manifest) !== digest) return null;
      for (const [name, ref] of Object.entries(manifest.files)) {
        if ((await describeFile(path.join(folder, name))).sha256 !== ref.sha256) return null;
      }
      await utimes(folder, new Date(), new Date());
      return folder;
    } catch {
      return null;
    }
  }

  return {
    find,
    async fetch(store, digest, manifest) {
      const found = await find(digest);
      if (found !== null) return found;
      if (stageDigest(manifest) !== digest) {
        throw new UnservableError(
          `bundle ${digest}: the model version's manifest has digest ${stageDigest(manifest)}. Declare the deployment again.`,
        );
      }
      const folder = path.join(root, digest);
      const aside = `${folder}.${randomUUID()}.part`;
      try {
        await mkdir(aside, { recursive: true });
        for (const [name, ref] of Object.entries(manifest.files)) {
          if (!/^[A-Za-z0-9_][A-Za-z0-9._-]*$/.test(name) || name === manifestFile) {
            throw new UnservableError(
              `bundle ${digest}: ${JSON.stringify(name)} is no name for a file in it`,
            );
          }
          await downloadBlob(store, ref, path.join(aside, name));
        }
        await writeFile(path.join(aside, manifestFile), JSON.stringify(manifest));
        // What is there under that name was found damaged.
        await rm(folder, { recursive: true, force: true });
        await rename(aside, folder);
      } finally {
        await rm(aside, { recursive: true, force: true });
      }
      return folder;
    },
    async prune(keep) {
      const entries = await readdir(root, { withFileTypes: true });
      const names = entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
      const dated = await Promise.all(
        names.map(async (name) => ({ name, at: (await stat(path.join(root, name))).mtimeMs })),
      );
      const old = dated
        .filter(({ name }) => /^[0-9a-f]{64}$/.test(name) && !keep.has(name))
        .toSorted((a, b) => b.at - a.at)
        .slice(Math.max(0, numKept - keep.size));
      for (const { name } of old) await rm(path.join(root, name), { recursive: true, force: true });
    },
  };
}
