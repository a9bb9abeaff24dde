// format.js — numbers, spans, sizes and times as people read them; times are local, with UTC beside them.

import { h } from './dom.js';

/** A format is slow to make, and the first view needs few: each when it is first asked. */
const late = (make) => {
  let made = null;
  return { format: (value) => (made ??= make()).format(value) };
};
const number = late(() => new Intl.NumberFormat());
const clock = late(() => new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' }));
const hour = late(() => new Intl.DateTimeFormat(undefined, { timeStyle: 'medium' }));
const minute = late(() => new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' }));

export const count = (value) => number.format(value ?? 0);

export function rate(value) {
  const one = value ?? 0;
  return one === 0 ? '0' : one < 0.005 ? '<0.01' : one < 10 ? one.toFixed(one < 0.1 ? 2 : 1) : number.format(Math.round(one));
}

const UNITS = [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']];

/** A span of seconds in its two largest units: 3 d 4 h. */
export function span(seconds) {
  const all = Math.max(0, Math.round(seconds ?? 0));
  const at = UNITS.findIndex(([size]) => all >= size);
  if (at < 0) return '0 s';
  const [size, name] = UNITS[at];
  const first = `${Math.floor(all / size)} ${name}`;
  if (at + 1 >= UNITS.length) return first;
  const [small, less] = UNITS[at + 1];
  const rest = Math.floor((all % size) / small);
  return rest > 0 ? `${first} ${rest} ${less}` : first;
}

export function bytes(value) {
  let rest = value ?? 0;
  for (const unit of ['B', 'KiB', 'MiB', 'GiB']) {
    if (rest < 1000) return unit === 'B' ? `${rest} B` : `${rest.toFixed(rest < 10 ? 1 : 0)} ${unit}`;
    rest /= 1024;
  }
  return `${rest.toFixed(1)} TiB`;
}

export const since = (text) => (Date.now() - Date.parse(text)) / 1000;
export const age = (text) => span(since(text));

const utc = (text) => `${new Date(text).toISOString().slice(0, 19).replace('T', ' ')} UTC`;

/** A time: local, and in UTC for the pointer and for readers of the page. */
export function time(text, { full = false } = {}) {
  if (!text) return '–';
  const date = new Date(text);
  const isToday = date.toDateString() === new Date().toDateString();
  const local = full || !isToday ? clock.format(date) : hour.format(date);
  const node = h('time', { datetime: text, title: utc(text) }, local);
  return full ? [node, h('span', { class: 'utc' }, utc(text))] : node;
}

export const shortTime = (text) => minute.format(new Date(text));

/** How long until a time, or since: in 5 min, 3 h ago are made by words. */
export const until = (text) => (Date.parse(text) - Date.now()) / 1000;
