// A browser and its visitors, for the tests of the pages.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, before } from 'node:test';
import puppeteer from 'puppeteer-core';

/** `READER` is a key that may only read. */
export const { API, CHROMIUM, READER, SCREENSHOTS } = process.env;
export const KEY = 'your_api_key_here';
export const CALL = '/recordings/dispatch_1754653479_15103455686';
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
let browser;

before(async () => {
  browser = await puppeteer.launch({
    executablePath: CHROMIUM,
    args: ['--no-sandbox', '--autoplay-policy=no-user-gesture-required', '--mute-audio'],
  });
});

after(() => browser.close());

/** Calls the API as a program does. */
export async function call(method, path, body) {
  const response = await fetch(API + path, {
    method,
    headers: { 'X-API-Key': KEY, 'Content-Type': 'application/json' },
    body: body && JSON.stringify(body),
  });
  const answer = await response.json();
  assert.ok(response.ok, JSON.stringify(answer));
  return answer;
}

/** A page of a new visitor. Its test fails if the page logs an error, such as one of its own policy, unless `expected` matches it. */
export async function visit(t, expected = /$^/) {
  const context = await browser.createBrowserContext();
  const page = await context.newPage();
  const errors = [];
  page.on('console', (message) => {
    if (message.type() === 'error' && !expected.test(message.text())) errors.push(message.text());
  });
  page.on('pageerror', (error) => errors.push(String(error)));
  t.after(async () => {
    await context.close();
    assert.deepEqual(errors, []);
  });
  return page;
}

export async function isAt(page, from, to) {
  await page.waitForFunction(
    (from, to) => {
      const { currentTime, readyState } = document.querySelector('audio') ?? {};
      return readyState >= 2 && currentTime >= from && currentTime <= to;
    },
    // Not with each frame, which a page behind another has none of.
    { timeout: 20_000, polling: 50 },
    from,
    to,
  );
}

/** The page for a screen reader, a keyboard and every width. */
export async function isAccessible(page, name) {
  for (const scheme of ['light', 'dark']) {
    await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
    await page.evaluate(axe);
    const found = await page.evaluate(() => axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa', 'best-practice'] }));
    const problems = found.violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(' ')}`);
    assert.deepEqual(problems, [], `${name}, ${scheme}`);
    if (SCREENSHOTS) await page.screenshot({ path: `${SCREENSHOTS}/${name}-${scheme}.png` });
  }
  await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: 'light' }]);
  for (const width of [360, 800, 1400]) {
    await page.setViewport({ width, height: 800 });
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
    assert.equal(overflow, false, `${name} at ${width}`);
    if (SCREENSHOTS) await page.screenshot({ path: `${SCREENSHOTS}/${name}-${width}.png` });
  }
}
