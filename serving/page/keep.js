/** What the page keeps: the key for this tab, or for this browser when asked to; settings; the chosen model. */

const names = { key: 'temper.key', model: 'temper.model', settings: 'temper.settings' };

/** Browsers may forbid storage; then memory has to do. */
const memory = new Map();

/**
 * @param {() => Storage} area
 * @param {string} name
 * @returns {string | null}
 */
function read(area, name) {
  try {
    return area().getItem(name) ?? memory.get(name) ?? null;
  } catch {
    return memory.get(name) ?? null;
  }
}

/**
 * @param {() => Storage} area
 * @param {string} name
 * @param {string | null} value
 */
function write(area, name, value) {
  try {
    if (value === null) area().removeItem(name);
    else area().setItem(name, value);
    memory.delete(name);
  } catch {
    memory.set(name, value);
  }
}

const tab = () => sessionStorage;
const browser = () => localStorage;

export function readKey() {
  return read(tab, names.key) ?? read(browser, names.key);
}

/**
 * @param {string} key
 * @param {boolean} always
 */
export function keepKey(key, always) {
  write(browser, names.key, always ? key : null);
  write(tab, names.key, always ? null : key);
}

/** True when the key outlives this tab. */
export function isKeyKept() {
  return read(browser, names.key) !== null && read(tab, names.key) === null;
}

/** Takes `#key=…` out of the address, before anybody sees or copies it; null when there is none. */
export function takeKeyFromAddress() {
  // A query parser would turn the plus signs of a key into spaces.
  const given = /^#(?:.*&)?key=([^&]*)/.exec(location.hash)?.[1];
  if (given === undefined) return null;
  history.replaceState(null, '', location.pathname + location.search);
  try {
    const key = decodeURIComponent(given).trim();
    return isKey(key) ? key : null;
  } catch {
    return null;
  }
}

/** @param {string} text what a header can carry */
export function isKey(text) {
  return /^[\x21-\x7e]+$/.test(text);
}

export function readModel() {
  return read(browser, names.model);
}

/** @param {string} model */
export function keepModel(model) {
  write(browser, names.model, model);
}

/** @returns {Record<string, unknown>} */
export function readSettings() {
  try {
    const found = JSON.parse(read(browser, names.settings) ?? '{}');
    return typeof found === 'object' && found !== null ? found : {};
  } catch {
    return {};
  }
}

/** @param {Record<string, unknown>} settings */
export function keepSettings(settings) {
  write(browser, names.settings, JSON.stringify(settings));
}
