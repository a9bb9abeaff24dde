// live.js — what changes by itself: one tab of a browser listens, and tells the others.
//
// The tab that holds the lock reads one stream of the topics that any tab wants; the others listen on a channel. Only a
// tab that somebody sees holds it: a hidden one is slowed down by the browser, and lets go. Where there are no locks (plain
// HTTP to another machine), each visible tab polls. Nothing here grows with time.

import { get, may } from './api.js';
import { isEvents, pollEvents, readStream } from './stream.js';

const NAME = `martlet-live:${new URL('.', document.baseURI).pathname}`;
const PERIOD = { stats: 2000, waiting: 4000, day: 60_000, ready: 10_000, pauses: 10_000, nodes: 10_000 };
const PATHS = { stats: ['/v1/stats', { top: 20 }], waiting: ['/v1/stats/waiting', {}], day: ['/v1/stats/day', { step_s: 900 }], ready: ['/readyz', {}], pauses: ['/v1/pauses', {}], nodes: ['/v1/nodes', {}] };
const SCOPES = { stats: 'status:read', waiting: 'status:read', day: 'status:read', pauses: 'queue:read', nodes: 'status:read' };
const PATIENCE = 12_000;
/** What nobody wants any more is listened to so long, for who comes back; a stream that says nothing so long is dead. */
const [SURPLUS, SILENCE] = [30_000, 45_000];

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
let failures = 0;
const loops = new Map();
const due = {};

/** Hears of a topic from now on: stats, waiting, day, pauses, ready, nodes, state, `eventsOf`. Gives what ends it. */
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
const asking = new Set();

/** The work of the tab that leads: whatever is due and wanted. */
function pump() {
  if (!leads || isPumping) return;
  isPumping = true;
  // What a view follows, it follows in one go.
  queueMicrotask(() => {
    isPumping = false;
    if (!leads) return;
    const topics = demanded();
    if (navigator.locks) attend(streamed(topics));
    else for (const topic of topics) if (isEvents(topic)) ask(topic);
    for (const topic of Object.keys(PATHS)) if (topics.has(topic) && isDue(topic) && !asking.has(topic)) poll(topic);
  });
}

/** All numbers come where any are wanted, so that another view needs no other stream; of events, what is wanted. */
function streamed(topics) {
  const found = [...topics].filter((topic) => PATHS[topic] || isEvents(topic));
  const events = may('queue:read') ? found.filter(isEvents) : [];
  const numbers = found.length > events.length ? Object.keys(PATHS).filter((topic) => !SCOPES[topic] || may(SCOPES[topic])) : [];
  return [...numbers, ...events];
}

/** What a stream brings is asked for only after something was done. */
const isDue = (topic) => (navigator.locks ? due[topic] === 0 : Date.now() >= (due[topic] ?? 0));

async function poll(topic) {
  asking.add(topic);
  due[topic] = navigator.locks ? undefined : Date.now() + PERIOD[topic];
  try {
    tell(topic, await get(...PATHS[topic], { timeout: 15_000 }));
    if (navigator.locks) return;
    failures = 0;
    become('polling');
  } catch (error) {
    // A readiness of 503 is an answer.
    if (topic === 'ready' && error.body?.checks) return tell(topic, error.body);
    if (error.status === 401 || error.status === 403) return;
    become('retrying');
    if (navigator.locks) return;
    failures += 1;
    due[topic] = Date.now() + pause();
  } finally {
    asking.delete(topic);
  }
}

const pause = () => Math.min(30_000, 1000 * 2 ** Math.min(failures, 5));

// ---- the stream

/** Listens to what is wanted; one stream has all of it. */
function attend(topics) {
  if (stream && Date.now() - stream.heard > SILENCE) hangUp();
  const isEnough = stream && topics.every((topic) => stream.topics.has(topic));
  if (!isEnough) return listen(topics);
  if (stream.topics.size === topics.length) stream.surplus = Infinity;
  else if (stream.surplus === Infinity) stream.surplus = Date.now();
  else if (Date.now() - stream.surplus > SURPLUS) listen(topics);
}

function hangUp() {
  stream?.ends.abort();
  stream = null;
}

async function listen(topics) {
  hangUp();
  if (topics.length === 0) return;
  const mine = (stream = { topics: new Set(topics), ends: new AbortController(), heard: Date.now(), surplus: Infinity });
  try {
    await readStream([...mine.topics], {
      signal: mine.ends.signal,
      heard: () => {
        mine.heard = Date.now();
        failures = 0;
        become('live');
      },
      told: (topic, value) => (isEvents(topic) ? tell(topic, value, false) : PATHS[topic] && tell(topic, value)),
    });
  } catch {
    if (stream !== mine) return;
    failures += 1;
    become('retrying');
  }
  // Not at once: a relay that stops must not be asked a thousand times.
  mine.heard = Infinity;
  setTimeout(() => stream === mine && ((stream = null), pump()), pause());
}

// ---- where there are no locks

async function ask(topic) {
  if (loops.has(topic)) return;
  const mine = new AbortController();
  loops.set(topic, mine);
  await pollEvents(topic, () => leads && demanded().has(topic), mine.signal, (value) => tell(topic, value, false));
  setTimeout(() => loops.get(topic) === mine && loops.delete(topic), 3000);
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
  hangUp();
  for (const loop of loops.values()) loop.abort();
  loops.clear();
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
