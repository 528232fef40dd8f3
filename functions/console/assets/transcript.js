// The transcript, which follows the voice.

import { Component, html, useEffect, useMemo, useRef, useState } from './preact.js';
import { clock, counted, words as inWords } from './format.js';
import { useKeys } from './parts.js';

/** @typedef {import('./api.js').Schemas['Transcript']} Transcript */
/** @typedef {{ start: number, end: number, from: number, to: number }} Word the characters of a word, and when it is said */
/** @typedef {{ start: number, end: number, text: string, speaker?: string, reason?: string, unsure?: boolean, words: Word[] }} Sentence */

/** A player that is told to go to the beginning of a word may stop a moment before it, in seconds. */
const EARLY = 0.05;

const plain = (/** @type {string} */ text) => text.toLowerCase().replace(/[^\p{L}\p{N}]/gu, '');

/**
 * The sentences with the times of their words, in order. Words come without punctuation, so they are found in the text of the sentence.
 * @param {Transcript} transcript @param {boolean} withDropped
 * @returns {Sentence[]}
 */
export function sentencesOf(transcript, withDropped) {
  const words = transcript.words ?? [];
  let next = 0;
  /** @type {Sentence[]} */
  const sentences = (transcript.segments ?? []).map((segment) => {
    /** @type {Word[]} */
    const found = [];
    const tokens = [...segment.text.matchAll(/\S+/gu)];
    let token = 0;
    while (next < words.length && words[next].end < segment.start) next += 1;
    // Speakers talk at the same time, so the words of a sentence need not stand together.
    for (let at = next; at < words.length && words[at].start <= segment.end && token < tokens.length; at += 1) {
      if (words[at].speaker !== segment.speaker) continue;
      const same = tokens.findIndex((match, index) => index >= token && index < token + 4 && plain(match[0]) === plain(words[at].word));
      if (same < 0) continue;
      const from = tokens[same].index ?? 0;
      found.push({ start: words[at].start, end: words[at].end, from, to: from + tokens[same][0].length });
      token = same + 1;
    }
    return { ...segment, words: found };
  });
  if (withDropped) {
    sentences.push(...(transcript.dropped ?? []).map((dropped) => ({ ...dropped, words: [] })));
    sentences.sort((one, other) => one.start - other.start);
  }
  return sentences;
}

/** The last sentence that has begun. @param {Sentence[]} sentences @param {number} position */
function current(sentences, position) {
  let [low, high] = [0, sentences.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sentences[middle].start <= position + EARLY) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/**
 * @param {{ transcript: Transcript, position: number, seek: (seconds: number) => void }} props
 */
export function TranscriptText({ transcript, position, seek }) {
  const [withDropped, showDropped] = useState(false);
  const [withUnsure, showUnsure] = useState(false);
  const [follow, setFollow] = useState(true);
  const [find, setFind] = useState('');
  const [match, setMatch] = useState(0);
  const field = useRef(/** @type {HTMLInputElement | null} */ (null));
  const list = useRef(/** @type {HTMLElement | null} */ (null));
  const sentences = useMemo(() => sentencesOf(transcript, withDropped), [transcript, withDropped]);
  const speakers = useMemo(() => [...new Set(sentences.map(({ speaker }) => speaker).filter(Boolean))], [sentences]);
  const needle = find.trim().toLowerCase();
  const matches = useMemo(
    () => (needle ? sentences.flatMap(({ text }, index) => (text.toLowerCase().includes(needle) ? [index] : [])) : []),
    [sentences, needle],
  );
  const now = current(sentences, position);
  const show = (/** @type {number} */ index) => list.current?.children[index]?.scrollIntoView({ block: 'nearest' });

  useEffect(() => {
    if (follow && now >= 0) show(now);
  }, [now, follow]);
  useEffect(() => {
    setMatch(0);
    if (matches.length) show(matches[0]);
  }, [matches]);
  useKeys((event) => {
    if (event.key !== '/') return;
    event.preventDefault();
    field.current?.focus();
  });
  const goTo = (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    if (!matches.length) return;
    const next = (match + 1) % matches.length;
    setMatch(next);
    setFollow(false);
    show(matches[next]);
  };
  const droppedCount = transcript.dropped?.length ?? 0;
  const unsureCount = sentences.filter(({ unsure }) => unsure).length;
  if (!sentences.length) {
    return html`<p>${transcript.transcript || 'Nothing is said in this recording.'}</p>
      ${transcript.transcript && html`<p class="small">The model gave no times, so the text can’t follow the voice.</p>`}`;
  }
  return html`
    <div class="tools">
      <form onSubmit=${goTo} role="search" aria-label="Transcript">
        <label class="hidden" for="find">Find in the transcript</label>
        <input id="find" ref=${field} type="search" value=${find} placeholder="Find" onInput=${(/** @type {Event} */ event) => setFind(/** @type {HTMLInputElement} */ (event.currentTarget).value)} />
        <span class="small" role="status">${needle && (matches.length ? `${match + 1} of ${counted(matches.length, 'sentence')}` : 'Not found')}</span>
      </form>
      <label><input type="checkbox" checked=${follow} onChange=${() => setFollow(!follow)} /> Follow</label>
      ${unsureCount > 0 && html`<label><input type="checkbox" checked=${withUnsure} onChange=${() => showUnsure(!withUnsure)} /> Mark unsure text (${unsureCount})</label>`}
      ${droppedCount > 0 && html`<label><input type="checkbox" checked=${withDropped} onChange=${() => showDropped(!withDropped)} /> Show dropped text (${droppedCount})</label>`}
    </div>
    <ol class="sentences" ref=${list}>
      ${sentences.map((sentence, index) => html`
        <${SentenceRow} key=${`${sentence.start} ${sentence.speaker ?? ''} ${sentence.reason ?? ''} ${index}`} sentence=${sentence} seek=${seek}
          side=${sentence.speaker ? speakers.indexOf(sentence.speaker) % 4 : -1}
          isNew=${sentence.speaker !== sentences[index - 1]?.speaker}
          position=${index === now ? position : null}
          find=${needle && sentence.text.toLowerCase().includes(needle) ? needle : ''}
          isMatch=${matches[match] === index} isUnsure=${withUnsure && !!sentence.unsure} />`)}
    </ol>`;
}

/**
 * @typedef {object} RowProps
 * @property {Sentence} sentence
 * @property {(seconds: number) => void} seek
 * @property {number} side which of the speakers' colors
 * @property {boolean} isNew whether another speaker begins
 * @property {number | null} position the position, while this sentence is said
 * @property {string} find the text to mark
 * @property {boolean} isMatch
 * @property {boolean} isUnsure whether to mark that the model was unsure
 */

/** A sentence, which is drawn again only when what it shows changes: a long call has thousands. */
class SentenceRow extends Component {
  /** @param {RowProps} next */
  shouldComponentUpdate(next) {
    /** @type {(keyof RowProps)[]} */
    const shown = ['sentence', 'side', 'isNew', 'position', 'find', 'isMatch', 'isUnsure'];
    return shown.some((name) => next[name] !== this.props[name]);
  }

  /** @param {RowProps} props */
  render({ sentence, seek, side, isNew, position, find, isMatch, isUnsure }) {
    const { start, text, speaker, reason, words } = sentence;
    const jump = (/** @type {MouseEvent} */ event) => {
      const selected = getSelection()?.toString();
      if (!selected) seek(wordAt(event, words)?.start ?? start);
    };
    return html`
      <li class="${side >= 0 ? `side-${side}` : ''} ${reason ? 'dropped' : ''} ${isUnsure ? 'unsure' : ''} ${isMatch ? 'match' : ''}" aria-current=${position === null ? undefined : 'true'}>
        <button type="button" data-time=${start} onClick=${() => seek(start)} aria-label="Play from ${clock(start)}">${clock(start)}</button>
        <div>
          ${speaker && isNew && html`<b class="small">${speaker}</b>`}
          <p onClick=${jump}>${marked(text, find, position === null ? null : words.find((word) => word.start <= position + EARLY && position + EARLY < word.end))}</p>
          ${isUnsure && html`<span class="small">The model was unsure</span>`}
          ${reason && html`<span class="small">Dropped: ${inWords(reason)}</span>`}
        </div>
      </li>`;
  }
}

/** The word under the pointer; beside the text there is none. @param {MouseEvent} event @param {Word[]} words */
function wordAt(event, words) {
  const place = document.caretPositionFromPoint?.(event.clientX, event.clientY);
  const range = place ? null : document.caretRangeFromPoint?.(event.clientX, event.clientY);
  const [node, offset] = place ? [place.offsetNode, place.offset] : [range?.startContainer, range?.startOffset ?? 0];
  if (!node) return undefined;
  const before = document.createRange();
  before.setStart(/** @type {Node} */ (event.currentTarget), 0);
  before.setEnd(node, offset);
  const at = before.toString().length;
  const character = document.createRange();
  character.setStart(node, Math.max(0, offset - 1));
  character.setEnd(node, Math.min(offset + 1, node.textContent?.length ?? 0));
  const isOnText = [...character.getClientRects()].some(({ left, right }) => left <= event.clientX && event.clientX <= right);
  return isOnText ? words.find(({ from, to }) => from <= at && at <= to) : undefined;
}

/**
 * The text with the found text and the word that is said now.
 * @param {string} text @param {string} find in lower case @param {Word | null | undefined} word
 */
function marked(text, find, word) {
  /** @type {[number, number, string][]} */
  const marks = [];
  // Lower case may have another length than the text, as that of İ; then nothing is marked.
  const lower = text.toLowerCase();
  for (let at = find && lower.length === text.length ? lower.indexOf(find) : -1; at >= 0; at = lower.indexOf(find, at + find.length)) {
    marks.push([at, at + find.length, 'found']);
  }
  if (word && !marks.length) marks.push([word.from, word.to, 'word']);
  const parts = [];
  let done = 0;
  for (const [from, to, kind] of marks) {
    parts.push(text.slice(done, from), html`<mark class=${kind}>${text.slice(from, to)}</mark>`);
    done = to;
  }
  return [...parts, text.slice(done)];
}
