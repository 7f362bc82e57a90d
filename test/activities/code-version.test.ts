import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { codeVersion } from '../../activities/code-version.ts';

const folders: string[] = [];
afterAll(async () => {
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
});

async function project(files: Record<string, string>): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), 'temper-code-'));
  folders.push(folder);
  for (const [name, content] of Object.entries(files)) {
    await mkdir(path.dirname(path.join(folder, name)), { recursive: true });
    await writeFile(path.join(folder, name), content);
  }
  return folder;
}

const files = { 'a/one.ts': '1', 'a/two.ts': '2', 'b.py': '3', 'other.ts': '4' };
const version = async (
  changed: Record<string, string> = {},
  globs = ['a/*.ts', 'b.py'],
): Promise<string> => codeVersion(await project({ ...files, ...changed }), globs);

test('the version follows the files named, wherever they lie, and no others', async () => {
  const first = await version();
  expect(first).toMatch(/^[0-9a-f]{64}$/);
  expect(await version()).toBe(first);
  expect(await version({ 'other.ts': '5' })).toBe(first);
  expect(await version({}, ['b.py', 'a/*.ts', 'a/one.ts'])).toBe(first);
  expect(await version({ 'a/one.ts': '9' })).not.toBe(first);
  expect(await version({ 'a/new.ts': '' })).not.toBe(first);
  expect(await version({ 'a/one.ts': '12', 'a/two.ts': '' })).not.toBe(first);
});

test('a file that is edited while the worker runs is another version at once', async () => {
  const folder = await project(files);
  const before = codeVersion(folder, ['b.py']);
  await writeFile(path.join(folder, 'b.py'), '4');
  const after = codeVersion(folder, ['b.py']);
  expect(after).not.toBe(before);
  await writeFile(path.join(folder, 'b.py'), '3');
  expect(codeVersion(folder, ['b.py'])).toBe(before);
});

test('a glob that matches nothing is an error, because it would version nothing', async () => {
  await expect(version({}, ['a/*.rs'])).rejects.toThrow(/found no file a\/\*\.rs/);
});
