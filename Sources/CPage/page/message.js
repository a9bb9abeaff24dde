// message.js — one message wherever it is: why it waits, who got it, what happened, what it says. All of it is foreign text.

import { address, beginning, get, may } from './api.js';
import { fail, notice } from './act.js';
import { doTo } from './deed.js';
import { h, said, show } from './dom.js';
import { bytes, count, span, time } from './format.js';
import { viewKeys } from './keys.js';
import { stateChip } from './queue.js';
import { t, knows } from './words.js';

export default async function message({ main, rest: [id], isCurrent }) {
  const summary = h('section', { class: 'card' });
  const waits = h('section', { class: 'card strip is-warn', hidden: true });
  const recipients = h('section', { class: 'card' });
  const timeline = h('section', { class: 'card' });
  const content = h('section', { class: 'card' });
  const actions = h('div', { class: 'row no-print' });
  show(main, h('div', { class: 'row spread' }, h('h1', { class: 'mono' }, id), actions), h('p', { class: 'print-only soft' }, t('message.printed', { place: location.href })), waits, summary, recipients, timeline, content);

  async function load() {
    let known;
    try {
      known = await get(`/v1/messages/${encodeURIComponent(id)}`);
    } catch (error) {
      if (error.status !== 404) throw error;
      return void (isCurrent() && show(main, h('section', { class: 'card' }, h('h1', { class: 'mono' }, id), h('p', {}, t('message.none')))));
    }
    if (!isCurrent()) return;
    drawActions(known);
    drawWaits(waits, known.queue);
    drawSummary(summary, known);
    drawRecipients(recipients, known);
    drawTimeline(timeline, known);
    if (!content.hasChildNodes()) drawContent(content, known);
  }

  function drawActions({ queue }) {
    const button = (action, danger) => h('button', { type: 'button', class: danger ? 'danger' : '', onclick: () => doTo(action, [id]).then((done) => done && load().catch(fail)) }, t(`queue.${action}`));
    const focus = [...actions.children].indexOf(document.activeElement);
    show(
      actions,
      queue && may('queue:write') && [button('retry'), queue.state === 'dying' ? button('revive') : queue.held ? button('release') : button('hold'), button('remove', true)],
      h('button', { type: 'button', onclick: () => navigator.clipboard?.writeText(location.href).then(() => notice(t('copied'))) }, t('message.copy')),
      h('button', { type: 'button', onclick: () => print() }, t('print')),
    );
    actions.children[focus]?.focus();
  }

  await load();
  // A message that is about to go is worth watching; the question costs the relay one look-up.
  const timer = setInterval(() => document.hidden || load().catch(() => {}), 5000);
  viewKeys({ r: () => load().catch(fail) });
  return () => clearInterval(timer);
}

function drawWaits(node, queue) {
  node.hidden = !queue;
  if (!queue) return;
  show(
    node,
    h(
      'div',
      {},
      h('h2', {}, t('message.waits'), ' ', stateChip(queue)),
      h('ul', { class: 'plain' }, queue.waiting_because.map((one) => h('li', {}, said(one.text, 500), one.until && [' ', t('message.until', { time: '' }), time(one.until)]))),
      queue.last_reply && h('p', {}, said(queue.last_reply.text, 500), ' ', h('span', { class: 'chip' }, queue.last_reply.reason), queue.last_reply.host && [' ', said(queue.last_reply.host, 200)]),
    ),
  );
}

function drawSummary(node, known) {
  const queue = known.queue;
  const accepted = known.accepted_at ?? queue?.queued_at;
  const facts = [
    [t('col.sender'), said((known.sender ?? queue?.sender) || '<>', 500)],
    [t('message.accepted'), time(accepted, { full: true })],
    known.finished_at && [t('state.delivered'), t('message.gone', { time: '' }), time(known.finished_at, { full: true })],
    [t('message.size'), bytes(known.size_bytes ?? queue?.size_bytes)],
    queue && [t('col.route'), queue.routes.map((name) => h('a', { href: `#/destination/${encodeURIComponent(name)}` }, said(name, 200)))],
    queue && [t('col.attempts'), count(queue.attempts)],
    queue?.held && [t('state.held'), said(queue.held.reason, 300), ' ', t('message.held', { time: '' }), time(queue.held.since, { full: true })],
    known.header_message_id && [t('message.message-id'), said(known.header_message_id, 1000)],
    known.tag && [t('message.tag'), said(known.tag, 300)],
    known.user && [t('message.user'), said(known.user, 300)],
    queue?.envelope_id && [t('message.envid'), said(queue.envelope_id, 300)],
  ].filter(Boolean);
  show(node, h('h2', {}, t('message.envelope')), h('dl', { class: 'facts' }, facts.map(([name, ...value]) => [h('dt', {}, name), h('dd', {}, value)])), !queue && h('p', { class: 'soft' }, t('message.not-here')));
}

function drawRecipients(node, known) {
  const list = known.queue?.recipients ?? known.recipients ?? [];
  const fates = new Map((known.recipients ?? []).map((one) => [one.address, one]));
  const shown = list.slice(0, 200);
  show(
    node,
    h('h2', {}, `${t('message.recipients')} (${count(list.length)})`),
    h(
      'div',
      { class: 'scroll', role: 'region', tabindex: '0', 'aria-label': t('message.recipients') },
      h(
        'table',
        { class: 'fold' },
        h('thead', {}, h('tr', {}, ['col.recipients', 'col.state', 'col.reply', 'col.attempts', 'col.next_attempt_at'].map((key) => h('th', { scope: 'col' }, t(key))))),
        h('tbody', {}, shown.map((one) => recipient(one, fates.get(one.address)))),
      ),
    ),
    list.length > shown.length && h('p', { class: 'soft' }, t('queue.and-more', { n: list.length - shown.length })),
  );
}

function recipient(one, fate) {
  const reply = one.last_reply?.text ?? one.reply ?? fate?.reply;
  return h(
    'tr',
    {},
    h('td', { class: 'address', 'data-name': t('col.recipients') }, said(one.address, 300)),
    h('td', { class: 'keep', 'data-name': t('col.state') }, stateChip({ state: one.state ?? one.status })),
    h('td', { class: 'words', 'data-name': t('col.reply') }, reply ? said(reply, 500) : ''),
    h('td', { 'data-name': t('col.attempts') }, count(one.attempts)),
    h('td', { class: 'keep', 'data-name': t('col.next_attempt_at') }, one.next_attempt_at ? time(one.next_attempt_at) : ''),
  );
}

function drawTimeline(node, known) {
  const first = known.timeline[0]?.time;
  const steps = known.timeline.slice(-200).map((event) =>
    h('li', {}, h('span', {}, time(event.time), ' ', h('span', { class: 'soft' }, t('message.after', { span: span((Date.parse(event.time) - Date.parse(first)) / 1000) }))), h('span', {}, describe(event))),
  );
  show(node, h('h2', {}, t('message.timeline')), steps.length ? h('ol', { class: 'time' }, steps) : h('p', { class: 'soft' }, t('history.off')));
}

/** How long each stage of an attempt took. */
export const stages = (times) =>
  times && h('span', { class: 'soft stages' }, Object.entries(times).map(([name, n]) => t('message.stage', { name, n })).join(' · '));

/** An event in a line. */
export function describe(event) {
  const data = event.data ?? {};
  const where = data.mx?.host ? `${data.mx.host}${data.mx.ip ? ` [${data.mx.ip}]` : ''}${data.mx.port ? `:${data.mx.port}` : ''}` : '';
  const tls = data.tls?.version ? `${data.tls.version}` : '';
  const words = data.smtp ? [data.smtp.code, data.smtp.enhanced, data.smtp.text].filter(Boolean).join(' ') : '';
  return [
    h('strong', {}, event.type), ' ',
    data.recipient && [said(data.recipient, 200), ' '],
    where && [said(where, 200), ' '],
    tls && [h('span', { class: 'chip' }, said(tls, 60)), ' '],
    data.reason && [h('span', { class: 'chip warn', title: knows(`advice.${data.reason}`) ? t(`advice.${data.reason}`) : '' }, data.reason), ' '],
    words && [h('span', { class: 'soft' }, said(words, 500)), ' '],
    data.subject && [said(data.subject, 200), ' '],
    stages(data.stage_ms),
    data.changes && h('span', { class: 'soft' }, said(JSON.stringify(data.changes), 300)),
  ];
}

function drawContent(node, known) {
  node.hidden = !known.queue || !may('content:read');
  if (node.hidden) return;
  const path = `/v1/queue/${known.id}/content`;
  const link = h('a', { class: 'button', href: address(path).href, download: `${known.id}.eml` }, t('message.download'));
  const button = h('button', { type: 'button' }, t('message.content'));
  button.addEventListener('click', async () => {
    try {
      const { text: raw, isWhole } = await beginning(path);
      const text = raw.replaceAll('\r\n', '\n');
      const end = text.indexOf('\n\n');
      const [head, body] = end < 0 ? [text, ''] : [text.slice(0, end), text.slice(end + 2)];
      show(node, h('h2', {}, t('message.headers')), h('pre', {}, said(head, 65536)), h('h2', {}, t('message.body')), h('pre', {}, said(body, 65536)), !isWhole && h('p', { class: 'soft' }, t('message.cut')), link);
    } catch (error) {
      fail(error);
    }
  });
  show(node, h('div', { class: 'row' }, button, link));
}
