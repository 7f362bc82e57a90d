/** What the trainers of a trial told, kept apart by the generation that stored it: `readEvents` joins what this does not. */
import { z } from 'zod';
import { trainerEventSchema, type TrainerEvent } from '../config/trainer.ts';
import type { Head } from '../config/manifests.ts';
import { readBlob } from './blobs.ts';
import type { Store } from './store.ts';
import { readCheckpoint, storedEvents, type TrialPath } from './training.ts';

export interface GenerationEvents {
  fence: number;
  /** In the order in which the trainer wrote them. */
  events: TrainerEvent[];
}

/** By fence; what this version cannot read is left out. */
export async function readGenerations(store: Store, trial: TrialPath): Promise<GenerationEvents[]> {
  const byFence = new Map<number, TrainerEvent[]>();
  for await (const { fence, lines } of storedEvents(store, trial)) {
    const events = lines.flatMap((line) => trainerEventSchema.safeParse(line).data ?? []);
    byFence.set(fence, [...(byFence.get(fence) ?? []), ...events]);
  }
  return [...byFence].map(([fence, events]) => ({ fence, events }));
}

const stateSchema = z.looseObject({
  step: z.number(),
  cursor: z.number().int().nonnegative().optional(),
  numTokens: z.number().int().nonnegative().optional(),
});

/** Where a checkpoint stands in the data, as its trainer wrote it down. */
export type CheckpointPlace = z.infer<typeof stateSchema>;

/** The state.json of a checkpoint in the chain, verified. */
export async function readCheckpointPlace(
  store: Store,
  entry: Head['chain'][number],
): Promise<CheckpointPlace> {
  const { files } = await readCheckpoint(store, entry);
  const ref = files['state.json'];
  // Some other trainer may write none: then it tells no place.
  if (ref === undefined) return { step: entry.step };
  return stateSchema.parse(JSON.parse((await readBlob(store, ref)).toString('utf8')));
}
