/** `temper up`, `down` and `doctor`. */
import type { Command } from 'commander';
import type { DoctorOptions } from '../doctor.ts';
import { finish, type CommonOptions } from '../output.ts';
import { command, examples } from './declare.ts';

/** The local stack. */
export function declareStack(program: Command): void {
  command(program, 'up', 'start the local stack, and wait until all of it is ready')
    .addHelpText('after', examples('npx temper up', 'TEMPER_PORT_BASE=17000 npx temper up'))
    .action((options: CommonOptions) =>
      finish(options, async () => (await import('../stack-commands.ts')).upCommand(options)),
    );

  command(program, 'down', 'stop the local stack; its data stay')
    .addHelpText('after', examples('npx temper down'))
    .action((options: CommonOptions) =>
      finish(options, async () => (await import('../stack-commands.ts')).downCommand(options)),
    );

  command(program, 'doctor', 'check everything that a run needs, and say what to do')
    .option('--report', 'print what to attach to a bug report, too, without secrets')
    .addHelpText('after', examples('npx temper doctor', 'npx temper doctor --report'))
    .action((options: DoctorOptions) =>
      finish(options, async () => (await import('../doctor.ts')).doctorCommand(options)),
    );
}
