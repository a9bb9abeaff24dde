// explain.js — which way mail would go, and a real test whose steps are shown as they happen.

import { get, may } from './api.js';
import { act, fail, labelled, notice } from './act.js';
import { h, show } from './dom.js';
import { time } from './format.js';
import { describe } from './message.js';
import { t } from './words.js';
import { way } from './way.js';

export default async function explain({ main, query, isCurrent }) {
  const recipient = h('input', { type: 'text', name: 'recipient', required: true, value: query.get('recipient') ?? '', autocapitalize: 'off', spellcheck: 'false' });
  const sender = h('input', { type: 'text', name: 'sender', value: query.get('sender') ?? '', autocapitalize: 'off', spellcheck: 'false' });
  const answer = h('section', { class: 'card', 'aria-live': 'polite', hidden: true });
  const steps = h('section', { class: 'card', 'aria-live': 'polite', hidden: true });
  const form = h(
    'form',
    { class: 'card' },
    h('p', { class: 'soft' }, t('explain.text')),
    h('div', { class: 'pair' }, labelled(recipient, t('explain.recipient')), labelled(sender, t('explain.sender'))),
    h(
      'div',
      { class: 'row' },
      h('button', { type: 'submit', class: 'primary' }, t('explain.do')),
      may('submit') && h('button', { type: 'button', onclick: () => test().catch(fail) }, t('test.do')),
      may('submit') && h('span', { class: 'soft' }, t('test.text')),
    ),
  );
  let timer = 0;

  async function ask() {
    const found = await get('/v1/explain', { recipient: recipient.value.trim(), sender: sender.value.trim() });
    if (!isCurrent()) return;
    answer.hidden = false;
    show(answer, h('h2', {}, t('destination.way')), way(found));
  }

  async function test() {
    const [to, from] = [recipient.value.trim(), sender.value.trim()];
    if (!to || !from) return notice(t('test.need'), { bad: true });
    const text = `Subject: test\n\nThis is a test message of Martlet's page, sent at ${new Date().toISOString()}.`;
    const done = await act({
      ask: t('test.ask', { to }),
      verb: t('test.send'),
      request: () => ({ method: 'POST', path: '/v1/messages', body: { from, to: [to], subject: 'Test', text } }),
      done: () => t('test.done'),
    });
    if (done) watch(done.id ?? done.ids?.[0]);
  }

  /** Each event of the message, until it is over. */
  async function watch(id) {
    clearTimeout(timer);
    const known = await get(`/v1/messages/${id}`).catch(() => null);
    if (!isCurrent()) return;
    const events = known?.timeline ?? [];
    steps.hidden = false;
    show(
      steps,
      h('h2', {}, t('test.title'), ' ', h('a', { class: 'mono', href: `#/message/${id}` }, id)),
      h('ol', { class: 'time' }, events.map((event) => h('li', {}, time(event.time), h('span', {}, describe(event))))),
      !known?.finished_at && h('p', { class: 'soft' }, t('act.working')),
    );
    if (!known?.finished_at) timer = setTimeout(() => watch(id), 700);
  }

  form.addEventListener('submit', (event) => {
    event.preventDefault();
    ask().catch(fail);
  });
  show(main, h('h1', { class: 'hidden' }, t('view.explain')), form, answer, steps);
  if (recipient.value) await ask().catch(fail);
  return () => clearTimeout(timer);
}
