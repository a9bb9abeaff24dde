// steps.js — a real message as a test, and its steps as they are taken: of the view that explains, and of a destination's.

import { lines } from './api.js';
import { act, field } from './act.js';
import { h, said, show } from './dom.js';
import { time } from './format.js';
import { stages } from './message.js';
import { t } from './words.js';

/** Asks, with the line of curl; gives the mail to be sent, or null when somebody thought better of it. */
export async function testMail({ from, to }, asks = false) {
  const text = `This is a test message of Martlet's page, sent at ${new Date().toISOString()}.`;
  const fields = asks ? { to: field(t('explain.recipient'), { value: to, required: true }), from: field(t('explain.sender'), { value: from, required: true }) } : {};
  const body = (given) => ({ from, to, ...given, subject: 'Test', text });
  return act({
    ask: t(asks ? 'test.ask.whom' : 'test.ask', { to }),
    verb: t('test.send'),
    fields,
    request: (given) => ({ method: 'POST', path: '/v1/tests', body: body(given) }),
    perform: async (given) => body(given),
  });
}

/** Sends it, and shows each step in `node` as it is taken. Throws Problem when it is refused. */
export async function watch(body, node, signal) {
  const list = h('ol', { class: 'time' });
  const title = h('h2', {}, t('test.way'));
  const state = h('p', { class: 'soft' }, t('act.working'));
  node.hidden = false;
  show(node, title, list, state);
  try {
    await lines('POST', '/v1/tests', {
      body,
      signal,
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
