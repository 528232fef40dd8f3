// The page of a share, and players behind redirects, in a real browser.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { API, CALL, KEY, call, isAccessible, isAt, visit } from './visit.mjs';

before(async () => {
  const transcribed = await call('POST', `${CALL}/transcript`, { timestamps: 'segment' });
  assert.equal(transcribed.status, 'completed');
});

async function share(options) {
  const created = await call('POST', `${CALL}/shares`, { expires_in: 3600, ...options });
  return { id: created.id, path: `/s/${created.token}` };
}

const currentTime = (page) => page.$eval('audio', (audio) => audio.currentTime);

test('an audio element plays and seeks through the redirect of the stable URL', async (t) => {
  const page = await visit(t);
  const seen = [];
  page.on('response', (response) => seen.push([response.status(), new URL(response.url()).pathname]));
  await page.setContent(`<audio controls src="${API}${CALL}/audio?api_key=${KEY}"></audio>`);
  await page.$eval('audio', (audio) => audio.play());
  await isAt(page, 0.3, 60);
  await page.$eval('audio', (audio) => { audio.currentTime = 120; });
  await isAt(page, 120.2, 180);
  assert.ok(seen.some(([status, path]) => status === 302 && path === `${CALL}/audio`), JSON.stringify(seen));
  assert.ok(seen.some(([status, path]) => status === 206 && path.endsWith('.mp4')), JSON.stringify(seen));
});

test('a share plays, and a click on a sentence lands there', async (t) => {
  const { id, path } = await share({ with_transcript: true });
  const page = await visit(t);
  await page.goto(API + path);
  const sentences = await page.$$('li button');
  assert.ok(sentences.length >= 5, `${sentences.length} sentences`);
  const start = await sentences[4].evaluate((button) => Number(button.dataset.time));
  await sentences[4].click();
  await isAt(page, start, start + 5);
  assert.equal(new URL(page.url()).hash, `#t=${Math.floor(start)}`);
  assert.equal(await page.$eval('audio', (audio) => audio.paused), false);
  await isAccessible(page, 'share');
  const opened = await call('GET', `${CALL}/shares/${id}`);
  assert.equal(opened.opened_count, 1);
  assert.match(opened.openings[0].user_agent, /Chrome/);
});

test('a link opens at its moment, and a stretch begins and ends where it says', async (t) => {
  const whole = await share({});
  const page = await visit(t);
  await page.goto(`${API}${whole.path}#t=93`);
  await isAt(page, 93, 93.1);
  await page.evaluate(() => { location.hash = '#t=20'; });
  await isAt(page, 20, 20.1);

  const stretch = await share({ from: 4, to: 6, with_transcript: true });
  await page.goto(API + stretch.path);
  await isAt(page, 4, 4.1);
  await page.$eval('audio', (audio) => audio.play());
  await page.waitForFunction(() => document.querySelector('audio').paused, { timeout: 20_000 });
  assert.ok(await currentTime(page) < 6.6);
  for (const [asked, given] of [[100, 6], [1, 4]]) {
    await page.$eval('audio', (audio, asked) => { audio.currentTime = asked; }, asked);
    await isAt(page, given - 0.1, given + 0.1);
  }
});

test('the player goes on where it was when its URL has expired', async (t) => {
  const { path } = await share({});
  const page = await visit(t, /status of 403/);
  let expired = 0;
  await page.setRequestInterception(true);
  page.on('request', (request) => {
    const isMedia = new URL(request.url()).pathname.endsWith('.mp4');
    if (isMedia && expired < 2) {
      expired += 1;
      request.respond({ status: 403, contentType: 'application/xml', body: '<Error><Code>AccessDenied</Code></Error>' });
    } else request.continue();
  });
  await page.goto(`${API}${path}#t=50`);
  await isAt(page, 50, 50.1);
  assert.equal(expired, 2);
  assert.equal(await page.$eval('#failed', (message) => message.hidden), true);
  await page.$eval('audio', (audio) => audio.play());
  await isAt(page, 50.3, 60);
});

test('a player whose share has ended says so', async (t) => {
  const { id, path } = await share({});
  const page = await visit(t, /status of 404/);
  await page.setRequestInterception(true);
  let revoked = false;
  page.on('request', async (request) => {
    if (request.url().endsWith('/audio') && !revoked) {
      revoked = true;
      await call('DELETE', `${CALL}/shares/${id}`);
    }
    request.continue();
  });
  await page.goto(API + path);
  await page.waitForFunction(() => !document.getElementById('failed').hidden, { timeout: 20_000 });
  const gone = await page.goto(API + path);
  assert.equal(gone.status(), 404);
  await isAccessible(page, 'ended');
});

test('a passcode is asked for with the keyboard alone', async (t) => {
  const { path } = await share({ passcode: 'correct horse' });
  const page = await visit(t, /status of 403/);
  await page.goto(API + path);
  await isAccessible(page, 'passcode');
  await page.keyboard.type('wrong horse');
  await Promise.all([page.waitForNavigation(), page.keyboard.press('Enter')]);
  assert.match(await page.$eval('[role=alert]', (alert) => alert.textContent), /not right/);
  await page.keyboard.type('correct horse');
  await Promise.all([page.waitForNavigation(), page.keyboard.press('Enter')]);
  await page.$eval('audio', (audio) => audio.play());
  await isAt(page, 0.3, 60);
});
