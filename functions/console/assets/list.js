// The list of calls.

import { html, useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from './preact.js';
import { can, currentSession, get } from './api.js';
import { clock, counted, daysAgo, number, shortDay, words } from './format.js';
import { Empty, Failure, Link, Status, Time, navigate, useKeys, useLoaded } from './parts.js';
import { Player } from './player.js';

/** @typedef {import('./api.js').Schemas['ListedCall']} Call */

const PAGE = '50';
/** So many pages without a row are loaded before the viewer is asked, because a filter may match nothing for months. */
const PATIENCE = 5;
/** Filters that are times: in the viewer's zone in the form, as moments in the address. */
const TIMES = ['started_after', 'started_before'];
const FILTERS = ['phone', 'status', 'outcome', 'interaction_id', 'started_after', 'started_before', 'min_duration', 'has_transcript', 'has_recording', 'order'];

/**
 * The list that was left last, so that whoever comes back from a call finds it as it was.
 * @type {{ search: string, rows: Call[], cursor: string | null, scroll: number, at: number } | null}
 */
let kept = null;
const KEPT = 300_000;

/** The query string of the list that was left last. */
export const listBefore = () => kept?.search ?? '';

/** The filters of the API in a query string. @param {string} search */
function filtersIn(search) {
  const query = new URLSearchParams(search);
  /** @type {Record<string, string>} */
  const filters = {};
  for (const name of FILTERS) {
    const value = query.get(name);
    if (value) filters[name] = value;
  }
  return filters;
}

/** @param {Record<string, string>} filters */
function searchOf(filters) {
  const query = new URLSearchParams(filters).toString();
  return query && `?${query}`;
}

/** The beginning of the next UTC day. @param {string} day */
const dayAfter = (day) => new Date(Date.parse(`${day}T00:00:00Z`) + 86_400_000).toISOString();

/**
 * A time of the address for a field in the viewer's zone. A day of the address is a whole UTC day; `days` moves to its end.
 * @param {string | undefined} text @param {number} [days]
 */
function localTime(text, days = 0) {
  if (!text) return '';
  const isDay = /^\d{4}-\d\d-\d\d$/.test(text);
  const moment = Date.parse(isDay ? `${text}T00:00:00Z` : text) + (isDay ? days * 86_400_000 : 0);
  if (Number.isNaN(moment)) return '';
  return new Date(moment - new Date(moment).getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

function quickViews() {
  const midnight = new Date();
  midnight.setHours(0, 0, 0, 0);
  /** @type {[string, Record<string, string>][]} */
  const views = [
    ['All', {}],
    ['Today', { started_after: midnight.toISOString() }],
    ['Without a recording', { has_recording: 'false' }],
    ['Failed', { status: 'FAILED', has_recording: 'false' }],
    ['Not transcribed', { has_transcript: 'false' }],
  ];
  return views;
}

/** @param {{ search: string }} props */
export function ListPage({ search }) {
  const filters = useMemo(() => filtersIn(search), [search]);
  const key = searchOf(filters);
  return html`
    <h1 class="hidden">Calls</h1>
    ${currentSession().signed_in && html`<${Days} />`}
    <nav class="views" aria-label="Quick views">
      ${quickViews().map(([name, view]) => html`<${Link} to=${searchOf(view)} aria-current=${searchOf(view) === key ? 'true' : undefined}>${name}<//>`)}
    </nav>
    <${Filters} key=${`filters ${key}`} filters=${filters} />
    <${Rows} key=${key} filters=${filters} />`;
}

/** Calls per day, of the last 30 days. */
function Days() {
  const [from, to] = [daysAgo(29), daysAgo(0)];
  const { value, error } = useLoaded((signal) => get('reports/daily', { from, to }, signal), from);
  /** @type {{ day: string, playable: number, missing: number }[]} */
  const known = value?.days ?? [];
  const days = Array.from({ length: 30 }, (_, index) => {
    const day = daysAgo(29 - index);
    return known.find((known) => known.day === day) ?? { day, playable: 0, missing: 0 };
  });
  const most = Math.max(1, ...days.map(({ playable, missing }) => playable + missing));
  const total = days.reduce((sum, { playable, missing }) => sum + playable + missing, 0);
  const without = days.reduce((sum, { missing }) => sum + missing, 0);
  let caption = 'Counting…';
  if (error) caption = error.message;
  else if (value && !known.length) caption = 'Calls per day are shown after the first round of the reconciler.';
  else if (value) caption = `${counted(total, 'call')} in 30 days (UTC), ${number(without)} without a recording`;
  return html`
    <figure class="days">
      <div class="bars">
        ${days.map(({ day, playable, missing }) => {
          const text = `${shortDay(day)}: ${counted(playable + missing, 'call')}, ${number(missing)} without a recording`;
          const height = (/** @type {number} */ count) => ({ height: `${(100 * count) / most}%` });
          return html`
            <${Link} to=${searchOf({ started_after: `${day}T00:00:00Z`, started_before: dayAfter(day) })} title=${text} aria-label=${text}>
              <span class="missing" style=${height(missing)}></span><span class="playable" style=${height(playable)}></span>
            <//>`;
        })}
      </div>
      <figcaption class="small">${caption}</figcaption>
    </figure>`;
}

/** @param {{ filters: Record<string, string> }} props */
function Filters({ filters }) {
  const search = useRef(/** @type {HTMLInputElement | null} */ (null));
  useKeys((event) => {
    if (event.key !== '/') return;
    event.preventDefault();
    search.current?.focus();
  });
  const submit = (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    /** @type {Record<string, string>} */
    const chosen = {};
    for (const [name, value] of new FormData(/** @type {HTMLFormElement} */ (event.currentTarget))) {
      const text = String(value).trim();
      if (text) chosen[name] = TIMES.includes(name) ? new Date(text).toISOString() : text;
    }
    navigate(searchOf(chosen));
  };
  const field = (/** @type {string} */ name, /** @type {string} */ label, /** @type {Record<string, any>} */ attributes = {}) => html`
    <div><label for=${name}>${label}</label><input id=${name} name=${name} value=${filters[name] ?? ''} ...${attributes} /></div>`;
  const choice = (/** @type {string} */ name, /** @type {string} */ label, /** @type {[string, string][]} */ options) => html`
    <div><label for=${name}>${label}</label>
      <select id=${name} name=${name}>
        ${options.map(([value, text]) => html`<option value=${value} selected=${(filters[name] ?? '') === value}>${text}</option>`)}
      </select></div>`;
  const isQuick = quickViews().some(([, view]) => searchOf(view) === searchOf(filters));
  const hasMore = !isQuick && Object.keys(filters).some((name) => name !== 'phone');
  return html`
    <form class="filters" onSubmit=${submit} role="search" aria-label="Calls">
      <div class="search">
        <label class="hidden" for="phone">Phone number with country code</label>
        <input id="phone" name="phone" type="search" inputmode="tel" ref=${search} value=${filters.phone ?? ''} placeholder="Number, such as +1 510 345 5686" />
        <button>Search</button>
      </div>
      <details open=${hasMore}>
        <summary>More filters</summary>
        <div class="fields">
          ${field('started_after', 'From', { type: 'datetime-local', value: localTime(filters.started_after) })}
          ${field('started_before', 'Until', { type: 'datetime-local', value: localTime(filters.started_before, 1) })}
          ${field('status', 'Status', { placeholder: 'COMPLETED' })}
          ${field('outcome', 'Outcome', { placeholder: 'PAYMENT_PROMISED' })}
          ${field('interaction_id', 'Interaction')}
          ${field('min_duration', 'At least seconds', { inputmode: 'numeric' })}
          ${choice('has_recording', 'Recording', [['', 'With'], ['false', 'Without']])}
          ${choice('has_transcript', 'Transcript', [['', 'Any'], ['true', 'With'], ['false', 'Without']])}
          ${choice('order', 'Order', [['', 'Newest first'], ['asc', 'Oldest first']])}
        </div>
        <p><button class="main">Apply</button> ${Object.keys(filters).length > 0 && html`<${Link} to="">Clear all<//>`}</p>
      </details>
    </form>`;
}

/** @param {{ filters: Record<string, string> }} props */
function Rows({ filters }) {
  const search = searchOf(filters);
  const before = useMemo(() => (kept && kept.search === search && Date.now() - kept.at < KEPT ? kept : null), []);
  const [rows, setRows] = useState(/** @type {Call[]} */ (before?.rows ?? []));
  const [cursor, setCursor] = useState(/** @type {string | null} */ (before ? before.cursor : ''));
  const [busy, wait] = useState(!before);
  const [asks, ask] = useState(false);
  const [error, fail] = useState(/** @type {Error | null} */ (null));
  const [playing, play] = useState(/** @type {Call | null} */ (null));
  const list = useRef(/** @type {HTMLElement | null} */ (null));
  const end = useRef(/** @type {HTMLElement | null} */ (null));
  const state = useRef({ cursor, busy: false, stopped: false });
  const latest = useRef({ rows, cursor });
  latest.current = { rows, cursor };

  const more = useCallback(async () => {
    const now = state.current;
    if (now.busy || now.cursor === null) return;
    now.busy = true;
    wait(true);
    ask(false);
    fail(null);
    try {
      for (let round = 0; now.cursor !== null && !now.stopped; round += 1) {
        const page = await get('recordings', { ...filters, limit: PAGE, ...(now.cursor && { cursor: now.cursor }) });
        if (now.stopped) return;
        now.cursor = page.next_cursor;
        setRows((/** @type {Call[]} */ rows) => [...rows, ...page.recordings]);
        if (page.recordings.length || now.cursor === null) break;
        if (round + 1 === PATIENCE) {
          ask(true);
          break;
        }
      }
      setCursor(now.cursor);
    } catch (error) {
      fail(/** @type {Error} */ (error));
    }
    now.busy = false;
    wait(false);
  }, []);

  useLayoutEffect(() => {
    let scroll = 0;
    const scrolled = () => { scroll = scrollY; };
    if (before) scrollTo(0, before.scroll);
    else more();
    scrolled();
    addEventListener('scroll', scrolled, { passive: true });
    return () => {
      state.current.stopped = true;
      removeEventListener('scroll', scrolled);
      kept = can('recordings:read') ? { search, ...latest.current, scroll, at: Date.now() } : null;
    };
  }, []);
  // The next page is loaded before its place is in view.
  useEffect(() => {
    if (cursor === null || asks || error || !end.current) return undefined;
    const observer = new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && more(), { rootMargin: '600px' });
    observer.observe(end.current);
    return () => observer.disconnect();
  }, [cursor, asks, error, rows.length]);

  useKeys((event) => {
    const links = [...(list.current?.querySelectorAll('a.row') ?? [])];
    const at = links.findIndex((link) => link === document.activeElement);
    if (event.key === 'j' || event.key === 'k') {
      const to = event.key === 'j' ? at + 1 : Math.max(0, at - 1);
      /** @type {HTMLElement | undefined} */ (links[Math.min(to, links.length - 1)])?.focus();
    } else if (event.key === ' ' && at >= 0) {
      event.preventDefault();
      // Only calls with a dispatch have a link.
      const call = rows.filter((/** @type {Call} */ row) => row.dispatch_id)[at];
      if (canPlay(call)) play((/** @type {Call | null} */ now) => (now === call ? null : call));
    }
  });

  if (error && !rows.length) return html`<${Failure} error=${error} retry=${more} />`;
  const isEmpty = !rows.length && !busy && cursor === null;
  let count = counted(rows.length, 'call');
  if (busy && !rows.length) count = 'Loading…';
  else if (cursor !== null) count += ' so far';
  return html`
    <p class="small" role="status">${count}</p>
    <ol class="calls" ref=${list} aria-busy=${busy}>
      ${rows.map((call) => html`<${Row} key=${call.dispatch_id ?? call.call_sid ?? call.interaction_id} call=${call} isPlaying=${playing === call} play=${play} />`)}
      ${busy && !rows.length && Array.from({ length: 20 }, () => html`<li class="waiting" aria-hidden="true"></li>`)}
    </ol>
    ${isEmpty && html`
      <${Empty} text=${Object.keys(filters).length ? 'No call matches these filters.' : 'There are no calls with a recording yet.'}>
        ${Object.keys(filters).length
          ? html`<${Link} to="">Show all calls<//>`
          : html`<p>A call is listed when its recording arrives in the bucket. <${Link} to="?page=operation">See what is missing<//></p>`}
      <//>`}
    <div ref=${end} class="end">
      ${error && html`<${Failure} error=${error} retry=${more} />`}
      ${asks && html`<p>Nothing more was found so far. <button type="button" onClick=${more}>Search further back</button></p>`}
    </div>
    ${playing && html`<${Preview} key=${playing.dispatch_id} call=${playing} close=${() => play(null)} />`}`;
}

/**
 * @param {{ call: Call, isPlaying: boolean, play: (call: Call | null) => void }} props
 */
function Row({ call, isPlaying, play }) {
  const name = call.customer_name ?? call.phone ?? call.interaction_id ?? call.dispatch_id ?? call.call_sid;
  const content = html`
    <span class="who"><b>${name}</b><span class="small">${call.customer_name ? call.phone : ''}</span></span>
    <${Time} iso=${call.start_time} />
    <span class="length">${call.duration == null ? '–' : clock(call.duration)}</span>
    <span class="state"><${Status} status=${call.status} /></span>
    <span class="small outcome">${call.recording_error ?? (call.outcome ? words(call.outcome) : '')}</span>
    <span class="small origin">${origin(call)}</span>`;
  return html`
    <li>
      ${canPlay(call)
        ? html`<button type="button" class="play" onClick=${() => play(isPlaying ? null : call)} aria-label="${isPlaying ? 'Stop' : 'Play'} ${name}">${isPlaying ? '■' : '▶'}</button>`
        : html`<span class="play"></span>`}
      ${call.dispatch_id ? html`<${Link} class="row" to="?call=${call.dispatch_id}">${content}<//>` : html`<div class="row">${content}</div>`}
    </li>`;
}

/** A recording that only Twilio has can't be played, nor one that is archived. @param {Call} call */
const canPlay = (call) => call.dispatch_id !== null && call.source === 'livekit' && call.recording_url !== null;

/** Where the recording is, and whether there is a transcript. @param {Call} call */
function origin({ source, has_transcript: hasTranscript }) {
  const place = { livekit: 'LiveKit', twilio: 'Twilio' }[source ?? ''] ?? 'No recording';
  return hasTranscript ? `${place} · transcript` : place;
}

/** The player at the bottom of the list. @param {{ call: Call, close: () => void }} props */
function Preview({ call, close }) {
  const [error, fail] = useState(/** @type {Error | null} */ (null));
  const [at, move] = useState(0);
  const place = useRef(/** @type {HTMLElement | null} */ (null));
  useEffect(() => {
    const player = new Player(/** @type {string} */ (call.dispatch_id), {
      change: () => move(player.position),
      end: close,
      fail,
    });
    place.current?.append(player.element);
    player.play();
    return () => player.close();
  }, []);
  return html`
    <aside class="preview" aria-label="Playing">
      <span ref=${place} hidden></span>
      <button type="button" onClick=${close}>■ Stop</button>
      <b>${call.customer_name ?? call.phone}</b>
      <span>${error ? error.message : `${clock(at)} of ${clock(call.duration ?? 0)}`}</span>
      <${Link} to="?call=${call.dispatch_id}#t=${Math.floor(at)}">Open<//>
    </aside>`;
}
