import { expect, test } from 'vitest';
import { mainContent } from '../../corpus/main-content.ts';

const sentence =
  'The archive opens at nine, closes at five, and keeps what was given to it, whoever gave it. ';
const article = `<h2>Rules</h2><p>${sentence.repeat(3)}</p><p>${sentence.repeat(2)}<a href=x>More</a></p><ul><li>one rule, of several, that holds</li></ul>`;
const menu =
  '<nav><a href=a>Home</a></nav><div class="main-menu"><ul><li><a href=b>News</a><li><a href=c>Sport</a></ul></div>';
const footer =
  '<footer>© 2026</footer><div id="cookie-notice">This website uses cookies to improve your experience.</div>';
const page = (body: string) =>
  `<title>T</title><body class="has-sidebar">${menu}${body}${footer}</body>`;

test.each([
  ['an article', `<article>${article}</article>`],
  ['divisions without names', `<div><div>${article}</div></div>`],
  ['a form around the whole page', `<form><div>${article}</div></form>`],
  [
    'a wrapper named after the menu beside the text',
    `<div class="header-full sidebar">${article}</div>`,
  ],
  [
    'a list of other pages beside it',
    `<div>${article}</div><div class="related"><h3>Related</h3><ul><li><a href=x>${sentence}</a></ul></div>`,
  ],
])('menus, notices and lists are left out: %s', (_, body) => {
  const { title, text } = mainContent(page(body));
  expect(title).toBe('T');
  expect(text.startsWith(`Rules\n${sentence.repeat(3).trim()}`)).toBe(true);
  expect(text).toContain('one rule, of several, that holds');
  expect(text).not.toMatch(/Home|News|©|cookies|Related/);
});

test('a page of Chinese, whose signs weigh more than letters, is known as well', () => {
  const law =
    '關於一定之數量，同時以文字及號碼表示者，其文字與號碼有不符合時，應以文字為準。'.repeat(6);
  expect(mainContent(page(`<div><p>${law}</p></div>`)).text).toBe(law);
});

test.each([
  ['a page of a line', '<p>short</p>', 'short'],
  ['text without markup', 'text only', 'text only'],
  [
    'blocks become lines, preformatted text stays',
    '<p>a<br>b</p><pre>x\n  y</pre>',
    'a\nb\nx\n  y',
  ],
  ['nothing but a menu', '<nav>only menu</nav>', ''],
])('where nothing stands out all is taken: %s', (_, html, expected) => {
  expect(mainContent(html).text).toBe(expected);
});

test('a page nested without end is read flat, in time', () => {
  const { text } = mainContent(`${'<div>'.repeat(10_000)}<p>${sentence.repeat(4)}</p>`);
  expect(text).toBe(sentence.repeat(4).trim());
});
