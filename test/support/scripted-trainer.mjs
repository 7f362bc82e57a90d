#!/usr/bin/env node
/**
 * The smallest program that fulfils the trainer's contract (config/trainer.ts), for tests of the side
 * that watches: its weights are a function of the step. `script.json` beside the run directories says
 * what shall go wrong: {stepMs, dieAt, hangAt, failWith}.
 */
import { createHash } from 'node:crypto';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const config = process.argv[process.argv.indexOf('--config') + 1];
const run = JSON.parse(readFileSync(config, 'utf8'));
const { runDir, recipe } = run;
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
const weights = (step) =>
  createHash('sha256').update(`seed ${recipe.seed} step ${step}`).digest('hex').repeat(50);

let terminated = false;
process.on('SIGTERM', () => (terminated = true));

function save(step) {
  event({ event: 'save_started', step });
  const folder = path.join(runDir, 'checkpoints', String(step));
  mkdirSync(`${folder}.part`, { recursive: true });
  writeFileSync(path.join(`${folder}.part`, 'weights'), weights(step));
  const bytes = Buffer.from(weights(step));
  const files = {
    weights: { sha256: createHash('sha256').update(bytes).digest('hex'), bytes: bytes.length },
  };
  writeFileSync(path.join(`${folder}.part`, 'state.json'), JSON.stringify({ step, files }));
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
  ({ step } = JSON.parse(readFileSync(path.join(run.resumeFrom, 'state.json'), 'utf8')));
  if (readFileSync(path.join(run.resumeFrom, 'weights'), 'utf8') !== weights(step)) process.exit(3);
}
event({ event: 'start', step, resumedFrom: run.resumeFrom });
while (step < recipe.numSteps) {
  step += 1;
  await sleep(script.stepMs ?? 20);
  event({
    event: 'step',
    step,
    loss: 5 / step,
    lr: 1,
    grad_norm: 1,
    tokens_per_second: 100,
    num_tokens: step * 10,
  });
  if (step % recipe.saveEverySteps === 0 && step < recipe.numSteps) save(step);
  if (terminated) {
    save(step);
    end({ ok: false, type: 'Stopped', message: 'asked to stop', step });
  }
  if (step === script.dieAt && run.resumeFrom === null) process.kill(process.pid, 'SIGKILL');
  if (step === script.hangAt) await sleep(600_000);
  if (step === script.failAt)
    end({ ok: false, type: script.failWith, message: 'as scripted', step });
}
mkdirSync(path.join(runDir, 'model'), { recursive: true });
writeFileSync(path.join(runDir, 'model', 'model.safetensors'), weights(step));
writeFileSync(path.join(runDir, 'model', 'config.json'), '{}');
end({ ok: true, step, numTokens: step * 10, finalLoss: 5 / step, valBpb: 1, model: 'model' });
