// Parts that several pages use.

import { html, useEffect, useLayoutEffect, useRef, useState } from './preact.js';
import { inUtc, moment, words } from './format.js';

/** Opens another page of the console. @param {string} search @param {{ replace?: boolean }} [options] */
export function navigate(search, { replace = false } = {}) {
  history[replace ? 'replaceState' : 'pushState'](null, '', search || location.pathname);
  dispatchEvent(new Event('navigate'));
}

/**
 * A link within the console.
 * @param {{ to: string, children?: any, [attribute: string]: any }} props
 */
export function Link({ to, children, ...attributes }) {
  const go = (/** @type {MouseEvent} */ event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    navigate(to);
  };
  return html`<a href=${to || location.pathname} onClick=${go} ...${attributes}>${children}</a>`;
}

/** @param {{ iso: string | null | undefined }} props */
export function Time({ iso }) {
  return iso ? html`<time dateTime=${iso} title=${inUtc(iso)}>${moment(iso)}</time>` : html`<span>–</span>`;
}

/** @param {string | null} status */
function tone(status) {
  if (/FAIL|ERROR|BUSY/i.test(status ?? '')) return 'bad';
  if (/PROGRESS|RINGING|QUEUED/i.test(status ?? '')) return 'busy';
  return /COMPLETED/i.test(status ?? '') ? 'good' : 'plain';
}

/** @param {{ status: string | null }} props */
export const Status = ({ status }) => html`<span class="pill ${tone(status)}">${status ? words(status) : 'No status'}</span>`;

/**
 * What went wrong, and what to do.
 * @param {{ error: Error & { requestId?: string }, retry?: () => void }} props
 */
export const Failure = ({ error, retry }) => html`
  <div class="notice bad" role="alert">
    <p>${error.message}</p>
    ${error.requestId && html`<p class="small">Request <code>${error.requestId}</code></p>`}
    ${retry && html`<button type="button" onClick=${retry}>Try again</button>`}
  </div>`;

/** @param {{ text: string, children?: any }} props */
export const Empty = ({ text, children }) => html`<div class="notice"><p>${text}</p>${children}</div>`;

/**
 * A dialog, which Escape and its button close.
 * @param {{ title: string, close: () => void, children?: any }} props
 */
export function Dialog({ title, close, children }) {
  const dialog = useRef(/** @type {HTMLDialogElement | null} */ (null));
  useLayoutEffect(() => {
    const element = dialog.current;
    element?.showModal();
    return () => element?.close();
  }, []);
  return html`
    <dialog ref=${dialog} onCancel=${(/** @type {Event} */ event) => { event.preventDefault(); close(); }} aria-labelledby="dialog-title">
      <header><h2 id="dialog-title">${title}</h2><button type="button" class="quiet" onClick=${close} aria-label="Close">✕</button></header>
      ${children}
    </dialog>`;
}

/**
 * A button that copies a text.
 * @param {{ text: () => string, label: string }} props
 */
export function Copy({ text, label }) {
  const [said, say] = useState('');
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text());
      say('Copied');
    } catch {
      // Without the permission, or without TLS, the text is shown to be copied by hand.
      prompt('Copy this:', text());
    }
    setTimeout(() => say(''), 2000);
  };
  return html`<button type="button" onClick=${copy}><span aria-live="polite">${said || label}</span></button>`;
}

/**
 * Calls `handle` with keys that are pressed outside of fields and dialogs, without modifiers.
 * @param {(event: KeyboardEvent) => void} handle
 */
export function useKeys(handle) {
  const latest = useRef(handle);
  latest.current = handle;
  useEffect(() => {
    const pressed = (/** @type {KeyboardEvent} */ event) => {
      const target = /** @type {Element} */ (event.target);
      const isTyping = target.closest('input, select, textarea, [contenteditable]') || document.querySelector('dialog[open]');
      if (!isTyping && !event.ctrlKey && !event.metaKey && !event.altKey) latest.current(event);
    };
    addEventListener('keydown', pressed);
    return () => removeEventListener('keydown', pressed);
  }, []);
}

/**
 * Loads something when `key` changes; what an older key loads is forgotten.
 * @template T
 * @param {(signal: AbortSignal) => Promise<T>} load
 * @param {string} key
 * @returns {{ value: T | null, error: Error | null, reload: () => void }}
 */
export function useLoaded(load, key) {
  const [round, next] = useState(0);
  const [state, set] = useState(/** @type {{ value: T | null, error: Error | null }} */ ({ value: null, error: null }));
  useEffect(() => {
    const stop = new AbortController();
    set({ value: null, error: null });
    load(stop.signal).then(
      (value) => !stop.signal.aborted && set({ value, error: null }),
      (error) => !stop.signal.aborted && set({ value: null, error }),
    );
    return () => stop.abort();
  }, [key, round]);
  return { ...state, reload: () => next((/** @type {number} */ round) => round + 1) };
}
