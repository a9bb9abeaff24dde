// staging.js — mail that goes nowhere real: sections [staging] of rewrite.ini.

import { changed } from './diff.js';
import { h, said } from './dom.js';
import { things } from './form.js';
import { t } from './words.js';

const target = (row) => (row.sink ? t('staging.sunk') : said(row.redirect ?? '', 200));

const COLUMNS = [
  { key: 'whose', label: t('staging.whose'), cell: (row) => h('a', { href: `#/staging/${encodeURIComponent(row.id)}` }, said(row.whose, 200)), class: 'address' },
  { key: 'target', label: t('staging.target'), cell: target, class: 'address' },
  { key: 'senders', label: t('staging.senders'), cell: (row) => said(row.senders.join(', '), 300), class: 'words' },
  { key: 'origin', label: t('config.file'), cell: (row) => said(row.origin, 100), class: 'keep' },
];

export default (view) =>
  things(view, {
    list: '/v1/staging',
    scope: 'config:write',
    title: t('view.staging'),
    nameField: t('staging.whose.help'),
    words: { none: t('staging.none'), fresh: t('staging.new') },
    columns: COLUMNS,
    fields: [
      { name: 'redirect', label: t('staging.redirect'), read: (item) => item.redirect ?? '' },
      { name: 'sink', label: t('staging.sink'), type: 'checkbox', read: (item) => item.sink },
      { name: 'senders', label: t('staging.senders'), help: t('staging.senders.help'), type: 'lines', read: (item) => item.senders },
    ],
    dry: true,
    toBody: (values, item) => {
      const before = { redirect: item?.redirect ?? '', sink: item?.sink ?? false, senders: item?.senders ?? [] };
      const change = changed(before, values);
      if (change.redirect === '') change.redirect = null;
      return change;
    },
  });
