/**
 * A letter by postal-mime, whose own decoding is taken over: it gives a question mark for each byte that does not fit
 * what a letter says of itself, and Latin-1 for a charset that it does not know. Nothing is taken here that the bytes do
 * not say.
 */
import PostalMime, { type Email } from 'postal-mime';
import { decoderFor, decodeLabelled, encodingOf, isUtf8, type Refusal } from '../decode.ts';

export interface Letter extends Omit<Email, 'text' | 'html'> {
  text: string;
  html: string;
  /** Why parts of it are in neither. */
  lost: Refusal[];
}

/** Parses a letter. A letter inside it stays an attachment, for it is one of its own. */
export async function parseLetter(content: Buffer): Promise<Letter> {
  const parser = new Parser(content);
  const parsed = await parser.parse(content);
  return { ...parsed, text: parsed.text ?? '', html: parsed.html ?? '', lost: parser.lost };
}

/** What is used of a part of a letter, which the library does not export. */
interface Part {
  state: 'header' | 'body' | 'finished';
  headerLines: string[];
  processHeaders: () => void;
  getTextContent: () => string;
  decodeFlowedText: (text: string, delSp: boolean) => string;
  content: ArrayBuffer | null;
  contentType: { parsed: { params: Record<string, string | undefined> } };
}

type TextType = 'plain' | 'html';

/** The library's steps, of which those that decode are replaced. */
interface Steps {
  currentNode: Part;
  /** Texts by the part that they are of, or by the alternatives that they are among. */
  textMap: Map<Part, Partial<Record<TextType, { value: string }[]>>>;
  textTypes: Set<TextType>;
  addTextEntry(part: Part, type: TextType, entry: { value: string }): void;
  renderTextContent(): void;
  processLine(line: Uint8Array, isFinal: boolean): Promise<void>;
}

class Parser extends (PostalMime as unknown as new (options: object) => PostalMime & Steps) {
  readonly lost: Refusal[] = [];
  readonly #faults: { part: Part; type: TextType; refusal: Refusal }[] = [];
  /** Of the text that was decoded last. */
  #fault: Refusal | null = null;
  readonly #content: Buffer;
  readonly #taken = new WeakSet<Part>();
  #guess: ((bytes: Uint8Array) => string | null) | null = null;

  constructor(content: Buffer) {
    super({ maxNestingDepth: 32, forceRfc822Attachments: true });
    this.#content = content;
  }

  override async processLine(line: Uint8Array, isFinal: boolean): Promise<void> {
    const part = this.currentNode;
    this.#take(part);
    const raw = part.state === 'header' && !isUtf8(line);
    await super.processLine(raw ? hidden(line) : line, isFinal);
  }

  override addTextEntry(part: Part, type: TextType, entry: { value: string }): void {
    if (this.#fault === null) super.addTextEntry(part, type, entry);
    else this.#faults.push({ part, type, refusal: this.#fault });
  }

  override renderTextContent(): void {
    for (const { part, type, refusal } of this.#faults) {
      const entries = this.textMap.get(part);
      // Of alternatives, the whole one says what the other would.
      const others = entries?.[type === 'html' ? 'plain' : 'html'] ?? [];
      if (others.every(({ value }) => value.trim() === '')) this.lost.push(refusal);
      else delete entries![type];
    }
    const left = [...this.textMap.values()];
    for (const type of this.textTypes)
      if (left.every((entries) => entries[type] === undefined)) this.textTypes.delete(type);
    super.renderTextContent();
  }

  #take(part: Part): void {
    if (this.#taken.has(part)) return;
    this.#taken.add(part);
    const process = part.processHeaders.bind(part);
    part.processHeaders = () => {
      part.headerLines = this.#readable(part.headerLines);
      process();
    };
    part.getTextContent = () => this.#text(part);
  }

  /** Header lines with what they hold beside ASCII as text; what is none is left out. */
  #readable(lines: readonly string[]): string[] {
    const label = /^content-type:(?:.*\n[ \t])*.*?charset\s*=\s*"?([^\s";]+)/im.exec(
      lines.join('\n'),
    )?.[1];
    const decode = (bytes: Buffer, charset = label): string => {
      if (charset === undefined) {
        const guessed = this.#guessed(bytes);
        if (guessed !== null) return guessed;
      }
      const decoded = decodeLabelled(bytes, charset);
      return 'text' in decoded ? decoded.text : (this.#guessed(bytes) ?? '');
    };
    return withWords(lines.map((line) => shown(line, decode)).join('\n'), decode).split('\n');
  }

  /** By what all bytes of the letter show together, for a line alone is short. */
  #guessed(bytes: Uint8Array): string | null {
    if (this.#guess === null) {
      const found = encodingOf(this.#content.subarray(0, 64 * 1024), { names: true });
      const decode = typeof found === 'string' ? decoderFor(found) : null;
      this.#guess = (some) => {
        const decoded = decode?.(some);
        return decoded !== undefined && 'text' in decoded ? decoded.text : null;
      };
    }
    return this.#guess(bytes);
  }

  #text(part: Part): string {
    this.#fault = null;
    if (part.content === null) return '';
    const { params } = part.contentType.parsed;
    const decoded = decodeLabelled(new Uint8Array(part.content), params['charset']);
    if (!('text' in decoded)) {
      this.#fault = decoded;
      return '';
    }
    const flowed = /^flowed$/i.test(params['format'] ?? '');
    if (!flowed) return decoded.text;
    return part.decodeFlowedText(decoded.text, /^yes$/i.test(params['delsp'] ?? ''));
  }
}

/** Where bytes beyond ASCII stand until all headers of a part are known: characters that nobody uses. */
const hiddenFrom = 0x10fe00;

/** A line of headers that is no UTF-8, in which each byte beyond ASCII is a character of its own. */
function hidden(line: Uint8Array): Uint8Array {
  const characters = Array.from(line, (byte) =>
    byte < 0x80 ? String.fromCharCode(byte) : String.fromCodePoint(hiddenFrom + byte),
  );
  return new Uint8Array(Buffer.from(characters.join('')));
}

/** The line with its hidden bytes as text, by the ASCII around them too, which may be part of a character. */
function shown(line: string, decode: (bytes: Buffer) => string): string {
  if (!/[\u{10fe80}-\u{10feff}]/u.test(line)) return line;
  // The name of a header stays, whatever becomes of its value.
  const name = /^[!-9;-~]+:/.exec(line)?.[0] ?? '';
  const value = Array.from(line.slice(name.length), (one) => one.codePointAt(0)! & 0xff);
  return name + decode(Buffer.from(value)).replaceAll(/[\r\n]+/g, ' ');
}

const word = String.raw`=\?([^?\s]+)\?([QqBb])\?([^?\r\n]*)\?=`;
const words = new RegExp(`${word}(?:\\s+${word})*`, 'g');

/** Encoded words of RFC 2047 as ones of UTF-8; of one charset, side by side, they may part a character. */
function withWords(lines: string, decode: (bytes: Buffer, charset: string) => string): string {
  return lines.replaceAll(words, (run) => {
    const parts: { charset: string; bytes: Buffer[] }[] = [];
    for (const [, label = '', kind = '', said = ''] of run.matchAll(new RegExp(word, 'g'))) {
      const charset = label.split('*')[0]!.toLowerCase();
      const bytes = /b/i.test(kind) ? Buffer.from(said, 'base64') : quoted(said);
      if (parts.at(-1)?.charset === charset) parts.at(-1)!.bytes.push(bytes);
      else parts.push({ charset, bytes: [bytes] });
    }
    const text = parts.map(({ charset, bytes }) => decode(Buffer.concat(bytes), charset)).join('');
    return text === '' ? '' : `=?utf-8?B?${Buffer.from(text).toString('base64')}?=`;
  });
}

function quoted(said: string): Buffer {
  const characters = said
    .replaceAll('_', ' ')
    .replaceAll(/=([0-9a-f]{2})/gi, (_, hex: string) =>
      String.fromCharCode(Number.parseInt(hex, 16)),
    );
  return Buffer.from(characters, 'latin1');
}
