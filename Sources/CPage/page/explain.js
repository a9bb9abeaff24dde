// explain.js — which way mail would go, and a real test whose steps are shown as they happen.

import { get, may } from './api.js';
import { fail, labelled, notice } from './act.js';
import { h, show } from './dom.js';
import { testMail, watch } from './steps.js';
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
    const body = await testMail({ from, to });
    if (!body || !isCurrent()) return;
    following?.abort();
    following = new AbortController();
    await watch(body, steps, following.signal);
  }

  form.addEventListener('submit', (event) => {
    event.preventDefault();
    ask().catch(fail);
  });
  show(main, h('h1', { class: 'hidden' }, t('view.explain')), form, answer, steps);
  if (recipient.value) await ask().catch(fail);
  return () => following?.abort();
}
