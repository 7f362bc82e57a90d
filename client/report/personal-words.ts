/** Kinds of personal data in words. */
import { plural, words } from './words.ts';

const personalWords: Record<string, [one: string, many: string]> = {
  email: ['e-mail address', 'e-mail addresses'],
  ip: ['IP address', 'IP addresses'],
  iban: ['IBAN', 'IBANs'],
  secret: ['secret or key', 'secrets and keys'],
  address: ['address', 'addresses'],
  name: ['name', 'names'],
  tw_id: ['Taiwan identity number', 'Taiwan identity numbers'],
  tw_resident: ['Taiwan resident certificate', 'Taiwan resident certificates'],
  tw_company: ['Taiwan company number', 'Taiwan company numbers'],
  us_ssn: ['US social security number', 'US social security numbers'],
  uk_nino: ['UK insurance number', 'UK insurance numbers'],
  uk_nhs: ['NHS number', 'NHS numbers'],
  cn_id: ['Chinese identity number', 'Chinese identity numbers'],
};

/** 3 e-mail addresses. */
export function personal(kind: string, number: number): string {
  const [one, many] = personalWords[kind] ?? [`${words(kind)} number`, `${words(kind)} numbers`];
  return plural(number, one, many);
}
