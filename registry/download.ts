/** Objects into files: hashed on the way, and a file appears under its name only when it is whole and right. */
import { createHash, randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { Transform, type Readable } from 'node:stream';
import { GetObjectCommand } from '@aws-sdk/client-s3';
import { ArtifactMismatch } from './errors.ts';
import { isMissing, type Connection } from './requests.ts';

/** False when there is no such key. `sha256`, unless null, decides whether the file may appear. */
export async function downloadFile(
  { client, requests, bucket }: Connection,
  key: string,
  file: string,
  sha256: string | null,
): Promise<boolean> {
  await mkdir(path.dirname(file), { recursive: true });
  const temporary = `${file}.${randomUUID()}.part`;
  try {
    const found = await requests.send(`a download of ${key}`, async () => {
      const hash = createHash('sha256');
      let bytes = 0;
      const counting = new Transform({
        transform(chunk: Buffer, _encoding, done) {
          hash.update(chunk);
          bytes += chunk.length;
          done(null, chunk);
        },
      });
      try {
        const command = new GetObjectCommand({ Bucket: bucket, Key: key });
        const { Body, ContentLength } = await client.send(command);
        // `flush` is fsync, before the stream counts as closed.
        await pipeline(Body as Readable, counting, createWriteStream(temporary, { flush: true }));
        if (ContentLength !== undefined && bytes !== ContentLength) {
          const cut = `${key}: read ${bytes} of ${ContentLength} bytes`;
          throw Object.assign(new Error(cut), { code: 'ECONNRESET' });
        }
      } catch (error) {
        if (isMissing(error)) return null;
        throw error;
      }
      return hash.digest('hex');
    });
    if (found === null) return false;
    if (sha256 !== null && found !== sha256) {
      throw new ArtifactMismatch(
        `${key} is damaged: found SHA-256 ${found}, expected ${sha256}. ` +
          'Restore it from a replica or an older version of the object.',
      );
    }
    await rename(temporary, file);
    return true;
  } finally {
    await rm(temporary, { force: true });
  }
}
