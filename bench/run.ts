/** `npm run bench <name>`: measures, prints what it finds, and ends with one JSON object; non-zero when a bound is missed. */
import { adapt } from './adapt.ts';
import { answers } from './answers.ts';
import { checkpoints } from './checkpoints.ts';
import { firstHour } from './first-hour.ts';
import { formats } from './formats.ts';
import { html } from './html.ts';
import { install } from './install.ts';
import { kills } from './kills.ts';
import { languages } from './languages.ts';
import { personalData } from './personal-data.ts';
import { planner } from './planner.ts';
import { preprocess } from './preprocess.ts';
import { questions } from './questions.ts';
import { quickstart } from './quickstart.ts';
import { rollback } from './rollback.ts';
import { scale } from './scale.ts';
import { stops } from './stops.ts';
import { boundLines, parseSettings, runBench, say, usage } from './support/bench.ts';
import { throughput } from './throughput.ts';
import { train } from './train.ts';

const benches = [
  quickstart,
  firstHour,
  throughput,
  train,
  html,
  install,
  rollback,
  questions,
  answers,
  adapt,
  scale,
  planner,
  kills,
  stops,
  languages,
  checkpoints,
  preprocess,
  personalData,
  formats,
];

async function main([name, ...args]: string[]): Promise<number> {
  if (name === undefined || name === '--help') {
    for (const line of usage(benches)) say(line);
    return 0;
  }
  const bench = benches.find((one) => one.name === name);
  if (bench === undefined) {
    const known = benches.map((one) => one.name).join(', ');
    process.stderr.write(`bench: found "${name}", expected ${known}.\n`);
    return 2;
  }
  if (args.includes('--help')) {
    for (const line of usage([bench])) say(line);
    return 0;
  }
  let settings: Record<string, unknown>;
  try {
    settings = parseSettings(bench, args);
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`);
    return 2;
  }
  const report = await runBench(bench, settings);
  say();
  for (const line of boundLines(report)) say(line);
  if (report.error !== null) process.stderr.write(`bench ${name}: ${report.error}\n`);
  process.stdout.write(`${JSON.stringify(report)}\n`);
  return report.ok ? 0 : 1;
}

const code = await main(process.argv.slice(2));
// Idle connections of libraries must not keep a finished benchmark alive.
process.stdout.write('', () => process.exit(code));
