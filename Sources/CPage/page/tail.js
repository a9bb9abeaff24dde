// tail.js — what happens, as it happens: the newest at the top, five hundred at most, still while somebody points at it.

import { get } from './api.js';
import { h, show } from './dom.js';
import { time } from './format.js';
import { parse } from './filter.js';
import { follow } from './live.js';
import { describe } from './message.js';
import { viewKeys } from './keys.js';
import { eventsOf } from './stream.js';
import { t } from './words.js';

const MOST = 500;
const KINDS = ['message', 'delivery', 'report', 'destination', 'outbound', 'route', 'config', 'webhook'];

export default async function tail({ main }) {
  const filter = h('input', { type: 'search', class: 'grow', 'aria-label': t('live.filter'), placeholder: t('live.filter'), spellcheck: 'false' });
  const kinds = new Set(KINDS);
  const boxes = KINDS.map((kind) => {
    const box = h('input', { type: 'checkbox', checked: true });
    box.addEventListener('change', () => (box.checked ? kinds.add(kind) : kinds.delete(kind)));
    return h('label', { class: 'row' }, box, h('span', {}, kind));
  });
  const body = h('tbody');
  const empty = h('p', { class: 'soft' }, t('live.empty'));
  const scroll = h('div', { class: 'tail', role: 'log', 'aria-live': 'off', tabindex: '0', 'aria-label': t('view.live') }, h('table', { class: 'fold' }, h('caption', { class: 'hidden' }, t('view.live')), h('thead', {}, h('tr', {}, ['col.at', 'col.what', 'col.id'].map((key) => h('th', { scope: 'col' }, t(key))))), body));
  const state = h('span', { class: 'soft', role: 'status' });
  let isPaused = false;
  let isPointed = false;
  let waiting = [];

  const pause = h('button', { type: 'button', 'aria-pressed': 'false', onclick: () => stop(!isPaused) }, t('live.pause'));
  function stop(value) {
    isPaused = value;
    pause.setAttribute('aria-pressed', String(value));
    show(pause, t(value ? 'live.go' : 'live.pause'));
    flow();
  }

  const fits = (event) => {
    if (event.gap || event.leftOut) return true;
    if (!kinds.has(event.type.split('.')[0]) && KINDS.includes(event.type.split('.')[0])) return false;
    const text = asked() ? '' : filter.value.trim().toLowerCase();
    return !text || JSON.stringify(event).toLowerCase().includes(text);
  };

  /** What the relay itself can choose by: short words, as in History; any other text is looked for here. */
  function asked() {
    const text = filter.value.trim();
    const found = parse(text, 'history');
    return text && found.wrong === null && !found.query.status ? text : '';
  }

  function flow() {
    if (isPaused || isPointed) return show(state, waiting.length ? t('live.paused', { n: waiting.length }) : '');
    show(state, '');
    if (waiting.length === 0) return;
    const fresh = waiting.splice(0).reverse().map(row);
    body.prepend(...fresh);
    while (body.children.length > MOST) body.lastChild.remove();
    empty.hidden = true;
  }

  function row(event) {
    if (event.gap) return h('tr', {}, h('td', { colspan: '3', class: 'warn' }, t('live.gap')));
    if (event.leftOut) return h('tr', {}, h('td', { colspan: '3', class: 'soft' }, t('live.left-out', { n: event.leftOut })));
    const id = event.data?.message_id;
    return h('tr', {}, h('td', { class: 'keep', 'data-name': t('col.at') }, time(event.time)), h('td', { 'data-name': t('col.what') }, h('div', {}, describe(event))), h('td', { class: 'mono keep', 'data-name': t('col.id') }, id ? h('a', { href: `#/message/${id}` }, id) : ''));
  }

  scroll.addEventListener('pointerenter', () => (isPointed = true));
  scroll.addEventListener('pointerleave', () => ((isPointed = false), flow()));
  const take = (news) => {
    const events = news.gap ? [{ gap: true }] : [...(news.leftOut ? [{ leftOut: news.leftOut }] : []), ...news.events];
    waiting.push(...events.filter(fits));
    waiting = waiting.slice(-MOST);
    flow();
  };
  let topic = eventsOf(asked());
  let end = follow(topic, take);
  let timer = null;
  filter.addEventListener('input', () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      if (topic === eventsOf(asked())) return;
      end();
      topic = eventsOf(asked());
      end = follow(topic, take);
    }, 400);
  });
  show(
    main,
    h('h1', { class: 'hidden' }, t('view.live')),
    h('section', { class: 'card' }, h('div', { class: 'row' }, filter, pause, h('button', { type: 'button', onclick: () => (show(body), (empty.hidden = false)) }, t('live.clear')), state), h('fieldset', { class: 'row bare' }, h('legend', { class: 'hidden' }, t('live.types')), boxes)),
    h('section', { class: 'card' }, empty, scroll),
  );
  // What just happened, so that nobody looks at nothing.
  get('/v1/events', { limit: 1 })
    .then(({ newest }) => get('/v1/events', { after: Math.max(0, newest - 50), limit: 50 }))
    .then((page) => {
      if (body.hasChildNodes()) return;
      waiting.unshift(...page.items.filter(fits));
      flow();
    })
    .catch((error) => error.status === 404 && show(empty, t('history.off')));
  viewKeys({ '/': () => filter.focus(), x: () => stop(!isPaused), j: () => scroll.scrollBy(0, 60), k: () => scroll.scrollBy(0, -60) });
  return () => {
    clearTimeout(timer);
    end();
  };
}
