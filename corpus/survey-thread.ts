/** Looks at a folder in a thread of its own, so that whoever asked can show how far it is. */
import { parentPort, workerData } from 'node:worker_threads';
import type { SurveyReply, SurveyRequest } from '../config/survey.ts';
import { CorpusError } from './errors.ts';
import { surveyFolder } from './survey.ts';

const tellEveryMs = 100;

const port = parentPort;
if (port === null) throw new Error('survey-thread.ts runs as a worker thread only');
const tell = (reply: SurveyReply): void => port.postMessage(reply);

let toldAt = performance.now();
try {
  const survey = await surveyFolder(workerData as SurveyRequest, (done, total) => {
    const now = performance.now();
    if (now - toldAt < tellEveryMs) return;
    toldAt = now;
    tell({ kind: 'progress', done, total });
  });
  tell({ kind: 'done', survey });
} catch (error) {
  const message = error instanceof Error ? error.message : String(error);
  tell({ kind: 'failed', wrongInput: error instanceof CorpusError, message });
}
