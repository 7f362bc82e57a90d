/** Temporal for tests: the time-skipping server, from the trainer's Python environment, and one bundle of the workflows a file. */
import path from 'node:path';
import { inspect } from 'node:util';
import { TestWorkflowEnvironment } from '@temporalio/testing';
import {
  bundleWorkflowCode,
  DefaultLogger,
  Runtime,
  type WorkflowBundle,
} from '@temporalio/worker';

import {
  datasetAttribute,
  modelAttribute,
  runAttribute,
  stageAttribute,
} from '../../workflows/search-attributes.ts';

/** INDEXED_VALUE_TYPE_KEYWORD of the server's API. */
const keyword = 2;
const projectDir = path.resolve(import.meta.dirname, '../..');
export const workflowsPath = path.join(projectDir, 'workflows', 'index.ts');

let installed = false;
function quiet(logger = new DefaultLogger('ERROR')): void {
  if (!installed) Runtime.install({ logger });
  installed = true;
}

/** A server whose clock runs ahead while nothing happens; `onLog` hears all that its workers say, in place of the screen. */
export async function startTimeSkipping(
  onLog?: (said: string) => void,
): Promise<TestWorkflowEnvironment> {
  quiet(
    onLog &&
      new DefaultLogger('DEBUG', ({ level, message, meta }) => {
        onLog(`${level} ${message} ${inspect(meta, { depth: 9 })}`);
      }),
  );
  const server = path.join(projectDir, '.venv', 'bin', 'temporal-test-server');
  const env = await TestWorkflowEnvironment.createTimeSkipping({
    server: { executable: { type: 'existing-path', path: server } },
  });
  const keys = [runAttribute, modelAttribute, datasetAttribute, stageAttribute];
  await env.connection.operatorService.addSearchAttributes({
    namespace: env.namespace ?? 'default',
    searchAttributes: Object.fromEntries(keys.map(({ name }) => [name, keyword])),
  });
  return env;
}

export async function bundleWorkflows(): Promise<WorkflowBundle> {
  quiet();
  return await bundleWorkflowCode({ workflowsPath, logger: new DefaultLogger('ERROR') });
}
