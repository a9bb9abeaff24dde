// routes.js — next hops: routes.ini as a list, each as a form and as text.

import { changed } from './diff.js';
import { h, said } from './dom.js';
import { things } from './form.js';
import { t } from './words.js';

const TLS = ['', 'off', 'may', 'require', 'verify', 'dane'];
const address = (host) => (host.port ? `${host.exchange.includes(':') ? `[${host.exchange}]` : host.exchange}:${host.port}` : host.exchange);
const first = (name) => (item) => item.mx?.[0]?.[name] ?? '';

function way(row) {
  if (row.reject) return said(row.reject, 200);
  if (row.discard) return said(row.discard, 200);
  if (row.direct) return t('way.dns');
  return row.mx.map((host) => h('div', {}, said(address(host), 200)));
}

const COLUMNS = [
  { key: 'match', label: t('route.match'), cell: (row) => h('a', { href: `#/routes/${encodeURIComponent(row.id)}` }, said(row.match, 200)), class: 'address' },
  { key: 'mx', label: t('route.hosts'), cell: way, class: 'words' },
  { key: 'user', label: t('route.user'), cell: (row) => said(first('auth_user')(row), 200), class: 'address' },
  { key: 'tls', label: t('route.tls'), cell: (row) => first('tls')(row), class: 'keep' },
  { key: 'origin', label: t('config.file'), cell: (row) => said(row.variable ?? 'routes.ini', 100), class: 'keep' },
];

const FIELDS = [
  { name: 'mx', label: t('route.hosts'), help: t('route.hosts.help'), type: 'lines', read: (item) => (item.mx ?? []).map(address) },
  { name: 'auth_user', label: t('route.user'), read: first('auth_user') },
  { name: 'auth_pass', label: t('route.pass'), help: t('route.pass.help'), type: 'password', read: () => '' },
  { name: 'tls', label: t('route.tls'), choices: TLS, read: first('tls') },
];

/** Only what was changed is sent, so what the form does not know stays as it is. */
function toBody(values, item) {
  const old = new Map((item?.mx ?? []).map((host) => [address(host), host]));
  const before = { mx: [...old.keys()], auth_user: first('auth_user')(item ?? {}), auth_pass: '', tls: first('tls')(item ?? {}) };
  const change = changed(item ? before : { auth_user: '', auth_pass: '', tls: '' }, values);
  if (change.mx) change.mx = change.mx.map((line) => old.get(line) ?? line);
  if (change.mx?.some((host) => typeof host !== 'string')) change.mx = change.mx.map((host) => (typeof host === 'string' ? parts(host) : host));
  for (const name of ['auth_user', 'tls']) if (change[name] === '') change[name] = null;
  return change;
}

function parts(text) {
  const match = /^\[?([^\]]+?)\]?(?::(\d+))?$/.exec(text);
  return match?.[2] ? { exchange: match[1], port: Number(match[2]) } : { exchange: text };
}

export default (view) =>
  things(view, {
    list: '/v1/routes',
    scope: 'routes:write',
    title: t('view.routes'),
    nameField: t('route.match'),
    words: { none: t('route.none'), fresh: t('route.new'), saved: (answer) => answer?.messages_rerouted && `${t('act.save.done')} ${t('act.rerouted', { n: answer.messages_rerouted })}` },
    columns: COLUMNS,
    fields: FIELDS,
    secrets: ['auth_pass'],
    dry: true,
    toBody,
  });
