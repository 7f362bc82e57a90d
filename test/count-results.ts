/** Adds up what vitest and pytest report and prints the last line of `npm test`; a runner that counted nothing has failed. */
import { readFileSync } from 'node:fs';
import { Parser } from 'htmlparser2';
import { z } from 'zod';

interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

const vitestSchema = z.object({
  numPassedTests: z.number(),
  numFailedTests: z.number(),
  numPendingTests: z.number(),
  numTodoTests: z.number().default(0),
  testResults: z.array(z.object({ status: z.string(), assertionResults: z.array(z.unknown()) })),
});

/** A file that failed before its first test counts as one failure. */
function countVitest(json: string): Counts {
  const report = vitestSchema.parse(JSON.parse(json));
  const broken = report.testResults.filter(
    (file) => file.status === 'failed' && file.assertionResults.length === 0,
  );
  return {
    passed: report.numPassedTests,
    failed: report.numFailedTests + broken.length,
    skipped: report.numPendingTests + report.numTodoTests,
  };
}

/** Counts the suites of a JUnit file; an error in setting up counts as a failure. */
function countJunit(xml: string): Counts {
  const total = { passed: 0, failed: 0, skipped: 0 };
  const parser = new Parser(
    {
      onopentag: (name, attributes) => {
        if (name !== 'testsuite') return;
        const [tests, failures, errors, skipped] = ['tests', 'failures', 'errors', 'skipped'].map(
          (attribute) => Number(attributes[attribute] ?? 0),
        ) as [number, number, number, number];
        total.failed += failures + errors;
        total.skipped += skipped;
        total.passed += Math.max(0, tests - failures - errors - skipped);
      },
    },
    { xmlMode: true },
  );
  parser.end(xml);
  return total;
}

function settle(
  name: string,
  file: string,
  status: string,
  count: (text: string) => Counts,
): Counts {
  let counts: Counts;
  try {
    counts = count(readFileSync(file, 'utf8'));
  } catch (error) {
    console.log(
      `${name}: found no readable report (${String(error)}), expected one. See its output above.`,
    );
    return { passed: 0, failed: 1, skipped: 0 };
  }
  if (counts.passed + counts.failed === 0) {
    console.log(`${name}: found no test that ran, expected some. See its output above.`);
    return { ...counts, failed: 1 };
  }
  if (status !== '0' && counts.failed === 0) {
    console.log(
      `${name}: no test failed, but it ended with status ${status}: an error outside of the tests. See its output above.`,
    );
    return { ...counts, failed: 1 };
  }
  return counts;
}

if (import.meta.main) {
  const [vitestFile = '', vitestStatus = '', pytestFile = '', pytestStatus = ''] =
    process.argv.slice(2);
  const vitest = settle('vitest', vitestFile, vitestStatus, countVitest);
  const pytest = settle('pytest', pytestFile, pytestStatus, countJunit);
  const failed = vitest.failed + pytest.failed;
  const skipped = vitest.skipped + pytest.skipped;
  const skips = skipped > 0 ? `, ${skipped} skipped` : '';
  console.log(`${vitest.passed + pytest.passed} passed, ${failed} failed${skips}`);
  process.exitCode = failed === 0 ? 0 : 1;
}
