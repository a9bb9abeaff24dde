// addresses.js — which of our addresses mail leaves from, and the name that goes with it: outbound_ip.ini.

import { changed } from './diff.js';
import { h, said } from './dom.js';
import { things } from './form.js';
import { t } from './words.js';

const COLUMNS = [
  { key: 'match', label: t('address.match'), cell: (row) => h('a', { href: `#/addresses/${encodeURIComponent(row.id)}` }, said(row.match, 200)), class: 'address' },
  { key: 'ip', label: t('address.ip'), cell: (row) => row.ip.map((one) => h('div', { class: 'mono' }, said(one, 100))) },
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
      { name: 'helo', label: t('address.helo'), read: (item) => item.helo ?? '' },
    ],
    toBody: (values, item) => {
      const change = changed(item ? { ip: item.ip, helo: item.helo ?? '' } : { helo: '' }, values);
      if (change.helo === '') change.helo = null;
      return change;
    },
  });
