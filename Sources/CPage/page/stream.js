// stream.js — the relay's stream of what changes by itself (`GET /v1/live`), read record by record.

import { address, doorbell, get } from './api.js';

/** The topic of events that fit a filter in short words: some of them, and how many were left out. */
export const eventsOf = (filter = '') => `events:${filter}`;
export const isEvents = (topic) => topic.startsWith('events:');
export const filterOf = (topic) => topic.slice('events:'.length);

/**
 * Reads a stream of some topics to its end: `heard()` with every sign of life, `told(topic, value)` with every record.
 * Throws where there is none, or where it breaks off.
 */
export async function readStream(topics, { signal, heard, told }) {
  const url = address('/v1/live', { topic: topics.filter((topic) => !isEvents(topic)) });
  for (const topic of topics) if (isEvents(topic)) url.searchParams.append('events', filterOf(topic));
  const headers = { Accept: 'text/event-stream', 'X-Martlet-Page': '1' };
  const answer = await fetch(url, { headers, signal, credentials: 'same-origin' });
  if (answer.status === 401) doorbell.dispatchEvent(new Event('login'));
  if (!answer.ok) throw new Error('no stream');
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  const known = new Map();
  let text = '';
  while (true) {
    const { done, value } = await reader.read();
    if (done) return;
    heard();
    const pieces = (text + value).split('\n\n');
    text = pieces.pop();
    for (const piece of pieces) take(piece, known, told);
  }
}

/** A record of the stream. */
function take(piece, known, told) {
  const part = (name) => piece.split('\n').find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
  const [topic, data] = [part('event'), part('data')];
  if (!topic || !data) return;
  const value = JSON.parse(data);
  if (topic !== 'events') return void told(topic, value);
  // What was never told, because this one came late to a sheet, was left out as well.
  const passed = Math.max(0, value.after - (known.get(value.q) ?? value.after));
  known.set(value.q, value.last);
  told(eventsOf(value.q), { events: value.items, leftOut: value.left_out + passed });
}

/** Asks for events as long as they are wanted, where no stream is to be had. */
export async function pollEvents(topic, isWanted, signal, told) {
  try {
    let after = (await get('/v1/events', { limit: 1 }, { signal })).newest;
    while (isWanted()) {
      const page = await get('/v1/events', { q: filterOf(topic), after, limit: 500, wait_s: 20 }, { signal });
      after = page.last;
      if (page.items.length) told({ events: page.items, leftOut: 0 });
    }
  } catch (error) {
    if (error.status === 410) told({ gap: true });
  }
}
