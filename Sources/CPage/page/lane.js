// lane.js — what the relay knows of a next hop where it keeps limits, pauses and breakers: each limit with its origin, who
// paused it, and what to do: pause, slow, reset.

import { ask, get, may, part } from './api.js';
import { act, fail, field } from './act.js';
import { diffLines } from './diff.js';
import { h, said, show } from './dom.js';
import { count, time } from './format.js';
import { pause, resume } from './lists.js';
import { t } from './words.js';

/**
 * Shows it in `node`, and what can be done in `actions`; nothing where this relay has no such
 * thing. `changed` is called after each deed. Gives what stops it: paused, broken, or null. */
export async function lane(name, node, actions, isCurrent, changed) {
  const known = await get(`/v1/destinations/${part(name)}`).catch((error) => (error.status === 404 ? null : Promise.reject(error)));
  if (!isCurrent() || !known) return;
  const again = () => changed().catch(fail);
  const parcels = known.lanes.reduce((sum, one) => sum + one.parcels, 0);
  node.hidden = false;
  show(node, known.lanes.map((one) => describe(one, known.lanes.length > 1, again)));
  show(actions, [
    may('queue:write') && h('button', { type: 'button', onclick: () => pause(`lane ${name}`, parcels).then((done) => done && again()) }, t('destination.pause')),
    may('config:write') && h('button', { type: 'button', onclick: () => slow(name).then((done) => done && again()).catch(fail) }, t('destination.slow')),
    may('queue:write') && known.lanes.some((one) => one.breaker.state !== 'closed') && h('button', { type: 'button', onclick: () => reset(name).then((done) => done && again()) }, t('destination.reset')),
  ].filter(Boolean));
  if (known.lanes.some((one) => one.pauses.length > 0)) return 'paused';
  return known.lanes.some((one) => one.breaker.state === 'open') ? 'broken' : null;
}

function describe(one, isOneOfMany, again) {
  const breaker = one.breaker;
  return h(
    'div',
    {},
    isOneOfMany && h('h3', {}, said(one.lane, 300)),
    breaker.state !== 'closed' && h('p', { class: 'warn' }, t(`breaker.${breaker.state}`), ' ', said(breaker.said, 400), breaker.next_probe_at && [' ', t('breaker.next'), ' ', time(breaker.next_probe_at)]),
    one.pauses.map((item) =>
      h('p', { class: 'warn row' }, h('span', {}, t('pause.line', { scope: item.scope, by: item.by || '?' }), ' ', said(item.reason, 300), item.until && [' ', t('message.until', { time: '' }), time(item.until)]), may('queue:write') && h('button', { type: 'button', onclick: () => resume(item.scope).then((done) => done && again()) }, t('destination.resume'))),
    ),
    one.estimated_send_at && h('p', { class: 'soft' }, t('destination.estimated'), ' ', time(one.estimated_send_at)),
    h('h2', {}, t('destination.limits')),
    one.limits.length === 0 ? h('p', { class: 'soft' }, t('none')) : limits(one.limits),
  );
}

function limits(list) {
  const names = [...new Set(list.flatMap((item) => Object.keys(item)))];
  const cell = (value) => (value === null || value === undefined ? '' : said(typeof value === 'object' ? JSON.stringify(value) : typeof value === 'number' ? count(value) : String(value), 200));
  return h(
    'div',
    { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': t('destination.limits') },
    h('table', { class: 'fold' }, h('thead', {}, h('tr', {}, names.map((name) => h('th', { scope: 'col' }, name.replaceAll('_', ' '))))), h('tbody', {}, list.map((item) => h('tr', {}, names.map((name) => h('td', { 'data-name': name.replaceAll('_', ' ') }, cell(item[name]))))))),
  );
}

/** A rate for it alone; what would change in the file is shown first. */
async function slow(name) {
  const path = `/v1/limits/${part(`lane ${name}`)}`;
  const there = await get(path).catch(() => null);
  const request = ({ rate }) => ({ method: there ? 'PATCH' : 'PUT', path, body: { rate } });
  const rate = await act({
    ask: t('slow.ask', { name }),
    verb: t('slow.look'),
    fields: { rate: field(t('slow.rate'), { value: there?.rate ?? '20/m', required: true }) },
    request,
    perform: async (fields) => fields.rate,
  });
  if (!rate) return null;
  const found = (await ask(request({ rate }).method, path, { query: { dry_run: true }, body: { rate } })).data;
  return act({ ask: t('act.save.ask'), verb: t('act.save.do'), extra: [diffLines(found.diff ?? '')], request: () => request({ rate }), done: () => t('slow.done', { name, rate }) });
}

const reset = (name) =>
  act({ ask: t('reset.ask', { name }), verb: t('reset.do'), request: () => ({ method: 'POST', path: `/v1/destinations/${part(name)}/reset`, body: {} }), done: () => t('reset.done', { name }) });
