/** What the keys of a pipeline file say against each other, in the order in which an operator is told. */
import { budgetFaults, endsTraining, type Budget } from './budget.ts';
import type { Compute } from './compute.ts';
import { embeddingsFaults, isEmbeddingMetric } from './embeddings.ts';
import { isMixed, mixtureFaults } from './mixture.ts';
import type { ModelWish } from './model-wish.ts';
import { phasesFault } from './phases.ts';
import { dataFaults, type Data } from './pipeline-data.ts';
import { teachesAnswers } from './questions.ts';
import type { Phase } from './recipe.ts';
import { mixedSources } from './sources.ts';
import { isBase } from './start-from.ts';

/** A pipeline whose defaults are resolved. */
interface Said {
  data: Data;
  startFrom: string;
  tokenizer?: unknown;
  model?: ModelWish;
  goal: string;
  phases?: Phase[] | undefined;
  questions: readonly unknown[];
  packing?: boolean | undefined;
  budget: Budget & { time: number };
  sweep?: unknown;
  compute: Compute;
  evaluate: { gates: object };
}

interface Fault {
  path: (string | number)[];
  message: string;
}

/** What cannot be together, with where it stands. */
export function pipelineFaults(file: Said): Fault[] {
  return [
    ...dataFaults(file.data).map(({ field, message }) => fault(field, message)),
    ...computeFaults(file),
    ...budgetFaults(file.budget).map(({ field, message }) => fault(field, message)),
    ...phasesFaults(file),
    ...packingFaults(file),
    ...sourceFaults(file),
    ...replayFaults(file),
    ...gateFaults(file),
    ...startFaults(file),
    ...teachingFaults(file),
  ];
}

function fault(field: string, message: string): Fault {
  return { path: field.split('.'), message };
}

function isSeveral(compute: Compute): boolean {
  return compute !== 'local' && compute.hosts !== undefined;
}

function computeFaults({ compute, goal, startFrom, sweep, budget }: Said): Fault[] {
  const faults: Fault[] = [];
  if (compute !== 'local' && compute.device === 'cuda' && goal !== 'base') {
    const message = `expected none with goal ${goal}: pretraining alone runs on GPUs, so goal base`;
    faults.push(fault('compute.device', message));
  } else if (isSeveral(compute) && (goal === 'adapt' || isBase(startFrom))) {
    const message = 'expected local where a model is adapted: its adapters train on one host';
    faults.push(fault('compute', message));
  } else if (isSeveral(compute) && sweep !== undefined) {
    const message = 'expected local with a sweep, whose trials train on one host each';
    faults.push(fault('compute', message));
  } else if (isSeveral(compute) && endsTraining(budget)) {
    const message =
      'expected local where the budget ends the training: several hosts end by their plan';
    faults.push(fault('compute', message));
  }
  if (sweep !== undefined && endsTraining(budget)) {
    const message =
      'expected none where the budget ends the training: trials are planned for their time, not ended by it';
    faults.push(fault('sweep', message));
  }
  return faults;
}

function phasesFaults(file: Said): Fault[] {
  const { phases, goal, startFrom, budget, sweep, compute } = file;
  if (phases === undefined) return [];
  const faults: Fault[] = [];
  const found = phasesFault({
    phases,
    goal,
    startFrom,
    asks: teachesAnswers(file),
    stopOnPlateau: budget.stopOnPlateau,
    sweeps: sweep !== undefined,
  });
  if (found !== null) faults.push(fault(found.field, inWords(found)));
  if (isSeveral(compute) && !isBase(startFrom) && !phases.includes('pretrain')) {
    const message =
      'expected local with phases that leave pretrain out: it alone trains on several hosts';
    faults.push(fault('compute', message));
  }
  return faults;
}

function packingFaults({ packing, phases, goal, model }: Said): Fault[] {
  if (packing !== true) return [];
  if (!(phases?.includes('sft') ?? goal === 'assistant')) {
    const message = 'expected none where no chats are learnt: sft does that, with goal assistant';
    return [fault('packing', message)];
  }
  if (model === undefined || !('config' in model)) return [];
  const message = 'expected false with model.config: chats of a row might see each other';
  return [fault('packing', message)];
}

function sourceFaults({ data, phases }: Said): Fault[] {
  const { sources = [], replay } = data;
  const wishes = sources.map((source) => ({
    ...mixedSources([source])[0]!,
    ...('url' in source && { url: source.url }),
  }));
  const faults: Fault[] = mixtureFaults(wishes).map(({ source, field, message }) => ({
    path: ['data', 'sources', source, field],
    message,
  }));
  if (!isMixed(sources)) return faults;
  if (replay !== undefined) {
    const message =
      'expected none where sources have a weight or a repeat: both say what is read how often';
    faults.push(fault('data.replay', message));
  } else if (phases?.includes('pretrain') === false) {
    const message =
      'expected pretrain among them where sources have a weight or a repeat: it alone reads documents';
    faults.push(fault('phases', message));
  }
  return faults;
}

function replayFaults({ data, startFrom, phases }: Said): Fault[] {
  if (data.replay === undefined) return [];
  if (isBase(startFrom)) {
    const message = `expected none: what ${startFrom} was trained on is not here; it rehearses text of its own instead`;
    return [fault('data.replay', message)];
  }
  if (phases?.includes('pretrain') !== false) return [];
  const message = 'expected none with phases that leave pretrain out: it reads documents';
  return [fault('data.replay', message)];
}

function gateFaults(file: Said): Fault[] {
  if (file.goal === 'embeddings') {
    return embeddingsFaults(file).map((found) => ({ path: found.keys, message: inWords(found) }));
  }
  const metrics = Object.keys(file.evaluate.gates).filter((metric) => isEmbeddingMetric(metric));
  return metrics.map((metric) => ({
    path: ['evaluate', 'gates', metric],
    message: `expected a gate that this pipeline measures; found one on ${metric}, which goal embeddings alone measures`,
  }));
}

function startFaults({ startFrom, goal, tokenizer, model }: Said): Fault[] {
  const faults: Fault[] = [];
  if (goal === 'adapt' && startFrom === 'scratch') {
    const message = 'expected base or assistant: adapt needs a model, such as startFrom: smollm2';
    faults.push(fault('goal', message));
  }
  if (goal === 'base' && isBase(startFrom)) {
    faults.push(fault('goal', `expected adapt or assistant, which ${startFrom} can be made into`));
  }
  if (tokenizer !== undefined && startFrom !== 'scratch') {
    const message = `expected none: the weights of ${startFrom} know the tokens of its own tokenizer alone`;
    faults.push(fault('tokenizer', message));
  }
  if (model !== undefined && startFrom !== 'scratch' && goal !== 'embeddings') {
    faults.push(fault('model', `expected none: ${startFrom} has an architecture of its own`));
  }
  return faults;
}

function teachingFaults(file: Said): Fault[] {
  const { goal, data, questions } = file;
  if (goal === 'embeddings' && data.conversations !== undefined) {
    const message = 'expected none with goal embeddings, whose model answers nothing';
    return [fault('data.conversations', message)];
  }
  if (goal !== 'adapt' || !teachesAnswers(file)) return [];
  const field = questions.length > 0 ? 'questions' : 'data.conversations';
  return [fault(field, 'expected none with goal adapt, which trains on the documents alone')];
}

function inWords({ expected, found, hint }: Record<'expected' | 'found' | 'hint', string>): string {
  return `expected ${expected}; found ${found}. ${hint}`;
}
