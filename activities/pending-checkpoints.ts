/**
 * Which of the checkpoints that wait for the store are kept, when it is away for longer than the trainer takes to
 * save: the disk has room for few. What is left out here was never named by the head, so nobody can miss it.
 */

/** Of a checkpoint that is parted among hosts: enough that all of them find one that each still has. */
const maxParted = 4;
/** The trainer deletes none of the newest two. */
const numNewest = 2;

interface Pending {
  step: number;
}

/** The highest power of two that divides the step. */
function roundness({ step }: Pending): number {
  return step & -step;
}

/**
 * The one whose step a higher power of two divides, the newest of such: slower hosts leave some out, and by this rule
 * all leave out the same, so that there are steps that every host brings.
 */
export function roundest<Some extends Pending>(pending: readonly Some[]): Some {
  return pending.reduce((a, b) => (roundness(b) >= roundness(a) ? b : a));
}

/** A host that brings its shards alone keeps the newest two, and of the others the roundest, as all hosts do. */
export function keepParted<Some extends Pending>(pending: readonly Some[]): Some[] {
  const newest = pending.slice(-numNewest);
  const others = pending.slice(0, -numNewest);
  while (others.length + newest.length > maxParted) {
    const least = others.reduce((a, b) => (roundness(b) < roundness(a) ? b : a));
    others.splice(others.indexOf(least), 1);
  }
  return [...others, ...newest];
}
