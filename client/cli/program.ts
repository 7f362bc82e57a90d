/** All commands of `temper`, in the order in which its help lists them. They are loaded when they are used, so that help is instant. */
import type { Command } from 'commander';
import { declareBudget } from './commands/budget.ts';
import { declareChat } from './commands/chat.ts';
import { declareCompletion } from './commands/completion.ts';
import { declareDatasets } from './commands/datasets.ts';
import { root } from './commands/declare.ts';
import { declareHelp, declareVersion } from './commands/help.ts';
import { declareModels } from './commands/models.ts';
import { declarePipelines } from './commands/pipelines.ts';
import { declareQuickstart } from './commands/quickstart.ts';
import { declareRecords } from './commands/records.ts';
import { declareRuns } from './commands/runs.ts';
import { declareSchedules } from './commands/schedules.ts';
import { declareStack } from './commands/stack.ts';

/** The command line, not yet parsed. */
export function temper(): Command {
  const program = root(
    'temper',
    'Your documents in, your own language model out. Kill anything; it finishes.',
  )
    .configureHelp({ sortSubcommands: false })
    .addHelpText(
      'after',
      `
Examples:
  npx temper quickstart                 from nothing to an answer, in minutes
  npx temper run pipeline.yaml          train and serve a model of your own text
  npx temper status --json              every run, for a script

Exit codes: 0 done, 1 failed, 2 wrong input, 3 not reachable (the stack is down: npx temper up), 130 Ctrl-C.
TEMPER_HOME names another home folder; TEMPORAL_ADDRESS a remote Temporal service.`,
    );
  declareStack(program);
  declarePipelines(program);
  declareRuns(program);
  declareBudget(program);
  declareRecords(program);
  declareDatasets(program);
  declareModels(program);
  declareSchedules(program);
  declareChat(program);
  declareCompletion(program);
  declareQuickstart(program);
  declareVersion(program);
  declareHelp(program);
  return program;
}
