// Dialogs: transcribe, share, and the keyboard's shortcuts.

import { html, useState } from './preact.js';
import { get, request } from './api.js';
import { clock, counted, money, seconds } from './format.js';
import { Copy, Dialog, Failure, Time, useLoaded } from './parts.js';

/**
 * Shows the price before anything is paid.
 * @param {{ path: string, close: () => void, started: () => void }} props
 */
export function TranscribeDialog({ path, close, started }) {
  const { value: estimate, error } = useLoaded((signal) => request('POST', `${path}/transcript`, { body: { dry_run: true }, signal }), path);
  const [failed, fail] = useState(/** @type {Error | null} */ (null));
  const [busy, wait] = useState(false);
  const start = async () => {
    wait(true);
    fail(null);
    try {
      await request('POST', `${path}/transcript`, { body: {}, headers: { Prefer: 'respond-async' } });
      started();
    } catch (error) {
      fail(/** @type {Error} */ (error));
      wait(false);
    }
  };
  const [cost, left] = [estimate?.cost_usd, estimate?.budget_left_usd];
  const isTooMuch = left != null && cost != null && cost > left;
  return html`
    <${Dialog} title="Transcribe this call" close=${close}>
      ${error && html`<${Failure} error=${error} />`}
      ${!estimate && !error && html`<p>Asking for the price…</p>`}
      ${estimate && html`
        <p>${cost == null ? 'The price is known when the recording is read.' : html`At most <b>${money(cost)}</b> with ${estimate.model}. Silence is not paid for.`}</p>
        <p class="small">${left == null ? 'There is no monthly limit.' : `${money(left)} of this month’s budget are left.`}</p>
        ${isTooMuch && html`<p class="error">This may cost more than what is left.</p>`}`}
      ${failed && html`<${Failure} error=${failed} />`}
      <footer>
        <button type="button" onClick=${close}>Cancel</button>
        <button type="button" class="main" disabled=${busy || !estimate} onClick=${start}>Transcribe</button>
      </footer>
    <//>`;
}

const LIVES = [[3600, 'An hour'], [86_400, 'A day'], [604_800, 'A week'], [2_592_000, '30 days']];

/** @param {{ path: string, position: number, close: () => void }} props */
export function ShareDialog({ path, position, close }) {
  const { value: list, error, reload } = useLoaded((signal) => get(`${path}/shares`, {}, signal), path);
  const [created, show] = useState(/** @type {{ url: string } | null} */ (null));
  const [failed, fail] = useState(/** @type {Error | null} */ (null));
  const [busy, wait] = useState(false);
  const attempt = async (/** @type {() => Promise<void>} */ work) => {
    wait(true);
    fail(null);
    try {
      await work();
      reload();
    } catch (error) {
      fail(/** @type {Error} */ (error));
    }
    wait(false);
  };
  const create = (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    const form = new FormData(/** @type {HTMLFormElement} */ (event.currentTarget));
    const text = (/** @type {string} */ name) => String(form.get(name) ?? '').trim();
    /** @type {Record<string, unknown>} */
    const body = { expires_in: Number(form.get('expires_in')), with_transcript: form.has('with_transcript') };
    for (const name of ['from', 'to']) {
      if (!text(name)) continue;
      body[name] = seconds(text(name));
      if (body[name] === null) return fail(new Error(`“${text(name)}” is no time; write 1:33 or 93.`));
    }
    for (const name of ['passcode', 'note']) if (text(name)) body[name] = text(name);
    return attempt(async () => show(await request('POST', `${path}/shares`, { body })));
  };
  /** @type {any[]} */
  const shares = list?.shares ?? [];
  return html`
    <${Dialog} title="Share this call" close=${close}>
      ${created
        ? html`
          <p>Whoever has this link can play the recording without a key. It is shown only now.</p>
          <p class="link"><input readonly value=${created.url} aria-label="Link" onFocus=${(/** @type {FocusEvent} */ event) => /** @type {HTMLInputElement} */ (event.currentTarget).select()} /><${Copy} text=${() => created.url} label="Copy" /></p>`
        : html`
          <form onSubmit=${create}>
            <label for="expires_in">Ends after</label>
            <select id="expires_in" name="expires_in">${LIVES.map(([life, name]) => html`<option value=${life} selected=${life === 604_800}>${name}</option>`)}</select>
            <label class="check"><input type="checkbox" name="with_transcript" /> With the transcript</label>
            <div class="fields">
              <div><label for="from">From</label><input id="from" name="from" placeholder=${clock(position)} /></div>
              <div><label for="to">To</label><input id="to" name="to" placeholder="the end" /></div>
            </div>
            <label for="passcode">Passcode (optional)</label><input id="passcode" name="passcode" autocomplete="off" minlength="4" maxlength="64" />
            <label for="note">Note for your colleagues (optional)</label><input id="note" name="note" maxlength="500" />
            <footer><button type="button" onClick=${close}>Cancel</button><button class="main" disabled=${busy}>Create link</button></footer>
          </form>`}
      ${failed && html`<${Failure} error=${failed} />`}
      ${error && html`<${Failure} error=${error} retry=${reload} />`}
      ${shares.length > 0 && html`
        <h3>Links so far</h3>
        <ul class="shares">
          ${shares.map((share) => html`
            <li>
              <span>${share.status === 'active' ? html`Until <${Time} iso=${share.expires_at} />` : share.status}</span>
              <span class="small">${counted(share.opened_count, 'opening')}${share.has_passcode ? ', with a passcode' : ''}${share.note ? ` · ${share.note}` : ''}</span>
              ${share.status === 'active' && html`<button type="button" disabled=${busy} onClick=${() => attempt(() => request('DELETE', `${path}/shares/${share.id}`))}>Revoke</button>`}
            </li>`)}
        </ul>`}
    <//>`;
}

const SHORTCUTS = [
  ['j, k', 'next and previous call of the list'],
  ['Enter', 'open the call'],
  ['Space', 'play or pause: the chosen call of the list, or the open call'],
  ['←, →', '10 seconds back and forward'],
  ['<, >', 'slower and faster'],
  ['/', 'search in the list or the transcript'],
  ['?', 'this help'],
];

/** @param {{ close: () => void }} props */
export const KeysDialog = ({ close }) => html`
  <${Dialog} title="Keyboard shortcuts" close=${close}>
    <dl class="keys">${SHORTCUTS.map(([key, meaning]) => html`<dt><kbd>${key}</kbd></dt><dd>${meaning}</dd>`)}</dl>
  <//>`;
