/** What the control worker runs. */
export { continuousPretrainingWorkflow } from './continuous.ts';
export { datasetWorkflow } from './dataset.ts';
export { deploymentWorkflow } from './deployment.ts';
export { pipelineWorkflow } from './pipeline.ts';
export { preprocessWorkflow } from './preprocess.ts';
export { retentionWorkflow } from './retention.ts';
export { trainingWorkflow, trialWorkflow } from './training.ts';
