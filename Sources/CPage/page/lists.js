// lists.js — pauses, what reactions hold down, suppressed addresses, nodes: lists of whatever of them this relay has, with what can be taken away.

import { get, may, part } from './api.js';
import { act, fail, field } from './act.js';
import { clean, h, said, show } from './dom.js';
import { time } from './format.js';
import { hurry } from './live.js';
import { viewKeys } from './keys.js';
import { knows, t } from './words.js';

// A list, the member that names one of its things, and the scope to take one away.
const LISTS = {
  pauses: { path: '/v1/pauses', name: 'scope', scope: 'queue:write', verb: 'pause.resume', words: 'pause.resume' },
  reactions: { path: '/v1/reactions', name: 'scope', scope: 'queue:write', verb: 'reaction.reset', words: 'reaction.reset', columns: ['scope', 'key', 'value', 'base', 'said', 'reaction', 'since', 'steps_at', 'origin'] },
  suppressions: { path: '/v1/suppressions', query: { limit: 500 }, name: 'target', scope: 'queue:write', verb: 'remove' },
  nodes: { path: '/v1/nodes', columns: ['name', 'state', 'messages', 'version', 'started_at', 'seen_at', 'is_this', 'incarnation'] },
};

export default async function lists(view) {
  const { path, query = {}, name, scope, verb, words: key = 'act.delete', columns } = LISTS[view.view];
  const page = await get(path, query);
  const items = page.items ?? [];
  const isOurs = name && may(scope);
  if (!view.isCurrent()) return;
  const names = columns ?? [...new Set(items.flatMap((item) => Object.keys(item)))].slice(0, 8);
  const again = () => lists(view).catch(fail);
  const remove = async (item) => {
    const done = await act({
      ask: t(`${key}.ask`, { name: clean(item[name], 100) }),
      verb: t(`${key}.do`),
      request: () => ({ method: 'DELETE', path: `${path}/${part(item[name])}`, query: { sender_domain: item.sender_domain } }),
      done: () => t(`${key}.done`, { name: clean(item[name], 100) }),
    });
    if (done) again();
  };
  const isDrainable = view.view === 'nodes' && items.length > 1 && may('queue:write');
  show(
    view.main,
    h(
      'section',
      { class: 'card' },
      h('div', { class: 'row spread' }, h('h1', {}, t(`view.${view.view}`)), view.view === 'pauses' && may('queue:write') && h('button', { type: 'button', onclick: () => pause('').then((done) => done && again()) }, t('destination.pause')), view.view === 'suppressions' && may('queue:write') && h('button', { type: 'button', onclick: () => suppress(path).then((done) => done && again()) }, t('add'))),
      items.length === 0
        ? h('p', { class: 'soft' }, t(view.view === 'reactions' ? 'reaction.none' : 'nothing'))
        : h(
            'div',
            { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': t(`view.${view.view}`) },
            h(
              'table',
              { class: 'fold' },
              h('thead', {}, h('tr', {}, names.map((one) => h('th', { scope: 'col' }, named(one))), (isOurs || isDrainable) && h('th', { scope: 'col' }, h('span', { class: 'hidden' }, t(isOurs ? 'remove' : 'node.drain'))))),
              h('tbody', {}, items.slice(0, 500).map((item) => h('tr', {}, names.map((one) => h('td', { class: 'address', 'data-name': named(one) }, cell(item[one]))), isOurs && h('td', {}, h('button', { type: 'button', onclick: () => remove(item).catch(fail) }, t(verb))), isDrainable && h('td', {}, drainOf(item, again))))),
            ),
          ),
      page.total > items.length && h('p', { class: 'soft' }, t('queue.and-more', { n: page.total - items.length })),
    ),
  );
  viewKeys({ r: again });
}

/** The name of a column: a word of ours where there is one. */
const named = (member) => (knows(`list.${member}`) ? t(`list.${member}`) : member.replaceAll('_', ' '));

/** A node that gives its mail away, or delivers again; one that is gone does neither. */
function drainOf(item, again) {
  const verb = { alive: 'drain', draining: 'resume' }[item.state];
  if (!verb) return '';
  const name = clean(item.name, 100);
  const change = () =>
    act({
      ask: t(`node.${verb}.ask`, { name, n: item.messages }),
      verb: t(`node.${verb}.do`),
      request: () => ({ method: 'POST', path: `/v1/nodes/${part(item.name)}/${verb}` }),
      done: () => t(`node.${verb}.done`, { name }),
    });
  return h('button', { type: 'button', onclick: () => change().then((done) => done && (hurry('nodes'), again())).catch(fail) }, t(`node.${verb}`));
}

function cell(value) {
  if (value === null || value === undefined) return '';
  if (typeof value === 'string' && /^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(value)) return time(value);
  return said(typeof value === 'object' ? JSON.stringify(value) : String(value), 300);
}

/** An address or a domain gets nothing from now on. */
const suppress = (path) =>
  act({
    ask: t('suppress.ask'),
    verb: t('suppress.do'),
    danger: true,
    fields: { target: field(t('suppress.target'), { required: true }), note: field(t('act.reason'), { maxlength: 200 }) },
    request: ({ target, note }) => ({ method: 'POST', path, body: { items: [{ target, reason: 'manual', ...(note ? { note } : {}) }] } }),
    done: (_, { target }) => t('suppress.done', { target: clean(target, 100) }),
  });

/** Stops a scope; `parcels`: what waits for it, where that is known. */
export async function pause(scope, parcels) {
  const what = field(t('pause.scope'), { value: scope, required: true });
  const done = await act({
    ask: scope ? t('pause.ask', { name: clean(scope, 100), n: parcels ?? 0 }) : t('pause.some'),
    verb: t('pause.do'),
    danger: true,
    fields: { ...(scope ? {} : { scope: what }), reason: field(t('act.reason'), { maxlength: 200 }), until: field(t('act.until'), { type: 'datetime-local' }) },
    request: (fields) => ({ method: 'POST', path: '/v1/pauses', body: { scope: scope || fields.scope, reason: fields.reason || null, until: fields.until ? new Date(fields.until).toISOString() : null } }),
    done: (_, fields) => t('pause.done', { name: clean(scope || fields.scope, 100) }),
    undo: (_, fields) => resume(scope || fields.scope),
  });
  hurry('stats');
  return done;
}

/** Lets a scope go on. */
export async function resume(scope) {
  const done = await act({
    ask: t('pause.resume.ask', { name: clean(scope, 100) }),
    verb: t('pause.resume.do'),
    request: () => ({ method: 'DELETE', path: `/v1/pauses/${part(scope)}` }),
    done: () => t('pause.resume.done', { name: clean(scope, 100) }),
  });
  hurry('stats');
  return done;
}
