/** Sealing: what comes back, what is refused, and that equal bytes stay equal. */
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { inspect } from 'node:util';
import { afterAll, expect, test } from 'vitest';
import { nonRetryableErrorTypes } from '../../config/failures.ts';
import {
  blobKey,
  downloadBlob,
  putBlob,
  putJsonLines,
  readBlob,
  readJsonLines,
} from '../../registry/blobs.ts';
import { DataKeys, parseDataKeys, readDataKeys } from '../../registry/data-keys.ts';
import { DataKeyMissing, SealBroken } from '../../registry/errors.ts';
import { openBytes, sealBytes } from '../../registry/seal.ts';
import { seeded } from '../corpus/random.ts';
import { memoryStore } from '../support/memory-store.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'temper-seal-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const random = seeded(5);
const someBytes = (length: number): Buffer =>
  Buffer.from(Array.from({ length }, () => Math.floor(random() * 256)));
const secret = Buffer.alloc(32, 9);
const text = Buffer.from('Dear Ann, your dismissal is final.');

test('what is sealed opens to the same bytes, whatever they are', () => {
  for (const length of [0, 1, 11, 12, 13, 15, 16, 17, 255, 4096, 70_001]) {
    const plain = someBytes(length);
    const sealed = sealBytes(plain, secret, 'a');
    expect(sealed.length).toBe(length + 28);
    expect(openBytes(sealed, secret, 'a')!.equals(plain)).toBe(true);
    if (length > 8) expect(sealed.includes(plain.subarray(0, 8))).toBe(false);
  }
});

test('the format stays: the same key, id and bytes give the sealed bytes of today', () => {
  const digest = createHash('sha256')
    .update(sealBytes(text, secret, 'a'))
    .digest('hex');
  expect(digest).toBe('0fbd891a0dcd6c4a307a0ebed134a0e8a7b6088f9242104d51b6d5b78da1fcbf');
});

test('a thousand of a thousand changed bits are refused', () => {
  const sealed = sealBytes(someBytes(300), secret, 'a');
  const bits = sealed.length * 8;
  const changed = new Set<number>();
  while (changed.size < 1000) changed.add(Math.floor(random() * bits));
  const opened = [...changed].filter((bit) => {
    const tampered = Buffer.from(sealed);
    tampered[bit >> 3]! ^= 1 << (bit & 7);
    return openBytes(tampered, secret, 'a') !== null;
  });
  expect(opened).toEqual([]);
});

test('another key, another id or a cut is refused', () => {
  const sealed = sealBytes(text, secret, 'a');
  expect(openBytes(sealed, Buffer.alloc(32, 8), 'a')).toBeNull();
  expect(openBytes(sealed, secret, 'b')).toBeNull();
  for (const length of [0, 11, 27, 28, sealed.length - 1]) {
    expect(openBytes(sealed.subarray(0, length), secret, 'a')).toBeNull();
  }
});

test('no two of two thousand texts share a nonce, and one key under two ids shares none', () => {
  const nonces = new Set<string>();
  for (let number = 0; number < 1000; number += 1) {
    for (const id of ['a', 'b']) {
      const sealed = sealBytes(Buffer.from(String(number)), secret, id);
      nonces.add(sealed.subarray(0, 12).toString('hex'));
    }
  }
  expect(nonces.size).toBe(2000);
});

test('two workers that seal the same records make one object, whose reference names the key', async () => {
  const store = memoryStore();
  const records = [{ text: text.toString() }];
  const refs = [
    await putJsonLines(store, records, 'new'),
    await putJsonLines(store, records, 'new'),
  ];
  expect(refs[0]).toEqual(refs[1]);
  expect(refs[0]!.sealed).toBe('new');
  expect(store.objects.size).toBe(1);
  const stored = store.objects.get(blobKey(refs[0]!.sha256))!;
  expect(stored.length).toBe(refs[0]!.bytes);
  expect(await readJsonLines(store, refs[0]!)).toEqual(records);
  const older = await putJsonLines(store, records, 'old');
  expect(older.sha256).not.toBe(refs[0]!.sha256);
  expect(await readJsonLines(store, older)).toEqual(records);
});

test('a reference without a key is as it was, byte for byte', async () => {
  const store = memoryStore();
  const ref = await putBlob(store, text);
  expect(ref).toEqual({
    sha256: createHash('sha256').update(text).digest('hex'),
    bytes: text.length,
  });
  expect(Object.keys(ref)).toEqual(['sha256', 'bytes']);
  expect(store.objects.get(blobKey(ref.sha256))!.equals(text)).toBe(true);
});

test('a sealed blob that is downloaded to a file is opened', async () => {
  const store = memoryStore();
  const file = path.join(folder, 'opened');
  await downloadBlob(store, await putBlob(store, text, 'new'), file);
  expect(readFileSync(file).equals(text)).toBe(true);
});

test('without its key a blob is refused by a failure that no retry repeats, naming the key and no secret', async () => {
  const store = memoryStore();
  const ref = await putBlob(store, text, 'old');
  const other = Buffer.alloc(32, 1);
  for (const [keys, Fault, said] of [
    [new DataKeys(), DataKeyMissing, /found none, expected old to open blobs\//],
    [
      new DataKeys([['new', other]]),
      DataKeyMissing,
      /found new, expected old.*TEMPER_DATA_KEY_FILE/,
    ],
    [new DataKeys([['old', other]]), SealBroken, /does not open with data key old.*Put the key/],
  ] as const) {
    const fault: unknown = await readBlob({ ...store, dataKeys: keys }, ref).catch(
      (error: unknown) => error,
    );
    expect(fault).toBeInstanceOf(Fault);
    const { name, message } = fault as Error;
    expect(nonRetryableErrorTypes).toContain(name);
    expect(message).toMatch(said);
    for (const key of [other, Buffer.alloc(32, 3)]) {
      for (const form of ['base64', 'hex'] as const)
        expect(message).not.toContain(key.toString(form));
    }
  }
  expect(() => new DataKeys().sealing).toThrow(/found no data key.*TEMPER_DATA_KEY_FILE/);
});

test('the first key seals and all open; nothing that prints them prints a key', () => {
  const [a, b] = [someBytes(32), someBytes(32)];
  const lines = `k2:${b.toString('base64')}\n\nk1:${a.toString('base64url')}\n`;
  const keys = parseDataKeys(lines, 'the file');
  expect(keys.sealing).toBe('k2');
  for (const id of ['k1', 'k2'])
    expect(keys.open(keys.seal(text, id), id, 'x').equals(text)).toBe(true);
  for (const shown of [inspect(keys, { depth: 9, showHidden: true }), JSON.stringify({ keys })]) {
    for (const key of [a, b]) expect(shown).not.toContain(key.toString('base64').slice(0, 12));
    expect(shown).not.toContain('k1');
  }
});

test('a line that is no key is refused by its place alone', () => {
  const good = `k1:${secret.toString('base64')}`;
  for (const [lines, said] of [
    ['hunter2-hunter2', /the file: found no id:base64 as key 1/],
    [`${good}\nk2:c2hvcnQ=`, /found 5 bytes under id k2 as key 2, expected id:base64 of 32/],
    [`${good}\n${good}`, /found id k1 twice as key 2/],
  ] as const) {
    expect(() => parseDataKeys(lines, 'the file')).toThrow(said);
    expect(() => parseDataKeys(lines, 'the file')).not.toThrow(/hunter2|c2hvcnQ|CQkJ/);
  }
});

test('keys come from the environment or from a file that it names', () => {
  const file = path.join(folder, 'keys');
  writeFileSync(file, `k1:${secret.toString('base64')}\n`);
  expect(readDataKeys({ TEMPER_DATA_KEY_FILE: file }).sealing).toBe('k1');
  const inline = `k9:${secret.toString('base64')}`;
  expect(readDataKeys({ TEMPER_DATA_KEY: inline, TEMPER_DATA_KEY_FILE: file }).sealing).toBe('k9');
  expect(() => readDataKeys({}).sealing).toThrow(DataKeyMissing);
  expect(() => readDataKeys({ TEMPER_DATA_KEY_FILE: `${file}.gone` })).toThrow(
    /ENOENT.*Restore it/,
  );
});

test('a document has one short name in a stack, which the next key does not change', () => {
  const first = new DataKeys([['a', secret]]);
  const rotated = new DataKeys([
    ['b', Buffer.alloc(32, 1)],
    ['a', secret],
  ]);
  expect(first.nameOf('docs/ann.txt')).toMatch(/^[0-9a-f]{12}$/);
  expect(rotated.nameOf('docs/ann.txt')).toBe(first.nameOf('docs/ann.txt'));
  expect(first.nameOf('docs/ben.txt')).not.toBe(first.nameOf('docs/ann.txt'));
  expect(new DataKeys([['a', Buffer.alloc(32, 2)]]).nameOf('docs/ann.txt')).not.toBe(
    first.nameOf('docs/ann.txt'),
  );
  expect(new DataKeys().nameOf('docs/ann.txt')).toBeNull();
});
