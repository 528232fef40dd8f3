// What is missing and why, and what transcription costs.

import { html, useLayoutEffect } from './preact.js';
import { can, get } from './api.js';
import { counted, money, number } from './format.js';
import { Empty, Failure, Link, Time, useLoaded } from './parts.js';

export function OperationPage() {
  useLayoutEffect(() => scrollTo(0, 0), []);
  return html`
    <h1>Operation</h1>
    ${can('twilio:transcribe') && html`<${Usage} />`}
    <${Queues} />
    <${Completeness} />`;
}

/** @type {Record<string, string>} */
const QUEUES = {
  transcription: 'Transcriptions', object_events: 'Events of the bucket', interaction_events: 'Events of interactions', reconciler_rounds: 'Rounds of the reconciler',
};

function Queues() {
  const { value, error, reload } = useLoaded((signal) => get('reports/queues', {}, signal), '');
  /** @type {import('./api.js').Schemas['QueueState'][]} */
  const queues = value?.queues ?? [];
  const dead = queues.filter((queue) => queue.dead_letters);
  return html`
    <section aria-labelledby="queues">
      <h2 id="queues">Queues</h2>
      ${error && html`<${Failure} error=${error} retry=${reload} />`}
      ${dead.length > 0 && html`<div class="notice bad" role="alert"><p>Messages failed too often and wait for you: ${dead.map((queue) => `${QUEUES[queue.name]} (${number(queue.dead_letters)})`).join(', ')}. The documentation of the deployment says how to redrive them.</p></div>`}
      <div class="tiles">
        ${queues.filter((queue) => queue.name !== 'reconciler_rounds').map((queue) => html`
          <${Tile} key=${queue.name} name=${QUEUES[queue.name]} value="${number(queue.waiting + queue.in_progress)} to do" />`)}
        <${Tile} name="Dead letters" value=${value && number(dead.reduce((sum, queue) => sum + queue.dead_letters, 0))} />
      </div>
    </section>`;
}

function Usage() {
  const { value: usage, error, reload } = useLoaded((signal) => get('api/twilio/usage', {}, signal), '');
  return html`
    <section aria-labelledby="usage">
      <h2 id="usage">Transcription this month</h2>
      ${error && html`<${Failure} error=${error} retry=${reload} />`}
      <div class="tiles">
        <${Tile} name="Spent" value=${usage && money(usage.cost_usd)} />
        <${Tile} name="Left of the budget" value=${usage && (usage.budget_left_usd === null ? 'No limit' : money(usage.budget_left_usd))} />
        <${Tile} name="Minutes paid" value=${usage && number(usage.minutes)} />
        <${Tile} name="Saved by stored transcripts" value=${usage && money(usage.cost_avoided_usd)} />
      </div>
      ${usage?.budget_usd && html`<meter min="0" max=${usage.budget_usd} high=${usage.budget_usd * 0.8} value=${usage.cost_usd} aria-label="Part of the budget that is spent"></meter>`}
    </section>`;
}

/** @param {{ name: string, value: string | null }} props */
const Tile = ({ name, value }) => html`<div class="tile"><span class="small">${name}</span><b>${value ?? '…'}</b></div>`;

function Completeness() {
  const { value: report, error, reload } = useLoaded((signal) => get('reports/completeness', {}, signal), '');
  if (error && /** @type {import('./api.js').ApiError} */ (error).code === 'no_report') {
    return html`<h2>Completeness</h2><${Empty} text="There is no report yet. The reconciler writes one every hour; the first one a minute after cargo run starts.">
      <button type="button" onClick=${reload}>Look again</button><//>`;
  }
  if (error) return html`<h2>Completeness</h2><${Failure} error=${error} retry=${reload} />`;
  const isWhole = report && !report.not_indexed && !report.calls_without_recording.total && !report.recordings_without_call.total && !report.problems.length;
  return html`
    <section aria-labelledby="completeness">
      <h2 id="completeness">Completeness</h2>
      <p class="small">${report ? html`Calls from ${report.from} to ${report.to}, as of <${Time} iso=${report.generated_at} />` : 'Loading…'}</p>
      <div class="tiles">
        <${Tile} name="Playable" value=${report && number(report.playable)} />
        <${Tile} name="In progress" value=${report && number(report.in_progress)} />
        <${Tile} name="Without a recording" value=${report && number(report.calls_without_recording.total)} />
        <${Tile} name="Without a call" value=${report && number(report.recordings_without_call.total)} />
        <${Tile} name="Not indexed" value=${report && number(report.not_indexed)} />
      </div>
      ${isWhole && html`<div class="notice good"><p>Every call that ended has its recording, and every recording has its call.</p></div>`}
      ${report && (report.bucket_complete === false || report.twilio_complete === false) && html`
        <p class="small">Older recordings are still being compared with ${report.bucket_complete === false ? 'the bucket' : 'Twilio'}.</p>`}
    </section>
    ${report && html`
      ${report.problems.length > 0 && html`
        <section><h3>Problems of a whole list</h3><ul>${report.problems.map((/** @type {any} */ { code, reason }) => html`<li>${reason} <code>${code}</code></li>`)}</ul></section>`}
      <${Entries} title="Calls without a recording" entries=${report.calls_without_recording} />
      <${Entries} title="Recordings without a call" entries=${report.recordings_without_call} />
      <${Failures} failures=${report.failures} total=${report.not_indexed} />
      <${Ignored} ignored=${report.ignored} />`}`;
}

/**
 * A table that scrolls by itself where it is too wide.
 * @param {{ title: string, total: number, shown: number, heads: string[], children?: any }} props
 */
function Table({ title, total, shown, heads, children }) {
  if (!total) return null;
  return html`
    <section>
      <h3>${title} (${number(total)})</h3>
      <div class="scroll" role="region" aria-label=${title} tabindex="0">
        <table>
          <thead><tr>${heads.map((head) => html`<th scope="col">${head}</th>`)}</tr></thead>
          <tbody>${children}</tbody>
        </table>
      </div>
      ${total > shown && html`<p class="small">The newest ${counted(shown, 'entry', 'entries')} of ${number(total)}.</p>`}
    </section>`;
}

/** @param {{ title: string, entries: any }} props */
const Entries = ({ title, entries: { total, entries } }) => html`
  <${Table} title=${title} total=${total} shown=${entries.length} heads=${['Since', 'Call', 'Why']}>
    ${entries.map((/** @type {any} */ entry) => html`
      <tr>
        <td><${Time} iso=${entry.start_time} /></td>
        <td>${entry.phone ? html`<${Link} to="?phone=${encodeURIComponent(entry.phone)}${entry.s3_key ? '' : '&has_recording=false'}">${entry.phone}<//>` : entry.interaction_id ?? entry.dispatch_id ?? entry.call_sid ?? entry.s3_key}</td>
        <td>${entry.reason}</td>
      </tr>`)}
  <//>`;

/** @param {{ failures: any[], total: number }} props */
const Failures = ({ failures, total }) => html`
  <${Table} title="Not indexed" total=${total} shown=${failures.length} heads=${['Since', 'What', 'Why', 'Next try']}>
    ${failures.map((failure) => html`
      <tr>
        <td><${Time} iso=${failure.since} /></td>
        <td><code>${failure.s3_key ?? failure.recording_sid ?? failure.interaction_id ?? failure.dispatch_id ?? ''}</code></td>
        <td>${failure.reason}</td>
        <td><${Time} iso=${failure.next_try} /> (${counted(failure.tries, 'try', 'tries')})</td>
      </tr>`)}
  <//>`;

/** @param {{ ignored: any }} props */
const Ignored = ({ ignored: { total, samples } }) => html`
  <${Table} title="Files that are no recordings" total=${total} shown=${samples.length} heads=${['File', 'Why']}>
    ${samples.map((/** @type {any} */ file) => html`<tr><td><code>${file.s3_key}</code></td><td>${file.reason}</td></tr>`)}
  <//>`;
