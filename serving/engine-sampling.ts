/** From logits to a token: log-probabilities, the most likely tokens, and the draw itself. */

export interface Sampling {
  temperature: number;
  topP: number;
  /** Uniform in [0, 1). */
  random: () => number;
}

/** A small seeded generator (mulberry32): the same seed gives the same draws everywhere. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** The first of the highest logits. */
export function argmax(logits: Float32Array): number {
  let best = 0;
  for (let id = 1; id < logits.length; id++) if (logits[id]! > logits[best]!) best = id;
  return best;
}

/** log(sum(exp(logits))): subtract it from a logit to have the log-probability. */
export function logSumExp(logits: Float32Array): number {
  const highest = logits[argmax(logits)]!;
  let sum = 0;
  for (let id = 0; id < logits.length; id++) sum += Math.exp(logits[id]! - highest);
  return highest + Math.log(sum);
}

/** Ids of the `count` highest logits, best first; of equals the lower id. */
export function topIds(logits: Float32Array, count: number): number[] {
  if (count === 1) return [argmax(logits)];
  const top: number[] = [];
  for (let id = 0; id < logits.length && count > 0; id++) {
    if (top.length === count && logits[id]! <= logits[top.at(-1)!]!) continue;
    let place = top.length;
    while (place > 0 && logits[top[place - 1]!]! < logits[id]!) place--;
    top.splice(place, 0, id);
    if (top.length > count) top.pop();
  }
  return top;
}

/** Greedy at temperature 0; else a draw from the smallest set of tokens that holds `topP` of the mass. */
export function sample(logits: Float32Array, sampling: Sampling): number {
  if (sampling.temperature === 0 || sampling.topP === 0) return argmax(logits);
  const highest = logits[argmax(logits)]!;
  const weights = new Float64Array(logits.length);
  let total = 0;
  for (let id = 0; id < logits.length; id++) {
    weights[id] = Math.exp((logits[id]! - highest) / sampling.temperature);
    total += weights[id]!;
  }
  if (sampling.topP >= 1) return draw(weights, total, sampling.random());
  const order = Uint32Array.from(weights.keys()).sort((a, b) => weights[b]! - weights[a]! || a - b);
  let kept = 0;
  for (const id of order) {
    if (kept >= sampling.topP * total) weights[id] = 0;
    else kept += weights[id]!;
  }
  return draw(weights, kept, sampling.random());
}

function draw(weights: Float64Array, total: number, uniform: number): number {
  let left = uniform * total;
  let last = 0;
  for (let id = 0; id < weights.length; id++) {
    if (weights[id] === 0) continue;
    last = id;
    left -= weights[id]!;
    if (left < 0) break;
  }
  return last;
}
