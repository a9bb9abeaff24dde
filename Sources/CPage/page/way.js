// way.js — the way of mail as a tree of decisions, each with its because.

import { h, said } from './dom.js';
import { t } from './words.js';

const words = (text) => String(text).replaceAll('_', ' ');

const line = (name, value, because) =>
  value === null || value === undefined || value === ''
    ? null
    : [h('dt', {}, name), h('dd', {}, said(value, 500), because && h('span', { class: 'soft' }, ` — ${t('explain.because', { why: words(because) })}`))];

/** What `explain` answers, for people. */
export function way(answer) {
  return h(
    'div',
    {},
    answer.problem && h('p', { class: 'bad' }, said(answer.problem, 500)),
    answer.disabled && h('p', { class: 'warn' }, t('now.disabled'), ' ', said(answer.disabled_reason ?? '', 300)),
    h(
      'dl',
      { class: 'facts' },
      line(t('explain.recipient'), answer.recipient),
      line(t('way.alias'), answer.alias?.join(', ')),
      line(t('way.action'), words(answer.action), null),
      line(t('way.reply'), answer.action_text),
      line(t('way.route'), answer.route ?? t('way.dns'), answer.route_because),
      line(t('way.hop'), answer.next_hop, answer.next_hop_because),
      line(t('way.asked'), answer.asked.map((one) => `${one.found ? '✓' : '·'} ${one.match}`).join('   ')),
      line(t('way.lost'), answer.lost.map((one) => `${one.match} (${words(one.because)})`).join('; ')),
      line(t('way.demanded'), answer.demanded_tls),
      line(t('way.limits'), Object.entries(answer.limits).map(([name, value]) => `${words(name)} ${value}`).join(', ')),
    ),
    answer.mx.length > 0 && h('h3', {}, t('way.hosts')),
    h('ol', { class: 'time' }, answer.mx.map(host)),
  );
}

function host(one) {
  return h(
    'li',
    {},
    h('span', {}, said(`${one.exchange}${one.port ? `:${one.port}` : ''}`, 200)),
    h(
      'dl',
      { class: 'facts' },
      one.problem && line(t('way.problem'), one.problem),
      one.put_off && line(t('way.put-off'), t('yes')),
      line(t('way.addresses'), one.addresses.join(', '), one.addresses_because),
      line(t('way.source'), one.bind ?? t('way.system'), one.bind_because),
      line(t('way.helo'), one.helo, one.helo_because),
      line(t('way.tls'), one.tls, one.tls_because),
      line(t('way.dane'), one.dane),
      line(t('way.sts'), one.mta_sts),
      line(t('way.login'), one.auth_user),
      one.login_refused && line(t('way.refused'), one.login_refused.reply),
    ),
  );
}
