/** What goes with goal embeddings, and what does not: the same words where a file is read and where it is parsed. */

/** A pipeline file, or what was written of one. */
export interface EmbeddingsAsked {
  startFrom?: unknown;
  model?: unknown;
  phases?: unknown;
  questions?: unknown;
  evaluate?: unknown;
}

export interface EmbeddingsFault {
  /** Where in the file. */
  keys: string[];
  found: string;
  expected: string;
  hint: string;
}

/** What the evaluation of a model that embeds text measures. */
export const embeddingMetrics = ['masked.accuracy', 'masked.loss', 'retrieval.accuracy'] as const;

/** Whether a gate is on what only a model that embeds text is measured by. */
export function isEmbeddingMetric(metric: string): boolean {
  return embeddingMetrics.some((known) => known === metric);
}

/** What cannot be with goal embeddings. */
export function embeddingsFaults(asked: EmbeddingsAsked): EmbeddingsFault[] {
  const faults: EmbeddingsFault[] = [];
  const { startFrom, model, phases, questions } = asked;
  const add = (key: string | string[], found: string, expected: string, hint: string) =>
    faults.push({ keys: [key].flat(), found, expected, hint });
  if (typeof startFrom === 'string' && startFrom !== 'scratch') {
    const found = `${startFrom} with goal embeddings, which trains a model of its own from random weights`;
    add('startFrom', found, 'scratch', 'Leave startFrom out, or set another goal.');
  }
  if (model !== undefined) {
    const found =
      'a model with goal embeddings, which trains a ModernBERT of the size that it plans';
    add('model', found, 'none', 'Remove model, or set another goal.');
  }
  const tuned = Array.isArray(phases) ? phases.filter((phase) => phase !== 'pretrain') : [];
  if (tuned.length > 0) {
    const found = `[${(phases as unknown[]).join(', ')}] with goal embeddings, whose model answers nothing`;
    add('phases', found, '[pretrain]', 'Leave phases out, or set goal: assistant.');
  }
  if (Array.isArray(questions) && questions.length > 0) {
    const found = 'questions with goal embeddings, which learns from the documents alone';
    add('questions', found, 'none', 'Remove them, or set goal: assistant, which learns to answer.');
  }
  for (const metric of gatesOf(asked)) {
    if (isEmbeddingMetric(metric)) continue;
    const found = `a gate on ${metric} with goal embeddings, which is not measured by it`;
    const expected = `one on ${embeddingMetrics.join(', ')}`;
    const keys = ['evaluate', 'gates', metric];
    add(keys, found, expected, 'Take another metric, or remove the gate.');
  }
  return faults;
}

function gatesOf({ evaluate }: EmbeddingsAsked): string[] {
  const gates = (evaluate as { gates?: unknown } | undefined | null)?.gates;
  return typeof gates === 'object' && gates !== null ? Object.keys(gates) : [];
}
