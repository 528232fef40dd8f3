// The operation page of the console in a real browser, and a key that may only read.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ID, intercept, says, signedIn, texts } from './console.mjs';
import { API, CALL, READER, isAccessible } from './visit.mjs';

test('a read-only key is offered nothing that it may not do', async (t) => {
  const page = await signedIn(t, { search: `?call=${ID}`, key: READER });
  await page.waitForSelector('.sentences li');
  const names = await texts(page, 'button');
  assert.ok(!names.includes('Share') && !names.includes('Transcribe'), names.join());
  const refused = await page.evaluate(async (path) => {
    const answer = await fetch(path, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{"expires_in": 60}' });
    return [answer.status, (await answer.json()).code];
  }, `${CALL}/shares`);
  assert.deepEqual(refused, [403, 'forbidden']);
  await page.goto(`${API}/console?page=operation`);
  await says(page, 'h2', 'Completeness');
  assert.equal(await page.$('#usage'), null);
});

test('the operation page says what is missing and what it costs', async (t) => {
  const page = await signedIn(t, { search: '?page=operation' });
  await says(page, 'h3', 'Calls without a recording');
  await says(page, 'td', 'Nothing is known of a recording');
  await says(page, '.tile', 'Spent');
  await says(page, '.tile', '0 to do');
  await isAccessible(page, 'operation');
  await intercept(page, (request, url) => {
    if (url.pathname !== '/reports/queues') return undefined;
    return { body: { queues: [{ name: 'object_events', waiting: 0, delayed: 0, in_progress: 0, dead_letters: 3 }] } };
  });
  await page.reload();
  await says(page, '[role=alert]', 'Events of the bucket (3)');
});
