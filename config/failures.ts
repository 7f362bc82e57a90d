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
  TrainingStuck: 'TrainingStuck',
  OutOfMemory: 'OutOfMemory',
  EvaluationGateFailed: 'EvaluationGateFailed',
  ModelNotServable: 'ModelNotServable',
  ChampionMoved: 'ChampionMoved',
  BudgetExhausted: 'BudgetExhausted',
  Fenced: 'Fenced',
  NameTaken: 'NameTaken',
  DataKeyMissing: 'DataKeyMissing',
  SealBroken: 'SealBroken',
  DatasetExpired: 'DatasetExpired',
  CodeChanged: 'CodeChanged',
} as const;
export type FailureType = (typeof FailureType)[keyof typeof FailureType];

/**
 * Failures that time, another host or an earlier step may cure: there is no room, another training has leased the
 * host, it was told to leave, the loss went wrong, the budget is spent, a batch took more memory than there is, a host of
 * several is not upgraded yet.
 */
export const PassingFailure = {
  DiskFull: 'DiskFull',
  HostTaken: 'HostTaken',
  HostLeaving: 'HostLeaving',
  RolledBack: 'RolledBack',
  BudgetSpent: 'BudgetSpent',
  MicroBatchHalved: 'MicroBatchHalved',
  OtherCode: 'OtherCode',
} as const;

/** For retry policies: our types, and what a fault of our own code throws, which every retry would throw again. */
export const nonRetryableErrorTypes: string[] = [
  ...Object.values(FailureType),
  'ZodError',
  'InvalidRecord',
  'CheckpointMismatch',
  'TypeError',
  'RangeError',
];
