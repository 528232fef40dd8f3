// Requests to the API, and the session.

/** @typedef {import('./openapi.js').components['schemas']} Schemas */

/** The URL of the API, which is one level above the console. */
const base = new URL('.', location.href);

/** What went wrong with a request, as a sentence for people. */
export class ApiError extends Error {
  /**
   * @param {number} status 0 if there is no answer
   * @param {string} code
   * @param {string} message
   * @param {string} [requestId]
   */
  constructor(status, code, message, requestId) {
    super(message);
    this.status = status;
    this.code = code;
    this.requestId = requestId;
  }
}

/** @type {Schemas['ConsoleSession']} */
let session = { signed_in: null, reading_is_open: false };
/** @type {() => void} */
let onSessionChange = () => {};

/** @param {() => void} changed is called when somebody signs in or the session ends */
export function watchSession(changed) {
  onSessionChange = changed;
}

export const currentSession = () => session;

/** Whether the session, or nobody at all, may do this. @param {string} scope */
export function can(scope) {
  if (scope === 'recordings:read' && session.reading_is_open) return true;
  return session.signed_in?.scopes.includes(scope) ?? false;
}

/**
 * The URL of a path of the API, such as `recordings`.
 * @param {string} path
 * @param {Record<string, string>} [query]
 */
export function url(path, query = {}) {
  const url = new URL(path, base);
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
  return url.href;
}

/**
 * @param {string} method
 * @param {string} path
 * @param {{ query?: Record<string, string>, body?: unknown, headers?: Record<string, string>, signal?: AbortSignal }} [options]
 * @returns {Promise<any>} the JSON of the answer
 */
export async function request(method, path, { query, body, headers = {}, signal } = {}) {
  if (body !== undefined) headers = { ...headers, 'Content-Type': 'application/json' };
  const text = body === undefined ? undefined : JSON.stringify(body);
  let response;
  try {
    response = await fetch(url(path, query), { method, headers, body: text, signal, cache: 'no-store' });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, 'offline', 'The server can’t be reached. Check your connection and try again.');
  }
  let answer;
  try {
    answer = await response.json();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(response.status, 'no_json', 'The server sent an answer that this page can’t read. Reload the page.');
  }
  if (response.ok) return answer;
  if (response.status === 401 && session.signed_in) {
    session = { ...session, signed_in: null };
    onSessionChange();
  }
  const sentence = answer.detail ?? answer.error ?? answer.message ?? `The server answered with the status ${response.status}.`;
  throw new ApiError(response.status, answer.code ?? '', sentence, answer.request_id);
}

/** @param {string} path @param {Record<string, string>} [query] @param {AbortSignal} [signal] */
export const get = (path, query, signal) => request('GET', path, { query, signal });

/** Asks who is signed in. */
export async function loadSession() {
  session = await request('GET', 'console/session');
  onSessionChange();
}

/** Exchanges a key for a session. @param {string} key */
export async function signIn(key) {
  session = await request('POST', 'console/session', { headers: { 'X-API-Key': key } });
  onSessionChange();
}

export async function signOut() {
  session = await request('DELETE', 'console/session');
  onSessionChange();
}
