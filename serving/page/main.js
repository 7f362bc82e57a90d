/** The chat page: asks the node for models, sends questions, shows what comes, and says what went wrong. */
import { answer } from './answer.js';
import { ApiError, isHealthy, listModels } from './api.js';
import { byId, copyText } from './dom.js';
import { Exchange, toText } from './exchange.js';
import { keepKey, keepModel, readKey, readModel, takeKeyFromAddress } from './keep.js';
import { askKey } from './key.js';
import { closeSettings, openSettings, refreshFacts } from './settings.js';
import { hush, openSpeaker } from './speech.js';

/** @typedef {import('./api.js').Model} Model */

const scroll = byId('scroll');
const list = byId('conversation');
const select = byId('model', HTMLSelectElement);
const question = byId('question', HTMLTextAreaElement);
const send = byId('send', HTMLButtonElement);
const stop = byId('stop', HTMLButtonElement);
const noticeAction = byId('notice-action', HTMLButtonElement);

const lookEveryMs = 15_000;
const quietMs = 10_000;

/** @type {Model[]} */
let models = [];
/** @type {Exchange[]} */
let exchanges = [];
/** What is being answered now. @type {{ exchange: Exchange, leave: AbortController } | null} */
let current = null;
let looking = false;
let isAway = false;
/** The last notice; a newer one counts. */
let noticed = '';

function model() {
  return models.find(({ id }) => id === select.value) ?? null;
}

/**
 * One line above the question, with at most one thing to do.
 * @param {string} text '' hides it
 * @param {{ label: string, act: () => void }} [action]
 */
function notice(text, action) {
  noticed = text;
  byId('notice').hidden = text === '';
  byId('notice-text').textContent = text;
  noticeAction.hidden = action === undefined;
  noticeAction.textContent = action?.label ?? '';
  noticeAction.onclick = action?.act ?? null;
}

/** @param {string} [why] */
async function needKey(why) {
  const key = await askKey(why);
  if (key === null) {
    notice('Without a key no model answers.', { label: 'Give a key', act: () => void needKey() });
  } else {
    notice('');
    await look();
    question.focus();
  }
  return key;
}

/** Reads what is served now, and keeps trying quietly while the node is away. */
async function look() {
  if (looking) return;
  const key = readKey();
  if (key === null) return;
  looking = true;
  try {
    show(await listModels(key));
  } catch (error) {
    if (!(error instanceof ApiError))
      notice(`What the node serves cannot be read: ${String(error)}`);
    else if (error.trouble === 'key')
      void needKey('The node does not know this key. Give another one.');
    else if (error.trouble === 'gone') away();
    else notice(sentence(error.message));
  } finally {
    looking = false;
  }
}

/** The node is gone: says so once, and looks until it is back. */
function away() {
  if (isAway) return;
  isAway = true;
  notice(`The serving node at ${location.host} does not answer. Looking for it again…`);
  let delayMs = 1000;
  const again = async () => {
    if (await isHealthy()) {
      isAway = false;
      notice('The node answers again.');
      return look();
    }
    delayMs = Math.min(delayMs * 1.5, 8000);
    setTimeout(() => void again(), delayMs);
  };
  setTimeout(() => void again(), delayMs);
}

/** @param {Model[]} found */
function show(found) {
  models = found;
  const wanted = select.value === '' || select.disabled ? readModel() : select.value;
  const names = found.map(({ id }) => id);
  // A list that somebody may be choosing from is left alone unless it changed.
  if (names.join('\n') !== [...select.options].map(({ value }) => value).join('\n')) {
    select.replaceChildren(...names.map((id) => new Option(id, id)));
  }
  select.disabled = found.length === 0;
  if (found.length === 0) {
    select.replaceChildren(new Option('no model yet', ''));
    if (noticed === '') notice('No model is ready on this node yet. Looking again…');
    setTimeout(() => void look(), 2000);
  } else {
    if (noticed.startsWith('No model is ready')) notice('');
    select.value = names.find((id) => id === wanted) ?? names[0] ?? '';
  }
  describe();
}

/** What the page says of the chosen model. */
function describe() {
  const now = model();
  const isBase = now?.chat === false;
  const embeds = now?.embeddings !== undefined;
  document.title = now === null ? 'Temper' : `${now.id} · Temper`;
  const digest = now?.bundle === undefined ? '' : ` · ${now.bundle.slice(0, 12)}`;
  byId('serving').textContent = now === null ? '' : `${now.version ?? ''}${digest}`;
  byId('serving').title = now?.bundle === undefined ? '' : `bundle sha256:${now.bundle}`;
  byId('welcome-title').textContent = now === null ? 'Your own model' : now.id;
  byId('welcome-text').textContent =
    now === null
      ? ''
      : embeds
        ? `It turns texts into vectors of ${now.embeddings.dimensions} numbers, by which they are found, and answers nothing here: POST /v1/embeddings with {"model": "${now.id}", "input": "…"}.`
        : isBase
          ? 'A base model: give it the beginning of a text, and it goes on from there.'
          : 'It knows what it was trained on, and can be wrong about the rest. What you write goes to this node and nowhere else.';
  question.placeholder = embeds
    ? 'This model embeds text and answers nothing'
    : isBase
      ? 'Begin a text'
      : 'Ask something';
  question.disabled = embeds;
  refreshFacts(now);
}

function arrange() {
  byId('welcome').hidden = exchanges.length > 0;
  byId('clear').hidden = exchanges.length === 0;
  byId('copy-all').hidden = exchanges.length === 0;
  const isBusy = current !== null;
  const hadFocus = document.activeElement === stop;
  send.hidden = isBusy;
  stop.hidden = !isBusy;
  list.setAttribute('aria-busy', String(isBusy));
  for (const exchange of exchanges) exchange.retry.hidden = exchange !== exchanges.at(-1);
  if (hadFocus && !isBusy) question.focus();
}

/** True when the end is in sight, so that new text may move the page. */
function isAtEnd() {
  return scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 90;
}

function toEnd() {
  scroll.scrollTop = scroll.scrollHeight;
}

/**
 * Says so when nothing has come for a while: a node that hangs breaks no connection.
 * @param {Exchange} exchange
 */
function openWatch(exchange) {
  const start = () =>
    setTimeout(() => {
      if (exchange.state === 'waiting') timer = start();
      else exchange.set(exchange.state, 'Nothing new for a while. Esc stops.');
    }, quietMs);
  let timer = start();
  return {
    heard() {
      clearTimeout(timer);
      timer = start();
      if (exchange.state !== 'streaming' || !exchange.word.hidden) exchange.set('streaming', '');
    },
    end() {
      clearTimeout(timer);
    },
  };
}

function submit() {
  const text = question.value.trim();
  if (text === '') return;
  if (current !== null) return notice('Still answering. Esc stops it.');
  const now = model();
  if (now === null) {
    if (readKey() === null) void needKey();
    else notice('No model is ready on this node yet. Looking again…');
    return;
  }
  question.value = '';
  const exchange = new Exchange(text, { answerer: now.id, again });
  exchanges.push(exchange);
  list.append(exchange.node);
  void run(exchange);
}

/** @param {Exchange} exchange */
function again(exchange) {
  if (current !== null || exchange !== exchanges.at(-1)) return;
  question.focus();
  void run(exchange);
}

/** @param {Exchange} exchange */
async function run(exchange) {
  const leave = new AbortController();
  current = { exchange, leave };
  exchange.begin();
  notice('');
  arrange();
  toEnd();
  const speaker = openSpeaker();
  const watch = openWatch(exchange);
  const hear = (/** @type {string} */ text) => {
    const follow = isAtEnd();
    watch.heard();
    exchange.add(text);
    speaker.add(text);
    if (follow) toEnd();
  };
  const { state, word } = await answer({ exchanges, model, needKey }, leave.signal, hear).catch(
    (error) => (leave.signal.aborted ? stopped(exchange) : failed(exchange, error)),
  );
  watch.end();
  const follow = isAtEnd();
  exchange.end(state, word);
  speaker.end(word);
  current = null;
  arrange();
  if (follow) toEnd();
  const now = model();
  if (now !== null && exchange.version !== null && exchange.bundle !== now.bundle) void look();
}

/** @param {Exchange} exchange */
function stopped(exchange) {
  const word = exchange.answer === '' ? 'Stopped before the first word.' : 'Stopped here.';
  return /** @type {const} */ ({ state: 'stopped', word });
}

/** @param {string} text as the node says it: small, and without a full stop */
function sentence(text) {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?。]$/.test(text) ? '' : '.'}`;
}

/**
 * @param {Exchange} exchange
 * @param {unknown} error
 */
function failed(exchange, error) {
  if (!(error instanceof ApiError)) {
    console.error(error);
    return /** @type {const} */ ({ state: 'failed', word: `This page failed: ${String(error)}` });
  }
  if (error.trouble === 'gone') away();
  else if (error.trouble === 'broken') void isHealthy().then((healthy) => healthy || away());
  const why = sentence(error.message);
  const word =
    error.trouble === 'gone'
      ? 'Nobody answered. Your question stays here; try again when the node is back.'
      : exchange.answer === ''
        ? why
        : `The answer broke off here. ${why}`;
  return /** @type {const} */ ({ state: 'failed', word });
}

function halt() {
  current?.leave.abort();
}

function clear() {
  const before = exchanges;
  halt();
  exchanges = [];
  list.replaceChildren();
  hush();
  arrange();
  question.focus();
  notice('Cleared.', {
    label: 'Undo',
    act: () => {
      if (exchanges.length > 0) return;
      exchanges = before;
      list.replaceChildren(...before.map(({ node }) => node));
      notice('');
      arrange();
      toEnd();
      question.focus();
    },
  });
}

byId('composer').addEventListener('submit', (event) => {
  event.preventDefault();
  submit();
});

question.addEventListener('keydown', (event) => {
  // 229: the Enter that ends an input method's composition, where the browser tells no other way.
  if (event.isComposing || event.keyCode === 229) return;
  if (event.key === 'Enter' && !event.shiftKey) {
    event.preventDefault();
    submit();
  } else if (event.key === 'ArrowUp' && question.value === '' && exchanges.length > 0) {
    event.preventDefault();
    question.value = exchanges.at(-1)?.question ?? '';
  }
});

if (!CSS.supports('field-sizing', 'content')) {
  question.addEventListener('input', () => {
    question.style.height = 'auto';
    question.style.height = `${question.scrollHeight}px`;
  });
}

document.addEventListener('keydown', (event) => {
  if (event.key !== 'Escape' || event.isComposing || event.keyCode === 229) return;
  if (document.querySelector('dialog[open]') === null) halt();
});

stop.addEventListener('click', halt);
byId('clear').addEventListener('click', clear);
byId('copy-all').addEventListener('click', () => {
  void copyText(toText(exchanges)).then((copied) =>
    notice(copied ? 'Copied the conversation.' : 'The browser does not let this page copy.'),
  );
});
byId('open-settings').addEventListener('click', () => openSettings(model()));
byId('change-key').addEventListener('click', () => {
  closeSettings();
  void needKey();
});
select.addEventListener('change', () => {
  keepModel(select.value);
  describe();
});
document.addEventListener('visibilitychange', () => {
  if (!document.hidden && !isAway) void look();
});
setInterval(() => {
  if (!document.hidden && !isAway && current === null) void look();
}, lookEveryMs);

function takeKey() {
  const key = takeKeyFromAddress();
  if (key !== null) keepKey(key, false);
  return key;
}
window.addEventListener('hashchange', () => {
  if (takeKey() !== null) void look();
});

takeKey();
arrange();
if (readKey() === null) void needKey();
else void look();
question.focus();
