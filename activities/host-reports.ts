/** A gpu worker whose host has an address on the runs' network says again and again that it lives. */
import { hostReportEveryMs, reportHost } from '../registry/hosts.ts';
import type { Deps } from './deps.ts';
import { hostPool } from './training-job.ts';

/** Until the process ends; a host without such an address says nothing. */
export function reportHostAgain({ store, host, gangAddress: address, now }: Deps): void {
  if (address === undefined) return;
  const report = () => {
    const said = { schemaVersion: 1 as const, host, address, at: now().toISOString() };
    // The store is away: what was said last holds for a while.
    reportHost(store, hostPool, said).catch(() => undefined);
  };
  report();
  setInterval(report, hostReportEveryMs).unref();
}
