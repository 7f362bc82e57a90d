/** The settings dialog: how to sample, how much to say, and what answers. Nothing set means the default. */
import { byId, copyText, element } from './dom.js';
import { keepSettings, readSettings } from './keep.js';

/** @typedef {import('./api.js').Model} Model */

const dialog = byId('settings', HTMLDialogElement);
const temperature = byId('temperature', HTMLInputElement);
const topP = byId('top-p', HTMLInputElement);
const maxTokens = byId('max-tokens', HTMLInputElement);
const system = byId('system', HTMLTextAreaElement);
const remember = byId('remember', HTMLInputElement);
const copyDigest = byId('copy-digest', HTMLButtonElement);

/** @param {Model | null} model a base model repeats itself when it may not choose freely */
function defaults(model) {
  return model?.chat === false
    ? { temperature: 0.8, topP: 0.95, maxTokens: null, system: '', remember: false }
    : { temperature: 0.2, topP: 0.9, maxTokens: null, system: '', remember: true };
}

/** @type {Model | null} */
let shown = null;

/**
 * What holds for a model now.
 * @param {Model | null} model
 */
export function settingsFor(model) {
  const kept = readSettings();
  const all = defaults(model);
  /** @type {(name: string, low: number, high: number) => number | null} */
  const number = (name, low, high) => {
    const value = kept[name];
    return typeof value === 'number' && value >= low && value <= high ? value : null;
  };
  return {
    temperature: number('temperature', 0, 2) ?? all.temperature,
    topP: number('topP', 0.01, 1) ?? all.topP,
    maxTokens: number('maxTokens', 1, longest(model)),
    system: typeof kept['system'] === 'string' ? kept['system'] : all.system,
    remember: typeof kept['remember'] === 'boolean' ? kept['remember'] : all.remember,
  };
}

/** @param {Model | null} model */
function longest(model) {
  return model?.context_length ?? 1_000_000;
}

/** @param {Model | null} model */
export function openSettings(model) {
  shown = model;
  fill();
  dialog.showModal();
}

/**
 * Keeps the open dialog true to what is served now.
 * @param {Model | null} model
 */
export function refreshFacts(model) {
  shown = model;
  if (dialog.open) fillFacts();
}

export function closeSettings() {
  dialog.close();
}

function fill() {
  const now = settingsFor(shown);
  temperature.value = String(now.temperature);
  topP.value = String(now.topP);
  maxTokens.value = now.maxTokens === null ? '' : String(now.maxTokens);
  maxTokens.max = String(longest(shown));
  maxTokens.placeholder = shown?.default_max_tokens ? String(shown.default_max_tokens) : '';
  byId('max-tokens-hint').textContent = [
    shown?.default_max_tokens ? `Empty: ${shown.default_max_tokens}, the model’s own.` : '',
    shown?.context_length ? `Question and answer together: ${shown.context_length}.` : '',
  ].join(' ');
  system.value = now.system;
  const hasSystem = shown?.system_prompt !== false;
  system.disabled = !hasSystem;
  byId('system-hint').textContent = hasSystem
    ? 'Told to the model before the conversation.'
    : 'This model’s template has no place for them.';
  byId('system-field').hidden = shown?.chat === false;
  byId('remember-field').hidden = shown?.chat === false;
  remember.checked = now.remember;
  byId('max-tokens-fault').textContent = '';
  showValues();
  fillFacts();
}

function fillFacts() {
  /** @type {[string, string][]} */
  const facts = [
    ['Model', shown?.version ?? 'none yet'],
    ['Bundle', shown?.bundle === undefined ? 'none yet' : `sha256:${shown.bundle}`],
  ];
  if (shown?.chat === false) facts.push(['Kind', 'base model: continues text']);
  byId('facts').replaceChildren(
    ...facts.flatMap(([name, value]) => [element('dt', '', name), element('dd', '', value)]),
  );
  copyDigest.hidden = shown?.bundle === undefined;
}

function showValues() {
  byId('temperature-value').textContent = Number(temperature.value).toFixed(1);
  byId('top-p-value').textContent = Number(topP.value).toFixed(2);
}

/** Keeps what differs from the defaults, so that a default can change without asking anybody. */
function keep() {
  showValues();
  const fits = maxTokens.checkValidity();
  maxTokens.setAttribute('aria-invalid', String(!fits));
  byId('max-tokens-fault').textContent = fits
    ? ''
    : `Expected a whole number from 1 to ${longest(shown)}, or nothing.`;
  const own = defaults(shown);
  const now = {
    temperature: Number(temperature.value),
    topP: Number(topP.value),
    maxTokens: fits && maxTokens.value !== '' ? Number(maxTokens.value) : null,
    system: system.value.trim(),
    remember: remember.checked,
  };
  const changed = Object.entries(now).filter(
    ([name, value]) => value !== own[/** @type {keyof typeof own} */ (name)],
  );
  keepSettings(Object.fromEntries(changed));
}

byId('settings-form').addEventListener('input', keep);
byId('settings-form').addEventListener('submit', (event) => {
  if (maxTokens.checkValidity()) return;
  event.preventDefault();
  keep();
  maxTokens.focus();
});
byId('defaults').addEventListener('click', () => {
  keepSettings({});
  fill();
});
copyDigest.addEventListener('click', () => {
  void copyText(shown?.bundle ?? '').then((copied) => {
    copyDigest.textContent = copied ? 'Copied' : 'Could not copy';
    setTimeout(() => (copyDigest.textContent = 'Copy the digest'), 1500);
  });
});
