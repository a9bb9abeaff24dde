// login.js — a token for a cookie. The token is held by the input alone, and is gone with it.

import { ask } from './api.js';
import { clean, h, show } from './dom.js';
import { t } from './words.js';

/** Shows the form; resolves when somebody is logged in. */
export function login(main) {
  return new Promise((resolve) => {
    const token = h('input', { type: 'password', name: 'token', autocomplete: 'current-password', required: true, spellcheck: 'false', id: 'token' });
    const trouble = h('p', { class: 'bad', role: 'alert' });
    const go = h('button', { type: 'submit', class: 'primary' }, t('login.do'));
    const form = h(
      'form',
      { class: 'card login' },
      h('h1', {}, t('login.title')),
      h('p', {}, t('login.text')),
      h('input', { type: 'text', name: 'username', autocomplete: 'username', value: location.host, hidden: true }),
      h('label', { class: 'field' }, h('span', {}, t('login.token')), token),
      trouble,
      h('div', { class: 'row end' }, go),
      h('p', { class: 'soft' }, t('login.make')),
      h('pre', {}, 'martlet token create NAME --scope all --config DIR'),
    );
    form.addEventListener('submit', async (event) => {
      event.preventDefault();
      go.disabled = true;
      try {
        await ask('POST', '/v1/session', { headers: { Authorization: `Bearer ${token.value.trim()}` } });
        token.value = '';
        resolve();
      } catch (error) {
        show(trouble, t('login.wrong', { why: clean(error.message, 300) }));
        go.disabled = false;
        token.select();
      }
    });
    show(main, form);
    token.focus();
  });
}
