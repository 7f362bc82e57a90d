#!/usr/bin/env node
/**
 * The smallest program that fulfils the trainer's contract (config/trainer.ts), for tests of the side
 * that watches: its weights are a function of the step, of the rates that were in force and of the batches that were
 * skipped. `script.json` beside the run directories says what shall go wrong: {stepMs, dieAt, hangAt, failWith}, `deaf`
 * to changes of the rate, `mute` about the number of a pause, `poison`: the numbers of batches without a finite loss,
 * `stubborn` about returns, which it does not obey, `heldOut`: the loss on held-out text by step, `obstinate` about a
 * stop that it is told, though not about its own clock, `room`: out of memory at `failAt` with more sequences at once,
 * `rated`: its weights are a function of the rate too, `unaware` of the end of a rung, `disk`: so many checkpoints have
 * room on it, of which it deletes what it may; the third save without room ends it.
 */
import { createHash } from 'node:crypto';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const config = process.argv[process.argv.indexOf('--config') + 1];
const run = JSON.parse(readFileSync(config, 'utf8'));
const { runDir, recipe } = run;
const tokensAStep = recipe.batchSize * recipe.contextLength;
const scriptFile = path.join(path.dirname(path.dirname(runDir)), 'script.json');
const script = existsSync(scriptFile) ? JSON.parse(readFileSync(scriptFile, 'utf8')) : {};
const event = (fields) =>
  appendFileSync(
    path.join(runDir, 'events.jsonl'),
    `${JSON.stringify({ ...fields, at: Date.now() / 1000 })}\n`,
  );
const whole = (file, value) => {
  writeFileSync(`${file}.part`, JSON.stringify(value));
  renameSync(`${file}.part`, file);
};
const controlFile = path.join(runDir, 'control.json');
const control = () =>
  existsSync(controlFile)
    ? JSON.parse(readFileSync(controlFile, 'utf8'))
    : { paused: false, learningRates: [] };
/** The factor on the rate of each step done; a checkpoint takes it along. */
let scales = [];
const learningRates = () =>
  scales.flatMap((scale, at) => (scale === (scales[at - 1] ?? 1) ? [] : [[at, scale]]));
const rollbacks = script.stubborn ? [] : (run.rollbacks ?? []);
const rollbacksUsed = (step) =>
  rollbacks
    .filter((rollback) => rollback.step < step)
    .map(({ step: at, skippedTo, scale }) => [at, skippedTo, scale]);
const microBatchesUsed = (step) =>
  (run.microBatches ?? [])
    .filter((decided) => decided.step < step)
    .map(({ step: at, size }) => [at, size]);
const microBatch = (step) =>
  (run.microBatches ?? []).findLast((decided) => decided.step <= step)?.size ??
  recipe.microBatchSize ??
  recipe.batchSize;
const batchOf = (step) => {
  const last = rollbacks.findLast((rollback) => rollback.step <= step);
  return last === undefined ? step : last.skippedTo + step - last.step;
};
const rated = script.rated ? ` rate ${recipe.learningRate}` : '';
const weights = (step) => {
  const changed = scales.some((scale) => scale !== 1) ? ` scales ${scales.join()}` : '';
  const used = rollbacksUsed(step);
  const returned = used.length > 0 ? ` returned ${JSON.stringify(used)}` : '';
  const halved = microBatchesUsed(step);
  const parts = halved.length > 0 ? ` parts ${JSON.stringify(halved)}` : '';
  return createHash('sha256')
    .update(`seed ${recipe.seed} step ${step}${changed}${returned}${parts}${rated}`)
    .digest('hex')
    .repeat(50);
};

let terminated = false;
process.on('SIGTERM', () => (terminated = true));

const saved = () =>
  readdirSync(path.join(runDir, 'checkpoints'))
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .toSorted((a, b) => a - b);
let saveFailures = 0;
function hasRoom(step) {
  if (script.disk === undefined) return true;
  const { acknowledged = [] } = control();
  for (const old of saved().slice(0, -2)) {
    if (acknowledged.includes(old))
      rmSync(path.join(runDir, 'checkpoints', String(old)), { recursive: true });
  }
  if (saved().length < script.disk) return true;
  saveFailures += 1;
  event({ event: 'save_failed', step, message: 'no room' });
  if (saveFailures === 3) end({ ok: false, type: 'DiskFull', message: 'no room', step });
  return false;
}

function save(step) {
  event({ event: 'save_started', step });
  if (!hasRoom(step)) return;
  const folder = path.join(runDir, 'checkpoints', String(step));
  mkdirSync(`${folder}.part`, { recursive: true });
  writeFileSync(path.join(`${folder}.part`, 'weights'), weights(step));
  const bytes = Buffer.from(weights(step));
  const files = {
    weights: { sha256: createHash('sha256').update(bytes).digest('hex'), bytes: bytes.length },
  };
  const returned = rollbacksUsed(step);
  const state = {
    step,
    cursor: step * recipe.batchSize,
    numTokens: step * tokensAStep,
    scales,
    learningRates: learningRates(),
    ...(returned.length > 0 && { rollbacks: returned }),
    ...(microBatchesUsed(step).length > 0 && { microBatches: microBatchesUsed(step) }),
    files,
  };
  writeFileSync(path.join(`${folder}.part`, 'state.json'), JSON.stringify(state));
  renameSync(`${folder}.part`, folder);
  event({ event: 'checkpoint', step, path: `checkpoints/${step}` });
}

function end(result) {
  event({ event: 'end', step: result.step });
  whole(path.join(runDir, 'result.json'), result);
  process.exit(result.ok ? 0 : 1);
}

let step = 0;
if (run.resumeFrom !== null) {
  ({ step, scales } = JSON.parse(readFileSync(path.join(run.resumeFrom, 'state.json'), 'utf8')));
  if (readFileSync(path.join(run.resumeFrom, 'weights'), 'utf8') !== weights(step)) process.exit(3);
}
event({ event: 'start', step, resumedFrom: run.resumeFrom });
let savedAt = step;
const until = script.unaware ? undefined : run.untilStep;
const numSteps = until ?? run.endAt ?? recipe.numSteps;
const mustStop = () => {
  const { stop, stopAt = Infinity } = control();
  return (stop && !script.obstinate) || Date.now() / 1000 >= stopAt;
};
while (step < numSteps) {
  if (control().paused) {
    if (step !== savedAt) save(step);
    savedAt = step;
    let told;
    for (let asked = control(); asked.paused && !terminated && !mustStop(); asked = control()) {
      const pause = script.mute ? undefined : (asked.pause ?? 0);
      if (told !== (pause ?? 'mute')) event({ event: 'paused', step, pause });
      told = pause ?? 'mute';
      await sleep(50);
    }
  }
  if (mustStop()) {
    if (step > 0 && step !== savedAt) save(step);
    end({ ok: false, type: 'Stopped', message: 'asked to stop', step });
  }
  const told = script.deaf ? [] : control().learningRates;
  const due = told.filter((change) => change.step <= step);
  scales.push(due.toSorted((a, b) => a.step - b.step).at(-1)?.scale ?? 1);
  const isBad = script.poison?.includes(batchOf(step));
  step += 1;
  await sleep(script.stepMs ?? 20);
  if (isBad) {
    const fault = { kind: 'not-finite', first: step, step, found: null, bound: null };
    end({ ok: false, type: 'TrainingDiverged', message: `step ${step}: loss nan`, step, fault });
  }
  event({
    event: 'step',
    step,
    loss: 5 / step,
    lr: scales.at(-1),
    grad_norm: 1,
    tokens_per_second: 100,
    num_tokens: step * tokensAStep,
  });
  if (step % recipe.saveEverySteps === 0 && step < numSteps) {
    save(step);
    savedAt = step;
  }
  const heldOut = script.heldOut?.[step];
  if (heldOut !== undefined) event({ event: 'eval', step, val_loss: heldOut, val_bpb: heldOut });
  if (terminated) {
    save(step);
    end({ ok: false, type: 'Stopped', message: 'asked to stop', step });
  }
  if (step === script.dieAt && run.resumeFrom === null) process.kill(process.pid, 'SIGKILL');
  if (step === script.hangAt) await sleep(600_000);
  if (step === script.failAt && !(microBatch(step - 1) <= script.room))
    end({ ok: false, type: script.failWith, message: 'as scripted', step });
}
if (until !== undefined) {
  if (savedAt !== step) save(step);
  const loss = 5 / step + Math.abs(Math.log2(recipe.learningRate / 0.04));
  const message = `ended at step ${step}, as asked`;
  end({ ok: false, type: 'RungEnded', message, step, heldOut: { loss, bpb: loss / 2 } });
}
mkdirSync(path.join(runDir, 'model'), { recursive: true });
writeFileSync(path.join(runDir, 'model', 'model.safetensors'), weights(step));
writeFileSync(path.join(runDir, 'model', 'config.json'), '{}');
end({
  ok: true,
  step,
  numTokens: step * tokensAStep,
  finalLoss: 5 / step,
  valBpb: 1,
  learningRates: learningRates(),
  ...(rollbacksUsed(step).length > 0 && { rollbacks: rollbacksUsed(step) }),
  ...(microBatchesUsed(step).length > 0 && { microBatches: microBatchesUsed(step) }),
  model: 'model',
});
