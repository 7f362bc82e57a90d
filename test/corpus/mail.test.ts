import iconv from 'iconv-lite';
import { expect, test } from 'vitest';
import { isoDate, isoDateOfPdf } from '../../corpus/formats/dates.ts';
import { recordsOf } from './records.ts';

const body = '各位同仁您好：本週五下午三點於會議室召開預算檢討會議，請準時出席。';
const big5 = (text: string): Buffer => iconv.encode(text, 'cp950');

/** A letter of one part, whose subject stands in it as those bytes. */
function letter(type: string, content: Buffer, subject: Buffer | string = 'x'): Buffer {
  return Buffer.concat([
    Buffer.from('From: Wang <a@b.com>\nSubject: '),
    Buffer.from(subject as string),
    Buffer.from(`\nMIME-Version: 1.0\n${type}\n\n`),
    content,
    Buffer.from('\n'),
  ]);
}

test.each<[string, string]>([
  ['says so', 'Content-Type: text/plain; charset=big5'],
  ['names it by its code page', 'Content-Type: text/plain; charset="cp950"'],
  ['says nothing', 'Content-Type: text/plain'],
  ['has no type', 'X-Mailer: none'],
  ['says US-ASCII', 'Content-Type: text/plain; charset=us-ascii'],
  ['says that it is not known', 'Content-Type: text/plain;\n charset=unknown-8bit'],
  ['says UTF-8', 'Content-Type: text/plain; charset=utf-8'],
  ['says Latin-1', 'Content-Type: text/plain; charset=ISO-8859-1'],
  ['says a name that is no encoding', 'Content-Type: text/plain; charset=hex'],
])('a letter in Big5 that %s is read, and its raw subject', async (_, type) => {
  expect(await recordsOf('a.eml', letter(type, big5(body), big5('預算會議通知')))).toEqual([
    { position: null, text: body, metadata: { subject: '預算會議通知', from: 'a@b.com' } },
  ]);
});

test('what a charset says is believed where the bytes fit it', async () => {
  const read = async (charset: string, content: Buffer) => {
    const [found] = await recordsOf(
      'a.eml',
      letter(`Content-Type: text/plain; charset=${charset}`, content),
    );
    return found !== undefined && 'text' in found ? found.text : found?.reason;
  };
  const russian = 'Сегодня';
  expect(await read('koi8-r', iconv.encode(russian, 'koi8-r'))).toBe(russian);
  expect(await read('iso-2022-jp', Buffer.from('\x1b$B$3$s\x1b(B'))).toBe('こん');
  expect(await read('gb2312', iconv.encode('预算', 'gb18030'))).toBe('预算');
  expect(await read('gb2312', Buffer.from('预算会议'))).toBe('预算会议');
  expect(await read('iso-8859-1', iconv.encode('à é', 'latin1'))).toBe('à é');
  // Neither the bytes nor what is said of them make a text.
  expect(await read('hz-gb-2312', Buffer.from('~{<:Ky2;~}'))).toBe('undecodable');
  expect(await read('utf-8', Buffer.concat([Buffer.from(body), Buffer.of(0xff)]))).toBe(
    'undecodable',
  );
});

test('encoded words are read by their bytes where their label is wrong or unknown', async () => {
  const word = (label: string, bytes: Buffer) => `=?${label}?B?${bytes.toString('base64')}?=`;
  const subjectOf = async (subject: string) => {
    const [found] = await recordsOf('a.eml', letter('X: y', Buffer.from('text'), subject));
    return found !== undefined && 'text' in found ? found.metadata['subject'] : found;
  };
  const said = big5('預算會議通知，請準時出席');
  expect(await subjectOf(word('big5', said))).toBe('預算會議通知，請準時出席');
  expect(await subjectOf(word('unknown-8bit', said))).toBe('預算會議通知，請準時出席');
  expect(await subjectOf(word('utf-8', said))).toBe('預算會議通知，請準時出席');
  const [one, other] = [said.subarray(0, 3), said.subarray(3)];
  expect(await subjectOf(`${word('big5', one)}\n ${word('BIG5', other)}`)).toBe(
    '預算會議通知，請準時出席',
  );
  expect(await subjectOf('Re: =?iso-8859-1?Q?Gr=FC=DFe_an?= alle')).toBe('Re: Grüße an alle');
});

test('a name with a comma in encoded words is one sender', async () => {
  const content = Buffer.from('From: =?utf-8?Q?Doe=2C_J=C3=BC?= <j@d.org>\n\ntext\n');
  expect(await recordsOf('a.eml', content)).toEqual([
    { position: null, text: 'text', metadata: { from: 'j@d.org' } },
  ]);
});

test('a part that cannot be decoded refuses its letter, and what is attached is read', async () => {
  const parts = (html: string) =>
    Buffer.concat([
      Buffer.from('Content-Type: multipart/mixed; boundary=X\n\n--X\n'),
      Buffer.from('Content-Type: text/plain; charset=utf-8\n\n'),
      Buffer.concat([Buffer.from(`${body}${body}`), Buffer.of(0xff, 0x0a)]),
      Buffer.from(
        `${html}--X\nContent-Disposition: attachment; filename=n.txt\n\nattached\n--X--\n`,
      ),
    ]);
  expect(await recordsOf('a.eml', parts(''))).toMatchObject([
    { reason: 'undecodable' },
    { inside: '!/n.txt', text: 'attached\n' },
  ]);
});

/** Parts by their type, and each content. */
function partsOf(kind: string, parts: readonly [string, Buffer | string][]): Buffer {
  return Buffer.concat([
    Buffer.from(`Subject: x\nContent-Type: multipart/${kind}; boundary=X\n\n`),
    ...parts.flatMap(([type, content]) => [
      Buffer.from(`--X\nContent-Type: text/${type}; charset=utf-8\n\n`),
      Buffer.from(content as string),
      Buffer.from('\n'),
    ]),
    Buffer.from('--X--\n'),
  ]);
}
const bad = Buffer.concat([Buffer.from(`${body}${body}`), Buffer.of(0xff)]);
const metadata = { subject: 'x' };

test('where one of the alternatives of a letter cannot be decoded, the other is taken', async () => {
  const page = `<p>${body}</p>`;
  const kept = [{ position: null, text: body, metadata }];
  const read = async (...parts: [string, Buffer | string][]) =>
    recordsOf('a.eml', partsOf('alternative', parts));
  expect(await read(['plain', bad], ['html', page])).toEqual(kept);
  expect(await read(['plain', body], ['html', bad])).toEqual(kept);
  for (const other of [bad, ' '])
    expect(await read(['plain', other], ['html', bad])).toMatchObject([{ reason: 'undecodable' }]);
});

test('a part of a letter that cannot be decoded is told beside the text of the others', async () => {
  const unreadable = {
    position: null,
    reason: 'part_unreadable',
    detail: expect.stringMatching(/^a part is left out \(undecodable: /) as string,
  };
  const kept = { position: null, text: body, metadata };
  const read = async (...parts: [string, Buffer | string][]) =>
    recordsOf('a.eml', partsOf('mixed', parts));
  expect(await read(['plain', body], ['plain', bad])).toEqual([kept, unreadable]);
  expect(await read(['plain', bad], ['plain', body])).toEqual([kept, unreadable]);
  expect(await read(['plain', body], ['html', bad])).toEqual([kept, unreadable]);
  expect(await read(['html', bad], ['plain', bad], ['plain', body])).toEqual([
    kept,
    { ...unreadable, detail: expect.stringMatching(/^2 parts are left out/) as string },
  ]);
});

test('an encoded word that has no end takes no other header with it', async () => {
  const content = Buffer.from('Subject: =?UTF-8?Q?cut off\nFrom: a@b.com\nX-S: what ?=\n\ntext\n');
  expect(await recordsOf('a.eml', content)).toEqual([
    { position: null, text: 'text', metadata: { subject: '=?UTF-8?Q?cut off', from: 'a@b.com' } },
  ]);
});

test('a letter that was forwarded is a document of its own, with its own encoding', async () => {
  const inner = letter('Content-Type: text/plain', big5(body), big5('預算會議通知'));
  const outer = (disposition: string) =>
    Buffer.concat([
      Buffer.from(
        `Subject: fwd\nContent-Type: multipart/mixed; boundary=X\n\n--X\n\nsee below\n--X\nContent-Type: message/rfc822\n${disposition}\n`,
      ),
      inner,
      Buffer.from('--X--\n'),
    ]);
  const found = (name: string) => [
    { position: null, text: 'see below', metadata: { subject: 'fwd' } },
    {
      position: null,
      inside: name,
      text: body,
      metadata: { subject: '預算會議通知', from: 'a@b.com' },
    },
  ];
  expect(await recordsOf('a.eml', outer(''))).toEqual(found('!/attachment 1.eml'));
  expect(await recordsOf('a.eml', outer('Content-Disposition: attachment\n'))).toEqual(
    found('!/attachment 1.eml'),
  );
  const named = 'Content-Disposition: attachment; filename="old.eml"\n';
  expect(await recordsOf('a.eml', outer(named))).toEqual(found('!/old.eml'));
});

test.each<[string, string | null]>([
  ['Mon, 1 Jan 2024 00:00:00 +0800', '2023-12-31T16:00:00.000Z'],
  ['Mon, 1 Jan 2024 00:00:00 +0800 (CST)', '2023-12-31T16:00:00.000Z'],
  ['1 Jan 2024 00:00:00', '2024-01-01T00:00:00.000Z'],
  ['Tue, 02 Jan 2024 03:04:05 GMT', '2024-01-02T03:04:05.000Z'],
  ['2024-01-02', '2024-01-02'],
  ['2024', '2024'],
  ['2024-01-02T03:04:05+08:00', '2024-01-01T19:04:05.000Z'],
  ['2024-01-02T03:04', '2024-01-02T03:04:00.000Z'],
  ['0000-00-00', null],
  ['Thu, 1 Jan 0001 00:00:00 GMT', null],
  ['yesterday', null],
])('%s is the date %s', (said, date) => {
  expect(isoDate(said)).toBe(date);
});

test.each<[string, string | null]>([
  ["D:20240102030405+08'00'", '2024-01-01T19:04:05.000Z'],
  ['D:20240102030405Z', '2024-01-02T03:04:05.000Z'],
  ['D:2024', '2024-01-01T00:00:00.000Z'],
  ['D:20241302', null],
  ['when it was made', null],
])('%s of a PDF is the date %s', (said, date) => {
  expect(isoDateOfPdf(said)).toBe(date);
});
