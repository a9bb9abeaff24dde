// diff.js — what a change changes, shown before it is made: the API's own lines where it gives them, else members that differ.

import { clean, h } from './dom.js';

/** Lines with + and -, each said by its sign and its colour. */
export function diffLines(text) {
  return h(
    'pre',
    { class: 'diff' },
    String(text).split('\n').filter((line) => line !== '').map((line) => h('div', { class: /^(\+\+\+|---) /.test(line) ? 'soft' : line.startsWith('+') ? 'plus' : line.startsWith('-') ? 'minus' : null }, clean(line, 1000))),
  );
}

const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

/** Members of `after` that are not as in `before`. */
export const changed = (before, after) => Object.fromEntries(Object.entries(after).filter(([name, value]) => !same(before?.[name], value)));

/** The same as lines; what is secret is only named. */
export function memberLines(before, change, secrets = []) {
  const shown = (name, value) => `${name} = ${secrets.includes(name) ? '…' : typeof value === 'string' ? value : JSON.stringify(value)}`;
  return Object.entries(change)
    .flatMap(([name, value]) => [before?.[name] === undefined ? null : `-${shown(name, before[name])}`, `+${shown(name, value)}`])
    .filter(Boolean)
    .join('\n');
}
