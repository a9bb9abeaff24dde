// destination.js — one next hop: how it is and why, what it said last, what waits for it, the way there, and what can be done.

import { get, may } from './api.js';
import { fail } from './act.js';
import { outcomes, swatch } from './chart.js';
import { doToAll } from './deed.js';
import { h, said, show } from './dom.js';
import { count, span, time } from './format.js';
import { lane } from './lane.js';
import { follow, hurry, latest } from './live.js';
import { viewKeys } from './keys.js';
import { way } from './way.js';
import { testMail, watch } from './steps.js';
import { knows, t } from './words.js';

const BAD = new Set(['deferred', 'queued', 'bounced']);

export default async function destination({ main, rest: [name], isCurrent }) {
  const state = h('section', { class: 'card strip' });
  const ages = h('section', { class: 'card' });
  const strip = h('section', { class: 'card' });
  const errors = h('section', { class: 'card' });
  const road = h('section', { class: 'card' });
  const steps = h('section', { class: 'card', 'aria-live': 'polite', hidden: true });
  const more = h('section', { class: 'card', hidden: true });
  const deeds = h('span', { class: 'row' });
  const actions = h('div', { class: 'row no-print' }, deeds, buttons(name), may('submit') && h('button', { type: 'button', onclick: () => test().catch(fail) }, t('destination.test')));
  show(main, h('div', { class: 'row spread' }, h('h1', {}, said(name, 300)), actions), state, steps, more, h('div', { class: 'pair' }, ages, strip), errors, road);

  async function past() {
    const page = await get('/v1/history', { route: name, limit: 60 }).catch(() => null);
    if (!isCurrent()) return;
    const list = (page?.items ?? []).flatMap((message) => message.recipients.filter((one) => !one.route || one.route === name).map((one) => ({ ...one, id: message.id })));
    list.sort((a, b) => Date.parse(b.at ?? 0) - Date.parse(a.at ?? 0));
    drawStrip(strip, list.slice(0, 50));
    drawErrors(errors, list.filter((one) => BAD.has(one.status) && one.reply).slice(0, 10));
  }

  let following = null;
  async function test() {
    const body = await testMail({ from: '', to: isDomain(name) ? postmaster(name) : '' }, true);
    if (!body || !isCurrent()) return;
    following?.abort();
    following = new AbortController();
    steps.scrollIntoView({ block: 'nearest' });
    await watch(body, steps, following.signal);
    refresh();
  }

  let stopped = null;
  async function extra() {
    stopped = await lane(name, more, deeds, isCurrent, extra);
    if (latest('stats') && isCurrent()) drawState(state, name, latest('stats'), stopped);
  }

  const ends = [
    follow('stats', (stats) => drawState(state, name, stats, stopped)),
    follow('waiting', (waiting) => drawAges(ages, name, waiting)),
  ];
  const timer = setInterval(() => document.hidden || past(), 10_000);
  const refresh = () => {
    hurry('stats', 'waiting');
    past();
    extra().catch(fail);
  };
  viewKeys({ r: refresh });
  past().catch(fail);
  extra().catch(fail);
  wayThere(road, name);
  return () => {
    ends.forEach((end) => end());
    clearInterval(timer);
    following?.abort();
  };
}

function buttons(name) {
  if (!may('queue:write')) return [];
  return [
    h('button', { type: 'button', onclick: () => doToAll({ route: name }, 'retry') }, t('destination.flush')),
    h('button', { type: 'button', onclick: () => doToAll({ route: name }, 'hold') }, t('destination.hold')),
    may('routes:read') && h('a', { class: 'button', href: `#/routes/${encodeURIComponent(name)}` }, t('destination.route')),
    h('a', { class: 'button', href: `#/queue?${new URLSearchParams({ route: name })}` }, t('destination.waiting')),
  ];
}

function drawState(node, name, stats, stopped) {
  const rows = stats.destinations.filter((one) => one.route === name);
  const rests = rows.map((one) => one.rests_until).find(Boolean);
  const sum = (key) => rows.reduce((total, one) => total + one[key], 0);
  const text = JSON.stringify([rows, rests, stopped]);
  if (node.state === text) return;
  node.state = text;
  node.classList.toggle('is-bad', Boolean(rests) || stopped === 'broken');
  node.classList.toggle('is-warn', stopped === 'paused');
  show(
    node,
    h(
      'div',
      {},
      h('strong', {}, rests ? [t('destination.rests', { time: '' }), ' ', time(rests)] : t(stopped ? `destination.${stopped}` : rows.length ? 'destination.fine' : 'destination.idle')),
      rows.map((row) => h('p', { class: 'soft' }, t('destination.sessions', { n: row.sessions, limit: row.session_limit, why: limitedBy(row.limited_by) }))),
    ),
    h(
      'dl',
      { class: 'row' },
      [['col.parcels', 'parcels'], ['col.due', 'waiting'], ['col.sent', 'in_progress'], ['col.sessions', 'sessions']].map(([word, key]) => h('div', { class: 'tile' }, h('dt', {}, t(word)), h('dd', {}, count(sum(key))))),
    ),
  );
}

/** A word that is not known here is shown as it is. */
const limitedBy = (word) => (knows(`limit.${word}`) ? t(`limit.${word}`) : String(word ?? '').replaceAll('_', ' '));

function drawAges(node, name, waiting) {
  const row = waiting.routes.find((one) => one.route === name);
  const bounds = waiting.age_bounds_s;
  const lines = (row?.ages ?? []).map((value, index) => [index < bounds.length ? `≤ ${span(bounds[index])}` : `> ${span(bounds.at(-1))}`, value]).filter(([, value]) => value > 0);
  show(node, h('h2', {}, t('destination.ages')), lines.length ? h('dl', { class: 'facts' }, lines.map(([label, value]) => [h('dt', {}, label), h('dd', {}, count(value))])) : h('p', { class: 'soft' }, t('destination.idle')));
}

function drawStrip(node, list) {
  const good = list.filter((one) => one.status === 'delivered').length;
  const text = t('destination.outcomes.text', { n: list.length, good });
  show(
    node,
    h('h2', {}, t('destination.outcomes')),
    list.length === 0 ? h('p', { class: 'soft' }, t('nothing')) : [outcomes(list.map((one) => one.status).reverse(), text), h('p', { class: 'soft' }, text)],
    h('p', { class: 'legend' }, [['delivered', 'f-good'], ['deferred', 'f-warn'], ['bounced', 'f-bad']].map(([key, fill]) => h('span', {}, swatch(fill), t(`now.${key}`)))),
  );
}

function drawErrors(node, list) {
  show(
    node,
    h('h2', {}, t('destination.errors')),
    list.length === 0
      ? h('p', { class: 'soft' }, t('destination.errors.none'))
      : h('ul', { class: 'plain' }, list.map((one) => h('li', {}, h('p', { class: 'row' }, time(one.at), h('span', { class: 'chip' }, one.reason ?? one.status), h('a', { href: `#/message/${one.id}` }, one.id)), h('p', {}, said(one.reply, 400))))),
  );
}

/** Whether a destination is the domain of somebody, who has a postmaster (RFC 5321 §4.5.1). */
const isDomain = (name) => /^[^\s@*]+$/.test(name);
const postmaster = (name) => `postmaster@${name}`;

async function wayThere(node, name) {
  node.hidden = !may('routes:read') || !isDomain(name);
  if (node.hidden) return;
  show(node, h('h2', {}, t('destination.way')));
  try {
    node.append(way(await get('/v1/explain', { recipient: postmaster(name) }, { timeout: 30_000 })));
  } catch {
    node.hidden = true;
  }
}
