/** A text as its personal data would be typed on a plain keyboard, unit by unit, so that places in one are places in the other. */

// Full-width letters, digits and the signs of numbers and addresses; every width of space and dash.
const foldable =
  /[\uFF08-\uFF0B\uFF0D-\uFF1A\uFF1D\uFF20-\uFF3A\uFF3F\uFF41-\uFF5A\u00A0\u2000-\u200A\u2010-\u2015\u202F\u2212\u3000]/;
const every = new RegExp(foldable, 'g');

/** The text itself where nothing is to be folded. */
export function folded(text: string): string {
  if (!foldable.test(text)) return text;
  return text.replaceAll(every, (character) => {
    const unit = character.charCodeAt(0);
    if (unit >= 0xff00) return String.fromCharCode(unit - 0xfee0);
    const dash = (unit >= 0x2010 && unit <= 0x2015) || unit === 0x2212;
    return dash ? '-' : ' ';
  });
}
