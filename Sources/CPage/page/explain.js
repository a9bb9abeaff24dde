// explain.js — which way mail would go, and a real test whose steps are shown as they happen.

import { get, lines, may } from './api.js';
import { act, fail, labelled, notice } from './act.js';
import { h, said, show } from './dom.js';
import { time } from './format.js';
import { stages } from './message.js';
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
  let following = null;

  async function ask() {
    const found = await get('/v1/explain', { recipient: recipient.value.trim(), sender: sender.value.trim() });
    if (!isCurrent()) return;
    answer.hidden = false;
    show(answer, h('h2', {}, t('destination.way')), way(found));
  }

  async function test() {
    const [to, from] = [recipient.value.trim(), sender.value.trim()];
    if (!to || !from) return notice(t('test.need'), { bad: true });
    const text = `This is a test message of Martlet's page, sent at ${new Date().toISOString()}.`;
    const body = { from, to, subject: 'Test', text };
    const done = await act({ ask: t('test.ask', { to }), verb: t('test.send'), request: () => ({ method: 'POST', path: '/v1/tests', body }), perform: async () => true });
    if (done && isCurrent()) await watch(body);
  }

  /** Each step as it is taken. */
  async function watch(body) {
    following?.abort();
    const mine = (following = new AbortController());
    const list = h('ol', { class: 'time' });
    const title = h('h2', {}, t('test.way'));
    const state = h('p', { class: 'soft' }, t('act.working'));
    steps.hidden = false;
    show(steps, title, list, state);
    try {
      await lines('POST', '/v1/tests', {
        body,
        signal: mine.signal,
        each: (one) => {
          if (one.id) show(title, t('test.way'), ' ', h('a', { class: 'mono', href: `#/message/${one.id}` }, one.id));
          list.append(h('li', { 'data-step': one.step }, time(one.at), h('span', {}, step(one))));
          if (one.step === 'end') state.remove();
        },
      });
      if (state.isConnected) show(state, t('step.cut'));
    } catch (error) {
      if (error.name === 'AbortError') return;
      state.remove();
      throw error;
    }
  }

  form.addEventListener('submit', (event) => {
    event.preventDefault();
    ask().catch(fail);
  });
  show(main, h('h1', { class: 'hidden' }, t('view.explain')), form, answer, steps);
  if (recipient.value) await ask().catch(fail);
  return () => following?.abort();
}

/** A step in a line. */
function step(one) {
  const words = one.step === 'end' ? t(`step.end.${one.state}`) : t(`step.${one.step}`);
  const tint = { trouble: 'warn', end: one.state === 'delivered' ? 'good' : 'warn' }[one.step];
  const text = one.step === 'session' ? one.text || t('step.plain') : one.text;
  return [
    h('strong', { class: tint }, words), ' ',
    one.peer && [said(one.peer, 200), ' '],
    text && [said(text, 600), ' '],
    one.until && [t('message.until', { time: '' }), time(one.until), ' '],
    stages(one.stage_ms),
  ];
}
