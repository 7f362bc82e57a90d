/** A corpus or a question that no reading can cure: the whole source is wrong, not one of its files. */
import { FailureType } from '../config/failures.ts';

/** The message is one sentence for the operator: what was found, what was expected, what to do. */
export class CorpusError extends Error {
  override readonly name = FailureType.InvalidCorpus;
}

/** The pipeline file asks for something that the corpus cannot give. */
export class QuestionsError extends Error {
  override readonly name = FailureType.InvalidConfig;
}
