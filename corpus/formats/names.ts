/** Names inside archives, which say their encoding seldom: all names of an archive are judged together. */
import { decoderFor, encodingOf, isUtf8 } from '../decode.ts';

/** Each name as text; the old code page of DOS where no other encoding shows. */
export function decodeNames(names: readonly Buffer[]): string[] {
  return names.map(nameDecoder(names));
}

/** Decodes names as these show together how they are written. */
export function nameDecoder(names: readonly Buffer[]): (name: Buffer) => string {
  const others = names.filter((name) => !isUtf8(name));
  const found = others.length === 0 ? null : encodingOf(joined(others), { names: true });
  const decode = decoderFor(typeof found === 'string' ? found : 'cp437');
  return (name) => {
    if (isUtf8(name)) return cleaned(name.toString('utf8'));
    const decoded = decode(name);
    return cleaned('text' in decoded ? decoded.text : name.toString('latin1'));
  };
}

/** As many bytes of names as are looked at. */
export const sampleBytes = 64 * 1024;

function joined(names: readonly Buffer[]): Buffer {
  const parts: Buffer[] = [];
  let length = 0;
  for (const name of names) {
    if ((length += name.length + 1) > sampleBytes && parts.length > 0) break;
    parts.push(name, Buffer.from('\n'));
  }
  return Buffer.concat(parts);
}

/** A name is shown to people and joined to others, but never opened. */
function cleaned(name: string): string {
  // eslint-disable-next-line no-control-regex
  return name.replaceAll('\\', '/').replaceAll(/[\u0000-\u001f\u007f]/g, '\uFFFD');
}
