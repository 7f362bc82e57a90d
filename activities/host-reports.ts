/** A gpu worker whose host has GPUs, or an address on the runs' network, says again and again that it lives. */
import { hostReportEveryMs, reportHost } from '../registry/hosts.ts';
import type { Deps } from './deps.ts';
import { findGpus } from './gpus.ts';
import { hostPool } from './training-job.ts';

/** Until the process ends; a host that has neither says nothing. */
export async function reportHostAgain({
  store,
  host,
  gangAddress: address,
  leaving,
  now,
}: Deps): Promise<void> {
  const gpu = await findGpus();
  if (address === undefined && gpu === null) return;
  const report = () => {
    const said = {
      schemaVersion: 1 as const,
      host,
      ...(address !== undefined && { address }),
      ...(gpu !== null && { gpu }),
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
