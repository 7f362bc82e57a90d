/** Looks at a folder in a thread, which reads it as ingest would, and shows how far it is where that takes long. */
import type { Survey, SurveyRequest } from '../../config/survey.ts';
import { askThread } from './corpus-thread.ts';

/** Every file under the folder, looked at. */
export async function lookAtFolder(
  request: SurveyRequest,
  onProgress: (done: number, total: number) => void,
): Promise<Survey> {
  return await askThread({
    file: 'survey-thread.ts',
    request,
    what: 'the look at the folder',
    read: import('../../config/survey.ts').then(
      ({ surveyReplySchema }) =>
        (message) =>
          surveyReplySchema.parse(message),
    ),
    take: (reply) => {
      if (reply.kind === 'done') return reply.survey;
      onProgress(reply.done, reply.total);
      return undefined;
    },
  });
}
