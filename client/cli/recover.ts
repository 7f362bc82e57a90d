/** `temper recover`: goes on with a run of which Temporal knows nothing any more, from what S3 remembers. */
import { readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { homeFolder } from '../../infra/layout.ts';
import { ClientError } from '../errors.ts';
import { isRunName, type Recoverable } from '../recover.ts';
import { large } from '../report/words.ts';
import { clientOf, ensureUp, openContext, requireStore } from './context.ts';
import { say, type CommonOptions } from './output.ts';
import { watchStarted } from './run.ts';
import { count, table } from './text.ts';

export interface RecoverOptions extends CommonOptions {
  detach?: boolean;
  baseDir?: string;
}

export async function recoverCommand(run: string, options: RecoverOptions): Promise<number> {
  const context = await openContext();
  const baseDir = options.baseDir === undefined ? undefined : path.resolve(options.baseDir);
  requirePossible(run, { baseDir, s3Data: context.stack?.layout.s3Data });
  if (context.stack !== null) await ensureUp(homeFolder(process.env), options);
  else await requireStore(context);
  const client = await clientOf(await openContext());
  const found = await client.findRecoverable({ run, baseDir });
  for (const line of foundLines(found)) say(options, line);
  const started = await client.recover(found);
  say(options);
  return await watchStarted(client, started, options);
}

/** Refuses what can be told without a stack, before one is started. */
export function requirePossible(
  run: string,
  { baseDir, s3Data }: { baseDir: string | undefined; s3Data: string | undefined },
): void {
  const refuse = (why: string): never => {
    throw new ClientError('input', `${why} Nothing was started.`);
  };
  if (!isRunName(run)) {
    refuse(
      `run: found ${JSON.stringify(run)}, expected a name such as policy-7f3a, of 2 to 60 lowercase letters, digits or hyphens.`,
    );
  }
  if (baseDir !== undefined && statSync(baseDir, { throwIfNoEntry: false })?.isDirectory() !== true)
    refuse(`--base-dir: found no folder ${baseDir}, expected that of the sources.`);
  if (s3Data !== undefined && readdirSync(s3Data).length === 0) {
    refuse(
      `run: found no "${run}": no stack has ever run in ${path.dirname(s3Data)}, so nothing is stored there. TEMPER_HOME names another home.`,
    );
  }
}

/** What is there already, stage by stage, and where the run goes on. */
export function foundLines(found: Recoverable): string[] {
  const { run, known, dataset, corpus, recipe, trainings, version, pausedBy, input } = found;
  const rows = [
    ['ingest', dataset ?? `nothing recorded: the sources in ${input.baseDir} are read again`],
    ['preprocess', corpus === null ? 'nothing recorded' : `corpus ${corpus.slice(0, 12)}`],
    [
      'plan',
      recipe === null
        ? 'nothing recorded'
        : `${large(recipe.numParameters)} parameters, round ${recipe.round + 1}`,
    ],
    ...trainings.map(({ phase, round, durableStep, numSteps, numGenerations, finished }) => [
      round === 0 ? phase : `${phase}, round ${round + 1}`,
      finished
        ? 'finished'
        : `step ${count(durableStep)}${numSteps === null ? '' : ` of ${count(numSteps)}`} is durable; goes on from there as generation ${numGenerations + 1}`,
    ]),
    ...(trainings.length === 0 ? [['training', 'none had begun']] : []),
    ...(version === null ? [] : [['deploy', `${version} is registered`]]),
  ];
  const state = known === null ? 'Temporal does not know it' : `Temporal knows it as ${known}`;
  return [
    `run ${run}: ${state}; S3 remembers`,
    ...table(['', ''], rows)
      .slice(1)
      .map((line) => `  ${line}`),
    ...(pausedBy === null
      ? []
      : [`  ${pausedBy} had paused it: it goes on now (npx temper pause ${run})`]),
  ];
}
