/** Looks at a folder in a thread, which reads it as ingest would, and shows how far it is where that takes long. */
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import type { Survey, SurveyRequest } from '../../config/survey.ts';
import { projectDir } from '../../infra/layout.ts';
import { ClientError } from '../errors.ts';

const thread = path.join(projectDir, 'corpus/survey-thread.ts');

/** Every file under the folder, looked at. */
export async function lookAtFolder(
  request: SurveyRequest,
  onProgress: (done: number, total: number) => void,
): Promise<Survey> {
  const { promise, resolve, reject } = Promise.withResolvers<Survey>();
  const worker = new Worker(thread, { workerData: request });
  // Loaded while the thread is at work already; what it says meanwhile waits in order.
  const contract = import('../../config/survey.ts');
  worker.on('message', (message: unknown) => {
    contract
      .then(({ surveyReplySchema }) => {
        const reply = surveyReplySchema.parse(message);
        if (reply.kind === 'progress') onProgress(reply.done, reply.total);
        else if (reply.kind === 'done') resolve(reply.survey);
        else reject(new ClientError(reply.wrongInput ? 'input' : 'failed', reply.message));
      })
      .catch(reject);
  });
  worker.on('error', reject);
  worker.on('exit', (code) => {
    const ended = new Error(`the look at the folder ended early, with ${code}. Try again.`);
    contract.then(() => reject(ended), reject);
  });
  try {
    return await promise;
  } finally {
    await worker.terminate();
  }
}
