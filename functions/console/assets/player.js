// A player whose presigned URL is renewed before it expires.

import { get } from './api.js';

/** A URL is renewed when this share of its life is left, at most a minute. */
const LEFT = 0.2;
const MINUTE = 60_000;
/** So much later than the old element the new one begins, in seconds: the time that it needs to seek. */
const LEAD = 0.6;
const ATTEMPTS = 3;

/**
 * @typedef {object} Listener
 * @property {() => void} change is called when the position, the state or the length changed
 * @property {() => void} [end]
 * @property {(error: Error) => void} fail
 */

export class Player {
  /** @param {string} id the dispatch id @param {Listener} listener */
  constructor(id, listener) {
    this.id = id;
    this.listener = listener;
    /** Contains the audio element, of which there are two for a moment while a URL is renewed. */
    this.element = document.createElement('span');
    /** @type {HTMLAudioElement | null} */
    this.audio = null;
    this.rate = 1;
    this.expiresAt = 0;
    this.failures = 0;
    /** Where the audio begins when it is loaded. */
    this.start = 0;
    this.closed = false;
    /** @type {number | undefined} */
    this.timer = undefined;
    /** @type {Promise<void> | null} */
    this.opening = null;
  }

  get position() {
    const { audio } = this;
    return audio && audio.readyState > 0 ? audio.currentTime : this.start;
  }

  /** In seconds; 0 while it is unknown. */
  get length() {
    const length = this.audio?.duration ?? 0;
    return Number.isFinite(length) ? length : 0;
  }

  get isPlaying() {
    return this.audio !== null && !this.audio.paused && !this.audio.ended;
  }

  /** Loads the recording's metadata. */
  load() {
    this.opening ??= this.#open().finally(() => { this.opening = null; });
    return this.opening;
  }

  async play() {
    try {
      if (!this.audio || Date.now() > this.expiresAt - 2000) await this.load();
      if (!this.closed) await this.audio?.play();
    } catch (error) {
      // A pause or a renewal that comes before the sound ends the promise of `play`.
      if (/** @type {Error} */ (error).name !== 'AbortError') this.listener.fail(/** @type {Error} */ (error));
    }
    this.#renewInTime();
  }

  pause() {
    this.audio?.pause();
  }

  toggle() {
    if (this.isPlaying) this.pause();
    else this.play();
  }

  /** @param {number} seconds */
  seek(seconds) {
    const position = Math.max(0, this.length ? Math.min(seconds, this.length) : seconds);
    if (this.audio && this.audio.readyState > 0) this.audio.currentTime = position;
    else this.start = position;
    this.listener.change();
  }

  /** @param {number} rate */
  setRate(rate) {
    this.rate = rate;
    if (this.audio) this.audio.playbackRate = rate;
    this.listener.change();
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    this.#drop(this.audio);
    this.element.remove();
  }

  /** Gets a new URL and goes on with it at the same place. */
  async #open() {
    const before = this.audio;
    const wasPlaying = this.isPlaying;
    const asked = Date.now();
    const answer = await get(`recordings/${encodeURIComponent(this.id)}`);
    if (this.closed) return;
    // By the life of the URL, because the viewer's clock may be wrong.
    this.expiresAt = asked + answer.expires_in * 1000;
    const audio = document.createElement('audio');
    audio.preload = wasPlaying ? 'auto' : 'metadata';
    audio.src = answer.recording_url;
    audio.playbackRate = this.rate;
    this.element.append(audio);
    await loaded(audio);
    if (this.closed) return this.#drop(audio);
    const canOverlap = before !== null && wasPlaying && !before.error && before.readyState >= 2;
    audio.currentTime = canOverlap ? Math.min(before.currentTime + LEAD * this.rate, audio.duration || Infinity) : this.position;
    if (canOverlap) await this.#handOver(before, audio);
    this.#watch(audio);
    this.audio = audio;
    audio.playbackRate = this.rate;
    if (before) this.#drop(before);
    if (wasPlaying && audio.paused && !this.closed) await audio.play();
    this.#renewInTime();
    this.listener.change();
  }

  /** Starts the new element when the old one has come to its place. */
  async #handOver(/** @type {HTMLAudioElement} */ before, /** @type {HTMLAudioElement} */ audio) {
    if (audio.seeking || audio.readyState < 3) await happens(audio, 'canplay', 5000);
    while (!this.closed && !before.paused && !before.error && before.currentTime < audio.currentTime - 0.02) {
      await new Promise((done) => setTimeout(done, 10));
    }
    if (before.paused || before.error) audio.currentTime = before.currentTime;
    else await audio.play().catch(() => {});
  }

  /** @param {HTMLAudioElement} audio */
  #watch(audio) {
    for (const name of ['timeupdate', 'play', 'pause', 'seeked', 'durationchange', 'waiting', 'playing']) {
      audio.addEventListener(name, () => {
        if (audio !== this.audio) return;
        if (audio.readyState >= 2 && !audio.error) {
          this.failures = 0;
          this.start = audio.currentTime;
        }
        this.listener.change();
      });
    }
    audio.addEventListener('ended', () => audio === this.audio && this.listener.end?.());
    audio.addEventListener('error', () => audio === this.audio && this.#recover(audio));
  }

  /** The URL may have expired while the machine slept; another one is tried before the viewer is told. */
  async #recover(/** @type {HTMLAudioElement} */ audio) {
    this.failures += 1;
    if (this.failures > ATTEMPTS) return this.listener.fail(new Error('The recording can’t be played now. Reload the page, and check that it still exists.'));
    const wasPlaying = !audio.paused;
    try {
      await this.load();
      if (wasPlaying && !this.closed) await this.audio?.play();
    } catch (error) {
      this.listener.fail(/** @type {Error} */ (error));
    }
  }

  /** A paused recording is renewed when it is played again, so that a forgotten tab asks for nothing. */
  #renewInTime() {
    clearTimeout(this.timer);
    if (this.closed || !this.expiresAt) return;
    const left = this.expiresAt - Date.now();
    const margin = Math.min(MINUTE, left * LEFT);
    this.timer = setTimeout(() => {
      if (this.isPlaying) this.load().catch(() => { /* The element goes on with what it has; its error tells the rest. */ });
    }, Math.max(0, left - margin));
  }

  /** @param {HTMLAudioElement | null} audio */
  #drop(audio) {
    if (!audio) return;
    audio.pause();
    audio.removeAttribute('src');
    audio.load();
    audio.remove();
  }
}

/** @param {HTMLAudioElement} audio */
async function loaded(audio) {
  if (audio.readyState > 0) return;
  await Promise.race([
    happens(audio, 'loadedmetadata', 30_000),
    happens(audio, 'error', 30_000).then(() => { throw new Error('The recording can’t be loaded from the bucket. Try again in a minute.'); }),
  ]);
}

/** @param {EventTarget} target @param {string} name @param {number} milliseconds */
function happens(target, name, milliseconds) {
  return new Promise((done) => {
    target.addEventListener(name, done, { once: true });
    setTimeout(done, milliseconds);
  });
}
