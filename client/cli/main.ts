#!/usr/bin/env node
/** The command line: `npx temper <command>`. */
import { CommanderError } from 'commander';
import { ExitCode, printJson } from './output.ts';
import { temper } from './program.ts';

try {
  await temper().parseAsync();
} catch (error) {
  if (!(error instanceof CommanderError)) throw error;
  const helped = error.exitCode === 0 || error.code === 'commander.help';
  process.exitCode = helped ? ExitCode.ok : ExitCode.wrongInput;
  // The sentence itself was printed where the mistake was found.
  if (!helped && process.argv.includes('--json')) {
    printJson({ error: { kind: 'input', message: error.message.replace(/^error: /, '') } });
  }
}
