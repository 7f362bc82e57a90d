/** A gpu worker says again and again that its host lives, and what it computes with. */
import { hostReportEveryMs, reportHost } from '../registry/hosts.ts';
import type { Deps } from './deps.ts';
import { findGpus } from './gpus.ts';
import { findInstructionSet } from './instruction-set.ts';
import { hostPool } from './training-job.ts';

/** Until the process ends. */
export async function reportHostAgain({
  store,
  host,
  gangAddress: address,
  leaving,
  now,
}: Deps): Promise<void> {
  const gpu = await findGpus();
  const instructionSet = await findInstructionSet();
  const report = () => {
    const said = {
      schemaVersion: 1 as const,
      host,
      ...(address !== undefined && { address }),
      ...(gpu !== null && { gpu }),
      instructionSet,
      ...(leaving?.notice != null && { leaving: leaving.notice.why }),
      at: now().toISOString(),
    };
    // The store is away: what was said last holds for a while.
    reportHost(store, hostPool, said).catch(() => undefined);
  };
  report();
  leaving?.signal.addEventListener('abort', report);
  setInterval(report, hostReportEveryMs).unref();
}
