/** The last line of `npm test` is what people and machines go by, so its arithmetic has tests of its own. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { execa } from 'execa';
import { afterAll, expect, test } from 'vitest';

const folder = mkdtempSync(path.join(os.tmpdir(), 'temper-count-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const vitest = (passed: number, failed: number, skipped = 0, broken = 0): string =>
  JSON.stringify({
    numPassedTests: passed,
    numFailedTests: failed,
    numPendingTests: skipped,
    testResults: Array.from({ length: broken }, () => ({ status: 'failed', assertionResults: [] })),
  });

const junit = (tests: number, failures: number, errors = 0, skipped = 0): string =>
  `<?xml version="1.0"?><testsuites><testsuite name="pytest" errors="${errors}" failures="${failures}" skipped="${skipped}" tests="${tests}"><testcase name="a"/></testsuite></testsuites>`;

async function count(vitestText: string, vitestStatus: number, xml: string, pytestStatus: number) {
  const files = { json: path.join(folder, 'vitest.json'), xml: path.join(folder, 'pytest.xml') };
  writeFileSync(files.json, vitestText);
  writeFileSync(files.xml, xml);
  const script = path.resolve(import.meta.dirname, '../count-results.ts');
  const argv = [script, files.json, String(vitestStatus), files.xml, String(pytestStatus)];
  const { stdout, exitCode } = await execa(process.execPath, argv, { reject: false });
  return { last: stdout.split('\n').at(-1), exitCode };
}

test.each([
  ['both runners add up', vitest(5, 0), 0, junit(3, 0), 0, '8 passed, 0 failed', 0],
  ['skips are told', vitest(5, 0, 2), 0, junit(4, 0, 0, 1), 0, '8 passed, 0 failed, 3 skipped', 0],
  ['failures and errors add up', vitest(5, 1), 1, junit(4, 1, 1), 1, '7 passed, 3 failed', 1],
  [
    'a broken test file is a failure',
    vitest(5, 0, 0, 1),
    1,
    junit(3, 0),
    0,
    '8 passed, 1 failed',
    1,
  ],
  ['a runner without tests has failed', vitest(5, 0), 0, junit(0, 0), 5, '5 passed, 1 failed', 1],
  ['a runner without a report has failed', 'cut', 1, junit(3, 0), 0, '3 passed, 1 failed', 1],
  [
    'an error outside of the tests is a failure',
    vitest(5, 0),
    1,
    junit(3, 0),
    0,
    '8 passed, 1 failed',
    1,
  ],
] as const)('%s', async (_title, json, vitestStatus, xml, pytestStatus, last, exitCode) => {
  expect(await count(json, vitestStatus, xml, pytestStatus)).toEqual({ last, exitCode });
});
