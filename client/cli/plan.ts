/** `temper plan`: what a run would do and cost, before it does. */
import { heldOutWarning } from '../../config/held-out.ts';
import { architectureOf, phasesOf } from '../../config/recipe.ts';
import { projectDir } from '../../infra/layout.ts';
import { describeMachine } from '../../infra/machine.ts';
import type { SurveyRequest } from '../../config/survey.ts';
import type { Alternative } from '../../recipes/alternatives.ts';
import { planPipeline, type Plan } from '../plan.ts';
import { readPipelineFile } from '../pipeline-file.ts';
import { openContext } from './context.ts';
import { adoptTokenizer } from './given-tokenizer.ts';
import { measureConfig } from './measure-module.ts';
import { size } from './survey-text.ts';
import { lookAtFolder } from './survey.ts';
import { ExitCode, printJson, say, type CommonOptions } from './output.ts';
import { clock, count, table } from './text.ts';

export async function planCommand(file: string, options: CommonOptions): Promise<number> {
  const { pipeline, baseDir } = await readPipelineFile(file);
  const { store } = await openContext({ patienceMs: 500 });
  const look = (asked: SurveyRequest) => lookAtFolder(asked, () => {});
  const request = {
    pipeline,
    baseDir,
    projectDir,
    machine: describeMachine(),
    look,
    measure: measureConfig,
    adopt: adoptTokenizer,
  };
  const planned = await planPipeline({ ...request, store }).catch((error: unknown) => {
    // A plan must not need the stack: without a registry it estimates, and says so.
    if (!(error instanceof Error) || !error.name.startsWith('Store')) throw error;
    return planPipeline({ ...request, store: null });
  });
  store.close();
  if (options.json === true) printJson(planned);
  for (const line of planLines(planned)) say(options, line);
  say(options);
  say(options, `Nothing was started. Start it: npx temper run ${file}`);
  return ExitCode.ok;
}

/** The plan for people: what, how long, how good, and why. */
export function planLines({ corpus, recipe, warnings, alternatives, speed, base }: Plan): string[] {
  const { model, estimate, pretrain, machine } = recipe;
  const about = corpus.estimated ? 'about ' : '';
  const phases = phasesOf(recipe);
  // Held-out text is scored after pretraining alone.
  const masked = pretrain?.mask !== undefined;
  const few =
    pretrain === null
      ? null
      : heldOutWarning(corpus.heldOut, { estimated: corpus.estimated, masked });
  const lora = phases[0]?.lora;
  const lostUsd = (estimate.usd * estimate.lostIfKilledMs) / estimate.trainingMs;
  return [
    ...(base === null
      ? []
      : [`${base.title}, ${base.license ?? 'licence not known here'}, from ${base.origin}`]),
    `${lora === undefined ? '' : `LoRA of rank ${lora.rank} on a `}${architectureOf(model)} ${(recipe.numParameters / 1e6).toFixed(1)}M: ${model.numLayers} layers of ${model.hiddenSize}, vocabulary ${count(model.vocabSize)}, context ${count(model.contextLength)}`,
    `${about}${count(corpus.numTokens)} tokens, ${(corpus.bytes / 1e6).toFixed(1)} MB of text (${corpus.origin})`,
    `${clock(estimate.trainingMs)} of training (${clock(estimate.trainingMsLow)} to ${clock(estimate.trainingMsHigh)}), ${price(estimate.usd)}, on ${machine.cores} cores, ${machine.device}, ${machine.instructionSet}`,
    ...timeLines(estimate.time, lora === undefined ? 'to pretrain' : 'to adapt'),
    `speed ${speed}`,
    ...(pretrain === null
      ? []
      : [
          masked
            ? `hidden words: loss ${estimate.finalLoss.toFixed(2)} nats a token at the end of pretraining, ${estimate.valBpbLow.toFixed(2)} to ${estimate.valBpbHigh.toFixed(2)} bits a byte of them`
            : `valBpb ${estimate.valBpbLow.toFixed(2)} to ${estimate.valBpbHigh.toFixed(2)}, loss ${estimate.finalLoss.toFixed(2)} at the end of ${lora === undefined ? 'pretraining' : 'adapting'}`,
        ]),
    ...(few === null ? [] : [`held out: ${few}`]),
    `killed at any moment: at most ${clock(estimate.lostIfKilledMs)} of work and ${price(lostUsd)} lost`,
    '',
    ...table(
      ['phase', 'steps', 'sequences a step', 'tokens a sequence', 'peak rate', 'saved every'],
      phases.map((phase) => [
        phase === pretrain && lora !== undefined ? 'adapt' : phase.phase,
        count(phase.numSteps),
        count(phase.batchSize),
        count(phase.contextLength),
        String(phase.learningRate),
        `${count(phase.saveEverySteps)} steps`,
      ]),
    ),
    ...warnings.map((warning) => `warning: ${warning}`),
    '',
    'Instead',
    ...(alternatives.length === 0
      ? ['  nothing: neither more time, nor less, nor a faster machine would change the plan']
      : alternatives.flatMap((one) => alternativeLines(one, masked))),
    '',
    'Why',
    ...recipe.reasons.map(
      ({ choice, value, reason, source }) => `  ${choice} ${value}: ${reason} [${source}]`,
    ),
  ];
}

function alternativeLines({ title, how, figures, gain }: Alternative, masked: boolean): string[] {
  const { numParameters, bytes, trainingMs, usd, valBpbLow, valBpbHigh, finalLoss } = figures;
  return [
    `  ${title} (${how}): ${gain}`,
    `    ${(numParameters / 1e6).toFixed(1)}M, ${size(bytes)}, ${clock(trainingMs)} of training, ${price(usd)}, ${masked ? 'bits a byte' : 'valBpb'} ${valBpbLow.toFixed(2)} to ${valBpbHigh.toFixed(2)}, loss ${finalLoss.toFixed(2)}`,
  ];
}

/** Where the time goes, in a line of its own; none of a plan that does not say. */
function timeLines(
  times: Plan['recipe']['estimate']['time'] = [],
  reading: 'to pretrain' | 'to adapt',
): string[] {
  const all = (part: (time: (typeof times)[number]) => number) =>
    times.reduce((sum, time) => sum + part(time), 0);
  const parts: [number, string][] = [
    [
      all(({ startMs }) => startMs),
      times.length === 1 ? 'to start' : `to start ${times.length} times`,
    ],
    ...times.map(({ phase, stepsMs }): [number, string] => [
      stepsMs,
      phase === 'pretrain' ? reading : `of ${phase}`,
    ]),
    [all(({ scoringMs }) => scoringMs), 'to score held-out text'],
    [
      all(({ modelMs }) => modelMs),
      times.length === 1 ? 'to write the model' : 'to write the models',
    ],
  ];
  const told = parts.filter(([ms]) => ms >= 500).map(([ms, what]) => `${clock(ms)} ${what}`);
  return told.length === 0 ? [] : [`of it ${told.join(', ')}`];
}

function price(usd: number): string {
  return usd === 0 ? '$0' : `$${usd.toFixed(2)}`;
}
