// The console in a real browser.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { before, test } from 'node:test';
import { API, AWS, CALL, KEY, LOCAL, SCREENSHOTS, call, isAccessible, isAt, visit } from './visit.mjs';

const ID = CALL.split('/')[2];
/** The browser logs each failed request as an error. */
const FAILED_REQUEST = /Failed to load resource/;

/** A key that may only read. */
let reader;

before(async () => {
  // Before a wrong key is tried: after one, the secret is not read again for 30 seconds.
  const env = { ...process.env, AWS_ACCESS_KEY_ID: 'local', AWS_SECRET_ACCESS_KEY: 'local-secret', AWS_REGION: 'us-east-1' };
  const minting = ['mint-key', 'reader', '--scope', 'recordings:read', '--endpoint-url', AWS];
  reader = execFileSync(LOCAL, minting, { env }).toString().trim();
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
async function signedIn(t, { search = '', hash = '', expected = FAILED_REQUEST, key = KEY } = {}) {
  const page = await visit(t, expected);
  await page.setViewport({ width: 1280, height: 800 });
  await page.goto(`${API}/console#key=${key}`);
  await says(page, '.session', 'Sign out');
  if (search || hash) await page.goto(`${API}/console${search}${hash}`);
  return page;
}

const rows = (page) => page.waitForSelector('a.row');
const texts = (page, selector) => page.$$eval(selector, (found) => found.map((element) => element.textContent.trim()));
const button = (page, name) => page.waitForSelector(`::-p-aria([name="${name}"][role="button"])`);
const query = (page) => new URL(page.url()).searchParams;

/** Waits for the text of an element that appears or changes. */
const says = (page, selector, text) => page.waitForFunction(
  (selector, text) => [...document.querySelectorAll(selector)].some((element) => element.textContent.includes(text)),
  { timeout: 20_000, polling: 50 },
  selector,
  text,
);

/** Changes answers of the API: `answer(request)` returns a response, another URL, or nothing. */
async function intercept(page, answer) {
  await page.setRequestInterception(true);
  page.on('request', (request) => {
    const changed = answer(request, new URL(request.url()));
    if (typeof changed === 'string') request.continue({ url: changed });
    else if (changed) request.respond({ status: 200, contentType: 'application/json', ...changed, body: JSON.stringify(changed.body) });
    else request.continue();
  });
}

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

test('a call plays, its transcript follows, and a click on a sentence or a word lands there', async (t) => {
  const page = await signedIn(t, { search: `?call=${ID}`, hash: '#t=93' });
  await isAt(page, 93, 93.1);
  await page.waitForSelector('.sentences li');
  const sentences = await page.$$('.sentences button');
  assert.ok(sentences.length >= 5, `${sentences.length} sentences`);
  const start = await sentences[4].evaluate((button) => Number(button.dataset.time));
  await sentences[4].click();
  await isAt(page, start, start + 5);
  assert.equal(await page.$eval('audio', (audio) => audio.paused), false);
  assert.equal(new URL(page.url()).hash, `#t=${Math.floor(start)}`);
  // The click has not left the keyboard on the sentence: Space pauses.
  await page.keyboard.press('Space');
  assert.equal(await page.$eval('audio', (audio) => audio.paused), true);
  await page.keyboard.press('Space');
  await page.waitForFunction(() => document.querySelector('.sentences li:nth-child(5)').getAttribute('aria-current') === 'true');
  await page.waitForSelector('mark.word');
  await page.waitForFunction(() => document.querySelector('.sentences li:nth-child(6)').getAttribute('aria-current') === 'true');

  // The last word of the third sentence.
  const third = await page.$('.sentences li:nth-child(3)');
  const [from, place] = await third.evaluate((item) => {
    item.scrollIntoView();
    const range = document.createRange();
    const text = item.querySelector('p').lastChild;
    range.setStart(text, text.length - 4);
    range.setEnd(text, text.length - 1);
    const { x, y, width, height } = range.getBoundingClientRect();
    return [Number(item.querySelector('button').dataset.time), { x: x + width / 2, y: y + height / 2 }];
  });
  await page.mouse.click(place.x, place.y);
  await isAt(page, from + 2, from + 8);
  // Beside the text is the sentence, not its last word.
  const beside = await third.evaluate((item) => {
    const { right, top, height } = item.querySelector('p').getBoundingClientRect();
    return { x: right - 5, y: top + height / 2 };
  });
  await page.$eval('audio', (audio) => audio.pause());
  await page.mouse.click(beside.x, beside.y);
  await isAt(page, from, from + 1.5);
  // The word that begins where the sentence does is the one that is marked.
  await page.$eval('audio', (audio) => audio.pause());
  await third.evaluate((item) => item.querySelector('button').click());
  await page.$eval('audio', (audio) => audio.pause());
  await says(page, '.sentences li[aria-current] mark.word', 'I');

  await page.keyboard.press('/');
  await page.keyboard.type('friday');
  await says(page, '[role=status]', '1 of 2');
  assert.deepEqual((await texts(page, 'mark.found')).map((text) => text.toLowerCase()), ['friday', 'friday']);
  await page.keyboard.press('Enter');
  await says(page, '[role=status]', '2 of 2');

  await page.browserContext().overridePermissions(API, ['clipboard-read', 'clipboard-write', 'clipboard-sanitized-write']);
  await page.$eval('audio', (audio) => { audio.pause(); audio.currentTime = 20.5; });
  await (await button(page, 'Copy link at 0:20')).click();
  const link = await page.evaluate(() => navigator.clipboard.readText());
  assert.equal(link, `${API}/console?call=${ID}#t=20`);
  await isAccessible(page, 'call');
});

test('two speakers are told apart, the waveform is drawn, and everything can be downloaded', async (t) => {
  const { recordings } = await call('GET', '/recordings?phone=%2B12125550117');
  const stereo = recordings[0].dispatch_id;
  await call('POST', `/recordings/${stereo}/transcript`, {});
  const page = await signedIn(t, { search: `?call=${stereo}` });
  await page.waitForSelector('.sentences li');
  assert.deepEqual([...new Set(await texts(page, '.sentences b'))], ['agent', 'customer']);
  const inked = await page.$eval('.waveform canvas', (canvas) => {
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    return data.filter((value, at) => at % 4 === 3 && value > 0).length / (canvas.width * canvas.height);
  });
  assert.ok(inked > 0.05 && inked < 0.9, `${inked} of the waveform is drawn`);
  await (await page.waitForSelector('.menu summary')).click();
  const links = await page.$$eval('.menu a', (links) => links.map((link) => link.href));
  assert.equal(links.length, 5);
  for (const link of links) {
    const [status, size] = await page.evaluate(async (link) => {
      const answer = await fetch(link, { redirect: link.includes('/audio') ? 'manual' : 'follow' });
      return [answer.type === 'opaqueredirect' ? 302 : answer.status, (await answer.text()).length];
    }, link);
    assert.ok(status === 302 || (status === 200 && size > 20), `${link}: ${status}`);
  }
  await page.keyboard.press('Escape');
  await page.$eval('.menu', (menu) => { menu.open = false; });
  await isAccessible(page, 'speakers');
  if (SCREENSHOTS) {
    await page.setViewport({ width: 1200, height: 760 });
    await page.$eval('audio', (audio) => { audio.currentTime = 2.6; });
    await page.waitForSelector('mark.word');
    await page.screenshot({ path: `${SCREENSHOTS}/console.png` });
  }
});

test('text that was dropped, or of which the model was unsure, is shown on demand', async (t) => {
  const page = await signedIn(t);
  await rows(page);
  const stored = await call('GET', `${CALL}/transcript?timestamps=word&include=dropped`);
  stored.segments[1].unsure = true;
  stored.dropped = [{ start: 4, end: 5, text: 'Thanks for watching!', reason: 'silence' }];
  await intercept(page, (request, url) => (url.pathname === `${CALL}/transcript` ? { body: stored } : undefined));
  await page.goto(`${API}/console?call=${ID}`);
  await page.waitForSelector('.sentences li');
  assert.ok(!(await texts(page, '.sentences')).join().includes('Thanks for watching'));
  for (const box of await page.$$('.tools input[type=checkbox]:not(:checked)')) await box.click();
  await says(page, '.sentences .dropped', 'Thanks for watching!');
  await says(page, '.sentences .dropped', 'Dropped: Silence');
  await says(page, '.sentences .unsure', 'The model was unsure');
  const order = await texts(page, '.sentences button');
  assert.deepEqual(order.slice(0, 3), ['0:00', '0:04', '0:05']);
  await isAccessible(page, 'dropped');
});

test('a call is transcribed after its price is shown, with progress', async (t) => {
  const { recordings } = await call('GET', '/recordings?has_transcript=false&order=asc&limit=20');
  const { dispatch_id: id } = recordings.find(({ source, duration }) => source === 'livekit' && duration);
  const page = await signedIn(t, { search: `?call=${id}` });
  await says(page, '.transcript', 'no transcript yet');
  const states = [{ parts_done: 0, parts_total: 0 }, { parts_done: 1, parts_total: 3 }];
  let posted = 0;
  await intercept(page, (request, url) => {
    if (!url.pathname.endsWith('/transcript')) return undefined;
    if (request.method() === 'POST') posted += request.postData().includes('dry_run') ? 0 : 1;
    if (request.method() !== 'GET' || !posted || !states.length) return undefined;
    const progress = { ...states.shift(), seconds_done: 0, seconds_total: null };
    return { body: { dispatch_id: id, status: 'processing', status_url: url.pathname, progress } };
  });
  await (await button(page, 'Transcribe')).click();
  await says(page, 'dialog', 'At most $');
  await says(page, 'dialog', 'no monthly limit');
  await isAccessible(page, 'transcribe');
  const confirm = await page.waitForSelector('dialog button.main:not(:disabled)');
  await confirm.click();
  await says(page, '.transcript', '1 of 3 parts');
  await page.waitForSelector('.sentences li');
  assert.equal(posted, 1);
  const stored = await call('GET', `/recordings/${id}/transcript`);
  assert.equal(stored.status, 'completed');
});

test('a call is shared with a visitor without a key, until it is revoked', async (t) => {
  const page = await signedIn(t, { search: `?call=${ID}` });
  await (await button(page, 'Share')).click();
  await page.waitForSelector('dialog form');
  await isAccessible(page, 'share-dialog');
  await page.type('#from', 'soon');
  await (await button(page, 'Create link')).click();
  await says(page, 'dialog [role=alert]', 'is no time');
  await page.$eval('#from', (field) => { field.value = ''; });
  await page.type('#from', '0:05');
  await page.type('#note', 'For the console’s test');
  await (await button(page, 'Create link')).click();
  const link = await (await page.waitForSelector('dialog .link input')).evaluate((field) => field.value);
  const stranger = await visit(t, /status of 404/);
  await stranger.goto(link);
  await isAt(stranger, 5, 5.1);
  await says(page, '.shares', 'For the console’s test');
  const own = (await page.$$('.shares li')).at(0);
  assert.match(await own.evaluate((item) => item.textContent), /For the console’s test/);
  await (await own.$('button')).click();
  await says(page, '.shares', 'revoked');
  assert.equal((await stranger.goto(link)).status(), 404);
});

test('playback goes on without a hitch when its URL is renewed', async (t) => {
  const page = await visit(t, FAILED_REQUEST);
  await page.goto(`${API}/console#key=${KEY}`);
  await rows(page);
  let given = 0;
  await intercept(page, (request, url) => {
    if (url.pathname !== CALL) return undefined;
    given += 1;
    url.searchParams.set('expires_in', '5');
    return url.href;
  });
  await page.goto(`${API}/console?call=${ID}`);
  await page.waitForFunction(() => document.querySelector('audio')?.readyState > 0);
  const first = await page.$eval('audio', (audio) => audio.src);
  const samples = await page.evaluate(async () => {
    document.querySelector('.round').click();
    const samples = [];
    const began = performance.now();
    while (performance.now() - began < 9000) {
      // The one that is heard: while a URL is renewed there are two.
      const audible = [...document.querySelectorAll('audio')].filter((audio) => !audio.paused);
      samples.push([performance.now() - began, Math.max(...audible.map((audio) => audio.currentTime))]);
      await new Promise((done) => setTimeout(done, 50));
    }
    return samples;
  });
  assert.ok(given >= 2, `${given} URLs`);
  assert.notEqual(await page.$eval('audio', (audio) => audio.src), first);
  const playing = samples.filter(([, at]) => at > 0.3);
  const silent = samples.slice(samples.indexOf(playing[0])).filter(([, at]) => !Number.isFinite(at));
  assert.equal(silent.length, 0, 'something always plays');
  const drifts = playing.map(([time, at]) => at - time / 1000);
  const drift = Math.max(...drifts) - Math.min(...drifts);
  t.diagnostic(`${given} URLs, ${(drift * 1000).toFixed(0)} ms of drift in 9 s`);
  assert.ok(drift < 0.5, `${drift} s are lost or repeated`);
});

test('a recording that was paused beyond the life of its URL plays on', async (t) => {
  const page = await signedIn(t);
  await rows(page);
  await intercept(page, (request, url) => {
    if (url.pathname !== CALL) return undefined;
    url.searchParams.set('expires_in', '1');
    return url.href;
  });
  await page.goto(`${API}/console?call=${ID}#t=100`);
  await isAt(page, 100, 100.1);
  const first = await page.$eval('audio', (audio) => audio.src);
  await new Promise((done) => setTimeout(done, 2500));
  assert.equal((await fetch(first)).status, 403);
  assert.equal(await page.$eval('audio', (audio) => audio.src), first, 'a paused page asks for nothing');
  await page.keyboard.press('Space');
  await isAt(page, 100.3, 110);
  assert.equal(await page.$('[role=alert]'), null);
});

test('a read-only key is offered nothing that it may not do', async (t) => {
  const page = await signedIn(t, { search: `?call=${ID}`, key: reader });
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
    return { body: { queues: [{ name: 'object_events', waiting: 0, in_progress: 0, dead_letters: 3 }] } };
  });
  await page.reload();
  await says(page, '[role=alert]', 'Events of the bucket (3)');
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
