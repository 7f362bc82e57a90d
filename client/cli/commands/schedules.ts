/** `temper schedule …`. */
import type { Command } from 'commander';
import { finish, type CommonOptions } from '../output.ts';
import type { CreateOptions, WhyOptions } from '../schedule.ts';
import { command, examples, group } from './declare.ts';

/** What starts by the clock. */
export function declareSchedules(program: Command): void {
  const schedules = group(
    program,
    'schedule',
    'continued pretraining by the clock, when there is something new',
  );

  command(schedules, 'create', 'go on from the champion at the times of a cron expression')
    .argument('<file>', 'pipeline file')
    .requiredOption('--cron <expression>', 'minute, hour, day of the month, month, day of the week')
    .option('--name <name>', 'name of the schedule (default: name of the pipeline)')
    .option('--timezone <zone>', 'such as UTC or Asia/Taipei (default: that of this machine)')
    .addHelpText(
      'after',
      examples(
        'npx temper schedule create --cron "0 3 * * *" pipeline.yaml',
        'npx temper schedule create --cron "*/30 8-18 * * 1-5" --timezone Asia/Taipei pipeline.yaml',
      ),
    )
    .action((file: string, options: CreateOptions) =>
      finish(options, async () => (await import('../schedule.ts')).createCommand(file, options)),
    );

  command(schedules, 'list', 'every schedule and its next start')
    .addHelpText('after', examples('npx temper schedule list'))
    .action((options: CommonOptions) =>
      finish(options, async () => (await import('../schedule.ts')).listCommand(options)),
    );

  command(schedules, 'show', 'one schedule: its next times, and how the last starts went')
    .argument('<schedule>', 'name of a schedule')
    .addHelpText('after', examples('npx temper schedule show policy'))
    .action((name: string, options: CommonOptions) =>
      finish(options, async () => (await import('../schedule.ts')).showCommand(name, options)),
    );

  command(schedules, 'pause', 'start nothing until it is unpaused')
    .argument('<schedule>', 'name of a schedule')
    .option('--why <text>', 'reason, for the record')
    .addHelpText('after', examples('npx temper schedule pause policy --why "moving the documents"'))
    .action((name: string, options: WhyOptions) =>
      finish(options, async () => (await import('../schedule.ts')).pauseCommand(name, options)),
    );

  command(schedules, 'unpause', 'let a paused one start again')
    .argument('<schedule>', 'name of a schedule')
    .option('--why <text>', 'reason, for the record')
    .addHelpText('after', examples('npx temper schedule unpause policy'))
    .action((name: string, options: WhyOptions) =>
      finish(options, async () => (await import('../schedule.ts')).unpauseCommand(name, options)),
    );

  command(schedules, 'trigger', 'start it now, besides its times')
    .argument('<schedule>', 'name of a schedule')
    .addHelpText('after', examples('npx temper schedule trigger policy'))
    .action((name: string, options: CommonOptions) =>
      finish(options, async () => (await import('../schedule.ts')).triggerCommand(name, options)),
    );

  command(schedules, 'delete', 'remove a schedule; its models stay')
    .argument('<schedule>', 'name of a schedule')
    .addHelpText('after', examples('npx temper schedule delete policy'))
    .action((name: string, options: CommonOptions) =>
      finish(options, async () => (await import('../schedule.ts')).deleteCommand(name, options)),
    );
}
