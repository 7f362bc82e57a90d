/** Whether enough text is held out to measure a model by. Workflows ask too, so without zod. */

/** Documents and tokens below which the figure hangs on what happens to stand in them. */
const fewDocuments = 3;
const fewTokens = 5000;

export interface HeldOutSize {
  numDocuments: number;
  numTokens: number;
}

/** In words for people: what the held-out part is too small for, and what to do; null where it is large enough. */
export function heldOutWarning(
  { numDocuments, numTokens }: HeldOutSize,
  { estimated = false, masked = false } = {},
): string | null {
  // Of an encoder other figures are measured on the same text.
  const measure = masked ? 'masked.accuracy' : 'valBpb';
  if (numDocuments === 0) {
    return `no document is held out, so there is no ${measure} to tell how good the model is. Give two documents or more.`;
  }
  if (numDocuments >= fewDocuments && numTokens >= fewTokens) return null;
  const documents = numDocuments === 1 ? '1 document' : `${numDocuments} documents`;
  const about = estimated ? 'about ' : '';
  return (
    `only ${about}${documents} with ${about}${grouped(numTokens)} tokens held out: ${measure} hangs on what stands in them, and may be far from the plan. ` +
    'Raise data.heldOut, or give more documents.'
  );
}

function grouped(number: number): string {
  return String(number).replaceAll(/\B(?=(\d{3})+$)/g, ',');
}
