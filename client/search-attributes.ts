/** The search attributes of a run: opaque names only, for they are stored in the clear. */
import { defineSearchAttributeKey } from '@temporalio/common';

export const runAttribute = defineSearchAttributeKey('run', 'KEYWORD');
export const modelAttribute = defineSearchAttributeKey('model', 'KEYWORD');
export const datasetAttribute = defineSearchAttributeKey('dataset', 'KEYWORD');
export const stageAttribute = defineSearchAttributeKey('stage', 'KEYWORD');
