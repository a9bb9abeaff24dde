// api.js — requests to the relay this page came from: one way to ask, one kind of failure, and the same as a line of curl.

import { hello } from './hello.js';

const base = new URL('.', document.baseURI);

/** What went wrong, as the API tells it (RFC 9457). */
export class Problem extends Error {
  constructor(status, body) {
    super(body?.detail ?? body?.title ?? `HTTP ${status}`);
    this.status = status;
    this.body = body ?? {};
  }
}

/** The address of a path; `query` values may be lists, and nothing is sent for null and ''. */
export function address(path, query = {}) {
  const url = new URL(path.replace(/^\//, ''), base);
  for (const [name, value] of Object.entries(query)) {
    for (const one of [value].flat()) if (one !== null && one !== undefined && one !== '') url.searchParams.append(name, one);
  }
  return url;
}

/** One segment of a path. */
export const part = (text) => encodeURIComponent(text);

let questions = 0;

/** Whether something was asked and is not answered yet, for whoever looks at the page from outside. */
function asking(change) {
  questions += change;
  document.documentElement.toggleAttribute('data-asking', questions > 0);
}

/** Somebody has to log in. */
export const doorbell = new EventTarget();

/**
 * Asks; gives {status, data, tag}. `asked`: the answer is on its way already, unless that gives null.
 * Throws Problem; status 0 when nobody answers.
 */
export async function ask(method, path, { query, body, headers = {}, signal, timeout = 30_000, asked = null } = {}) {
  const fields = { Accept: 'application/json', 'X-Martlet-Page': '1', ...headers };
  if (body !== undefined) fields['Content-Type'] = 'application/json';
  let answer;
  asking(1);
  try {
    answer = await asked;
    answer ??= await fetch(address(path, query), {
      method,
      headers: fields,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: signal ?? AbortSignal.timeout(timeout),
      credentials: 'same-origin',
      redirect: 'error',
    });
  } catch (error) {
    asking(-1);
    if (error.name === 'AbortError') throw error;
    throw new Problem(0, { detail: error.message });
  }
  const text = await answer.text().finally(() => asking(-1));
  let data = null;
  try {
    data = text ? JSON.parse(text) : null;
  } catch {
    data = null;
  }
  if (answer.status === 401) doorbell.dispatchEvent(new Event('login'));
  if (!answer.ok) throw new Problem(answer.status, data);
  return { status: answer.status, data, tag: answer.headers.get('ETag'), answer };
}

export const get = async (path, query, more) => (await ask('GET', path, { query, ...more })).data;

/** Some text of a body, and no more than wanted: mail may be large. */
export async function beginning(path, most = 65536) {
  const answer = await fetch(address(path), { headers: { 'X-Martlet-Page': '1' }, credentials: 'same-origin' });
  if (!answer.ok) throw new Problem(answer.status, await answer.json().catch(() => null));
  const reader = answer.body.getReader();
  const decoder = new TextDecoder();
  let text = '';
  let isWhole = false;
  while (text.length < most) {
    const { done, value } = await reader.read();
    if (done) {
      isWhole = true;
      break;
    }
    text += decoder.decode(value, { stream: true });
  }
  if (!isWhole) reader.cancel().catch(() => {});
  return { text: text.slice(0, most), isWhole };
}

/**
 * Asks for an answer of lines, each JSON; hands over each as it comes.
 * Throws Problem as `ask`; status 0 where the answer breaks off.
 */
export async function lines(method, path, { body, signal, each }) {
  let answer;
  try {
    answer = await fetch(address(path), {
      method,
      headers: { Accept: 'application/x-ndjson', 'Content-Type': 'application/json', 'X-Martlet-Page': '1' },
      body: JSON.stringify(body),
      signal,
      credentials: 'same-origin',
      redirect: 'error',
    });
    if (answer.status === 401) doorbell.dispatchEvent(new Event('login'));
    if (!answer.ok) throw new Problem(answer.status, await answer.json().catch(() => null));
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = '';
    while (true) {
      const { done, value } = await reader.read();
      if (done) return;
      const pieces = (text + value).split('\n');
      text = pieces.pop();
      for (const piece of pieces) if (piece) each(JSON.parse(piece));
    }
  } catch (error) {
    if (error.name === 'AbortError' || error instanceof Problem) throw error;
    throw new Problem(0, { detail: error.message });
  }
}

const quoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${String(text).replaceAll("'", "'\\''")}'`);

/** The same by hand. */
export function curl(method, path, { query, body } = {}) {
  const words = ['curl', '-s'];
  if (method !== 'GET') words.push('-X', method);
  words.push('-H', '"Authorization: Bearer $TOKEN"', quoted(address(path, query).href));
  if (body !== undefined) words.push('-H', "'Content-Type: application/json'", '-d', quoted(JSON.stringify(body)));
  return words.join(' ');
}

/** Who we are: {name, kind, scopes, id, expires_at}; null when nobody. */
export let me = null;

let first = hello;

export async function meet() {
  const asked = first;
  first = null;
  me = (await ask('GET', '/v1/session', { asked })).data;
  return me;
}

export const may = (scope) => me?.scopes.includes(scope) ?? false;
