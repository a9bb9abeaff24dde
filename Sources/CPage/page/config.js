// config.js — who changed what: the events that tell it, the newest first, as far back as is remembered.

import { get } from './api.js';
import { h, said, show } from './dom.js';
import { diffLines } from './diff.js';
import { time } from './format.js';
import { t } from './words.js';

const KINDS = ['config.changed', 'route.changed', 'outbound.disabled', 'outbound.enabled', 'webhook.disabled'];
/** Pages of events that are looked through at most, from the newest back. */
const STEP = 20_000;
const MOST = 10;

export default async function changes({ main, isCurrent }) {
  const card = h('section', { class: 'card' }, h('h1', {}, t('config.changes')), h('p', { class: 'soft' }, t('loading')));
  show(main, card);
  let found = [];
  try {
    const { newest, oldest } = await get('/v1/events', { limit: 1 });
    let before = newest;
    for (let turn = 0; turn < MOST && before > 0 && found.length < 100; turn += 1) {
      const start = Math.max(before - STEP, oldest - 1, 0);
      found = [...(await between(start, before)), ...found];
      if (start <= oldest - 1) break;
      before = start;
    }
  } catch (error) {
    if (error.status !== 404) throw error;
    return void show(card, h('h1', {}, t('config.changes')), h('p', { class: 'soft' }, t('history.off')));
  }
  if (!isCurrent()) return;
  found.reverse();
  show(
    card,
    h('h1', {}, t('config.changes')),
    found.length === 0 ? h('p', { class: 'soft' }, t('config.changes.none')) : h('ol', { class: 'time' }, found.slice(0, 200).map((event) => h('li', {}, h('span', {}, time(event.time)), entry(event)))),
  );
}

async function between(after, end) {
  const events = [];
  let at = after;
  while (at < end) {
    const page = await get('/v1/events', { after: at, type: KINDS, limit: 200 });
    events.push(...page.items.filter((event) => event.seq <= end));
    if (page.last <= at || page.is_at_end) break;
    at = page.last;
  }
  return events;
}

function entry(event) {
  const data = event.data ?? {};
  const { subject, text, actor, diff, ...rest } = data;
  return h(
    'div',
    {},
    h('strong', {}, event.type), ' ', actor && [said(actor, 100), ' '], subject && said(subject, 300), text && h('p', {}, said(text, 500)),
    diff && diffLines(diff),
    !subject && !text && !diff && h('p', { class: 'soft' }, said(JSON.stringify(rest), 600)),
  );
}
