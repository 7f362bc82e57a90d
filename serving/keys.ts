/** Bearer keys, one a line in a file; a change of the file counts within a moment, without a restart. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import type { Logger } from 'pino';

export interface KeyRing {
  /** True when the `Authorization` header holds one of the keys. */
  accepts(authorization: string | undefined): Promise<boolean>;
}

const lookAgainMs = 250;

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

/** A file that is missing or empty lets nobody in. */
export function openKeyRing(file: string, log: Logger): KeyRing {
  let keys: Buffer[] = [];
  let stamp = '';
  let lookedAt = -Infinity;
  let looking: Promise<void> | null = null;

  async function look(): Promise<void> {
    try {
      const { ino, size, mtimeNs } = await stat(file, { bigint: true });
      const found = `${ino} ${size} ${mtimeNs}`;
      if (found === stamp) return;
      const lines = (await readFile(file, 'utf8')).split('\n').map((line) => line.trim());
      keys = lines.filter((line) => line !== '' && !line.startsWith('#')).map(digest);
      stamp = found;
      log.info({ file, keys: keys.length }, 'read the API keys');
    } catch (error) {
      if (stamp !== 'missing') log.error({ file, err: error }, 'the API keys cannot be read');
      stamp = 'missing';
      keys = [];
    } finally {
      lookedAt = performance.now();
      looking = null;
    }
  }

  return {
    async accepts(authorization) {
      if (performance.now() - lookedAt > lookAgainMs) await (looking ??= look());
      const given = /^Bearer +(\S+)$/i.exec(authorization ?? '')?.[1];
      if (given === undefined) return false;
      const hashed = digest(given);
      // Every key is compared, so that the time taken says nothing.
      return keys.reduce((found, key) => timingSafeEqual(key, hashed) || found, false);
    },
  };
}
