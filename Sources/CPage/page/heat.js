// heat.js — what waits by destination and age, as a table whose cells are as dark as they are full, and say their number.

import { h, said, show } from './dom.js';
import { count, span } from './format.js';
import { t } from './words.js';

/** The darkness of a cell, 0 to 5: by magnitude, so that one large number does not hide the others. */
function shade(value, most) {
  if (value === 0) return 0;
  return Math.min(5, Math.max(1, Math.ceil((Math.log(value + 1) / Math.log(most + 1)) * 5)));
}

const label = (bounds, index) => (index < bounds.length ? `≤ ${span(bounds[index])}` : `> ${span(bounds.at(-1))}`);

function target(row, bounds, index) {
  const query = new URLSearchParams({ route: row.route });
  if (index > 0) query.set('min_age_s', bounds[index - 1]);
  if (index < bounds.length) query.set('max_age_s', bounds[index]);
  return `#/queue?${query}`;
}

/** Fills a node; ages that nobody has are left out. */
export function heat(node, waiting) {
  const state = JSON.stringify([waiting.routes, waiting.other_routes]);
  if (node.state === state) return;
  node.state = state;
  const bounds = waiting.age_bounds_s;
  const used = [...bounds, null].map((_, index) => index).filter((index) => waiting.routes.some((row) => row.ages[index] > 0));
  const most = Math.max(1, ...waiting.routes.flatMap((row) => row.ages));
  if (waiting.routes.length === 0) {
    return void show(node, h('h2', {}, t('now.ages')), h('p', { class: 'soft' }, t('now.ages.none')));
  }
  const head = h('tr', {}, h('th', { scope: 'col' }, t('now.destination')), used.map((index) => h('th', { scope: 'col', class: 'num' }, label(bounds, index))), h('th', { scope: 'col', class: 'num' }, t('now.all')));
  const rows = waiting.routes.slice(0, 20).map((row) =>
    h(
      'tr',
      {},
      h('td', { class: 'name', title: row.route }, h('a', { href: `#/destination/${encodeURIComponent(row.route)}` }, said(row.route, 80))),
      used.map((index) => cell(row, bounds, index, most)),
      h('td', { class: 'num' }, count(row.parcels)),
    ),
  );
  const others = waiting.other_routes + Math.max(0, waiting.routes.length - 20);
  show(
    node,
    h('h2', {}, t('now.ages')),
    h('p', { class: 'soft' }, t('now.ages.text')),
    h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': t('now.ages') }, h('table', {}, h('thead', {}, head), h('tbody', {}, rows))),
    others > 0 && h('p', { class: 'soft' }, t('now.ages.others', { n: others })),
  );
}

function cell(row, bounds, index, most) {
  const value = row.ages[index];
  if (value === 0) return h('td', { class: 'cell' }, h('span', { 'aria-label': '0' }, '·'));
  const words = t('now.ages.cell', { n: value, route: row.route, age: label(bounds, index) });
  return h('td', { class: `cell h${shade(value, most)}` }, h('a', { href: target(row, bounds, index), 'aria-label': words }, count(value)));
}
