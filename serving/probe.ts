/** The servability gate as a function: does this bundle folder load, and does it answer as PyTorch did? */
import { startEngine } from './engine-process.ts';
import type { ProbeOutcome } from './protocol.ts';

export type { ProbeOutcome } from './protocol.ts';

/** Starts an engine, lets it answer its probe, and ends it. Throws UnservableError when it cannot be served. */
export async function probeBundle(folder: string): Promise<ProbeOutcome> {
  const engine = await startEngine(folder);
  await engine.kill();
  return engine.probe;
}
