/** Asks for the key in a dialog, until the node accepts one or the reader says "not now". */
import { ApiError, listModels } from './api.js';
import { byId } from './dom.js';
import { isKey, isKeyKept, keepKey } from './keep.js';

const dialog = byId('key-dialog', HTMLDialogElement);
const form = byId('key-form', HTMLFormElement);
const field = byId('key', HTMLInputElement);
const keep = byId('key-keep', HTMLInputElement);
const fault = byId('key-fault');
const use = byId('key-use', HTMLButtonElement);

/** @type {Promise<string | null> | null} */
let asking = null;

/**
 * The key that the node accepted, or null. Asked again while open, it is the same question.
 * @param {string} [why] what was wrong with the last one
 */
export function askKey(why = '') {
  asking ??= ask(why).finally(() => {
    asking = null;
  });
  return asking;
}

/**
 * @param {string} why
 * @returns {Promise<string | null>}
 */
function ask(why) {
  return new Promise((resolve) => {
    const done = new AbortController();
    const { signal } = done;
    /** @param {string | null} key */
    const end = (key) => {
      done.abort();
      field.value = '';
      if (dialog.open) dialog.close();
      resolve(key);
    };
    field.value = '';
    keep.checked = isKeyKept();
    show(why);
    form.addEventListener(
      'submit',
      (event) => {
        event.preventDefault();
        void check(end);
      },
      { signal },
    );
    byId('key-later').addEventListener('click', () => end(null), { signal });
    dialog.addEventListener('close', () => end(null), { signal });
    dialog.showModal();
    field.focus();
  });
}

/** @param {(key: string) => void} accept */
async function check(accept) {
  const key = field.value.trim();
  if (!isKey(key)) {
    return show('A key is one word of letters, digits and signs. Copy it once more.');
  }
  use.disabled = true;
  show('');
  try {
    await listModels(key);
    keepKey(key, keep.checked);
    if (dialog.open) accept(key);
  } catch (error) {
    const trouble = error instanceof ApiError ? error.trouble : 'broken';
    if (trouble === 'key') {
      show('The node does not know this key. Copy it once more, whole.');
      field.select();
    } else {
      show(
        trouble === 'gone'
          ? `The node at ${location.host} does not answer. Try again in a moment.`
          : String(error instanceof Error ? error.message : error),
      );
    }
  } finally {
    use.disabled = false;
    if (dialog.open) field.focus();
  }
}

/** @param {string} text */
function show(text) {
  fault.textContent = text;
  field.setAttribute('aria-invalid', String(text !== ''));
}
