/** The kinds of personal data that are looked for: what a pipeline file may name. */
import { z } from 'zod';

/** Found by a form of their own, most of them with a check digit: replaced unless the file says otherwise. */
export const certainKinds = [
  'secret',
  'email',
  'iban',
  'cn_id',
  'card',
  'tw_id',
  'tw_resident',
  'tw_company',
  'us_ssn',
  'uk_nino',
  'uk_nhs',
  'ip',
  'phone',
] as const;
/** Found by what stands around them, so that some are missed: replaced where the file asks for it. */
export const likelyKinds = ['address', 'name'] as const;
export const personalDataKinds = [...certainKinds, ...likelyKinds] as const;
export type PersonalData = (typeof personalDataKinds)[number];

export const personalDataSchema = z
  .union(
    [
      z.enum(['redact', 'keep']),
      z.strictObject({
        also: z.array(z.enum(likelyKinds)).optional().describe('kinds beside the usual ones'),
        except: z.array(z.enum(certainKinds)).optional().describe('usual kinds that stay'),
      }),
    ],
    {
      error: `expected redact, keep, or also: and except: with kinds (${personalDataKinds.join(', ')})`,
    },
  )
  .default('redact')
  .describe(
    'redact: e-mail addresses, telephone, card, account and identity numbers, IP addresses, secrets and keys become placeholders; also: [address, name] beside them; except: [ip] leaves a kind; keep: nothing is replaced',
  );
export type PersonalDataOption = z.infer<typeof personalDataSchema>;

/** The kinds that an option asks for. */
export function kindsOf(option: PersonalDataOption): PersonalData[] {
  if (option === 'keep') return [];
  if (option === 'redact') return [...certainKinds];
  const left = certainKinds.filter((kind) => option.except?.includes(kind) !== true);
  return [...left, ...likelyKinds.filter((kind) => option.also?.includes(kind) === true)];
}
