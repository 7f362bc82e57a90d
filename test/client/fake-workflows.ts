/** Workflows that stand in for the real ones, under their names: the client must not tell the difference. */
import {
  ApplicationFailure,
  condition,
  defineQuery,
  defineSignal,
  defineUpdate,
  executeChild,
  proxyActivities,
  setHandler,
} from '@temporalio/workflow';

interface Input {
  run: string;
  pipeline: { name: string };
}

const { train } = proxyActivities<{ train(): Promise<void> }>({
  startToCloseTimeout: '1m',
  heartbeatTimeout: '5s',
});
const end = defineSignal<[string]>('end');

export async function pipelineWorkflow({ run, pipeline }: Input) {
  const stage = { name: 'pretrain', state: 'running', startedAt: 1, endedAt: null, summary: '' };
  const status = { run, state: 'running', stages: [stage], notes: [], recipe: null };
  setHandler(defineQuery('runStatus'), () => ({ ...status, result: null, failure: null }));
  let ending: string | null = null;
  setHandler(end, (how) => void (ending = how));
  void executeChild(trainingWorkflow, {
    workflowId: `training/${run}/pretrain/0`,
    parentClosePolicy: 'TERMINATE',
  }).catch(() => {});
  await condition(() => ending !== null);
  if (ending === 'fail')
    throw ApplicationFailure.nonRetryable('the corpus is empty', 'InvalidCorpus');
  return { run, model: { name: pipeline.name, version: 1, reused: false } };
}

export async function trainingWorkflow(): Promise<void> {
  await train();
}

export async function deploymentWorkflow({ endpoint }: { endpoint: string }): Promise<void> {
  setHandler(defineUpdate<unknown, [{ version: number }]>('deployVersion'), ({ version }) => ({
    generation: version + 10,
    bundle: endpoint,
    url: 'http://x',
    convergedMs: 5,
  }));
  await condition(() => false);
}
