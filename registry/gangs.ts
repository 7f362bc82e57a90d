/** Where the hosts of a generation meet, and how many they are: decided in the head, by whoever holds the fence. */
import { headSchema, type Head, type Meeting } from '../config/manifests.ts';
import { updateRecord } from './json.ts';
import type { Store } from './store.ts';
import { headKey, requireOurs, type TrialPath, type Writer } from './training.ts';

/**
 * Makes a meeting count. Other hosts than were planned, or again as planned after that, are noted with the step: from
 * there on other bits are computed, so that a checkpoint of a later step, from before, is not gone on from.
 */
export async function commitMeeting(
  store: Store,
  trial: TrialPath,
  writer: Writer,
  { meeting, numPlanned }: { meeting: Meeting; numPlanned: number },
): Promise<Head> {
  return updateRecord(store, headKey(trial), headSchema, (current) => {
    const head = requireOurs(trial, current, writer);
    if (head.finished !== null || head.gang?.meeting === meeting.meeting) return head;
    const { step } = meeting;
    const numHosts = meeting.hosts.length;
    const earlier = (head.worlds ?? []).filter((world) => world.step < step);
    const before = earlier.at(-1)?.numHosts ?? numPlanned;
    const worlds = numHosts === before ? earlier : [...earlier, { step, numHosts }];
    const isOther = (head.worlds?.at(-1)?.numHosts ?? numPlanned) !== numHosts;
    const { worlds: _, ...rest } = head;
    return {
      ...rest,
      chain: isOther ? head.chain.filter((entry) => entry.step <= step) : head.chain,
      gang: meeting,
      ...(worlds.length > 0 && { worlds }),
    };
  });
}
