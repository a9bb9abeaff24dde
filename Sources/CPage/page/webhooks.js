// webhooks.js — who is told of events, how far each is, and what can be done about one that does not listen.

import { get, may, part } from './api.js';
import { act, fail } from './act.js';
import { changed } from './diff.js';
import { clean, facts, h, said, show } from './dom.js';
import { things } from './form.js';
import { time } from './format.js';
import { t } from './words.js';

const state = (row) => h('span', { class: `chip ${row.enabled ? 'good' : 'warn'}` }, t(row.enabled ? 'webhook.on' : 'webhook.off'));

const COLUMNS = [
  { key: 'name', label: t('webhook.name'), cell: (row) => h('a', { href: `#/webhooks/${encodeURIComponent(row.id)}` }, said(row.name, 100)), class: 'address' },
  { key: 'url', label: t('webhook.url'), cell: (row) => said(row.url, 200), class: 'words' },
  { key: 'types', label: t('webhook.types'), cell: (row) => said(row.types.join(', '), 200), class: 'address' },
  { key: 'enabled', label: t('col.state'), cell: state, class: 'keep' },
];

function buttons(item, reload) {
  const one = (key, path, body, more = {}) =>
    act({ ask: t(`${key}.ask`, { name: item.name }), verb: t(`${key}.do`), request: () => ({ method: 'POST', path: `/v1/webhooks/${part(item.name)}/${path}`, body }), ...more })
      .then((done) => done && reload())
      .catch(fail);
  return h(
    'div',
    { class: 'row' },
    h('button', { type: 'button', onclick: () => one('webhook.test', 'test', {}, { done: (answer) => (answer.ok ? t('webhook.test.good') : t('webhook.test.bad', { why: clean(answer.text ?? answer.error ?? '', 300) })) }) }, t('webhook.test')),
    h('button', { type: 'button', onclick: () => one('webhook.enable', 'enable', {}, { done: () => t('webhook.enable.done', { name: item.name }) }) }, t('webhook.enable')),
  );
}

function extra(item, reload) {
  if (!item) return [];
  const deliveries = h('section', { class: 'card' });
  get(`/v1/webhooks/${part(item.name)}/deliveries`)
    .then((page) =>
      show(
        deliveries,
        h('h2', {}, t('webhook.deliveries')),
        page.items.length === 0
          ? h('p', { class: 'soft' }, t('nothing'))
          : h('ul', { class: 'plain' }, page.items.slice(0, 20).map(delivery)),
      ),
    )
    .catch(() => deliveries.remove());
  return [may('webhooks:write') && buttons(item, reload), item.status && h('section', { class: 'card' }, h('h2', {}, t('col.state')), facts(item.status)), deliveries];
}

const delivery = (one) =>
  h(
    'li',
    {},
    time(one.at), ' ',
    h('span', { class: `chip ${one.result === 'failed' ? 'bad' : 'good'}` }, one.result), ' ',
    t('webhook.events', { n: one.events ?? 0 }), ' ',
    h('span', { class: 'soft' }, said([one.status, one.text].filter(Boolean).join(' '), 300)),
  );

/** What a read says and a change does not take. */
const plain = ({ status, name, ...rest }) => rest;

export default (view) =>
  things(view, {
    list: '/v1/webhooks',
    scope: 'webhooks:write',
    title: t('view.webhooks'),
    nameField: t('webhook.name'),
    words: { none: t('webhook.none'), fresh: t('webhook.new'), saved: (answer) => answer?.secret && t('webhook.secret', { secret: answer.secret }) },
    columns: COLUMNS,
    fields: [
      { name: 'url', label: t('webhook.url'), read: (item) => item.url },
      { name: 'types', label: t('webhook.types'), help: t('webhook.types.help'), type: 'lines', read: (item) => item.types },
      { name: 'enabled', label: t('webhook.on'), type: 'checkbox', initial: true, read: (item) => item.enabled },
      { name: 'allow_private', label: t('webhook.private'), type: 'checkbox', read: (item) => item.allow_private },
    ],
    read: plain,
    toBody: (values, item) => {
      const change = changed(item ?? { types: [], enabled: true, allow_private: false }, values);
      // The first thing that is asked of a new one.
      if (!item) change.url = values.url;
      return change;
    },
    extra,
  });
