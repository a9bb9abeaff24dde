// help.js — the keys, in a dialog.

import { h } from './dom.js';
import { t } from './words.js';

const KEYS = ['/', 'j', 'k', 'x', 'Enter', 'Escape', 'r', 'a', 't', '?', 'g n', 'g q', 'g h', 'g l', 'g b', 'g e'];

export function help() {
  const dialog = h(
    'dialog',
    { 'aria-labelledby': 'help-title' },
    h('h2', { id: 'help-title' }, t('key.title')),
    h('dl', { class: 'facts' }, KEYS.map((key) => [h('dt', {}, key.split(' ').map((one) => [h('kbd', {}, one), ' '])), h('dd', {}, t(`key.${key}`))])),
    h('form', { method: 'dialog', class: 'row end' }, h('button', { type: 'submit' }, t('close'))),
  );
  dialog.addEventListener('close', () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
