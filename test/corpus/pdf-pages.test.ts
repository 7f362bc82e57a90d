import { deflateSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { picturePages } from '../../corpus/pdf-pictures.ts';
import { pdf } from './make-files.ts';
import { recordsOf } from './records.ts';

const stream = (content: string, more = ''): string =>
  `<<${more}/Length ${content.length}>>stream\n${content}\nendstream`;
const image = stream(
  'x',
  '/Type/XObject/Subtype/Image/Width 1/Height 1/ColorSpace/DeviceGray/BitsPerComponent 8',
);
const font = '<</Font<</F 4 0 R>>>>';
const packed = stream(
  deflateSync(Buffer.from('200 0 0 200 0 0 cm /I Do')).toString('latin1'),
  '/Filter/FlateDecode',
);

/** A file of pages, each by its resources and what draws it; the font is object 4, the picture 5, a form around it 6. */
function pagesOf(pages: readonly [string, string][], trailer = ''): Buffer {
  const first = 8;
  const kids = pages.map((_, index) => `${first + 2 * index} 0 R`).join(' ');
  const objects = pages.flatMap(([resources, content], index) => [
    `<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 300]${resources}/Contents ${first + 2 * index + 1} 0 R>>`,
    content,
  ]);
  return pdf(
    [
      '<</Type/Catalog/Pages 2 0 R>>',
      `<</Type/Pages/Kids[${kids}]/Count ${pages.length}/Resources<</Font<</F 4 0 R>>/XObject 7 0 R>>>>`,
      "<</CreationDate(D:20240102030405+08'00')/Title(T)>>",
      '<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>',
      image,
      stream('/I Do', '/Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources<</XObject<</I 5 0 R>>>>'),
      '<</I 5 0 R>>',
      ...objects,
    ],
    `/Info 3 0 R${trailer}`,
  );
}

const text = (said: string): [string, string] => [
  `/Resources${font}`,
  stream(`BT /F 12 Tf 20 200 Td (${said}) Tj ET`),
];
const scanned: [string, string] = ['/Resources<</XObject<</I 5 0 R>>>>', packed];
const inherited: [string, string] = ['', stream('q /I Do Q')];
const inForm: [string, string] = ['/Resources<</XObject<</X 6 0 R>>>>', stream('/X Do')];
const inline: [string, string] = ['', stream('q BI /W 1 /H 1 /BPC 8 /CS /G ID x EI Q')];
const blank: [string, string] = ['/Resources<</XObject<</I 5 0 R>>>>', stream('q Q')];

test('pages that are pictures are told beside the text of the others', async () => {
  const found = await recordsOf(
    'a.pdf',
    pagesOf([text('Cover page'), scanned, inherited, inForm, blank, inline, text('End')]),
  );
  expect(found).toEqual([
    {
      position: null,
      text: 'Cover page\n\nEnd',
      metadata: { title: 'T', date: '2024-01-01T19:04:05.000Z' },
    },
    {
      position: null,
      reason: 'pages_need_ocr',
      detail: '4 of 7 pages are pictures without text (2-4, 6); recognise them first',
    },
  ]);
});

test('a file of pictures is a scan, and one of blank pages is empty', async () => {
  expect(await recordsOf('a.pdf', pagesOf([scanned, blank]))).toMatchObject([
    { reason: 'needs_ocr', detail: expect.stringContaining('a scan: 2 pages') },
  ]);
  expect(await recordsOf('a.pdf', pagesOf([blank, blank]))).toMatchObject([{ reason: 'empty' }]);
});

test('a blank page beside text is no word worth', async () => {
  expect(await recordsOf('a.pdf', pagesOf([text('One'), blank]))).toMatchObject([{ text: 'One' }]);
});

const onePage = '%PDF-1.5\n1 0 obj\n<</Type/Page/Contents 2 0 R>>\nendobj\n2 0 obj\n<<>>stream\n';
const filled = (head: string, part: string, tail = ''): string =>
  head + part.repeat(Math.ceil((4 * 1024 * 1024) / part.length)) + tail;
const pageRef = (_: unknown, index: number): { number: number; object: number } => ({
  number: index + 1,
  object: index + 1,
});

test.each<[string, string, number]>([
  ['pictures that have no data', filled(onePage, 'BI ', '\nendstream endobj'), 1],
  ['objects without an end', filled(onePage, '7 0 obj '), 1],
  ['objects whose streams have no end', filled('%PDF-1.5\n', '1 0 obj<<>>stream\n'), 1],
  ['objects that others lie in', filled('%PDF-1.5\n', '1 0 obj stream\nendstream '), 1],
  ['lists without an end', filled('%PDF-1.5\n1 0 obj<</Type/Page', '/Contents[', 'endobj'), 1],
  [
    'pages under a long node',
    Array.from(
      { length: 9000 },
      (_, index) => `${index + 1} 0 obj<</Parent 9001 0 R/Contents 9002 0 R>>endobj\n`,
    ).join('') +
      filled(
        '9002 0 obj<<>>stream\n/I Do\nendstream endobj\n9001 0 obj<</Resources<</XObject<<',
        '/I 5 0 R',
        '>>>>>>endobj',
      ),
    9000,
  ],
])('4 MiB of %s are looked through in one pass', (_, content, numPages) => {
  const pages = Array.from({ length: numPages }, pageRef);
  const file = Buffer.from(content, 'latin1');
  const before = process.cpuUsage();
  expect(picturePages(file, pages)).toEqual([]);
  // Of the processor, in microseconds: others may have the machine.
  expect(process.cpuUsage(before).user).toBeLessThan(1_500_000);
});
