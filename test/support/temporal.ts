/** Temporal for tests: the time-skipping server, from the trainer's Python environment, and one bundle of the workflows a file. */
import path from 'node:path';
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
function quiet(): void {
  if (!installed) Runtime.install({ logger: new DefaultLogger('ERROR') });
  installed = true;
}

/** A server whose clock runs ahead while nothing happens. */
export async function startTimeSkipping(): Promise<TestWorkflowEnvironment> {
  quiet();
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
