// Times, numbers and names as text for the viewer.

const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
const dayAndTime = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });
const thisYear = new Intl.DateTimeFormat(undefined, { month: 'short', day: 'numeric', hour: 'numeric', minute: '2-digit' });
const day = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short', timeZone: 'UTC' });
const utc = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium', timeZone: 'UTC' });
const whole = new Intl.NumberFormat();
const dollars = new Intl.NumberFormat(undefined, { style: 'currency', currency: 'USD', minimumFractionDigits: 2, maximumFractionDigits: 4 });

/** A moment in the viewer's zone, with its year unless that is this one. @param {string} iso */
export function moment(iso) {
  const date = new Date(iso);
  return (date.getFullYear() === new Date().getFullYear() ? thisYear : dayAndTime).format(date);
}

/** The same in UTC, and the viewer's zone. @param {string} iso */
export const inUtc = (iso) => `${utc.format(new Date(iso))} UTC (shown for ${zone})`;

/** A UTC day such as 2026-11-26. @param {string} date */
export const shortDay = (date) => day.format(new Date(`${date}T00:00:00Z`));

/** @param {number} value */
export const number = (value) => whole.format(value);

/** @param {number} value */
export const money = (value) => dollars.format(value);

/** Seconds as on a clock: 1:05 or 1:02:05. @param {number} seconds */
export function clock(seconds) {
  const all = Math.max(0, Math.floor(seconds));
  const pad = (/** @type {number} */ value) => String(value).padStart(2, '0');
  const [hours, minutes] = [Math.floor(all / 3600), Math.floor(all / 60) % 60];
  return hours ? `${hours}:${pad(minutes)}:${pad(all % 60)}` : `${minutes}:${pad(all % 60)}`;
}

/** Seconds in words, for screen readers. @param {number} seconds */
export function spokenTime(seconds) {
  const all = Math.max(0, Math.floor(seconds));
  const parts = [[Math.floor(all / 3600), 'hour'], [Math.floor(all / 60) % 60, 'minute'], [all % 60, 'second']];
  const shown = parts.filter(([count, name]) => count || (name === 'second' && all < 60));
  return shown.map(([count, name]) => `${count} ${name}${count === 1 ? '' : 's'}`).join(' ');
}

/** The number of seconds in text such as 93, 1:33 or 1:02:05, or null. @param {string} text */
export function seconds(text) {
  if (!/^\d+(:[0-5]?\d){0,2}(\.\d+)?$/.test(text.trim())) return null;
  return text.trim().split(':').reduce((sum, part) => sum * 60 + Number(part), 0);
}

/** `PAYMENT_PROMISED` as Payment promised. @param {string} value */
export function words(value) {
  const text = value.replaceAll('_', ' ').toLowerCase();
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** @param {number} count @param {string} one @param {string} [many] */
export const counted = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;

/** The UTC day that is this many days before today. @param {number} days */
export const daysAgo = (days) => new Date(Date.now() - days * 86_400_000).toISOString().slice(0, 10);
