/** Where a stack keeps its things: everything lies under one home folder, so that two stacks can live side by side. */
import { createHash } from 'node:crypto';
import { mkdirSync, realpathSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

/** Folder of the project: it holds `node_modules/`, `.venv/`, `workers/` and `trainer/`. */
export const projectDir = path.resolve(import.meta.dirname, '..');

/** The home of a machine's own stack, unless `TEMPER_HOME` names another. */
export const defaultHome = path.join(projectDir, '.temper');

/** The home that a command works on. */
export function homeFolder(env: Record<string, string | undefined>): string {
  const named = env['TEMPER_HOME'];
  return named === undefined || named === '' ? defaultHome : path.resolve(named);
}

export const node = path.join(projectDir, 'node_modules/.bin/node');
export const python = path.join(projectDir, '.venv/bin/python');
/** A program of the Python environment. */
export const venvBin = (name: string): string => path.join(projectDir, '.venv/bin', name);

export interface Layout {
  home: string;
  stackFile: string;
  secretsFile: string;
  apiKeyFile: string;
  dataKeyFile: string;
  logs: string;
  run: string;
  s3Data: string;
  temporalFile: string;
  supervisorConfig: string;
  supervisorPid: string;
  supervisorLog: string;
  /** Digest of the code that the workers were started with. */
  codeFile: string;
  /** Unix sockets have paths of at most 107 bytes, so a deep home puts its sockets elsewhere. */
  sockets: string;
}

/** Makes the folders of a home, closed to other users, and says where things are. */
export function layoutOf(homeDir: string): Layout {
  mkdirSync(homeDir, { recursive: true, mode: 0o700 });
  const home = realpathSync(homeDir);
  const run = path.join(home, 'run');
  const layout: Layout = {
    home,
    stackFile: path.join(home, 'stack.json'),
    secretsFile: path.join(home, 'secrets.json'),
    apiKeyFile: path.join(home, 'api-key'),
    dataKeyFile: path.join(home, 'data-keys'),
    logs: path.join(home, 'logs'),
    run,
    s3Data: path.join(home, 's3'),
    temporalFile: path.join(home, 'temporal', 'temporal.sqlite'),
    supervisorConfig: path.join(run, 'supervisord.conf'),
    supervisorPid: path.join(run, 'supervisord.pid'),
    supervisorLog: path.join(home, 'logs', 'supervisord.log'),
    codeFile: path.join(run, 'code'),
    sockets: run.length <= 70 ? run : shortFolder(home),
  };
  const folders = [run, layout.logs, layout.s3Data, path.dirname(layout.temporalFile)];
  for (const folder of [...folders, layout.sockets]) {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  }
  return layout;
}

function shortFolder(home: string): string {
  const name = createHash('sha256').update(home).digest('hex').slice(0, 12);
  return path.join(os.tmpdir(), `temper-${process.getuid!()}-${name}`);
}
