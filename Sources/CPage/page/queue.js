// queue.js — what waits: one filter, whose address is the state; rows that stay while new ones are only counted.

import { get, may } from './api.js';
import { fail } from './act.js';
import { doTo, doToAll } from './deed.js';
import { clean, h, said, show } from './dom.js';
import { age, bytes, count, time, until, span } from './format.js';
import { fromAddress, parse, text, toAddress } from './filter.js';
import { viewKeys } from './keys.js';
import { follow, latest } from './live.js';
import { Rows } from './table.js';
import { knows, t } from './words.js';

const PAGE = 100;
/** Rows that are drawn at once, more than a screen has; the others follow when these are seen. */
const FIRST = 30;
/** What was shown, so that going back shows it again at the same row. */
let kept = null;

const COLUMNS = {
  state: { sort: null, class: 'keep', cell: (row) => stateChip(row) },
  queued_at: { sort: 'queued_at', class: 'num keep', cell: (row) => h('span', { title: row.queued_at }, age(row.queued_at)) },
  sender: { class: 'address', cell: (row) => said(row.sender || '<>', 200) },
  recipients: { class: 'address', cell: (row) => recipients(row) },
  route: { class: 'address', cell: (row) => row.routes.map((name) => h('div', {}, said(name, 100))) },
  reply: { class: 'words', cell: (row) => (row.held?.reason ? said(row.held.reason, 200) : row.last_reply ? said(row.last_reply.text, 240) : '') },
  attempts: { class: 'num', cell: (row) => count(row.attempts) },
  next_attempt_at: { sort: 'next_attempt_at', class: 'keep', cell: (row) => next(row) },
  size: { sort: 'size', class: 'num keep', cell: (row) => bytes(row.size_bytes) },
  id: { class: 'mono keep', cell: (row) => h('a', { href: `#/message/${row.id}` }, row.id) },
};
const USUAL = ['state', 'queued_at', 'sender', 'recipients', 'reply', 'attempts', 'next_attempt_at', 'id'];

export function stateChip(row) {
  const kind = { held: 'warn', dying: 'bad', temp_failed: 'warn', in_progress: 'good', bounced: 'bad', delivered: 'good' }[row.state] ?? 'soft';
  const word = knows(`state.${row.state}`) ? t(`state.${row.state}`) : row.state;
  return h('span', { class: `chip ${kind}` }, row.isGone ? t('queue.gone') : word);
}

function recipients(row) {
  const rest = row.recipient_count - row.recipients.length;
  return [row.recipients.slice(0, 3).map((one) => h('div', {}, said(one, 200))), row.recipient_count > 3 && h('div', { class: 'soft' }, t('queue.and-more', { n: Math.max(rest, row.recipient_count - 3) }))];
}

function next(row) {
  if (!row.next_attempt_at) return '';
  const seconds = until(row.next_attempt_at);
  return h('span', { title: row.next_attempt_at }, seconds > 0 ? t('in', { span: span(seconds) }) : t('now-word'));
}

export default async function queue({ main, query: params, isCurrent }) {
  const query = fromAddress(params);
  const address = location.hash;
  const columns = (params.get('cols') ?? '').split(',').filter((name) => COLUMNS[name]);
  let chosen = columns.length ? columns : USUAL;
  let state = { rows: [], next: null, total: 0, accepted: latest('stats')?.totals.accepted };

  const go = (next, cols = chosen) => {
    const parts = [toAddress(next), cols.join() === USUAL.join() ? '' : `cols=${cols.join()}`].filter(Boolean);
    location.hash = `#/queue${parts.length ? `?${parts.join('&')}` : ''}`;
  };
  const rows = new Rows({
    label: t('view.queue'),
    picks: may('queue:write'),
    columns: chosen.map((name) => ({ key: name, label: t(`col.${name}`), ...COLUMNS[name] })),
    onOpen: (row) => {
      keep();
      location.hash = `#/message/${row.id}`;
    },
    onSort: (sort) => go({ ...query, sort }),
    onPick: () => drawSelection(),
  });
  rows.setSort(query.sort ?? 'queued_at');
  const bar = filterBar(query, (next) => go({ ...next, ...(query.sort ? { sort: query.sort } : {}) }));
  const fresh = h('button', { type: 'button', class: 'primary', hidden: true, onclick: () => load() });
  const total = h('p', { class: 'soft', role: 'status' });
  const more = h('button', { type: 'button', hidden: true, onclick: () => loadMore() }, t('more'));
  const selection = h('div', { class: 'selection row spread', hidden: true });
  const refresh = h('button', { type: 'button', onclick: () => load() }, t('refresh'));
  show(
    main,
    h('h1', { class: 'hidden' }, t('view.queue')),
    h('section', { class: 'card' }, bar.node, h('div', { class: 'row spread' }, total, h('div', { class: 'row' }, fresh, refresh, columnChoice(chosen, (cols) => go(query, cols))))),
    h('section', { class: 'card' }, rows.node, h('p', { class: 'row' }, more)),
    selection,
  );

  function keep() {
    kept = { address, state, picked: new Set(rows.picked), active: rows.active, scroll: scrollY };
  }

  function draw() {
    const all = state.rows;
    const isFirst = rows.nodes.size === 0 && all.length > FIRST && kept === null;
    rows.setRows(isFirst ? all.slice(0, FIRST) : all);
    if (isFirst) requestAnimationFrame(() => setTimeout(() => isCurrent() && state.rows === all && rows.setRows(all)));
    more.hidden = !state.next;
    fresh.hidden = true;
    show(total, state.total === 0 ? t('queue.empty') : state.isExact ? t('queue.total', { n: state.total }) : t('queue.total.about', { n: state.total }));
    drawSelection();
  }

  async function load() {
    const accepted = latest('stats')?.totals.accepted;
    const page = await get('/v1/queue', { ...query, limit: PAGE }).catch((error) => isCurrent() && fail(error));
    if (!page || !isCurrent()) return;
    state = { rows: page.items, next: page.next, total: page.total, isExact: page.total_exact, accepted };
    draw();
  }

  async function loadMore() {
    try {
      const page = await get('/v1/queue', { cursor: state.next, limit: PAGE });
      state.rows = [...state.rows, ...page.items.filter((row) => !rows.rows.has(row.id))];
      state.next = page.next;
      draw();
    } catch (error) {
      // The listing was forgotten meanwhile: from the start.
      if (error.status === 410) load();
      else fail(error);
    }
  }

  function drawSelection() {
    const count = rows.picked.size;
    selection.hidden = count === 0;
    if (count === 0) return;
    const button = (action, danger) =>
      h('button', { type: 'button', class: danger ? 'danger' : '', onclick: () => doTo(action, [...rows.picked]).then((done) => done && (rows.pickNone(), load())) }, t(`queue.${action}`));
    show(
      selection,
      h('span', { class: 'row' }, h('strong', {}, t('queue.selected', { n: count })), h('button', { type: 'button', class: 'quiet', onclick: () => rows.pickNone() }, t('queue.clear')), state.total > count && h('button', { type: 'button', class: 'quiet', onclick: () => doToAll(query) }, t('queue.select-all', { n: state.total }))),
      h(
        'span',
        { class: 'row' },
        button('retry'), button('hold'), button('release'), button('remove', true),
      ),
    );
  }

  viewKeys({ ...rows.keys(), r: load, '/': () => bar.focus(), a: () => selection.querySelector('span:last-child button')?.focus() });
  if (kept?.address === address) {
    state = kept.state;
    rows.picked = kept.picked;
    draw();
    if (kept.active) rows.setActive(kept.active);
    scrollTo(0, kept.scroll);
    kept = null;
  } else {
    await load();
  }
  const end = follow('stats', (stats) => {
    const n = stats.totals.accepted - (state.accepted ?? stats.totals.accepted);
    state.accepted ??= stats.totals.accepted;
    fresh.hidden = n <= 0;
    if (n > 0) show(fresh, t('queue.new', { n }));
  });
  return end;
}

/** The filter as one line; what is wrong with it is said before anything is asked. */
export function filterBar(query, go, kind = 'queue') {
  const input = h('input', { type: 'search', class: 'grow', value: text(query, kind), 'aria-label': t('queue.filter'), spellcheck: 'false', autocapitalize: 'off', autocomplete: 'off', maxlength: 1000 });
  const wrong = h('p', { class: 'bad', role: 'alert' });
  const form = h('form', { class: 'row', role: 'search' }, input, h('button', { type: 'submit' }, t('queue.filter')));
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const found = parse(input.value, kind);
    show(wrong, found.wrong === null ? '' : t('queue.wrong', { word: clean(found.wrong, 80) }));
    if (found.wrong === null) {
      input.blur();
      go(found.query);
    }
  });
  return { node: h('div', {}, form, wrong, h('p', { class: 'soft mono hint' }, t(`${kind}.filter.help`))), focus: () => (input.focus(), input.select()), value: () => parse(input.value, kind) };
}

function columnChoice(chosen, change) {
  const boxes = Object.keys(COLUMNS).map((name) => {
    const box = h('input', { type: 'checkbox', checked: chosen.includes(name) });
    box.addEventListener('change', () => change(Object.keys(COLUMNS).filter((one) => (one === name ? box.checked : chosen.includes(one)))));
    return h('label', { class: 'field check' }, box, h('span', {}, t(`col.${name}`)));
  });
  return h('details', {}, h('summary', {}, t('queue.columns')), boxes);
}
