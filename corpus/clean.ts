/** One form for each text: Unicode, white space and line ends, so that equal texts are equal bytes. Cleaning twice changes nothing. */
import type { UsualStep } from '../config/cleaning.ts';

const fullWidth = /[\uFF10-\uFF19\uFF21-\uFF3A\uFF41-\uFF5A]/g;
// Controls, invisible and direction marks, byte-order marks; tab and line feed stay, and so do the joiners that scripts need.
const invisible =
  // oxlint-disable-next-line no-control-regex
  /[\u0000-\u0008\u000E-\u001F\u007F-\u0084\u0086-\u009F\u00AD\u200B\u200E\u200F\u202A-\u202E\u2060-\u2064\u2066-\u2069\uFEFF\uFFF9-\uFFFB]/g;
const lineEnds = /\r\n?|[\u000B\u000C\u0085\u2028\u2029]/g;
// oxlint-disable-next-line no-control-regex
const beyondAscii = /[^\u0000-\u007F]/;

/** Cleans one turn of a conversation, whose spaces and empty lines may be code. */
export function cleanTurn(raw: string): string {
  return raw
    .toWellFormed()
    .replaceAll(lineEnds, '\n')
    .replaceAll(invisible, '')
    .normalize('NFC')
    .replaceAll(/<\|(\w+)\|>/g, '<| $1 |>')
    .trim();
}

/** Cleans a text; what is switched off stays. Full-width letters and digits become plain ones; punctuation stays as it was written. */
export function cleanText(
  raw: string,
  { width, controls }: { width: boolean; controls: boolean } = { width: true, controls: true },
  onChange: (step: UsualStep) => void = () => {},
): string {
  const after = (step: UsualStep, before: string, made: string): string => {
    if (made !== before) onChange(step);
    return made;
  };
  let text = after('nfc', raw, raw.toWellFormed());
  if (width && beyondAscii.test(text)) {
    const plain = text.replaceAll(fullWidth, (character) =>
      String.fromCharCode(character.charCodeAt(0) - 0xfee0),
    );
    text = after('width', text, plain);
  }
  text = after('white-space', text, text.replaceAll(lineEnds, '\n'));
  if (controls) text = after('controls', text, text.replaceAll(invisible, ''));
  text = after('nfc', text, text.normalize('NFC'));
  // The tokenizer's own control words must not be spelled by a document.
  text = after('control-words', text, text.replaceAll(/<\|(\w+)\|>/g, '<| $1 |>'));
  const spaced = text
    // Not what is one space or one line feed already, which most are.
    .replaceAll(/[^\S\n ][^\S\n]*| [^\S\n]+/g, ' ')
    .replaceAll(/ \n ?|\n /g, '\n')
    .replaceAll(/\n{3,}/g, '\n\n')
    .trim();
  return after('white-space', text, spaced);
}
