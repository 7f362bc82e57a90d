/** Texts that no rule of quality leaves out, each like no other. */
import { digestOf } from '../../corpus/order.ts';

const vocabulary =
  'the of and house river to market that have with village mountain letter answer question winter'.split(
    ' ',
  );

/** Words in an order of their own, the same for the same seed. */
export const variousText = (seed: string | number, numWords = 120): string =>
  Array.from({ length: numWords }, (_, at) => {
    const draw = Number.parseInt(digestOf(String(seed), String(at)).slice(0, 8), 16);
    return vocabulary[draw % vocabulary.length]!;
  }).join(' ');
