// live.js — what changes by itself: one tab of a browser asks, and tells the others.
//
// The tab that holds the lock polls the numbers and reads the one stream of events; the others listen on a channel. Only a
// tab that somebody sees holds it: a hidden one is slowed down by the browser, and lets go. Where there are no locks (plain
// HTTP to another machine), each visible tab polls, and events come by polling too. Nothing here grows with time.

import { address, get } from './api.js';

const NAME = `martlet-live:${new URL('.', document.baseURI).pathname}`;
const PERIOD = { stats: 2000, waiting: 4000, day: 60_000, ready: 10_000, pauses: 10_000, nodes: 10_000 };
const PATHS = { stats: ['/v1/stats', { top: 20 }], waiting: ['/v1/stats/waiting', {}], day: ['/v1/stats/day', { step_s: 900 }], ready: ['/readyz', {}], pauses: ['/v1/pauses', {}], nodes: ['/v1/nodes', {}] };
const PATIENCE = 12_000;

const channel = new BroadcastChannel(NAME);
const own = Math.random().toString(36).slice(2);
const listeners = new Map();
const last = new Map();
const wants = new Map();
let leads = false;
let state = 'off';
let release = null;
let pendingLock = null;
let stream = null;
let cursor = null;
let failures = 0;
const due = {};

/** Hears of a topic from now on: stats, waiting, day, pauses, ready, nodes, events, state. Gives what ends it. */
export function follow(topic, listener) {
  if (!listeners.has(topic)) listeners.set(topic, new Set());
  listeners.get(topic).add(listener);
  if (topic === 'state') listener(state);
  else if (last.has(topic)) listener(last.get(topic));
  announce();
  return () => {
    listeners.get(topic)?.delete(listener);
    announce();
  };
}

/** Asks for a topic at once, after something was done. */
export function hurry(...topics) {
  for (const topic of topics) due[topic] = 0;
  if (!leads) channel.postMessage({ kind: 'hurry', topics });
  else pump();
}

export const latest = (topic) => last.get(topic);

const wanted = () => [...listeners].filter(([, set]) => set.size > 0).map(([topic]) => topic);

function announce() {
  const topics = document.hidden ? [] : wanted();
  forget();
  wants.set(own, { topics, at: Date.now() });
  channel.postMessage({ kind: 'want', from: own, topics });
  if (leads) pump();
}

function deliver(topic, value, { keep = true } = {}) {
  if (keep) last.set(topic, value);
  for (const listener of listeners.get(topic) ?? []) listener(value);
}

function tell(topic, value, keep = true) {
  deliver(topic, value, { keep });
  channel.postMessage({ kind: 'news', topic, value, keep });
}

function become(next) {
  if (state === next) return;
  state = next;
  tell('state', next);
}

channel.onmessage = ({ data }) => {
  if (data.kind === 'want') {
    const isNew = !wants.has(data.from);
    wants.set(data.from, { topics: data.topics, at: Date.now() });
    if (leads) {
      if (isNew) for (const [topic, value] of last) channel.postMessage({ kind: 'news', topic, value, keep: true });
      pump();
    }
  } else if (data.kind === 'news') {
    if (data.topic === 'state') state = data.value;
    deliver(data.topic, data.value, { keep: data.keep });
  } else if (data.kind === 'hurry' && leads) hurry(...data.topics);
};

/** Tabs that are gone say nothing any more; whoever leads or not, they are forgotten. */
function forget() {
  for (const [tab, { at }] of wants) if (tab !== own && Date.now() - at > PATIENCE) wants.delete(tab);
}

/** What somebody who is still there wants. */
function demanded() {
  forget();
  return new Set([...wants.values()].flatMap(({ topics }) => topics));
}

let isPumping = false;

/** The work of the tab that leads: whatever is due and wanted. */
async function pump() {
  if (!leads || isPumping) return;
  isPumping = true;
  try {
    const topics = demanded();
    if (topics.has('events')) listenForEvents();
    else stopEvents();
    const now = Object.keys(PATHS).filter((topic) => topics.has(topic) && Date.now() >= (due[topic] ?? 0));
    for (const topic of now) due[topic] = Date.now() + PERIOD[topic];
    await Promise.all(now.map(poll));
  } finally {
    isPumping = false;
  }
}

async function poll(topic) {
  try {
    tell(topic, await get(...PATHS[topic], { timeout: 15_000 }));
    failures = 0;
    become(navigator.locks ? 'live' : 'polling');
  } catch (error) {
    // A readiness of 503 is an answer.
    if (topic === 'ready' && error.body?.checks) return tell(topic, error.body);
    if (error.status === 401 || error.status === 403) return;
    failures += 1;
    due[topic] = Date.now() + Math.min(30_000, 1000 * 2 ** Math.min(failures, 5));
    become('retrying');
  }
}

// ---- events

async function listenForEvents() {
  if (stream) return;
  const mine = (stream = new AbortController());
  try {
    if (navigator.locks) await readStream(mine.signal);
    else await pollEvents(mine.signal);
  } catch (error) {
    if (error.status === 410) {
      cursor = null;
      tell('events', { gap: true }, false);
    }
    if (error.status === 404) tell('events', { off: true });
  } finally {
    // Not at once: a relay that stops must not be asked a thousand times.
    if (stream === mine) setTimeout(() => stream === mine && ((stream = null), pump()), 3000);
  }
}

function stopEvents() {
  stream?.abort();
  stream = null;
}

async function readStream(signal) {
  const headers = { Accept: 'text/event-stream', 'X-Martlet-Page': '1' };
  if (cursor) headers['Last-Event-ID'] = cursor;
  const answer = await fetch(address('/v1/events'), { headers, signal, credentials: 'same-origin' });
  if (!answer.ok) throw Object.assign(new Error('no stream'), { status: answer.status });
  become('live');
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  while (true) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    const pieces = text.split('\n\n');
    text = pieces.pop();
    const events = pieces.map(parse).filter(Boolean);
    if (events.length) {
      cursor = events.at(-1).id;
      tell('events', { events: events.slice(-500) }, false);
    }
  }
}

function parse(piece) {
  const line = piece.split('\n').find((one) => one.startsWith('data: '));
  return line ? JSON.parse(line.slice(6)) : null;
}

async function pollEvents(signal) {
  let after = (await get('/v1/events', { limit: 1 }, { signal })).newest;
  while (!signal.aborted) {
    const page = await get('/v1/events', { after, limit: 500, wait_s: 20 }, { signal });
    after = page.last;
    if (page.items.length) tell('events', { events: page.items }, false);
  }
}

// ---- who leads

function lead() {
  if (leads || document.hidden) return;
  if (!navigator.locks) {
    leads = true;
    return void pump();
  }
  if (pendingLock) return;
  pendingLock = new AbortController();
  navigator.locks
    .request(NAME, { signal: pendingLock.signal }, () => {
      leads = true;
      pump();
      return new Promise((resolve) => (release = resolve));
    })
    .catch(() => {});
}

function stepDown() {
  pendingLock?.abort();
  pendingLock = null;
  release?.();
  release = null;
  leads = false;
  stopEvents();
}

export function begin() {
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) stepDown();
    else lead();
    announce();
  });
  addEventListener('pagehide', stepDown);
  addEventListener('pageshow', (event) => event.persisted && lead());
  setInterval(announce, 5000);
  setInterval(pump, 500);
  lead();
  announce();
}
