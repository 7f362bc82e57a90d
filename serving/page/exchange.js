/** One question with its answer: what was said, how it ended, and how it looks. */
import { button, copyText, element } from './dom.js';

/**
 * @typedef {'asking' | 'waiting' | 'streaming' | 'done' | 'stopped' | 'failed'} State
 * @typedef {{ version: string | null, bundle: string | null }} Source
 */

export class Exchange {
  /**
   * @param {string} question
   * @param {{ answerer: string, again: (exchange: Exchange) => void }} options
   */
  constructor(question, { answerer, again }) {
    this.question = question;
    this.answer = '';
    this.beganAt = 0;
    /** @type {State} */
    this.state = 'asking';
    this.text = document.createTextNode('');
    this.word = element('p', 'word');
    this.facts = element('p', 'facts quiet');
    const copy = button('Copy', () => void this.copy());
    this.copied = copy;
    this.retry = button('Again', () => again(this));
    this.tools = element('div', 'tools', copy, this.retry);
    this.body = element('div', 'answer', this.text);
    this.body.dir = 'auto';
    const asked = element('div', 'question', question);
    asked.dir = 'auto';
    this.node = element(
      'li',
      'exchange',
      element('span', 'unseen', 'You:'),
      asked,
      element('span', 'unseen', `${answerer}:`),
      this.body,
      this.word,
      element('div', 'under', this.facts, this.tools),
    );
    this.begin();
  }

  /** Empties the answer and waits for its first piece. */
  begin() {
    this.answer = '';
    this.text.data = '';
    /** @type {string | null} */
    this.version = null;
    /** @type {string | null} */
    this.bundle = null;
    /** @type {number | null} */
    this.tokens = null;
    this.beganAt = performance.now();
    this.facts.textContent = '';
    this.set('asking', '');
  }

  /**
   * @param {State} state
   * @param {string} word what the reader should know, or ''
   */
  set(state, word) {
    this.state = state;
    this.node.dataset['state'] = state;
    this.word.textContent = word;
    this.word.hidden = word === '';
    const isOver = state === 'done' || state === 'stopped' || state === 'failed';
    this.tools.hidden = !isOver;
    this.copied.hidden = this.answer === '';
    this.retry.textContent = state === 'done' ? 'Again' : 'Try again';
    this.body.hidden = isOver && this.answer === '';
  }

  /** @param {Source} source */
  from({ version, bundle }) {
    this.version = version;
    this.bundle = bundle;
  }

  /** @param {string} piece */
  add(piece) {
    // Models often begin with a space.
    const text = this.answer === '' ? piece.trimStart() : piece;
    if (text === '') return;
    this.answer += text;
    this.text.appendData(text);
  }

  /**
   * @param {State} state
   * @param {string} word
   */
  end(state, word) {
    const ms = performance.now() - this.beganAt;
    const facts = [
      this.version,
      this.bundle === null ? null : this.bundle.slice(0, 8),
      this.tokens === null ? null : `${this.tokens} token${this.tokens === 1 ? '' : 's'}`,
      state !== 'done' ? null : ms < 1000 ? `${Math.ceil(ms)} ms` : `${(ms / 1000).toFixed(1)} s`,
    ];
    this.facts.textContent = facts.filter((fact) => fact !== null).join(' · ');
    this.facts.title = this.bundle === null ? '' : `bundle sha256:${this.bundle}`;
    this.set(state, word);
  }

  async copy() {
    this.copied.textContent = (await copyText(this.answer)) ? 'Copied' : 'Could not copy';
    setTimeout(() => {
      this.copied.textContent = 'Copy';
    }, 1500);
  }
}

/**
 * What the model is told: instructions, the earlier turns that have an answer, the question.
 * @param {Exchange[]} exchanges the last one is asked
 * @param {string} system
 */
export function toMessages(exchanges, system) {
  const last = exchanges.at(-1);
  const earlier = exchanges.slice(0, -1).filter(({ answer }) => answer !== '');
  return [
    ...(system === '' ? [] : [{ role: 'system', content: system }]),
    ...earlier.flatMap(({ question, answer }) => [
      { role: 'user', content: question },
      { role: 'assistant', content: answer },
    ]),
    { role: 'user', content: last?.question ?? '' },
  ];
}

/**
 * The conversation as one text.
 * @param {Exchange[]} exchanges
 */
export function toText(exchanges) {
  return exchanges
    .map(({ question, answer, version }) => `You: ${question}\n\n${version ?? 'Model'}: ${answer}`)
    .join('\n\n');
}
