/** Reads the conversations that a pipeline file names as a run would, in a thread, to say before it that none can be learnt. */
import type { Pipeline } from '../../config/pipeline.ts';
import { ClientError } from '../errors.ts';
import { askThread } from './corpus-thread.ts';

/** Throws where a run would refuse them. */
export async function requireConversations(
  { data, seed }: Pipeline,
  baseDir: string,
): Promise<void> {
  const { conversations: sources, personalData, heldOut } = data;
  if (sources === undefined) return;
  try {
    await askThread({
      file: 'conversations-thread.ts',
      request: { baseDir, sources, personalData, heldOut, seed },
      what: 'the look at the conversations',
      read: import('../../config/conversations.ts').then(
        ({ conversationsReplySchema }) =>
          (message) =>
            conversationsReplySchema.parse(message),
      ),
      take: () => true,
    });
  } catch (error) {
    if (!(error instanceof ClientError) || error.kind !== 'input') throw error;
    throw new ClientError('input', `${error.message} Nothing was started.`, error);
  }
}
