import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Hono } from 'hono';
import pino from 'pino';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { readAbilities } from '../../serving/abilities.ts';
import { createApp } from '../../serving/app.ts';
import { createEndpoint, type Endpoint } from '../../serving/endpoint.ts';
import { openKeyRing } from '../../serving/keys.ts';
import { listen, type Listener } from '../../serving/listen.ts';
import { pageRoutes } from '../../serving/page.ts';
import { findChromium, launchChromium } from '../support/browser.ts';
import { testBundles, type TestBundles } from '../support/bundles.ts';
import { scriptedEndpoint, type ScriptedEndpoint } from '../support/scripted-endpoint.ts';

const log = pino({ level: 'silent' });
const key = 'a+key/of=signs';
const template = path.resolve(import.meta.dirname, '../../trainer/chat_template.jinja');
const chromium = findChromium();
if (chromium === null) {
  console.warn('no Chromium found (CHROMIUM_PATH, or chromium on the PATH): its tests are skipped');
}

let bundles: TestBundles;
let folder: string;
let tiny: Endpoint;
let base: Endpoint;
let sotu: ScriptedEndpoint;
let app: Hono;
let listener: Listener;

beforeAll(async () => {
  bundles = await testBundles();
  folder = await mkdtemp(path.join(tmpdir(), 'temper-chat-page-'));
  await writeFile(path.join(folder, 'keys'), `${key}\n`);
  const start = async (name: string, bundle: string): Promise<Endpoint> => {
    const endpoint = createEndpoint(name, log);
    const digest = name.padEnd(64, '0');
    const served = { model: name, version: 3, bundle: digest, generation: 1, folder: bundle };
    await endpoint.activate(served);
    return endpoint;
  };
  [tiny, base] = await Promise.all([start('tiny', bundles.chat), start('base', bundles.base)]);
  sotu = scriptedEndpoint('sotu', bundles.chat);
  const keys = openKeyRing(path.join(folder, 'keys'), log);
  const endpoints = [sotu, tiny, base];
  app = createApp({ keys, endpoints: () => endpoints, log, now: () => new Date(0) });
  listener = await listen(app, 0);
}, 60_000);

afterAll(async () => {
  await listener.close(0);
  await Promise.all([tiny.stop(), base.stop()]);
  await rm(folder, { recursive: true });
});

describe('the files', () => {
  test('the page and its parts come without a key, under a policy without inline code', async () => {
    const html = await (await app.request('/')).text();
    for (const route of pageRoutes) {
      const response = await app.request(route);
      expect(response.status, route).toBe(200);
      expect(response.headers.get('x-content-type-options')).toBe('nosniff');
      const policy = response.headers.get('content-security-policy')!;
      expect(policy).toContain("default-src 'none'");
      expect(policy).toContain("connect-src 'self'");
      expect(policy).not.toMatch(/unsafe|http/);
      const text = await response.text();
      expect(text).not.toMatch(/(src|href)="(https?:)?\/\//);
      expect(text).not.toMatch(/innerHTML|insertAdjacentHTML|document\.write/);
      const etag = response.headers.get('etag')!;
      const again = await app.request(route, { headers: { 'if-none-match': etag } });
      expect([again.status, await again.text()]).toEqual([304, '']);
    }
    expect(html).not.toMatch(/<script(?![^>]*src=)|<style| style=| on[a-z]+=/);
    for (const [, part] of html.matchAll(/(?:src|href)="(page\/[^"]+)"/g)) {
      expect(pageRoutes).toContain(`/${part}`);
    }
    expect((await app.request('/page/../keys')).status).toBe(401);
    expect((await app.request('/', { method: 'POST' })).status).toBe(401);
  });

  test('a model tells what a client must know of it, and an answer which version gave it', async () => {
    const headers = { authorization: `Bearer ${key}` };
    const response = await app.request('/v1/models', { headers });
    const { data } = (await response.json()) as { data: unknown[] };
    expect(data[1]).toMatchObject({
      id: 'tiny',
      version: 'tiny@3',
      bundle: tiny.served!.bundle,
      chat: true,
      context_length: 96,
      default_max_tokens: 16,
      system_prompt: true,
    });
    // Temper's own template writes a system message as if the user had said it.
    const own = path.join(folder, 'own');
    await cp(bundles.chat, own, { recursive: true });
    await cp(template, path.join(own, 'chat_template.jinja'));
    const abilities = await readAbilities({ ...tiny.served!, folder: own });
    expect(abilities).toMatchObject({ chat: true, system_prompt: false });
    expect(await readAbilities({ ...tiny.served!, folder: 'nowhere' })).toBe(null);
    expect(data[2]).toMatchObject({ id: 'base', chat: false, system_prompt: false });
    const body = JSON.stringify({ model: 'tiny', prompt: 'a', max_tokens: 1 });
    const answer = await app.request('/v1/completions', { method: 'POST', headers, body });
    expect(answer.headers.get('x-temper-model')).toBe('tiny@3');
  });
});

describe.skipIf(chromium === null)('in Chromium', () => {
  let browser: Browser;

  beforeAll(async () => {
    browser = await launchChromium(chromium!);
  });
  afterAll(async () => {
    await browser.close();
  });
  beforeEach(() => {
    sotu.script = { pieces: ['Franklin', ' D', ' Roosevelt'] };
    sotu.jobs.length = 0;
  });

  interface Opened {
    page: Page;
    /** What the page wrote to its console as an error. */
    errors: string[];
  }

  /** A fresh browser profile on the page, with the key in the address unless it says otherwise. */
  async function open(
    hash = `#key=${encodeURIComponent(key)}`,
    options: BrowserContextOptions = {},
  ): Promise<Opened> {
    const context = await browser.newContext(options);
    const page = await context.newPage();
    page.setDefaultTimeout(10_000);
    const errors: string[] = [];
    page.on('pageerror', (error) => errors.push(String(error)));
    page.on('console', (message) => {
      if (message.type() === 'error') errors.push(message.text());
    });
    await page.goto(`${listener.url}/${hash}`);
    if (hash !== '') await expect.poll(() => page.locator('#model').isEnabled()).toBe(true);
    return { page, errors };
  }

  const answers = (page: Page): Promise<string[]> => page.locator('.answer').allInnerTexts();
  const lastAnswer = async (page: Page): Promise<string> =>
    ((await answers(page)).at(-1) ?? '').trim();
  const state = async (page: Page): Promise<string | null> =>
    page.locator('.exchange').last().getAttribute('data-state');
  const word = async (page: Page): Promise<string> => page.locator('.word').last().innerText();

  async function ask(page: Page, text: string): Promise<void> {
    await page.locator('#question').fill(text);
    await page.keyboard.press('Enter');
  }
  async function ended(page: Page, how = 'done'): Promise<void> {
    await expect.poll(() => state(page)).toBe(how);
  }

  test('an answer streams in from the engine, with the version and the bundle that gave it', async () => {
    const { page, errors } = await open();
    expect(page.url()).toBe(`${listener.url}/`);
    await page.locator('#model').selectOption('tiny');
    await page.getByRole('button', { name: 'Settings' }).click();
    await page.getByLabel('Temperature').fill('0');
    await page.getByLabel('Longest answer').fill('12');
    expect(await page.locator('#facts').innerText()).toContain(`sha256:${tiny.served!.bundle}`);
    await page.getByRole('button', { name: 'Done' }).click();
    await ask(page, 'Who?');
    await ended(page);
    const { completion } = bundles.expected.chat;
    expect(await page.locator('.answer').textContent()).toBe(completion.trimStart());
    expect(await page.locator('.facts').innerText()).toMatch(/^tiny@3 · tiny0000 · 12 tokens/);
    expect(await page.locator('#serving').innerText()).toBe('tiny@3 · tiny00000000');
    expect(await word(page)).toMatch(/Cut off at the longest answer/);
    expect(errors).toEqual([]);
    await page.context().close();
  });

  test('words are there before the answer has ended, and are read out by sentences', async () => {
    sotu.script = { pieces: ['One.', ' Two', ' three.', ' Four'], delayMs: 150 };
    const { page } = await open();
    await ask(page, 'Count');
    await expect.poll(() => lastAnswer(page)).toBe('One.');
    expect(await state(page)).toBe('streaming');
    expect(await page.getByRole('button', { name: 'Stop' }).isVisible()).toBe(true);
    await ended(page);
    const spoken = await page.locator('#spoken p').allTextContents();
    expect(spoken.join(' ')).toBe('One. Two three. Four');
    expect(spoken.length).toBeLessThan(4);
    await page.context().close();
  });

  test('stop keeps the half answer, frees the place on the node, and leaves a way to try again', async () => {
    sotu.script = { pieces: Array<string>(200).fill(' word'), delayMs: 30 };
    const { page, errors } = await open();
    for (const how of ['button', 'escape']) {
      if (how === 'button') await ask(page, 'Go on');
      else await page.getByRole('button', { name: 'Try again' }).click();
      await expect.poll(() => lastAnswer(page)).toMatch(/^word word/);
      expect(sotu.numRequests).toBe(1);
      if (how === 'button') await page.getByRole('button', { name: 'Stop' }).click();
      else await page.keyboard.press('Escape');
      await ended(page, 'stopped');
      expect(await word(page)).toBe('Stopped here.');
      expect(await lastAnswer(page)).toMatch(/^word word/);
      await expect.poll(() => sotu.numRequests).toBe(0);
      expect(await page.evaluate('document.activeElement.id')).toBe('question');
    }
    sotu.script = { pieces: ['whole'] };
    await page.getByRole('button', { name: 'Try again' }).click();
    await ended(page);
    expect(await answers(page)).toEqual(['whole']);
    expect(errors).toEqual([]);
    await page.context().close();
  });

  test('a browser that closes in the middle of an answer frees its place', async () => {
    sotu.script = { pieces: Array<string>(500).fill(' word'), delayMs: 30 };
    const { page } = await open();
    await ask(page, 'Go on');
    await expect.poll(() => sotu.numRequests).toBe(1);
    await page.context().close();
    await expect.poll(() => sotu.numRequests).toBe(0);

    const second = await open();
    await second.page.locator('#model').selectOption('tiny');
    await second.page.evaluate(`localStorage.setItem('temper.settings', '{"maxTokens":80}')`);
    await ask(second.page, 'Go on');
    await second.page.context().close();
    await expect.poll(() => tiny.numRequests).toBe(0);
    await expect.poll(async () => (await tiny.engine!.stats()).active).toBe(0);
  });

  test('all of it works from the keyboard, and the focus is seen', async () => {
    const { page } = await open();
    expect(await page.evaluate('document.activeElement.id')).toBe('question');
    await page.keyboard.type('First line');
    await page.keyboard.press('Shift+Enter');
    await page.keyboard.type('second line');
    expect(sotu.jobs).toHaveLength(0);
    await page.keyboard.press('Enter');
    await ended(page);
    expect(sotu.jobs[0]!.prompts).toEqual([
      { kind: 'chat', messages: [{ role: 'user', content: 'First line\nsecond line' }] },
    ]);
    expect(await page.locator('#question').inputValue()).toBe('');
    // Empty questions are not sent; the arrow brings back the last one.
    await page.keyboard.press('Enter');
    expect(sotu.jobs).toHaveLength(1);
    await page.keyboard.press('ArrowUp');
    expect(await page.locator('#question').inputValue()).toBe('First line\nsecond line');

    // Once around the page, from its top.
    await page.reload();
    await ask(page, 'Again');
    await ended(page);
    await page.locator('.skip').focus();
    const order: string[] = [];
    for (let stop = 0; stop < 8; stop += 1) {
      await page.keyboard.press('Tab');
      const name = await page.evaluate<string>(
        'document.activeElement.id || document.activeElement.textContent',
      );
      const seen = name === 'question' ? ['closest("form")', 'borderColor'] : ['', 'outlineColor'];
      const frame = ['document.activeElement', seen[0]].filter(Boolean).join('.');
      order.push(name);
      const color = await page.evaluate(`getComputedStyle(${frame}).${seen[1]}`);
      expect(color, name).toBe('rgb(43, 85, 116)');
    }
    expect(order).toEqual([
      'model',
      'copy-all',
      'clear',
      'open-settings',
      'Copy',
      'Again',
      'question',
      'send',
    ]);
    await page.keyboard.press('Shift+Tab');
    await page.keyboard.press('Shift+Tab');
    await page.keyboard.press('Enter');
    await expect.poll(() => sotu.jobs.length).toBe(3);
    await ended(page);

    await page.locator('#open-settings').focus();
    await page.keyboard.press('Enter');
    expect(await page.locator('#settings').isVisible()).toBe(true);
    await page.keyboard.press('Escape');
    expect(await page.locator('#settings').isVisible()).toBe(false);
    expect(await page.evaluate('document.activeElement.id')).toBe('open-settings');
    await page.context().close();
  });

  test('Enter that ends an input method’s composition does not send', async () => {
    const { page } = await open();
    const session = await page.context().newCDPSession(page);
    await session.send('Input.imeSetComposition', {
      text: '國會',
      selectionStart: 2,
      selectionEnd: 2,
    });
    const enter = { key: 'Enter', code: 'Enter', windowsVirtualKeyCode: 229 };
    await session.send('Input.dispatchKeyEvent', { type: 'rawKeyDown', ...enter });
    await session.send('Input.dispatchKeyEvent', { type: 'keyUp', ...enter });
    expect(await page.locator('#question').inputValue()).toBe('國會');
    expect(await page.locator('.exchange').count()).toBe(0);
    await session.send('Input.insertText', { text: '國會' });
    await page.keyboard.press('Enter');
    await ended(page);
    const content = '國會';
    expect(sotu.jobs[0]!.prompts).toEqual([
      { kind: 'chat', messages: [{ role: 'user', content }] },
    ]);
    await page.context().close();
  });

  test('a phone of 360 pixels never scrolls sideways', async () => {
    sotu.script = {
      pieces: ['x'.repeat(300), ' 國會'.repeat(200), '\nhttps://a/', 'y'.repeat(200)],
    };
    const { page } = await open(undefined, {
      viewport: { width: 360, height: 640 },
      isMobile: true,
      hasTouch: true,
    });
    const width = (): Promise<number[]> =>
      page
        .locator('html, main, header, dialog[open]')
        .evaluateAll((nodes) => nodes.map((node) => node.scrollWidth - node.clientWidth));
    expect(Math.max(...(await width()))).toBe(0);
    await ask(page, 'z'.repeat(200));
    await ended(page);
    expect(Math.max(...(await width()))).toBe(0);
    const below = page
      .locator('main')
      .evaluate((node) => node.scrollHeight - node.scrollTop - node.clientHeight);
    expect(Math.abs(await below)).toBeLessThan(2);
    const box = await page.locator('#send').boundingBox();
    expect(box!.x + box!.width).toBeLessThanOrEqual(360);
    expect(box!.y + box!.height).toBeLessThanOrEqual(640);
    expect(box!.height).toBeGreaterThanOrEqual(44);
    await page.getByRole('button', { name: 'Settings' }).tap();
    expect(Math.max(...(await width()))).toBe(0);
    const done = await page.getByRole('button', { name: 'Done' }).boundingBox();
    expect(done!.y + done!.height).toBeLessThanOrEqual(640);
    await page.context().close();
  });

  test('HTML in a question or an answer is text', async () => {
    const attack = '<img src=x onerror="window.hit=1"><script>window.hit=1</script><b>bold</b>';
    sotu.script = { pieces: [attack] };
    const { page, errors } = await open();
    await ask(page, attack);
    await ended(page);
    expect(await lastAnswer(page)).toBe(attack);
    expect(await page.locator('.question').innerText()).toContain(attack);
    expect(await page.locator('#conversation :is(img, script, b)').count()).toBe(0);
    expect(await page.evaluate('"hit" in window')).toBe(false);
    // Should a later change try, the policy refuses.
    const write = page.evaluate(`document.body.insertAdjacentHTML('beforeend', '<i>x</i>')`);
    await expect(write).rejects.toThrow(/TrustedHTML/);
    expect(errors.filter((text) => !text.includes('TrustedHTML'))).toEqual([]);
    await page.context().close();
  });

  test('a wrong key is asked for again; the right one stays for the tab, or longer when ticked', async () => {
    const { page } = await open('');
    const dialog = page.getByRole('dialog', { name: 'Which key opens this node?' });
    await dialog.waitFor();
    await page.keyboard.type('國 wrong');
    await page.keyboard.press('Enter');
    expect(await dialog.getByRole('alert').innerText()).toMatch(/one word/);
    await page.getByLabel('API key').fill('wrong');
    await page.keyboard.press('Enter');
    await expect
      .poll(() => dialog.getByRole('alert').innerText())
      .toMatch(/does not know this key/);
    expect(await page.evaluate('document.activeElement.id')).toBe('key');
    await page.keyboard.type(key);
    await page.keyboard.press('Enter');
    await dialog.waitFor({ state: 'hidden' });
    await ask(page, 'Who?');
    await ended(page);
    const stored = (): Promise<(string | null)[]> =>
      page.evaluate('[sessionStorage, localStorage].map((area) => area.getItem("temper.key"))');
    expect(await stored()).toEqual([key, null]);
    expect(await page.content()).not.toContain(key);

    // Revoked meanwhile: the question waits for another key, and is then asked.
    await writeFile(path.join(folder, 'keys'), 'new-key\n');
    try {
      await new Promise((resolve) => setTimeout(resolve, 300));
      await ask(page, 'And then?');
      await dialog.waitFor();
      await page.getByLabel('API key').fill('new-key');
      await page.getByLabel('Remember it').check();
      await page.keyboard.press('Enter');
      await ended(page);
      expect(await stored()).toEqual([null, 'new-key']);
      expect(sotu.jobs).toHaveLength(2);
    } finally {
      await writeFile(path.join(folder, 'keys'), `${key}\n`);
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
    await page.context().close();
  });

  test('a node that dies leaves the half answer; the page finds the node again by itself', async () => {
    sotu.script = { pieces: Array<string>(300).fill(' word'), delayMs: 30 };
    const { page } = await open();
    await ask(page, 'Go on');
    await expect.poll(() => lastAnswer(page)).toMatch(/^word/);
    const { port } = new URL(listener.url);
    await listener.close(0);
    await ended(page, 'failed');
    expect(await lastAnswer(page)).toMatch(/^word/);
    expect(await word(page)).toBe('The answer broke off here. The connection was lost.');
    const notice = page.locator('#notice-text');
    await expect.poll(() => notice.innerText()).toMatch(/does not answer. Looking for it again/);
    await ask(page, 'Still there?');
    await ended(page, 'failed');
    expect(await word(page)).toMatch(/Your question stays here/);
    listener = await listen(app, Number(port));
    await expect.poll(() => notice.innerText()).toBe('The node answers again.');
    sotu.script = { pieces: ['Here.'] };
    await page.getByRole('button', { name: 'Try again' }).click();
    await ended(page);
    expect(await lastAnswer(page)).toBe('Here.');
    await page.context().close();
  });

  test('an engine that dies in the middle is told so, with what came', async () => {
    sotu.script = { pieces: ['Half', ' an'], fails: new Error('died') };
    const { page } = await open();
    await ask(page, 'Go on');
    await ended(page, 'failed');
    expect(await lastAnswer(page)).toBe('Half an');
    expect(await word(page)).toBe('The answer broke off here. The serving node failed.');
    await page.context().close();
  });

  test('a busy node is waited for as long as it asks, in sight', async () => {
    sotu.script = { pieces: ['At last.'], busy: 1 };
    const { page } = await open();
    const began = performance.now();
    await ask(page, 'Who?');
    await expect.poll(() => word(page)).toMatch(/The node is busy. Asking again in [12] s/);
    await ended(page);
    expect(performance.now() - began).toBeGreaterThan(1900);
    expect(await lastAnswer(page)).toBe('At last.');

    sotu.script = { pieces: ['Never.'], busy: 9 };
    await ask(page, 'And?');
    await expect.poll(() => state(page)).toBe('waiting');
    await page.keyboard.press('Escape');
    await ended(page, 'stopped');
    await page.context().close();
  });

  test('earlier turns go with a question, the oldest not when they do not fit', async () => {
    const { page } = await open();
    await ask(page, 'One');
    await ended(page);
    await ask(page, 'Two');
    await expect.poll(() => sotu.jobs.length).toBe(2);
    expect(sotu.jobs[1]!.prompts).toEqual([
      {
        kind: 'chat',
        messages: [
          { role: 'user', content: 'One' },
          { role: 'assistant', content: 'Franklin D Roosevelt' },
          { role: 'user', content: 'Two' },
        ],
      },
    ]);
    await ended(page);
    await page.locator('#model').selectOption('tiny');
    for (const count of [1, 2, 3]) {
      await ask(page, `The state of the Union ${count}`);
      await expect.poll(() => page.locator('.exchange').count()).toBe(2 + count);
      await ended(page);
    }
    expect(await word(page)).toMatch(/The first .*turns? (was|were) left out/);
    await page.locator('#model').selectOption('sotu');
    await page.getByRole('button', { name: 'Settings' }).click();
    await page.getByLabel('Send the earlier turns').uncheck();
    await page.getByRole('button', { name: 'Done' }).click();
    await ask(page, 'Alone');
    await expect.poll(() => sotu.jobs.length).toBe(3);
    expect(sotu.jobs[2]!.prompts).toEqual([
      { kind: 'chat', messages: [{ role: 'user', content: 'Alone' }] },
    ]);
    await ended(page);
    await page.getByRole('button', { name: 'New chat' }).click();
    expect(await page.locator('.exchange').count()).toBe(0);
    await page.getByRole('button', { name: 'Undo' }).click();
    expect(await page.locator('.exchange').count()).toBe(6);
    await page.context().close();
  });

  test('a base model goes on with a text', async () => {
    const { page } = await open();
    await page.locator('#model').selectOption('base');
    expect(await page.locator('#welcome-text').innerText()).toMatch(/base model/);
    await ask(page, bundles.expected.prompt.text);
    await ended(page);
    expect(await page.locator('.facts').innerText()).toMatch(/^base@3/);
    await page.context().close();
  });

  test('an answer can be copied', async () => {
    const { page } = await open(undefined, {
      permissions: ['clipboard-read', 'clipboard-write'],
    });
    await ask(page, 'Who?');
    await ended(page);
    await page.getByRole('button', { name: 'Copy', exact: true }).click();
    await expect
      .poll(() => page.evaluate('navigator.clipboard.readText()'))
      .toBe('Franklin D Roosevelt');
    await page.getByRole('button', { name: 'Copy all' }).click();
    await expect
      .poll(() => page.evaluate('navigator.clipboard.readText()'))
      .toBe('You: Who?\n\nsotu@2: Franklin D Roosevelt');
    await page.context().close();
  });
});
