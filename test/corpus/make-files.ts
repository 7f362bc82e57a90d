/** Small files of formats that have a frame around their text, made of nothing but their parts. */
import { crc32, deflateRawSync } from 'node:zlib';

export interface Member {
  name: string | Buffer;
  content: string | Buffer;
  /** Method 8. */
  deflate?: boolean;
  /** Bits of the entry's flags. */
  flags?: number;
  /** Unix mode, in the upper half. */
  mode?: number;
}

/** A zip archive. */
export function zip(members: readonly Member[]): Buffer {
  const [files, directory]: [Buffer[], Buffer[]] = [[], []];
  let offset = 0;
  for (const { name, content, deflate = false, flags = 0, mode = 0 } of members) {
    const [raw, plain] = [Buffer.from(name as string), Buffer.from(content as string)];
    const packed = deflate ? deflateRawSync(plain) : plain;
    const shared = Buffer.alloc(26);
    shared.writeUInt16LE(20, 0);
    shared.writeUInt16LE(flags, 2);
    shared.writeUInt16LE(deflate ? 8 : 0, 4);
    shared.writeUInt32LE(crc32(plain), 10);
    shared.writeUInt32LE(packed.length, 14);
    shared.writeUInt32LE(plain.length, 18);
    shared.writeUInt16LE(raw.length, 22);
    const tail = Buffer.alloc(14);
    tail.writeUInt32LE((mode * 0x10000) >>> 0, 6);
    tail.writeUInt32LE(offset, 10);
    files.push(Buffer.from('PK\x03\x04'), shared, raw, packed);
    directory.push(Buffer.from('PK\x01\x02\x14\x03', 'latin1'), shared, tail, raw);
    offset += 30 + raw.length + packed.length;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  const end = Buffer.alloc(22);
  end.write('PK\x05\x06', 'latin1');
  end.writeUInt16LE(members.length, 8);
  end.writeUInt16LE(members.length, 10);
  end.writeUInt32LE(size, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...files, ...directory, end]);
}

/** A tar archive; `type` 0 is a file. */
export function tar(
  members: readonly { name: string | Buffer; content?: string | Buffer; type?: string }[],
): Buffer {
  const blocks = members.flatMap(({ name, content = '', type = '0' }) => {
    const plain = Buffer.from(content as string);
    const head = Buffer.alloc(512);
    Buffer.from(name as string).copy(head, 0, 0, 100);
    head.write('0000644\0', 100);
    head.write(`${plain.length.toString(8).padStart(11, '0')}\0`, 124);
    head.write('        ', 148);
    head.write(type, 156);
    head.write('ustar\0', 257, 'latin1');
    const sum = head.reduce((total, byte) => total + byte, 0);
    head.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
    return [head, plain, Buffer.alloc((512 - (plain.length % 512)) % 512)];
  });
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}

/** A Word document of those paragraphs, as XML of runs where one begins with a tag. */
export function docx(paragraphs: readonly string[], title = '', properties = ''): Buffer {
  const body = paragraphs.map((text) => {
    const runs = text.startsWith('<') ? text : `<w:r><w:t>${text}</w:t></w:r>`;
    return text.startsWith('<w:tbl') ? text : `<w:p>${runs}</w:p>`;
  });
  return zip([
    {
      name: 'word/document.xml',
      content: `<w:document><w:body>${body.join('')}</w:body></w:document>`,
      deflate: true,
    },
    { name: 'docProps/core.xml', content: `<cp><dc:title>${title}</dc:title>${properties}</cp>` },
  ]);
}

/** A book of chapters, with the members and what is said of it besides. */
export function epub(
  chapters: Record<string, string>,
  more: readonly Member[] = [],
  properties = '',
): Buffer {
  const names = Object.keys(chapters);
  const items = names.map((name, index) => `<item id="i${index}" href="${encodeURI(name)}"/>`);
  const spine = names.map((_, index) => `<itemref idref="i${index}"/>`);
  return zip([
    { name: 'META-INF/container.xml', content: '<c><rootfile full-path="OEBPS/c.opf"/></c>' },
    {
      name: 'OEBPS/c.opf',
      content: `<package><dc:title>Book</dc:title><dc:creator>Me</dc:creator>${properties}${items.join('')}<spine>${spine.join('')}</spine></package>`,
    },
    ...names.map((name) => ({ name: `OEBPS/${name}`, content: chapters[name]!, deflate: true })),
    ...more,
  ]);
}

const stream = (content: string): string =>
  `<</Length ${content.length}>>stream\n${content}\nendstream`;

/** A PDF of those objects, the first of which is its catalogue. */
export function pdf(objects: readonly string[], trailer = ''): Buffer {
  let out = '%PDF-1.5\n';
  const offsets = objects.map((object, index) => {
    const offset = out.length;
    out += `${index + 1} 0 obj\n${object}\nendobj\n`;
    return offset;
  });
  const table = offsets.map((offset) => `${String(offset).padStart(10, '0')} 00000 n \n`);
  const count = objects.length + 1;
  const start = out.length;
  out += `xref\n0 ${count}\n0000000000 65535 f \n${table.join('')}`;
  out += `trailer\n<</Size ${count}/Root 1 0 R${trailer}>>\nstartxref\n${start}\n%%EOF`;
  return Buffer.from(out, 'latin1');
}

/** A page of lines in a font that is not in the file, whose characters only a CMap of Adobe's names. */
export function cjkPdf(
  cmap: string,
  ordering: string,
  lines: readonly string[],
  trailer = '',
): Buffer {
  const vertical = cmap.endsWith('-V');
  const shown = lines.map((line, index) => {
    const code = Buffer.from(line, 'utf16le').swap16().toString('hex');
    const place = vertical ? `${500 - 30 * index} 700` : `50 ${700 - 30 * index}`;
    return `1 0 0 1 ${place} Tm <${code}> Tj`;
  });
  const objects = [
    '<</Type/Catalog/Pages 2 0 R>>',
    '<</Type/Pages/Kids[3 0 R]/Count 1>>',
    '<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>',
    stream(`BT /F1 20 Tf\n${shown.join('\n')}\nET`),
    `<</Type/Font/Subtype/Type0/BaseFont/F/Encoding/${cmap}/DescendantFonts[6 0 R]>>`,
    `<</Type/Font/Subtype/CIDFontType0/BaseFont/F/CIDSystemInfo<</Registry(Adobe)/Ordering(${ordering})/Supplement 0>>/FontDescriptor 7 0 R>>`,
    '<</Type/FontDescriptor/FontName/F/Flags 4/FontBBox[0 0 1000 1000]/ItalicAngle 0/Ascent 800/Descent -200/CapHeight 700/StemV 80>>',
  ];
  return pdf(objects, trailer);
}

/** A page that is one picture. */
export function scannedPdf(): Buffer {
  return pdf([
    '<</Type/Catalog/Pages 2 0 R>>',
    '<</Type/Pages/Kids[3 0 R]/Count 1>>',
    '<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R/Resources<</XObject<</I 5 0 R>>>>>>',
    stream('q 500 0 0 700 0 0 cm /I Do Q'),
    '<</Type/XObject/Subtype/Image/Width 1/Height 1/ColorSpace/DeviceGray/BitsPerComponent 8/Length 1>>stream\nx\nendstream',
  ]);
}

/** One record of WARC. */
export function warcRecord(
  type: string,
  url: string,
  body: string | Buffer,
  contentType?: string,
  date?: string,
): Buffer {
  const content = Buffer.from(body as string);
  const kind =
    (contentType === undefined ? '' : `Content-Type: ${contentType}\r\n`) +
    (date === undefined ? '' : `WARC-Date: ${date}\r\n`);
  const head = `WARC/1.0\r\nWARC-Type: ${type}\r\nWARC-Target-URI: ${url}\r\n${kind}Content-Length: ${content.length}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head), content, Buffer.from('\r\n\r\n')]);
}

/** A Parquet file of one row group and one column of texts, neither packed nor encoded. */
export function parquet(column: string, texts: readonly string[]): Buffer {
  const values = Buffer.concat(
    texts.map((text) => {
      const bytes = Buffer.from(text);
      const length = Buffer.alloc(4);
      length.writeUInt32LE(bytes.length);
      return Buffer.concat([length, bytes]);
    }),
  );
  const [plain, rle, byteArray, uncompressed, utf8Text] = [0, 3, 6, 0, 0];
  const page = Buffer.concat([
    struct({
      1: int(0),
      2: int(values.length),
      3: int(values.length),
      5: nested({ 1: int(texts.length), 2: int(plain), 3: int(rle), 4: int(rle) }),
    }),
    values,
  ]);
  const leaf = { 1: int(byteArray), 3: int(0), 4: name(column), 6: int(utf8Text) };
  const chunk = {
    1: int(byteArray),
    2: list(compact.int, [varint(zigzag(plain))]),
    3: list(compact.binary, [name(column).value]),
    4: int(uncompressed),
    5: long(texts.length),
    6: long(page.length),
    7: long(page.length),
    9: long(4),
  };
  const group = {
    1: list(compact.struct, [struct({ 2: long(4), 3: nested(chunk) })]),
    2: long(page.length),
    3: long(texts.length),
  };
  const footer = struct({
    1: int(1),
    2: list(compact.struct, [struct({ 4: name('schema'), 5: int(1) }), struct(leaf)]),
    3: long(texts.length),
    4: list(compact.struct, [struct(group)]),
  });
  const length = Buffer.alloc(4);
  length.writeUInt32LE(footer.length);
  return Buffer.concat([Buffer.from('PAR1'), page, footer, length, Buffer.from('PAR1')]);
}

/** Types of Thrift's compact protocol, which Parquet's headers are written in. */
const compact = { int: 5, long: 6, binary: 8, list: 9, struct: 12 } as const;
interface Field {
  type: number;
  value: Buffer;
}

const zigzag = (value: number): number => value * 2;
const int = (value: number): Field => ({ type: compact.int, value: varint(zigzag(value)) });
const long = (value: number): Field => ({ type: compact.long, value: varint(zigzag(value)) });
const name = (text: string): Field => ({
  type: compact.binary,
  value: Buffer.concat([varint(Buffer.byteLength(text)), Buffer.from(text)]),
});
const nested = (fields: Record<number, Field>): Field => ({
  type: compact.struct,
  value: struct(fields),
});
const list = (type: number, items: readonly Buffer[]): Field => ({
  type: compact.list,
  value: Buffer.concat([Buffer.of((items.length << 4) | type), ...items]),
});

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let left = value;
  for (; left >= 0x80; left = Math.floor(left / 0x80)) bytes.push((left % 0x80) | 0x80);
  return Buffer.from([...bytes, left]);
}

function struct(fields: Record<number, Field>): Buffer {
  let before = 0;
  const parts = Object.entries(fields).map(([id, { type, value }]) => {
    const header = ((Number(id) - before) << 4) | type;
    before = Number(id);
    return Buffer.concat([Buffer.of(header), value]);
  });
  return Buffer.concat([...parts, Buffer.of(0)]);
}
