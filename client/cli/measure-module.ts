/** Measures a configuration of transformers as a run would. */
import { z } from 'zod';
import { measuredOutcomeSchema } from '../../config/trainer.ts';
import { ClientError } from '../errors.ts';
import type { Measure } from '../plan.ts';
import { askTrainer } from './trainer-module.ts';

const answerSchema = z.object(measuredOutcomeSchema.shape);

export const measureConfig: Measure = async (config) => {
  const asked = { schemaVersion: 1, config };
  const told = await askTrainer('measure', answerSchema, () => Promise.resolve(asked));
  if ('answer' in told) return told.answer;
  throw new ClientError('input', `${told.why}. Nothing was started.`);
};
