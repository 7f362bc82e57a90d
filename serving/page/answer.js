/** Gets one answer: asks, waits, asks for the key, and leaves out what does not fit, until it is there. */
import { ApiError, streamAnswer } from './api.js';
import { toMessages } from './exchange.js';
import { readKey } from './keep.js';
import { settingsFor } from './settings.js';

/**
 * @typedef {import('./api.js').Model} Model
 * @typedef {import('./exchange.js').Exchange} Exchange
 * @typedef {object} Conversation
 * @property {Exchange[]} exchanges the last one is asked
 * @property {() => Model | null} model what is chosen now
 * @property {(why: string) => Promise<string | null>} needKey
 */

/** A busy node is asked again so often, then the reader decides. */
const maxWaits = 5;

/**
 * Asks until there is an answer: waits when the node says so, asks for the key when it is not
 * accepted, and leaves out the oldest turns when they do not fit.
 * @param {Conversation} conversation
 * @param {AbortSignal} signal
 * @param {(text: string) => void} hear takes each piece of the answer
 * @returns {Promise<{ state: import('./exchange.js').State, word: string }>}
 */
export async function answer(conversation, signal, hear) {
  const { exchanges, needKey } = conversation;
  const exchange = /** @type {Exchange} */ (exchanges.at(-1));
  let waits = 0;
  const told = takesTurns(conversation.model()) ? exchanges : exchanges.slice(-1);
  let turns = told;
  for (;;) {
    try {
      const reason = await receive(conversation.model(), turns, signal, hear);
      const words = [
        reason === 'length'
          ? 'Cut off at the longest answer that the settings or the model allow.'
          : '',
        leftOut(told.length - turns.length),
      ];
      return { state: 'done', word: words.filter((word) => word !== '').join(' ') };
    } catch (error) {
      if (!(error instanceof ApiError) || signal.aborted) throw error;
      if (error.code === 'context_length_exceeded' && turns.length > 1) {
        turns = turns.slice(1);
      } else if (error.trouble === 'key') {
        exchange.set('waiting', 'Waits for a key.');
        const key = await needKey('The node does not accept the key. Give another one.');
        signal.throwIfAborted();
        if (key === null) return { state: 'failed', word: 'Not asked: the node wants a key.' };
        exchange.set('asking', '');
      } else if (error.trouble === 'wait' && waits < maxWaits) {
        waits += 1;
        await countDown(exchange, error, signal);
      } else {
        throw error;
      }
    }
  }
}

/** @param {Model | null} model a base model knows no turns */
function takesTurns(model) {
  return model?.chat !== false && settingsFor(model).remember;
}

/** @param {number} count */
function leftOut(count) {
  if (count === 0) return '';
  return `The first ${count === 1 ? 'turn was' : `${count} turns were`} left out: the model cannot hold more.`;
}

/**
 * @param {Model | null} now
 * @param {Exchange[]} turns the last one is asked
 * @param {AbortSignal} signal
 * @param {(text: string) => void} hear takes each piece of the answer
 * @returns {Promise<string>} why the answer ended
 */
async function receive(now, turns, signal, hear) {
  const exchange = /** @type {Exchange} */ (turns.at(-1));
  const settings = settingsFor(now);
  const system = now?.system_prompt === false ? '' : settings.system;
  const body = {
    model: now?.id,
    temperature: settings.temperature,
    top_p: settings.topP,
    ...(settings.maxTokens === null ? {} : { max_tokens: settings.maxTokens }),
    ...(now?.chat === false
      ? { prompt: exchange.question }
      : { messages: toMessages(turns, system) }),
  };
  let reason = 'stop';
  for await (const event of streamAnswer(readKey() ?? '', body, signal)) {
    if (event.type === 'from') exchange.from(event);
    else if (event.type === 'finish') reason = event.reason;
    else if (event.type === 'usage') exchange.tokens = event.tokens;
    else {
      hear(event.text);
    }
  }
  return reason;
}

/**
 * @param {Exchange} exchange
 * @param {ApiError} error
 * @param {AbortSignal} signal
 */
async function countDown(exchange, error, signal) {
  const why = error.code === 'queue_full' ? 'The node is busy' : 'The model is not ready';
  const spare = Math.max(1, Math.ceil(error.retryAfterS));
  for (let left = spare; left > 0; left -= 1) {
    exchange.set('waiting', `${why}. Asking again in ${left} s.`);
    await pause(1000, signal);
  }
  exchange.set('asking', '');
}

/**
 * @param {number} ms
 * @param {AbortSignal} signal ends it with an error
 */
async function pause(ms, signal) {
  await new Promise((resolve) => {
    setTimeout(resolve, ms);
    signal.addEventListener('abort', resolve, { once: true });
  });
  signal.throwIfAborted();
}
