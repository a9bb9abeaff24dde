// addresses.js — which of our addresses mail leaves from, and the name that goes with it: outbound_ip.ini.

import { changed } from './diff.js';
import { h, said } from './dom.js';
import { things } from './form.js';
import { t } from './words.js';

const COLUMNS = [
  { key: 'match', label: t('address.match'), cell: (row) => h('a', { href: `#/addresses/${encodeURIComponent(row.id)}` }, said(row.match, 200)), class: 'address' },
  { key: 'ip', label: t('address.ip'), cell: (row) => [...row.ip, ...row.address].map((one) => h('div', { class: 'mono' }, said(one, 200))) },
  { key: 'pool', label: t('address.pool'), cell: (row) => said(row.pool ?? '', 100) },
  { key: 'helo', label: t('address.helo'), cell: (row) => said(row.helo ?? '', 200), class: 'address' },
];

export default (view) =>
  things(view, {
    list: '/v1/outbound-ips',
    scope: 'routes:write',
    title: t('view.addresses'),
    nameField: t('address.match'),
    words: { none: t('address.none'), fresh: t('address.new') },
    columns: COLUMNS,
    fields: [
      { name: 'ip', label: t('address.ip'), type: 'lines', read: (item) => item.ip },
      { name: 'pool', label: t('address.pool'), read: (item) => item.pool ?? '' },
      { name: 'address', label: t('address.members'), type: 'lines', read: (item) => item.address },
      { name: 'helo', label: t('address.helo'), read: (item) => item.helo ?? '' },
    ],
    toBody: (values, item) => {
      const none = { ip: [], helo: '', pool: '', address: [] };
      const change = changed(item ? { ip: item.ip, helo: item.helo ?? '', pool: item.pool ?? '', address: item.address } : none, values);
      if (change.helo === '') change.helo = null;
      // One takes the place of the other.
      if (change.pool === '') change.pool = null;
      if (change.pool && change.ip?.length === 0) delete change.ip;
      return change;
    },
  });
