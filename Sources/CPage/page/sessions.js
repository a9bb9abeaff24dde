// sessions.js — browsers that are logged in with a token, and the end of any of them.

import { get, may, part } from './api.js';
import { act, fail } from './act.js';
import { clean, h, said, show } from './dom.js';
import { time } from './format.js';
import { viewKeys } from './keys.js';
import { t } from './words.js';

export default async function sessions(view) {
  const { main, isCurrent } = view;
  const page = await get('/v1/sessions');
  if (!isCurrent()) return;
  const end = async (one) => {
    const done = await act({
      ask: t('session.end.ask', { name: clean(one.token, 80) }),
      verb: t('session.end.do'),
      danger: true,
      request: () => ({ method: 'DELETE', path: `/v1/sessions/${part(one.id)}` }),
      done: () => t('session.end.done'),
    });
    if (done) sessions(view).catch(fail);
  };
  const row = (one) =>
    h(
      'tr',
      {},
      h('td', { class: 'address', 'data-name': t('col.who') }, said(one.token, 100), one.is_this && h('div', { class: 'soft' }, t('session.this'))),
      h('td', { 'data-name': t('session.client') }, said(one.client ?? '', 60)),
      h('td', { class: 'words', 'data-name': t('col.what') }, said(one.agent, 200)),
      h('td', { class: 'keep', 'data-name': t('session.used') }, time(one.used_at)),
      h('td', {}, may('access:write') && h('button', { type: 'button', onclick: () => end(one).catch(fail) }, t('session.end'))),
    );
  show(
    main,
    h(
      'section',
      { class: 'card' },
      h('h1', {}, t('view.sessions')),
      page.items.length === 0
        ? h('p', { class: 'soft' }, t('session.none'))
        : h('table', { class: 'fold' }, h('thead', {}, h('tr', {}, ['col.who', 'session.client', 'col.what', 'session.used'].map((key) => h('th', { scope: 'col' }, t(key))), h('th', { scope: 'col' }, h('span', { class: 'hidden' }, t('session.end'))))), h('tbody', {}, page.items.map(row))),
    ),
  );
  viewKeys({ r: () => sessions(view).catch(fail) });
}
