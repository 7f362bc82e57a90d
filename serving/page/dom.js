/** Small helpers over the document; text goes in as text, never as HTML. */

/**
 * @template {HTMLElement} [Kind=HTMLElement]
 * @param {string} id
 * @param {new () => Kind} [kind]
 * @returns {Kind}
 */
export function byId(id, kind) {
  const found = document.getElementById(id);
  if (found instanceof (kind ?? HTMLElement)) return /** @type {Kind} */ (found);
  throw new Error(`the page has no ${kind?.name ?? 'element'} #${id}`);
}

/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {string} className
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function element(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className !== '') made.className = className;
  made.append(...children);
  return made;
}

/**
 * @param {string} label
 * @param {() => void} act
 */
export function button(label, act) {
  const made = element('button', 'plain', label);
  made.type = 'button';
  made.addEventListener('click', act);
  return made;
}

/**
 * Puts text on the clipboard; without one (a page that did not come over a secure connection), by the old way.
 * @param {string} text
 * @returns {Promise<boolean>}
 */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const holder = element('textarea', 'unseen');
    holder.value = text;
    const before = document.activeElement;
    (document.querySelector('dialog[open]') ?? document.body).append(holder);
    holder.select();
    const copied = document.execCommand('copy');
    holder.remove();
    if (before instanceof HTMLElement) before.focus();
    return copied;
  }
}
