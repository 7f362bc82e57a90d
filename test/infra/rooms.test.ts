/** The import rules of DESIGN.md: each is broken once in a scratch project that uses our lint configuration. */
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, test } from 'vitest';

const project = path.resolve(import.meta.dirname, '../..');
const scratch = mkdtempSync(path.join(os.tmpdir(), 'temper-lint-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const forbidden: [file: string, line: string][] = [
  ['config/a.ts', `import { pino } from 'pino'`],
  ['config/a.ts', `import { readFileSync } from 'node:fs'`],
  ['config/a.ts', `import { openStore } from '../registry/store.ts'`],
  ['corpus/a.ts', `import { openStore } from '../registry/store.ts'`],
  ['corpus/a.ts', `import { log } from '@temporalio/activity'`],
  ['recipes/a.ts', `import { clean } from '../corpus/clean.ts'`],
  ['recipes/a.ts', `import { S3Client } from '@aws-sdk/client-s3'`],
  ['registry/a.ts', `import { clean } from '../corpus/clean.ts'`],
  ['workflows/a.ts', `import { deps } from '../activities/deps.ts'`],
  ['workflows/a.ts', `import { recipeSchema } from '../config/recipe.ts'`],
  ['workflows/a.ts', `import type { Store } from '../registry/store.ts'`],
  ['workflows/a.ts', `import { readFileSync } from 'node:fs'`],
  ['workflows/a.ts', `import { Client } from '@temporalio/client'`],
  ['workflows/a.ts', `import { z } from 'zod'`],
  ['activities/a.ts', `import type { RunStatus } from '../workflows/messages.ts'`],
  ['activities/a.ts', `import { stackUp } from '../infra/stack.ts'`],
  ['workers/a.ts', `import { clean } from '../corpus/clean.ts'`],
  ['serving/a.ts', `import { deps } from '../activities/deps.ts'`],
  ['serving/a.ts', `import { Client } from '@temporalio/client'`],
  ['infra/a.ts', `import { openStore } from '../registry/store.ts'`],
  ['client/a.ts', `import { stackUp } from '../infra/stack.ts'`],
  ['client/a.ts', `import { pipelineWorkflow } from '../workflows/pipeline.ts'`],
  ['client/cli/a.ts', `import { startNode } from '../../serving/node.ts'`],
];

const permitted: [file: string, line: string][] = [
  ['config/a.ts', `import { z } from 'zod'`],
  ['config/a.ts', `import { canonicalJson } from './digest.ts'`],
  ['corpus/a.ts', `import { recipeSchema } from '../config/recipe.ts'`],
  ['workflows/a.ts', `import type { deps } from '../activities/deps.ts'`],
  ['workflows/a.ts', `import type { Recipe } from '../config/recipe.ts'`],
  ['workflows/a.ts', `import { FailureType } from '../config/failures.ts'`],
  ['workflows/a.ts', `import { TaskQueue } from '../config/queues.ts'`],
  ['workflows/a.ts', `import { calibrationShare } from '../config/calibration.ts'`],
  ['workflows/a.ts', `import { isMixed } from '../config/mixing.ts'`],
  ['workflows/a.ts', `import { sleep } from '@temporalio/workflow'`],
  ['activities/a.ts', `import { openStore } from '../registry/store.ts'`],
  ['serving/a.ts', `import { openStore } from '../registry/store.ts'`],
  ['client/a.ts', `import { runStatusQuery } from '../workflows/messages.ts'`],
  ['client/a.ts', `import type { pipelineWorkflow } from '../workflows/pipeline.ts'`],
  ['client/cli/a.ts', `import { stackUp } from '../../infra/stack.ts'`],
  ['test/a.ts', `import { stackUp } from '../infra/stack.ts'`],
];

let refused: Set<string>;

beforeAll(async () => {
  const lines = [...forbidden, ...permitted];
  for (const [index, [file, line]] of lines.entries()) write(fileOf(file, index), `${line};\n`);
  write(
    'workflows/floating.ts',
    `const act = async (): Promise<void> => {};\nexport function run(): void {\n  act();\n}\n`,
  );
  copyFileSync(path.join(project, '.oxlintrc.json'), path.join(scratch, '.oxlintrc.json'));
  write('tsconfig.json', JSON.stringify({ compilerOptions: { strict: true, types: [] } }));
  const { stdout } = await execa(
    path.join(project, 'node_modules/.bin/oxlint'),
    ['--type-aware', '-f', 'unix', '.'],
    { cwd: scratch, reject: false, preferLocal: true, localDir: project, timeout: 50_000 },
  );
  refused = new Set(
    stdout
      .split('\n')
      .filter((text) => /no-restricted-imports|no-floating-promises/.test(text))
      .map((text) => text.split(':')[0]!),
  );
});

test.each(forbidden.map((rule, index) => [...rule, index] as const))(
  '%s may not %s',
  (file, _line, index) => {
    expect(refused).toContain(fileOf(file, index));
  },
);

test('what DESIGN.md permits is not refused', () => {
  const files = permitted.map(([file], index) => fileOf(file, forbidden.length + index));
  expect(files.filter((file) => refused.has(file))).toEqual([]);
});

test('what workflows take values from brings nothing else into their bundle', () => {
  const rules = readFileSync(path.join(project, '.oxlintrc.json'), 'utf8');
  const files = Array.from(rules.matchAll(/"!\*\*\/(config\/\w+\.ts)"/g), ([, file]) => file!);
  expect(files).toContain('config/mixing.ts');
  for (const file of files) {
    expect(readFileSync(path.join(project, file), 'utf8')).not.toMatch(/^import (?!type)/m);
  }
});

test('an activity call that nobody awaits is refused', () => {
  expect(refused).toContain('workflows/floating.ts');
});

function fileOf(file: string, index: number): string {
  return file.replace('a.ts', `a${index}.ts`);
}

function write(file: string, text: string): void {
  mkdirSync(path.dirname(path.join(scratch, file)), { recursive: true });
  writeFileSync(path.join(scratch, file), text);
}
