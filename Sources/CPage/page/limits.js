// limits.js — limits.ini: how much and how fast, by provider, next hop, route, source, domain, sender and login.

import { changed } from './diff.js';
import { h, said } from './dom.js';
import { things } from './form.js';
import { t } from './words.js';

const KEYS = ['connections', 'per_connection', 'new_connections', 'rate', 'daily', 'recipients_per_transaction'];

const COLUMNS = [
  { key: 'scope', label: t('limit.scope'), cell: (row) => h('a', { href: `#/limits/${encodeURIComponent(row.id)}` }, said(row.scope, 200)), class: 'address' },
  ...KEYS.map((key) => ({ key, label: t(`limit.${key}`), cell: (row) => said(row[key] ?? '', 100), class: 'keep' })),
  { key: 'origin', label: t('config.file'), cell: (row) => said(row.origin, 100), class: 'keep' },
];

export default (view) =>
  things(view, {
    list: '/v1/limits',
    scope: 'config:write',
    title: t('view.limits'),
    nameField: t('limit.scope'),
    words: { none: t('limit.none'), fresh: t('limit.new') },
    columns: COLUMNS,
    fields: [{ name: 'mx', label: t('limit.mx'), type: 'lines', read: (item) => item.mx ?? [] }, ...KEYS.map((name) => ({ name, label: t(`limit.${name}`), read: (item) => item[name] ?? '' }))],
    dry: true,
    toBody: (values, item) => {
      const before = { mx: item?.mx ?? [], ...Object.fromEntries(KEYS.map((name) => [name, item?.[name] ?? ''])) };
      const change = changed(before, values);
      for (const name of KEYS) if (change[name] === '') change[name] = null;
      return change;
    },
  });
