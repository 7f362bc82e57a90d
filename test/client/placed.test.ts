/** A fault that is found after the file was read names its place in it. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ClientError } from '../../client/errors.ts';
import { readPipelineFile, type PipelineFile } from '../../client/pipeline-file.ts';
import { inFile, keysOf, PlacedError } from '../../client/placed.ts';

let folder: string;
let read: PipelineFile;
beforeAll(async () => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'temper-placed-'));
  writeFileSync(path.join(folder, 'a.txt'), 'x');
  const file = path.join(folder, 'p.yaml');
  writeFileSync(
    file,
    'version: 1\nname: policy\ndata:\n  sources:\n    - path: ./a.txt\n      license: internal\n  heldOut: 5%\n',
  );
  read = await readPipelineFile(file);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const thrown = async (error: Error) =>
  inFile(read, () => Promise.reject(error)).catch((caught: unknown) => caught);

test.each([
  ['data.sources: found nothing', 4, 3],
  ['data.sources[0]: found nothing', 5, 7],
  ['data.heldOut 5%: is too little', 7, 3],
  // What is not written stands where it would be.
  ['data.maxDropped: a run would stop', 3, 1],
  ['data.sources policy: found no version 9', 4, 3],
  ['name: is taken', 2, 1],
])('%s is at line %i, column %i', async (message, line, column) => {
  const error = (await thrown(new ClientError('input', message))) as PlacedError;
  expect(error).toBeInstanceOf(PlacedError);
  expect(error.place).toEqual({ file: path.join(folder, 'p.yaml'), line, column });
  expect(error.message).toBe(`${path.join(folder, 'p.yaml')}:${line}:${column} ${message}`);
  expect(error.kind).toBe('input');
});

test('what names no field, and what is no fault of the file, is thrown as it is', async () => {
  for (const error of [
    new ClientError('unreachable', 'The registry does not answer: npx temper up starts it.'),
    new ClientError('input', 'name the run otherwise'),
    new ClientError('input', 'policy: found no version 9, expected 1'),
    new Error('data.sources: a defect of ours'),
  ])
    expect(await thrown(error)).toBe(error);
  expect(keysOf('evaluate.gates.valBpb: found')).toEqual(['evaluate', 'gates', 'valBpb']);
});
