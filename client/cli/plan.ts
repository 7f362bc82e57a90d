/** `temper plan`: what a run would do and cost, before it does. */
import { heldOutWarning } from '../../config/held-out.ts';
import { architectureOf, phasesOf } from '../../config/recipe.ts';
import { projectDir } from '../../infra/layout.ts';
import { describeMachine } from '../../infra/machine.ts';
import type { Survey, SurveyRequest } from '../../config/survey.ts';
import type { Alternative } from '../../recipes/alternatives.ts';
import { ClientError } from '../errors.ts';
import { foreseeAnswers } from '../foresee-dataset.ts';
import { foresee, leftOutLine, toForesee } from '../foresee.ts';
import { inFile, PlacedError } from '../placed.ts';
import { lookAtSources } from '../look-at-sources.ts';
import { datasetFor, planPipeline, type Plan } from '../plan.ts';
import { readPipelineFile, type PipelineFile } from '../pipeline-file.ts';
import { openContext } from './context.ts';
import { requireConversations } from './given-conversations.ts';
import { adoptTokenizer } from './given-tokenizer.ts';
import { measureConfig } from './measure-module.ts';
import { size } from './survey-text.ts';
import { lookAtFolder } from './survey.ts';
import { ExitCode, printJson, say, type CommonOptions } from './output.ts';
import { clock, count, table } from './text.ts';

export async function planCommand(file: string, options: CommonOptions): Promise<number> {
  const read = await readPipelineFile(file);
  const { planned, foreseen } = await inFile(read, async () => planAndForesee(read));
  if (options.json === true) printJson({ ...planned, foreseen });
  const leftOut = foreseen && leftOutLine(foreseen, read.pipeline.data.maxDropped);
  const lines = planLines(planned);
  // With the facts, before the table of phases.
  if (leftOut !== null) lines.splice(lines.indexOf(''), 0, leftOut);
  for (const line of lines) say(options, line);
  say(options);
  say(options, `Nothing was started. Start it: npx temper run ${file}`);
  return ExitCode.ok;
}

async function planAndForesee({ pipeline, baseDir, placeOf }: PipelineFile) {
  const { store } = await openContext({ patienceMs: 500 });
  const looked = new Map<string, Promise<Survey>>();
  // Once at each place, though a plan without the registry begins again.
  const look = (asked: SurveyRequest): Promise<Survey> => {
    const key = JSON.stringify(asked);
    const known = looked.get(key) ?? lookAtFolder({ ...asked, ...toForesee(pipeline) }, () => {});
    looked.set(key, known);
    return known;
  };
  const request = {
    pipeline,
    baseDir,
    projectDir,
    machine: describeMachine(),
    look,
    measure: measureConfig,
    adopt: adoptTokenizer,
  };
  try {
    const planned = await planPipeline({ ...request, store }).catch((error: unknown) => {
      // A plan must not need the stack: without a registry it estimates, and says so.
      if (!(error instanceof Error) || !error.name.startsWith('Store')) throw error;
      return planPipeline({ ...request, store: null });
    });
    await requireConversations(pipeline, baseDir);
    const { data, questions } = pipeline;
    const dataset = await datasetFor({ pipeline, store });
    const asks = dataset === null ? null : await foreseeAnswers(store, dataset, questions);
    // What is known of a corpus says nothing of questions that are new.
    const local = data.sources?.every((source) => !('s3' in source || 'url' in source)) === true;
    if (looked.size === 0 && questions.length > 0 && local) await lookAtSources(request);
    const foreseen = foresee(pipeline, await Promise.all(looked.values()));
    const fault = asks ?? foreseen?.fault ?? null;
    if (fault === null) return { planned, foreseen };
    const refused = new ClientError('input', `${fault.message} Nothing was started.`);
    throw new PlacedError(placeOf(fault.keys), refused);
  } finally {
    store.close();
  }
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
