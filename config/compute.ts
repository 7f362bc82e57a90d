/** On what a pipeline trains: this machine, several hosts, or GPUs. */
import { z } from 'zod';

/** Pretraining on several hosts at once, each with a gpu worker that has TEMPER_GANG_ADDRESS, or on GPUs. */
const computeFields = z.strictObject({
  hosts: z
    .number()
    .int()
    .min(2)
    .max(16)
    .refine((hosts) => 16 % hosts === 0, 'expected 2, 4, 8 or 16, which part a batch equally')
    .optional()
    .describe(
      'how many hosts pretrain together, each on its own share of every batch; left out, one',
    ),
  device: z
    .literal('cuda')
    .optional()
    .describe("cuda: pretrain on NVIDIA's GPUs, one rank on each; left out, on the CPU"),
  elastic: z
    .boolean()
    .optional()
    .describe(
      'true: with fewer hosts when some were missing for a minute; the model is then not exact',
    ),
  parallelism: z
    .enum(['ddp', 'fsdp2'])
    .optional()
    .describe(
      'ddp: each host holds the whole model; fsdp2: a part of it, which takes less memory and more of the network; left out, ddp where the model fits into each host',
    ),
});

export const computeSchema = z
  .union(
    [
      z.literal('local'),
      computeFields.refine(
        ({ hosts, device }) => hosts !== undefined || device !== undefined,
        'expected hosts, device or both',
      ),
    ],
    { error: 'expected local, or hosts: 2 (or more) to pretrain on several hosts at once' },
  )
  .default('local')
  .describe('where it trains; local: this machine');
export type Compute = z.infer<typeof computeSchema>;
