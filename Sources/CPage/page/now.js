// now.js — is it delivering, what is stuck, since when, and what did they say: the first thing that an operator asks.

import { get, may } from './api.js';
import { act } from './act.js';
import { bars, spark, swatch, trend } from './chart.js';
import { h, said, show } from './dom.js';
import { bytes, count, rate, since, span, time } from './format.js';
import { heat } from './heat.js';
import { follow, hurry, latest } from './live.js';
import { viewKeys } from './keys.js';
import { t } from './words.js';

/** Seconds after which a queue is said to be stuck. */
const LONG = 1800;

export default async function now({ main }) {
  const strip = h('section', { class: 'card strip', 'aria-label': t('view.now') });
  const checks = h('section', { class: 'card', hidden: true });
  const tiles = h('dl', { class: 'tiles' });
  const day = h('section', { class: 'card' });
  const ages = h('section', { class: 'card heat' });
  const problems = h('section', { class: 'card' });
  const foot = h('p', { class: 'soft' });
  show(main, h('h1', { class: 'hidden' }, t('view.now')), strip, checks, tiles, h('div', { class: 'pair' }, ages, problems), day, foot);
  const ends = [
    follow('stats', (stats) => {
      headline(strip, stats);
      numbers(tiles, stats, latest('day'));
      trouble(checks, stats, latest('ready'));
      show(foot, t('now.started', { version: stats.version, span: span(since(stats.started_at)) }));
    }),
    follow('ready', (ready) => latest('stats') && trouble(checks, latest('stats'), ready)),
    follow('waiting', (waiting) => {
      heat(ages, waiting);
      words(problems, waiting);
    }),
    follow('nodes', () => latest('stats') && numbers(tiles, latest('stats'), latest('day'))),
    follow('day', (past) => {
      chart(day, past);
      if (latest('stats')) numbers(tiles, latest('stats'), past);
    }),
  ];
  // Who stopped something.
  if (may('queue:read')) ends.push(follow('pauses', () => latest('stats') && trouble(checks, latest('stats'), latest('ready'))));
  viewKeys({ r: () => hurry('stats', 'waiting', 'day', 'ready') });
  return () => ends.forEach((end) => end());
}

/** How many nodes there are, and what is not well with some. */
function nodes() {
  const items = latest('nodes')?.items ?? [];
  const other = ['draining', 'gone'].map((state) => [state, items.filter((one) => one.state === state).length]).filter(([, n]) => n > 0);
  return items.length > 1 && tile(t('view.nodes'), count(items.filter((one) => one.state === 'alive').length), other.map(([state, n]) => t(`now.nodes.${state}`, { n })).join(', '));
}

/** Redraws only what is different: buttons keep the focus that they have. */
function redraw(node, state, make) {
  const text = JSON.stringify(state);
  if (node.state === text) return;
  node.state = text;
  show(node, make());
}

function headline(node, stats) {
  const failed = (latest('ready')?.checks ?? []).find((one) => one.status === 'failed');
  const oldest = stats.oldest_age_s ?? 0;
  const kind = stats.disabled ? 'disabled' : failed ? 'refusing' : stats.messages === 0 ? 'idle' : oldest > LONG ? 'stuck' : 'delivering';
  const shown = kind === 'stuck' ? span(Math.floor(oldest / 60) * 60) : '';
  redraw(node, [kind, shown, stats.disabled_origin, failed?.detail], () => {
    node.classList.toggle('is-bad', kind === 'disabled' || kind === 'refusing');
    node.classList.toggle('is-warn', kind === 'stuck');
    const sentence = t(`now.${kind}`, { span: shown, why: failed?.detail });
    const detail = kind === 'disabled' ? t(`now.disabled.${stats.disabled_origin}`) : '';
    return [
      h('div', {}, h('strong', {}, sentence), detail && h('p', { class: 'soft' }, detail), h('p', { class: 'soft reason' })),
      h(
        'div',
        { class: 'row no-print' },
        may('queue:write') && h('button', { type: 'button', onclick: flush }, t('now.flush')),
        may('config:write') && h('button', { type: 'button', class: stats.disabled ? 'primary' : '', onclick: () => toggle(!stats.disabled) }, t(stats.disabled ? 'now.start' : 'now.stop')),
      ),
    ];
  });
  if (kind === 'disabled' && may('config:read')) {
    get('/v1/outbound').then((outbound) => node.querySelector('.reason') && show(node.querySelector('.reason'), said(outbound.disabled_reason))).catch(() => {});
  }
}

async function toggle(stops) {
  const stats = latest('stats') ?? { messages: 0 };
  const reason = h('input', { type: 'text', maxlength: 200 });
  reason.dataset.label = t('act.reason');
  await act({
    ask: t(stops ? 'act.stop.ask' : 'act.start.ask', { n: stats.messages }),
    verb: t(stops ? 'act.stop.do' : 'act.start.do'),
    danger: stops,
    fields: stops ? { reason } : {},
    request: (fields) => ({ method: 'PATCH', path: '/v1/outbound', body: stops ? { disabled: true, disabled_reason: fields.reason } : { disabled: false } }),
    done: () => t(stops ? 'act.stop.done' : 'act.start.done'),
    undo: () => toggle(!stops),
  });
  hurry('stats');
}

async function flush() {
  await act({
    ask: t('act.flush.ask', { n: latest('stats')?.temp_failed ?? 0 }),
    verb: t('act.flush.do'),
    request: () => ({ method: 'POST', path: '/v1/queue/flush', body: {} }),
    done: (answer) => t('act.flush.done', { n: answer.flushed }),
  });
  hurry('stats', 'waiting');
}

function tile(name, value, note, picture) {
  return h('div', { class: 'tile' }, h('dt', {}, name), h('dd', {}, value), h('dd', { class: 'note' }, note ?? '', picture));
}

function numbers(node, stats, past) {
  const samples = past?.samples ?? [];
  const oldest = samples.map((one) => one.oldest_age_s);
  const going = trend(oldest.slice(-8));
  const perSecond = (name) => rate(stats.rates_per_s[name]['1m']);
  const peak = (name) => (samples.some((one) => one[name] > 0) ? t('now.peak', { n: `${rate(Math.max(...samples.map((one) => one[name])) / past.step_s)}/s` }) : t('now.minute'));
  show(
    node,
    tile(t('now.queue'), count(stats.messages), [bytes(stats.queued_bytes), stats.held ? ` · ${t('now.held', { n: stats.held })}` : '']),
    tile(t('now.oldest'), stats.oldest_age_s === null ? '–' : span(stats.oldest_age_s), going ? `${going.sign} ${going.text}` : '', oldest.length > 1 && spark(oldest, t('now.oldest'))),
    tile(t('now.accepted'), t('now.per-s', { n: perSecond('accepted') }), peak('accepted')),
    tile(t('now.delivered'), t('now.per-s', { n: perSecond('delivered') }), peak('delivered')),
    tile(t('now.deferred'), t('now.per-s', { n: perSecond('deferred') }), peak('deferred')),
    tile(t('now.bounced'), t('now.per-s', { n: perSecond('bounced') }), peak('bounced')),
    stats.free_bytes !== null && tile(t('now.room'), bytes(stats.free_bytes)),
    tile(t('now.memory'), bytes(stats.memory_for_mail_bytes)),
    nodes(),
  );
}

function trouble(node, stats, ready) {
  const lines = [
    ...(ready?.checks ?? []).filter((one) => one.status === 'failed' || one.status === 'degraded').filter((one) => !['logins', 'configuration'].includes(one.name)).map((one) => `${one.name}: ${one.detail}`),
    ...(latest('pauses')?.items ?? []).map((one) => `${t('pause.line', { scope: one.scope, by: one.by || '?' })} ${one.reason}${one.until ? ` (${t('message.until', { time: one.until })})` : ''}`),
    ...stats.refused_logins.map((one) => t('now.login', one)),
    ...stats.config_errors.map((one) => t('now.file', { file: one.line ? `${one.file}:${one.line}` : one.file, reason: one.reason })),
  ];
  node.hidden = lines.length === 0;
  redraw(node, lines, () => [h('h2', { class: 'warn' }, `⚠ ${t('now.checks')}`), h('ul', { class: 'plain' }, lines.map((line) => h('li', {}, said(line))))]);
}

function chart(node, past) {
  const samples = past.samples;
  const sum = (key) => samples.reduce((total, one) => total + one[key], 0);
  const parts = [{ key: 'delivered', fill: 'f-good' }, { key: 'deferred', fill: 'f-warn' }, { key: 'bounced', fill: 'f-bad' }];
  const text = t('now.day.text', { step: span(past.step_s), delivered: count(sum('delivered')), deferred: count(sum('deferred')), bounced: count(sum('bounced')) });
  show(
    node,
    h('h2', {}, t('now.day', { span: span(Math.max(60, samples.length ? since(samples[0].at) : 0)) })),
    bars(samples, parts, text, node.clientWidth - 34),
    h('p', { class: 'legend' }, parts.map((part) => h('span', {}, swatch(part.fill), t(`now.${part.key}`), `: ${count(sum(part.key))}`))),
  );
}

function words(node, waiting) {
  redraw(node, [waiting.problems, Math.floor(Date.now() / 60_000)], () => [
    h('h2', {}, t('now.problems')),
    waiting.problems.length === 0
      ? h('p', { class: 'soft' }, t('now.problems.none'))
      : h('ul', { class: 'plain' }, waiting.problems.slice(0, 12).map(problem)),
    (waiting.other_problems > 0 || waiting.problems.length > 12) &&
      h('p', { class: 'soft' }, t('now.problems.more', { n: waiting.other_problems + Math.max(0, waiting.problems.length - 12) })),
  ]);
}

function problem(one) {
  const going = one.parcels > one.parcels_before ? '↗' : one.parcels < one.parcels_before ? '↘' : '→';
  const query = new URLSearchParams({ route: one.route, reason: one.reason });
  return h(
    'li',
    { class: 'problem' },
    h(
      'div',
      { class: 'head' },
      h('strong', {}, t('now.problems.count', { n: one.parcels })),
      h('span', { class: 'chip' }, one.reason),
      h('a', { href: `#/destination/${encodeURIComponent(one.route)}` }, said(one.route, 120)),
      since(one.seen_since) > 300 && h('span', { class: 'soft' }, `${going} `, t('now.problems.was', { n: one.parcels_before })),
    ),
    h('p', { class: 'words' }, said(one.reply, 300)),
    h('p', { class: 'soft' }, t('now.problems.seen', { span: span(since(one.oldest_at)) }), ' ', time(one.seen_since)),
    h('p', { class: 'row' }, h('a', { href: `#/queue?${query}` }, t('now.problems.mail')), help(one.reason), h('a', { href: `#/message/${one.example}` }, one.example)),
  );
}

/** What to do, by the class of what was said. */
const help = (reason) => h('details', {}, h('summary', {}, t('now.problems.do')), h('p', { class: 'soft' }, t(`advice.${reason}`)));
