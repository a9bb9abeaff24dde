// history.js — did it arrive: finished mail and what became of each recipient, by the same grammar as the queue.

import { get } from './api.js';
import { fail } from './act.js';
import { h, said, show } from './dom.js';
import { bytes, time } from './format.js';
import { fromAddress, toAddress } from './filter.js';
import { viewKeys } from './keys.js';
import { filterBar, stateChip } from './queue.js';
import { Rows } from './table.js';
import { t } from './words.js';

let kept = null;

const COLUMNS = [
  { key: 'at', cell: (row) => time(row.accepted_at), class: 'keep' },
  { key: 'sender', cell: (row) => said(row.sender || '<>', 200), class: 'address' },
  { key: 'recipients', cell: (row) => people(row), class: 'words' },
  { key: 'size', cell: (row) => bytes(row.size_bytes), class: 'num keep' },
  { key: 'id', cell: (row) => h('a', { href: `#/message/${row.id}` }, row.id), class: 'mono keep' },
];

function people(row) {
  const shown = row.recipients.slice(0, 3);
  const rest = Math.max(row.recipient_count, row.recipients.length) - shown.length;
  return [
    shown.map((one) => h('div', {}, said(one.address, 200), ' ', stateChip({ state: one.status }), one.reply && h('div', { class: 'soft' }, said(one.reply, 240)))),
    rest > 0 && h('div', { class: 'soft' }, t('queue.and-more', { n: rest })),
  ];
}

export default async function history({ main, query: params, isCurrent }) {
  const query = fromAddress(params);
  const address = location.hash;
  let state = { rows: [], next: null };
  const go = (next) => (location.hash = `#/history${Object.keys(next).length ? `?${toAddress(next)}` : ''}`);
  const rows = new Rows({
    label: t('view.history'),
    columns: COLUMNS.map((column) => ({ label: t(`col.${column.key}`), ...column })),
    onOpen: (row) => {
      kept = { address, state, active: rows.active, scroll: scrollY };
      location.hash = `#/message/${row.id}`;
    },
  });
  const bar = filterBar(query, go, 'history');
  const text = h('p', { class: 'soft', role: 'status' }, t('loading'));
  const more = h('button', { type: 'button', hidden: true, onclick: () => load(state.next) }, t('more'));
  show(main, h('h1', { class: 'hidden' }, t('view.history')), h('section', { class: 'card' }, bar.node, text), h('section', { class: 'card' }, rows.node, h('p', { class: 'row' }, more)));

  function draw() {
    rows.setRows(state.rows);
    more.hidden = !state.next;
    show(text, state.rows.length === 0 && !state.next ? t('history.empty') : Object.keys(query).length ? '' : t('history.hint'));
  }

  async function load(cursor) {
    try {
      const page = await get('/v1/history', { ...query, limit: 50, cursor });
      if (!isCurrent()) return;
      const known = new Set(cursor ? state.rows.map((row) => row.id) : []);
      state = { rows: [...(cursor ? state.rows : []), ...page.items.filter((row) => !known.has(row.id))], next: page.next };
      draw();
    } catch (error) {
      if (!isCurrent()) return;
      if (error.status === 404) show(text, t('history.off'));
      else {
        show(text, '');
        fail(error);
      }
    }
  }

  viewKeys({ ...rows.keys(), r: () => load(), '/': () => bar.focus() });
  if (kept?.address === address) {
    state = kept.state;
    draw();
    if (kept.active) rows.setActive(kept.active);
    scrollTo(0, kept.scroll);
    kept = null;
  } else {
    await load();
  }
}
