import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { expect, test } from 'vitest';
import { isFaultOfMachine, UnservableError } from '../../serving/errors.ts';

const errorOf = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => expect.unreachable(),
    (error: unknown) => error,
  );

test('a machine without memory or descriptors says nothing about a bundle', () => {
  expect(isFaultOfMachine(Object.assign(new Error('too many'), { code: 'EMFILE' }))).toBe(true);
  expect(isFaultOfMachine(Object.assign(new Error('read'), { code: 'EIO' }))).toBe(true);
  expect(isFaultOfMachine(new Error('Exception: std::bad_alloc'))).toBe(true);
  expect(
    isFaultOfMachine(new Error('bfc_arena.cc:376 Failed to allocate memory for requested buffer')),
  ).toBe(true);
});

test('what is missing in a bundle or wrong in it says that it cannot be served', async () => {
  const missing = await errorOf(readFile(path.join(import.meta.dirname, 'no-such-file')));
  expect(isFaultOfMachine(missing)).toBe(false);
  expect(isFaultOfMachine(new SyntaxError('Unexpected token'))).toBe(false);
  expect(isFaultOfMachine(new UnservableError('the probe differs', 0.5))).toBe(false);
});
