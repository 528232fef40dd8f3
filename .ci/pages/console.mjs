// A signed-in visitor of the console, and what the tests of its pages look for.
import assert from 'node:assert/strict';
import { before } from 'node:test';
import { API, CALL, KEY, call, visit } from './visit.mjs';

export const ID = CALL.split('/')[2];
/** The browser logs each failed request as an error. */
export const FAILED_REQUEST = /Failed to load resource/;

before(async () => {
  const transcribed = await call('POST', `${CALL}/transcript`, { timestamps: 'segment' });
  assert.equal(transcribed.status, 'completed');
  // The chart shows what the reconciler has counted.
  for (let tries = 0; tries < 60; tries += 1) {
    const day = new Date().toISOString().slice(0, 10);
    const { days } = await call('GET', `/reports/daily?from=${day}&to=${day}`);
    if (days.length) return;
    await new Promise((done) => setTimeout(done, 1000));
  }
  assert.fail('no day was counted');
});

/** A visitor who followed the link that `cargo run` prints. */
export async function signedIn(t, { search = '', hash = '', expected = FAILED_REQUEST, key = KEY } = {}) {
  const page = await visit(t, expected);
  await page.setViewport({ width: 1280, height: 800 });
  await page.goto(`${API}/console#key=${key}`);
  await says(page, '.session', 'Sign out');
  if (search || hash) await page.goto(`${API}/console${search}${hash}`);
  return page;
}

export const rows = (page) => page.waitForSelector('a.row');
export const texts = (page, selector) => page.$$eval(selector, (found) => found.map((element) => element.textContent.trim()));
export const button = (page, name) => page.waitForSelector(`::-p-aria([name="${name}"][role="button"])`);
export const query = (page) => new URL(page.url()).searchParams;

/** Waits for the text of an element that appears or changes. */
export const says = (page, selector, text) => page.waitForFunction(
  (selector, text) => [...document.querySelectorAll(selector)].some((element) => element.textContent.includes(text)),
  { timeout: 20_000, polling: 50 },
  selector,
  text,
);

/** Changes answers of the API: `answer(request)` returns a response, another URL, or nothing. */
export async function intercept(page, answer) {
  await page.setRequestInterception(true);
  page.on('request', (request) => {
    const changed = answer(request, new URL(request.url()));
    if (typeof changed === 'string') request.continue({ url: changed });
    else if (changed) request.respond({ status: 200, contentType: 'application/json', ...changed, body: JSON.stringify(changed.body) });
    else request.continue();
  });
}
