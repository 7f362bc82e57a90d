/** The data keys of a stack: they seal and open originals, and name documents where their own names may not stand. */
import { createHmac, hkdfSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { DataKeyMissing, SealBroken } from './errors.ts';
import { dataKeyBytes, openBytes, sealBytes } from './seal.ts';

const shortName = 12;

/** Private fields all through, so that nothing that prints it prints a key. */
export class DataKeys {
  readonly #secrets: ReadonlyMap<string, Buffer>;

  constructor(secrets: Iterable<readonly [id: string, secret: Buffer]> = []) {
    this.#secrets = new Map(secrets);
  }

  /** Id of the key that seals, the first one. Throws where there is none. */
  get sealing(): string {
    const id = this.#secrets.keys().next().value;
    if (id !== undefined) return id;
    throw new DataKeyMissing(
      'data.originals.encrypt: found no data key in this process, expected one to seal with. ' +
        'Set TEMPER_DATA_KEY_FILE for its workers (npx temper down and up do, for a local stack), or leave encrypt out.',
    );
  }

  seal(plain: Uint8Array, id: string): Buffer {
    return sealBytes(plain, this.#secretOf(id, 'to seal with'), id);
  }

  /** `what` names the bytes, for messages. */
  open(sealed: Uint8Array, id: string, what: string): Buffer {
    const plain = openBytes(sealed, this.#secretOf(id, `to open ${what}`), id);
    if (plain !== null) return plain;
    throw new SealBroken(
      `${what} does not open with data key ${id}: found another key under that id, or bytes that were never sealed with it. ` +
        'Put the key that it was sealed with back under this id.',
    );
  }

  /**
   * A short name of something whose own name tells too much, the same wherever these keys are; null without keys. The
   * oldest key makes it, so that a new one changes no names.
   */
  nameOf(what: string): string | null {
    const secret = [...this.#secrets.values()].at(-1);
    if (secret === undefined) return null;
    const key = Buffer.from(hkdfSync('sha256', secret, 'temper-names/1', '', 32));
    return createHmac('sha256', key).update(what).digest('hex').slice(0, shortName);
  }

  #secretOf(id: string, purpose: string): Buffer {
    const secret = this.#secrets.get(id);
    if (secret !== undefined) return secret;
    const known = [...this.#secrets.keys()].join(', ') || 'none';
    throw new DataKeyMissing(
      `data keys: found ${known}, expected ${id} ${purpose}. ` +
        'Add its line id:base64 to the file that TEMPER_DATA_KEY_FILE names; without that key the text is lost.',
    );
  }
}

/** Reads lines of `id:base64`. What is wrong is told without what stands there. */
export function parseDataKeys(text: string, place: string): DataKeys {
  const secrets = new Map<string, Buffer>();
  const lines = text.split(/[\s,]+/).filter((line) => line !== '');
  for (const [index, line] of lines.entries()) {
    const [, id, base64] =
      /^([A-Za-z0-9][A-Za-z0-9._-]{0,63}):([A-Za-z0-9+/_=-]+)$/.exec(line) ?? [];
    const secret = Buffer.from(base64 ?? '', 'base64');
    const fault =
      id === undefined
        ? 'no id:base64'
        : secret.length !== dataKeyBytes
          ? `${secret.length} bytes under id ${id}`
          : secrets.has(id)
            ? `id ${id} twice`
            : null;
    if (fault !== null) {
      throw new Error(
        `${place}: found ${fault} as key ${index + 1}, expected id:base64 of ${dataKeyBytes} random bytes, each id once. ` +
          'Correct that line; `openssl rand -base64 32` makes a key.',
      );
    }
    secrets.set(id!, secret);
  }
  return new DataKeys(secrets);
}

/** The keys that an environment gives, itself or in a file. */
export function readDataKeys(env: {
  TEMPER_DATA_KEY?: string | undefined;
  TEMPER_DATA_KEY_FILE?: string | undefined;
}): DataKeys {
  const { TEMPER_DATA_KEY: given = '', TEMPER_DATA_KEY_FILE: file } = env;
  if (given !== '' || file === undefined || file === '') {
    return parseDataKeys(given, 'TEMPER_DATA_KEY');
  }
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    const { code = 'no file' } = error as NodeJS.ErrnoException;
    throw new Error(
      `TEMPER_DATA_KEY_FILE: found ${code} at ${file}, expected a file of data keys. Restore it: without its keys, encrypted originals are lost.`,
      { cause: error },
    );
  }
  return parseDataKeys(text, file);
}
