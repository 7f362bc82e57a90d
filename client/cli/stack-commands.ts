/** `temper up` and `temper down`. */
import { homeFolder } from '../../infra/layout.ts';
import { stackDown, stackStatus } from '../../infra/stack.ts';
import { bringUp, openContext, requireLocal, startInterrupted, stdoutPaint } from './context.ts';
import { untilInterrupted } from './interrupt.ts';
import { ExitCode, printJson, say, type CommonOptions } from './output.ts';
import { table } from './text.ts';

export async function upCommand(options: CommonOptions): Promise<number> {
  requireLocal(await openContext(), 'up');
  const home = homeFolder(process.env);
  const began = performance.now();
  const stack = await untilInterrupted(startInterrupted, () => bringUp(home, options));
  const parts = await stackStatus(home);
  if (options.json === true) printJson({ home: stack.layout.home, ports: stack.ports, parts });
  const rows = parts.map((part) => [part.title, part.state, part.ports.join(', ')]);
  for (const line of table(['part', 'state', 'ports'], rows)) say(options, line);
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  say(options);
  say(options, `${stdoutPaint()('green', '✓')} up in ${seconds} s, everything on 127.0.0.1 only`);
  say(options, `  Temporal Web UI  http://127.0.0.1:${stack.ports.temporalUi}`);
  say(options, `  API              http://127.0.0.1:${stack.ports.serving}/v1`);
  say(options, `  chat page        http://127.0.0.1:${stack.ports.serving}`);
  say(options, `  its key          ${stack.layout.apiKeyFile}`);
  say(options, `  logs             ${stack.layout.logs}`);
  return ExitCode.ok;
}

export async function downCommand(options: CommonOptions): Promise<number> {
  requireLocal(await openContext(), 'down');
  const home = homeFolder(process.env);
  const { stopped } = await stackDown(home, {
    onProgress: ({ text }) => say(options, `  ${text}`),
  });
  if (options.json === true) printJson({ home, stopped });
  say(options, stopped.length === 0 ? 'Nothing was running.' : 'The stack is down; its data stay.');
  return ExitCode.ok;
}
