// The list of the console in a real browser, and signing in.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FAILED_REQUEST, button, intercept, query, rows, says, signedIn, texts } from './console.mjs';
import { API, KEY, call, isAccessible, isAt, visit } from './visit.mjs';

test('the link signs in, nothing keeps the key, and the first view is small', async (t) => {
  const page = await visit(t);
  const client = await page.createCDPSession();
  await client.send('Network.enable');
  let [requests, bytes] = [0, 0];
  client.on('Network.loadingFinished', ({ encodedDataLength }) => {
    requests += 1;
    bytes += encodedDataLength;
  });
  await page.goto(`${API}/console#key=${KEY}`);
  await rows(page);
  await page.waitForNetworkIdle();
  assert.equal(page.url(), `${API}/console`);
  const kept = await page.evaluate(() => [document.cookie, localStorage.length, sessionStorage.length, document.documentElement.outerHTML]);
  assert.deepEqual(kept.slice(0, 3), ['', 0, 0]);
  assert.ok(!kept[3].includes(KEY));
  const [cookie] = await page.browserContext().cookies();
  assert.equal(cookie.httpOnly, true);
  assert.equal(cookie.sameSite, 'Strict');
  t.diagnostic(`first view: ${requests} requests, ${bytes} bytes`);
  assert.ok(requests <= 20, `${requests} requests`);
  assert.ok(bytes < 150_000, `${bytes} bytes`);
  await page.goBack().catch(() => {});
  assert.ok(!page.url().includes(KEY));
});

test('a deployment takes no key from a link', async (t) => {
  const page = await visit(t, FAILED_REQUEST);
  await page.goto(`${API.replace('localhost', 'deployment.localhost')}/console#key=${KEY}`);
  await page.waitForSelector('#key');
});

test('a wrong key is told, and the keyboard alone signs in, finds a call, plays it and signs out', async (t) => {
  const page = await visit(t, FAILED_REQUEST);
  await page.goto(`${API}/console`);
  await page.waitForSelector('#key');
  await isAccessible(page, 'sign-in');
  await page.focus('#key');
  await page.keyboard.type('wrong');
  await page.keyboard.press('Enter');
  await says(page, '[role=alert]', 'not known');
  await page.$eval('#key', (field) => { field.value = ''; });
  await page.keyboard.type(KEY);
  await page.keyboard.press('Enter');
  await rows(page);
  await page.keyboard.press('/');
  await page.keyboard.type('+1 510 345 5686');
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => location.search.includes('phone='));
  await rows(page);
  // The search field has gone with its page, so letters are shortcuts again.
  await page.keyboard.press('j');
  await page.keyboard.press('j');
  await page.keyboard.press('k');
  const focused = () => page.evaluate(() => document.activeElement.textContent);
  assert.match(await focused(), /Louis Smith/);
  await page.keyboard.press('Space');
  await isAt(page, 0.2, 60);
  await page.keyboard.press('Space');
  await page.waitForFunction(() => !document.querySelector('audio'));
  await page.keyboard.press('Enter');
  await page.waitForSelector('.player');
  await page.waitForFunction(() => document.querySelector('audio')?.readyState > 0);
  await page.keyboard.press('Space');
  await isAt(page, 0.2, 60);
  await page.keyboard.press('ArrowRight');
  await isAt(page, 10, 70);
  await page.keyboard.press('>');
  assert.equal(await page.$eval('audio', (audio) => audio.playbackRate), 1.25);
  await page.keyboard.press('?');
  await page.waitForSelector('dialog[open]');
  await isAccessible(page, 'keys');
  await page.keyboard.press('Escape');
  await page.waitForFunction(() => !document.querySelector('dialog'));
  // Every control is reached with the Tab key, and it shows where it is.
  const reached = new Set();
  for (let step = 0; step < 80; step += 1) {
    await page.keyboard.press('Tab');
    reached.add(await page.evaluate(() => document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent.trim()));
  }
  for (const name of ['Position', 'Pause', 'Back 10 seconds', 'Share', 'Download', 'Sign out']) assert.ok(reached.has(name), `${name} in ${[...reached]}`);
  await (await button(page, 'Sign out')).focus();
  await page.keyboard.press('Enter');
  await page.waitForSelector('#key');
});

test('Space plays the focused call, whatever stands above it', async (t) => {
  const page = await signedIn(t);
  await rows(page);
  // Calls of Twilio alone have no link and can't be focused.
  const names = await page.$$eval('.calls li', (items) => items.map((item) => [item.querySelector('b').textContent, item.querySelector('a.row') !== null]));
  assert.ok(names.findIndex(([, isLink]) => !isLink) < names.findLastIndex(([, isLink]) => isLink), 'a call without a link stands above one with a link');
  const links = names.filter(([, isLink]) => isLink).map(([name]) => name);
  for (const name of links.slice(0, 12)) {
    await page.keyboard.press('j');
    await page.keyboard.press('Space');
    await says(page, '.preview b', name);
    assert.equal(await page.evaluate(() => document.activeElement.querySelector('b').textContent), name);
    assert.equal(await page.$eval('.play[aria-label^="Stop"]', (button) => button.ariaLabel), `Stop ${name}`);
  }
});

test('filters are in the address, which can be passed on', async (t) => {
  const page = await signedIn(t);
  await rows(page);
  await isAccessible(page, 'list');
  const views = await page.$$('.views a');
  await views[2].click();
  await page.waitForFunction(() => location.search === '?has_recording=false');
  await says(page, '.row .origin', 'No recording');
  assert.equal(await page.$('a.row + button'), null);
  await page.goBack();
  await says(page, '.row .origin', 'LiveKit');
  await page.goto(`${API}/console?status=COMPLETED&has_transcript=true&order=asc`);
  await rows(page);
  for (const text of await texts(page, '.row .origin')) assert.match(text, /transcript/);
  assert.equal(await page.$eval('#status', (field) => field.value), 'COMPLETED');
  assert.equal(await page.$eval('.filters details', (more) => more.open), true);
  const day = await page.$eval('.bars a:last-child', (bar) => bar.getAttribute('href'));
  assert.match(decodeURIComponent(day), /started_after=\d{4}-\d\d-\d\dT00:00:00Z&started_before=\d{4}-\d\d-\d\dT00:00:00.000Z/);
  await says(page, 'figcaption', 'in 30 days');
  await page.goto(`${API}/console?phone=%2B49301234567`);
  await says(page, '.notice', 'No call matches');
  await isAccessible(page, 'nothing-found');
});

test('days are those of the viewer, wherever that is', async (t) => {
  const page = await signedIn(t);
  await page.emulateTimezone('Pacific/Auckland');
  await page.goto(`${API}/console?started_after=2026-11-25&started_before=2026-11-25`);
  await page.waitForSelector('#started_after');
  // A day of the API is a UTC day: 13:00 in Auckland, in summer.
  const fields = await page.$$eval('#started_after, #started_before', (fields) => fields.map((field) => field.value));
  assert.deepEqual(fields, ['2026-11-25T13:00', '2026-11-26T13:00']);
  await page.$eval('#started_after', (field) => { field.value = '2026-11-26T00:00'; });
  await (await button(page, 'Apply')).click();
  await page.waitForFunction(() => location.search.includes('11%3A00'));
  assert.equal(query(page).get('started_after'), '2026-11-25T11:00:00.000Z');
  assert.equal(query(page).get('started_before'), '2026-11-26T00:00:00.000Z');
  const today = await page.$eval('.views a:nth-child(2)', (link) => new URL(link.href).searchParams.get('started_after'));
  const midnight = await page.evaluate((today) => new Date(today).getHours() === 0 && new Date(today).toDateString() === new Date().toDateString(), today);
  assert.ok(midnight, today);
});

test('faults, a lost connection and an ended session say what to do', async (t) => {
  const page = await signedIn(t, { expected: /Failed to load resource|ERR_INTERNET_DISCONNECTED/ });
  await rows(page);
  let isDown = true;
  await intercept(page, (request, url) => {
    if (!isDown || url.pathname !== '/recordings') return undefined;
    return { status: 500, body: { detail: 'The index of calls does not answer right now.', code: 'internal_error', request_id: 'abc-123' } };
  });
  await page.goto(`${API}/console`);
  await says(page, '[role=alert]', 'does not answer');
  await says(page, '[role=alert]', 'abc-123');
  await isAccessible(page, 'fault');
  isDown = false;
  await (await button(page, 'Try again')).click();
  await rows(page);
  await page.setOfflineMode(true);
  const views = await page.$$('.views a');
  await views[4].click();
  await says(page, '[role=alert]', 'can’t be reached');
  await page.setOfflineMode(false);
  await (await button(page, 'Try again')).click();
  await page.waitForFunction(() => !document.querySelector('[role=alert]'));
  await page.browserContext().deleteCookie(...await page.browserContext().cookies());
  await views[3].click();
  await page.waitForSelector('#key');
});

test('a thousand rows load without a shift and with few nodes', async (t) => {
  const page = await signedIn(t);
  await rows(page);
  await page.evaluateOnNewDocument(() => {
    window.shifts = [];
    new PerformanceObserver((list) => {
      for (const shift of list.getEntries()) if (!shift.hadRecentInput) window.shifts.push(shift.value);
    }).observe({ type: 'layout-shift', buffered: true });
  });
  const { recordings: [row] } = await call('GET', '/recordings?status=COMPLETED&limit=1');
  await intercept(page, (request, url) => {
    if (url.pathname !== '/recordings') return undefined;
    const first = Number(url.searchParams.get('cursor') ?? 0);
    const recordings = Array.from({ length: 50 }, (_, at) => ({ ...row, dispatch_id: `dispatch_${first + at}`, customer_name: `Customer ${first + at}` }));
    return { body: { recordings, limit: 50, offset: 0, next_cursor: first + 50 < 1000 ? String(first + 50) : null } };
  });
  await page.goto(`${API}/console`);
  await rows(page);
  const before = await page.$$eval('*', (all) => all.length - document.querySelectorAll('.calls *').length);
  for (let count = 0; count < 1000;) {
    await page.evaluate(() => scrollTo(0, document.body.scrollHeight));
    await new Promise((done) => setTimeout(done, 30));
    count = await page.$$eval('a.row', (links) => links.length);
  }
  await says(page, '[role=status]', '1,000 calls');
  assert.ok(!(await texts(page, '[role=status]')).join().includes('so far'));
  // From a call back to the list, as it was left.
  await page.evaluate(() => document.querySelector('a.row[href*="dispatch_500"]').scrollIntoView({ block: 'center' }));
  await new Promise((done) => setTimeout(done, 100));
  const left = await page.evaluate(() => scrollY);
  await page.$eval('a.row[href*="dispatch_500"]', (link) => link.click());
  await page.waitForFunction(() => document.querySelector('main p a')?.textContent.includes('Back to the list'));
  assert.equal(await page.evaluate(() => scrollY), 0);
  await page.goBack();
  await rows(page);
  const [count, scroll] = await page.evaluate(() => [document.querySelectorAll('a.row').length, scrollY]);
  assert.equal(count, 1000);
  assert.ok(Math.abs(scroll - left) < 100, `${left} before, ${scroll} now`);
  const [nodes, shifts] = await page.evaluate(() => [document.querySelectorAll('*').length, window.shifts]);
  t.diagnostic(`${nodes} nodes, ${before} of them without rows; shifts: ${shifts.map((shift) => shift.toFixed(4))}`);
  assert.ok(nodes < before + 15 * 1000, `${nodes} nodes`);
  assert.ok(shifts.reduce((sum, shift) => sum + shift, 0) < 0.03, `shifts: ${shifts}`);
});
