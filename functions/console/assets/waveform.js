// The outline of a recording's sound, drawn from its peaks.

import { html, useEffect, useRef } from './preact.js';
import { clock, spokenTime } from './format.js';

/** @typedef {{ seconds_per_point: number, channels: number[][] }} Peaks */

/**
 * The waveform, on which a range field seeks: by pointer, and by keyboard in steps of a second.
 * @param {{ peaks: Peaks | null, length: number, position: number, seek: (seconds: number) => void }} props
 */
export function Waveform({ peaks, length, position, seek }) {
  const canvas = useRef(/** @type {HTMLCanvasElement | null} */ (null));
  const drawn = useRef(() => {});
  drawn.current = () => canvas.current && draw(canvas.current, peaks, length, position);
  useEffect(() => drawn.current());
  useEffect(() => {
    const redraw = () => drawn.current();
    const sizes = new ResizeObserver(redraw);
    if (canvas.current) sizes.observe(canvas.current);
    const scheme = matchMedia('(prefers-color-scheme: dark)');
    scheme.addEventListener('change', redraw);
    return () => {
      sizes.disconnect();
      scheme.removeEventListener('change', redraw);
    };
  }, []);
  return html`
    <div class="waveform">
      <canvas ref=${canvas} aria-hidden="true"></canvas>
      <input type="range" min="0" max=${Math.max(1, Math.ceil(length))} step="any" value=${position} aria-label="Position"
        aria-valuetext="${spokenTime(position)} of ${spokenTime(length)}"
        onInput=${(/** @type {Event} */ event) => seek(Number(/** @type {HTMLInputElement} */ (event.currentTarget).value))}
        onKeyDown=${(/** @type {KeyboardEvent} */ event) => step(event, position, length, seek)} />
    </div>
    <div class="times small"><span>${clock(position)}</span><span>${length ? clock(length) : ''}</span></div>`;
}

/**
 * @param {KeyboardEvent} event @param {number} position @param {number} length @param {(seconds: number) => void} seek
 */
function step(event, position, length, seek) {
  /** @type {Record<string, number>} */
  const places = {
    ArrowLeft: position - 1, ArrowDown: position - 1, ArrowRight: position + 1, ArrowUp: position + 1,
    PageUp: position + 30, PageDown: position - 30, Home: 0, End: length,
  };
  if (!(event.key in places)) return;
  event.preventDefault();
  event.stopPropagation();
  seek(places[event.key]);
}

/**
 * @param {HTMLCanvasElement} canvas @param {Peaks | null} peaks @param {number} length @param {number} position
 */
function draw(canvas, peaks, length, position) {
  const context = canvas.getContext('2d');
  if (!context) return;
  const { clientWidth: width, clientHeight: height } = canvas;
  const scale = devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  const colors = getComputedStyle(canvas);
  const [played, waiting] = [colors.getPropertyValue('--accent'), colors.getPropertyValue('--wave')];
  const now = length ? (position / length) * width : 0;
  const channels = peaks?.channels.length ? peaks.channels : [[]];
  const [bar, row] = [3, height / channels.length];
  channels.forEach((points, channel) => {
    const middle = row * (channel + 0.5);
    // The peaks cover what was decoded, which may be less than the recording.
    const seconds = length || points.length * (peaks?.seconds_per_point ?? 0);
    for (let x = 0; x < width; x += bar) {
      const first = Math.floor(((x / width) * seconds) / (peaks?.seconds_per_point || 1));
      const last = Math.max(first + 1, Math.floor((((x + bar) / width) * seconds) / (peaks?.seconds_per_point || 1)));
      const loudest = Math.max(0, ...points.slice(first, last));
      const half = Math.max(0.5, (Math.sqrt(loudest / 255) * (row - 4)) / 2);
      context.fillStyle = x < now ? played : waiting;
      context.fillRect(x, middle - half, bar - 1, half * 2);
    }
  });
  context.fillStyle = played;
  context.fillRect(Math.min(now, width - 2), 0, 2, height);
}
