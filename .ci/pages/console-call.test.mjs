// A call in the console, in a real browser.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FAILED_REQUEST, ID, button, intercept, rows, says, signedIn, texts } from './console.mjs';
import { API, CALL, KEY, SCREENSHOTS, call, isAccessible, isAt, visit } from './visit.mjs';

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
    // A URL is dated in whole seconds: of a life of one second, as little as nothing is left.
    url.searchParams.set('expires_in', '5');
    return url.href;
  });
  await page.goto(`${API}/console?call=${ID}#t=100`);
  await isAt(page, 100, 100.1);
  const first = await page.$eval('audio', (audio) => audio.src);
  const readStatus = async () => {
    const response = await fetch(first);
    await response.body.cancel();
    return response.status;
  };
  while (await readStatus() === 200) await new Promise((done) => setTimeout(done, 500));
  assert.equal(await readStatus(), 403);
  assert.equal(await page.$eval('audio', (audio) => audio.src), first, 'a paused page asks for nothing');
  await page.keyboard.press('Space');
  await isAt(page, 100.3, 110);
  assert.equal(await page.$('[role=alert]'), null);
});
