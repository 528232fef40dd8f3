// A call: its recording, and its transcript beside it.

import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from './preact.js';
import { can, currentSession, get, request, url } from './api.js';
import { clock, money, number, words } from './format.js';
import { Copy, Empty, Failure, Link, Status, Time, useKeys, useLoaded } from './parts.js';
import { ShareDialog, TranscribeDialog } from './dialogs.js';
import { listBefore } from './list.js';
import { Player } from './player.js';
import { TranscriptText } from './transcript.js';
import { Waveform } from './waveform.js';

const SPEEDS = [0.75, 1, 1.25, 1.5, 1.75, 2, 3];
const POLL = 2000;

/** After a click with the mouse, Space plays and pauses again, and does not repeat the click. @param {MouseEvent} event */
function leaveControl(event) {
  const control = /** @type {HTMLElement | null} */ (/** @type {Element} */ (event.target).closest('button, summary, input[type=checkbox]'));
  if (event.detail > 0) control?.blur();
}

/** The moment behind `#t=`, in seconds. */
const momentInLink = () => Number(/^#t=(\d+(?:\.\d+)?)/.exec(location.hash)?.[1] ?? 0);

/** @param {{ id: string }} props */
export function CallPage({ id }) {
  const path = `recordings/${encodeURIComponent(id)}`;
  const { value: recording, error, reload } = useLoaded((signal) => get(path, {}, signal), id);
  const call = recording?.call;
  useLayoutEffect(() => scrollTo(0, 0), [id]);
  useEffect(() => {
    document.title = `${call?.customer_name ?? call?.phone ?? 'Call'} · Call Recordings`;
    return () => { document.title = 'Call Recordings'; };
  }, [call]);
  const title = call?.customer_name ?? call?.phone ?? (recording || error ? id : 'Loading…');
  return html`
    <p><${Link} to=${listBefore()}>← Back to the list<//></p>
    <article class="call" onClick=${leaveControl}>
      <header>
        <h1>${title}</h1>
        ${call && html`
          <p class="facts">
            ${call.customer_name && call.phone && html`<${Link} to="?phone=${encodeURIComponent(call.phone)}">${call.phone}<//>`}
            <${Time} iso=${call.start_time} />
            ${call.duration != null && html`<span>${clock(call.duration)}</span>`}
            <${Status} status=${call.status} />
            ${call.outcome && html`<span>${words(call.outcome)}</span>`}
          </p>`}
      </header>
      ${error && (/** @type {import('./api.js').ApiError} */ (error).code === 'recording_not_found'
        ? html`<${Empty} text="This call has no recording: it is still in progress, or nothing was recorded.">
            <p><${Link} to="?page=operation">See what is missing, and why<//></p><button type="button" onClick=${reload}>Look again</button><//>`
        : html`<${Failure} error=${error} retry=${reload} />`)}
      ${recording && html`<${Recorded} id=${id} path=${path} recording=${recording} />`}
    </article>`;
}

/** @param {{ id: string, path: string, recording: any }} props */
function Recorded({ id, path, recording }) {
  const [, redraw] = useState(0);
  const [failed, fail] = useState(/** @type {Error | null} */ (null));
  const [dialog, open] = useState('');
  const place = useRef(/** @type {HTMLElement | null} */ (null));
  const transcript = useTranscript(path);
  const { value: drawn } = useLoaded(
    async (signal) => (transcript.isLoading || transcript.body?.waveform || !currentSession().signed_in ? null : waveformOf(path, signal)),
    `${transcript.isLoading} ${!!transcript.body?.waveform}`,
  );
  const player = useMemo(() => new Player(id, { change: () => redraw((/** @type {number} */ count) => count + 1), fail }), [id]);
  useEffect(() => {
    place.current?.append(player.element);
    player.start = momentInLink();
    player.load().catch(fail);
    const jump = () => player.seek(momentInLink());
    addEventListener('hashchange', jump);
    return () => {
      removeEventListener('hashchange', jump);
      player.close();
    };
  }, [player]);
  // Between the events of the audio element, four a second, the position moves with every frame.
  useEffect(() => {
    if (!player.isPlaying) return undefined;
    let frame = requestAnimationFrame(function next() {
      redraw((/** @type {number} */ count) => count + 1);
      frame = requestAnimationFrame(next);
    });
    return () => cancelAnimationFrame(frame);
  }, [player.isPlaying]);
  const jumpTo = (/** @type {number} */ seconds) => {
    player.seek(seconds);
    history.replaceState(null, '', `${location.search}#t=${Math.floor(seconds)}`);
    player.play();
  };
  const setSpeed = (/** @type {number} */ by) => {
    const at = SPEEDS.indexOf(player.rate) + by;
    if (at in SPEEDS) player.setRate(SPEEDS[at]);
  };
  useKeys((event) => {
    const onControl = /** @type {Element} */ (event.target).closest('button, summary');
    if (event.key === ' ' && !onControl) player.toggle();
    else if (event.key === 'ArrowLeft') player.seek(player.position - 10);
    else if (event.key === 'ArrowRight') player.seek(player.position + 10);
    else if (event.key === '<') setSpeed(-1);
    else if (event.key === '>') setSpeed(1);
    else return;
    event.preventDefault();
  });
  const chooseSpeed = (/** @type {Event} */ event) => {
    const field = /** @type {HTMLSelectElement} */ (event.currentTarget);
    player.setRate(Number(field.value));
    field.blur();
  };
  const length = player.length || recording.call?.duration || 0;
  const link = () => `${url('console', { call: id })}#t=${Math.floor(player.position)}`;
  return html`
    <section class="player" aria-label="Recording">
      <span ref=${place} hidden></span>
      <${Waveform} peaks=${transcript.body?.waveform ?? drawn} length=${length} position=${player.position} seek=${(/** @type {number} */ seconds) => player.seek(seconds)} />
      <div class="controls">
        <button type="button" onClick=${() => player.seek(player.position - 10)} aria-label="Back 10 seconds" title="Back 10 seconds (←)">−10 s</button>
        <button type="button" class="main round" onClick=${() => player.toggle()} aria-label=${player.isPlaying ? 'Pause' : 'Play'} title="Space">${player.isPlaying ? '❚❚' : '▶'}</button>
        <button type="button" onClick=${() => player.seek(player.position + 10)} aria-label="Forward 10 seconds" title="Forward 10 seconds (→)">+10 s</button>
        <label class="speed"><span class="hidden">Speed</span>
          <select onChange=${chooseSpeed}>
            ${SPEEDS.map((speed) => html`<option value=${speed} selected=${speed === player.rate}>${speed}×</option>`)}
          </select></label>
        <span class="actions">
          <${Copy} text=${link} label="Copy link at ${clock(player.position)}" />
          ${can('recordings:share') && html`<button type="button" onClick=${() => open('share')}>Share</button>`}
          <details class="menu">
            <summary>Download</summary>
            <ul>
              <li><a href=${url(`${path}/audio`, { download: '1' })}>Audio</a></li>
              ${transcript.body && [['srt', 'Captions (SRT)'], ['vtt', 'Captions (VTT)'], ['text', 'Text'], ['json', 'JSON']].map(([format, name]) => html`
                <li><a href=${url(`${path}/transcript`, format === 'json' ? { timestamps: 'word' } : { format })} download="${id}.${format === 'text' ? 'txt' : format}">${name}</a></li>`)}
            </ul>
          </details>
        </span>
      </div>
      ${failed && html`<${Failure} error=${failed} retry=${() => { fail(null); player.play(); }} />`}
    </section>
    <section class="transcript" aria-label="Transcript">
      <h2>Transcript</h2>
      <${TranscriptState} transcript=${transcript} position=${player.position} seek=${jumpTo} transcribe=${() => open('transcribe')} />
    </section>
    <details class="about">
      <summary>About this recording</summary>
      <dl>
        <dt>Dispatch</dt><dd><code>${id}</code></dd>
        ${recording.call?.interaction_id && html`<dt>Interaction</dt><dd><code>${recording.call.interaction_id}</code></dd>`}
        <dt>Object</dt><dd><code>${recording.s3_key}</code></dd>
        ${transcript.body && html`
          <dt>Model</dt><dd>${transcript.body.model}${transcript.body.language && `, ${transcript.body.language}`}</dd>
          <dt>Cost</dt><dd>${money(transcript.body.cost_usd)} for ${number(transcript.body.billed_seconds)} s</dd>`}
      </dl>
    </details>
    ${dialog === 'share' && html`<${ShareDialog} path=${path} position=${player.position} close=${() => open('')} />`}
    ${dialog === 'transcribe' && html`<${TranscribeDialog} path=${path} close=${() => open('')} started=${() => { open(''); transcript.reload(); }} />`}`;
}

/** Peaks of a recording whose transcript has none; without them the player has a line. @param {string} path @param {AbortSignal} signal */
const waveformOf = (path, signal) => request('POST', `${path}/waveform`, { signal }).catch(() => null);

/**
 * The transcript or its state, which is asked for again while it is being made.
 * @param {string} path
 */
function useTranscript(path) {
  const [round, next] = useState(0);
  const [state, set] = useState(/** @type {{ body: any, pending: any, error: any, isLoading: boolean }} */ ({ body: null, pending: null, error: null, isLoading: true }));
  useEffect(() => {
    const stop = new AbortController();
    /** @type {number | undefined} */
    let timer;
    const load = async () => {
      try {
        const answer = await get(`${path}/transcript`, { timestamps: 'word', include: 'dropped,waveform' }, stop.signal);
        if (stop.signal.aborted) return;
        const isDone = answer.status === 'completed';
        set({ body: isDone ? answer : null, pending: isDone ? null : answer, error: null, isLoading: false });
        if (answer.status === 'queued' || answer.status === 'processing' || answer.refreshing) timer = setTimeout(load, POLL);
      } catch (error) {
        if (!stop.signal.aborted) set({ body: null, pending: null, error, isLoading: false });
      }
    };
    load();
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [path, round]);
  return { ...state, reload: () => next((/** @type {number} */ round) => round + 1) };
}

/**
 * @param {{ transcript: ReturnType<typeof useTranscript>, position: number, seek: (seconds: number) => void, transcribe: () => void }} props
 */
function TranscriptState({ transcript, position, seek, transcribe }) {
  const { body, pending, error, isLoading, reload } = transcript;
  const button = (/** @type {string} */ label) => can('recordings:transcribe') && html`<button type="button" class="main" onClick=${transcribe}>${label}</button>`;
  if (isLoading) return html`<p class="small">Loading…</p>`;
  if (error?.code === 'transcript_not_found') {
    return html`<${Empty} text="There is no transcript yet.">${button('Transcribe') || html`<p class="small">This key can’t transcribe.</p>`}<//>`;
  }
  if (error) return html`<${Failure} error=${error} retry=${reload} />`;
  if (pending?.status === 'failed') {
    return html`<div class="notice bad" role="alert"><p>${pending.error}.</p>${button('Transcribe again')}</div>`;
  }
  if (pending) return html`<${Progress} pending=${pending} />`;
  return html`
    ${body.refreshing && html`<p class="small" role="status">A new transcript is being made.</p>`}
    ${body.incomplete && html`<div class="notice bad"><p>A part of the recording could not be decoded: ${clock(body.coverage.decoded_seconds)} of ${clock(body.coverage.expected_seconds)} are transcribed.</p></div>`}
    <${TranscriptText} transcript=${body} position=${position} seek=${seek} />`;
}

/** @param {{ pending: any }} props */
function Progress({ pending: { status, progress } }) {
  const [done, all] = [progress?.parts_done ?? 0, progress?.parts_total ?? 0];
  return html`
    <div class="notice" role="status">
      <p>${status === 'queued' ? 'Waiting to be transcribed…' : 'Transcribing…'}</p>
      <progress max=${all || undefined} value=${all ? done : undefined} aria-label="Transcription"></progress>
      ${all > 0 && html`<p class="small">${done} of ${all} parts</p>`}
    </div>`;
}
