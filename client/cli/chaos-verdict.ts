/** Whether a disturbed run gave the bits of the undisturbed one. Nothing counts as equal that was not compared. Pure. */
import type { RunDigests } from '../../workflows/messages.ts';
import type { LiveStatus } from '../live-status.ts';
import type { Kill } from './chaos-killer.ts';
import { killKinds, type KillKind } from './chaos-schedule.ts';

export const comparedParts = [
  'tokenizer',
  'weights',
  'onnx',
  'bundle',
] as const satisfies readonly (keyof RunDigests)[];

export interface Evidence {
  status: Pick<LiveStatus, 'state' | 'failure' | 'result'>;
  reference: RunDigests;
  /** The sources were edited while the runs went on, so that their bits say nothing. */
  changed: boolean;
  kills: readonly Pick<Kill, 'kind' | 'stage'>[];
  numKills: number;
  /** What ran without a supervisor or a watcher when the run had ended. */
  orphans: readonly string[];
  /** The pipeline serves its model. */
  deploys: boolean;
}

/** Kinds of process that were killed at least once. */
export function coveredKinds(kills: Evidence['kills']): KillKind[] {
  return killKinds.filter((kind) => kills.some((kill) => kill.kind === kind));
}

/** Whether the run gave this part, with the bits of the undisturbed run. */
export function isEqual({ status, reference }: Evidence, part: keyof RunDigests): boolean {
  return status.result?.digests[part] === reference[part];
}

/** Everything that speaks against the run; none means the same bits. */
export function faultsOf(evidence: Evidence): string[] {
  const { status, changed, kills, numKills, orphans, deploys } = evidence;
  const covered = coveredKinds(kills);
  const missed = killKinds.filter((kind) => !covered.includes(kind));
  const different = comparedParts.filter((part) => !isEqual(evidence, part));
  return [
    ...(status.state === 'finished' ? [] : [`the run ${status.state}: ${status.failure ?? ''}`]),
    ...(status.result === null
      ? ['the run gave no digests: nothing was compared']
      : different.map((part) => `the ${part} differs`)),
    ...(changed ? ['the project changed while this went on: the digests cannot be compared'] : []),
    ...(kills.length < numKills
      ? [`only ${kills.length} of ${numKills} kills could be made before the run ended`]
      : []),
    ...(missed.length > 0 ? [`no kill of ${missed.join(', ')}`] : []),
    ...(deploys && !kills.some(({ stage }) => stage === 'deploy') ? ['no kill in deploy'] : []),
    ...orphans.map((orphan) => `left running: ${orphan}`),
  ];
}
