/** The answer for those who listen to the page instead of looking at it. */
import { byId, element } from './dom.js';

const spoken = byId('spoken');

/** Reads the answer out in whole sentences: a word at a time would drown the listener. */
export function openSpeaker() {
  spoken.replaceChildren();
  let held = '';
  /** @param {string} text */
  const say = (text) => {
    if (text.trim() !== '') spoken.append(element('p', '', text.trim()));
  };
  return {
    /** @param {string} text */
    add(text) {
      held += text;
      const end = Math.max(
        ...['. ', '! ', '? ', '\n', '。', '！', '？'].map((mark) => held.lastIndexOf(mark)),
      );
      if (end < 0) return;
      say(held.slice(0, end + 1));
      held = held.slice(end + 1);
    },
    /** @param {string} word */
    end(word) {
      say(held);
      say(word);
      held = '';
    },
  };
}

/** Takes back what was said. */
export function hush() {
  spoken.replaceChildren();
}
