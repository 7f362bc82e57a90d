/**
 * Failure types that no retry can cure. Activities throw them as
 * `ApplicationFailure.nonRetryable(message, type)`; workflows and clients branch on the type.
 */
export const FailureType = {
  InvalidConfig: 'InvalidConfig',
  InvalidCorpus: 'InvalidCorpus',
  ArtifactMismatch: 'ArtifactMismatch',
  CheckpointIncompatible: 'CheckpointIncompatible',
  TrainingDiverged: 'TrainingDiverged',
  OutOfMemory: 'OutOfMemory',
  EvaluationGateFailed: 'EvaluationGateFailed',
  ModelNotServable: 'ModelNotServable',
  BudgetExhausted: 'BudgetExhausted',
  Fenced: 'Fenced',
} as const;
export type FailureType = (typeof FailureType)[keyof typeof FailureType];

/** For retry policies: our types, and what a program fault throws when a value does not fit its schema. */
export const nonRetryableErrorTypes: string[] = [
  ...Object.values(FailureType),
  'ZodError',
  'InvalidRecord',
  'CheckpointMismatch',
];
