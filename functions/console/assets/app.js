// The frame of the console: session, navigation, and the page that the URL names.

import { html, render, useEffect, useState } from './preact.js';
import { can, currentSession, loadSession, signIn, signOut, watchSession } from './api.js';
import { Failure, Link, useKeys } from './parts.js';
import { CallPage } from './call.js';
import { ListPage } from './list.js';
import { OperationPage } from './operation.js';
import { KeysDialog } from './dialogs.js';

/**
 * The key behind `#key=` in the link that `cargo run` prints. Nothing keeps it: not even the address bar. A deployment takes no key from a link:
 * whoever sends one could sign people in with a key of their own, and what these do would count as done with it.
 */
function keyInLink() {
  const match = /^#key=([^%]+)$/.exec(location.hash);
  if (!match || !['localhost', '127.0.0.1', '[::1]'].includes(location.hostname)) return null;
  history.replaceState(null, '', location.pathname + location.search);
  return match[1];
}

function App() {
  const [, redraw] = useState(0);
  const [started, start] = useState(false);
  const [error, fail] = useState(/** @type {Error | null} */ (null));
  const [help, showHelp] = useState(false);
  const load = async () => {
    fail(null);
    try {
      const key = keyInLink();
      if (key) await signIn(key);
      else await loadSession();
    } catch (error) {
      const failed = /** @type {import('./api.js').ApiError} */ (error);
      if (failed.status !== 401) return fail(failed);
      await loadSession().catch(fail);
    }
    start(true);
  };
  useEffect(() => {
    const again = () => redraw((/** @type {number} */ count) => count + 1);
    watchSession(again);
    addEventListener('navigate', again);
    addEventListener('popstate', again);
    load();
    return () => {
      removeEventListener('navigate', again);
      removeEventListener('popstate', again);
    };
  }, []);
  useKeys((event) => {
    if (event.key === '?') showHelp(true);
  });

  const query = new URLSearchParams(location.search);
  const page = query.get('call') ? 'call' : query.get('page') === 'operation' ? 'operation' : 'list';
  const session = currentSession();
  const current = (/** @type {string} */ name) => (page === name ? 'page' : undefined);
  return html`
    <a class="skip" href="#content">Skip to the content</a>
    <header class="top">
      <${Link} to="" class="brand">Call Recordings<//>
      <nav aria-label="Pages">
        ${can('recordings:read') && html`
          <${Link} to="" aria-current=${current('list')}>Calls<//>
          <${Link} to="?page=operation" aria-current=${current('operation')}>Operation<//>`}
      </nav>
      <div class="session">
        <button type="button" class="quiet" onClick=${() => showHelp(true)} aria-label="Keyboard shortcuts" title="Keyboard shortcuts (?)">⌨</button>
        ${session.signed_in && html`<span class="small">Key <b>${session.signed_in.key_id}</b></span>
          <button type="button" onClick=${() => signOut().catch(fail)}>Sign out</button>`}
        ${started && !session.signed_in && session.reading_is_open && html`<${Link} to="?page=sign-in">Sign in<//>`}
      </div>
    </header>
    <main id="content" tabindex="-1">
      ${error ? html`<${Failure} error=${error} retry=${load} />` : started && html`<${Content} page=${page} query=${query} />`}
    </main>
    ${help && html`<${KeysDialog} close=${() => showHelp(false)} />`}`;
}

/** @param {{ page: string, query: URLSearchParams }} props */
function Content({ page, query }) {
  const { signed_in } = currentSession();
  if (query.get('page') === 'sign-in' || (!signed_in && (page === 'operation' || !can('recordings:read')))) return html`<${SignIn} />`;
  if (!can('recordings:read')) {
    return html`<div class="notice"><h1>This key can’t read recordings</h1><p>Sign out and use a key with the scope recordings:read.</p></div>`;
  }
  switch (page) {
    case 'call': return html`<${CallPage} key=${query.get('call')} id=${query.get('call')} />`;
    case 'operation': return html`<${OperationPage} />`;
    default: return html`<${ListPage} search=${location.search} />`;
  }
}

function SignIn() {
  const [error, fail] = useState(/** @type {Error | null} */ (null));
  const [busy, wait] = useState(false);
  const submit = async (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    const form = /** @type {HTMLFormElement} */ (event.currentTarget);
    wait(true);
    fail(null);
    try {
      await signIn(String(new FormData(form).get('key')).trim());
      if (new URLSearchParams(location.search).get('page') === 'sign-in') history.replaceState(null, '', location.pathname);
      dispatchEvent(new Event('navigate'));
    } catch (error) {
      const failed = /** @type {import('./api.js').ApiError} */ (error);
      fail(failed.status === 401 ? new Error('This key is not known, or it has expired. Paste it again, or ask for a new one.') : failed);
      wait(false);
    }
  };
  return html`
    <form class="sign-in" onSubmit=${submit}>
      <h1>Sign in</h1>
      <p>Paste your API key. This browser keeps a session for 12 hours and not the key.</p>
      <label for="key">API key</label>
      <input id="key" name="key" type="password" required autofocus autocomplete="off" spellcheck="false" />
      ${error && html`<p class="error" role="alert">${error.message}</p>`}
      <button class="main" disabled=${busy}>Sign in</button>
    </form>`;
}

const root = /** @type {HTMLElement} */ (document.getElementById('app'));
root.textContent = '';
render(html`<${App} />`, root);
