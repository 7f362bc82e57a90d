/** Whether a bundle folder loads, and answers as PyTorch did. */
import { startEngine } from '../../serving/engine-process.ts';
import type { ProbeOutcome } from '../../serving/protocol.ts';

/** Starts an engine, lets it answer its probe, and ends it. Throws UnservableError when it cannot be served. */
export async function probeBundle(folder: string): Promise<ProbeOutcome> {
  const engine = await startEngine(folder);
  await engine.kill();
  return engine.probe;
}
