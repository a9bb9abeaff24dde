// outbound.js — outbound.ini: every key of delivery with its value; what changes is shown, then saved.

import { ask, may } from './api.js';
import { fail, labelled, sentence } from './act.js';
import { changed } from './diff.js';
import { clean, h, show } from './dom.js';
import { broken, control, save, wordsOf } from './form.js';
import { t } from './words.js';

// The switch has its place on the first view; the other is a second name.
const ELSEWHERE = new Set(['disabled', 'disabled_reason', 'disabled_origin', 'maxTempFailures']);

const kind = (value) => (typeof value === 'boolean' ? 'checkbox' : typeof value === 'number' ? 'number' : 'text');

export default async function outbound(view) {
  const { main, isCurrent } = view;
  const { data, tag, answer } = await ask('GET', '/v1/outbound');
  if (!isCurrent()) return;
  const isOurs = may('config:write');
  const known = Object.fromEntries(Object.entries(data).filter(([name, value]) => !ELSEWHERE.has(name) && (value === null || typeof value !== 'object')));
  const inputs = Object.entries(known).map(([name, value]) => {
    const input = control({ type: kind(value), value });
    input.disabled = !isOurs;
    return [name, kind(value), input];
  });
  const trouble = h('p', { class: 'bad', role: 'alert' });
  const raw = h('textarea', { spellcheck: 'false', disabled: !isOurs, 'aria-label': t('config.raw'), value: JSON.stringify(known, null, 2) });

  async function submit(values) {
    show(trouble, '');
    const change = changed(known, values);
    if (Object.keys(change).length === 0) return show(trouble, t('act.same'));
    try {
      const done = await save({ before: known, change, tag, request: (body) => ({ method: 'PATCH', path: '/v1/outbound', body }) });
      if (done) await outbound(view);
    } catch (error) {
      show(trouble, sentence(error));
    }
  }

  /** A number may have been null, and is a number all the same when somebody writes one. */
  function read() {
    return Object.fromEntries(
      inputs.map(([name, type, input]) => {
        const value = wordsOf(input, { type });
        if (known[name] === null) return [name, value === '' ? null : /^\d+$/.test(value) ? Number(value) : value];
        return [name, value];
      }),
    );
  }

  const form = h('form', { class: 'card' }, h('h1', {}, 'outbound.ini'), !isOurs && h('p', { class: 'soft' }, t('config.read-only')), broken(answer), h('div', { class: 'settings' }, inputs.map(([name, , input]) => labelled(input, name))), trouble, isOurs && h('div', { class: 'row end' }, h('button', { type: 'submit', class: 'primary' }, t('save'))));
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    submit(read()).catch(fail);
  });
  function replace() {
    try {
      submit(JSON.parse(raw.value)).catch(fail);
    } catch (error) {
      show(trouble, t('config.json', { why: clean(error.message, 200) }));
    }
  }
  show(main, form, h('details', { class: 'card' }, h('summary', {}, t('config.raw')), raw, isOurs && h('div', { class: 'row end' }, h('button', { type: 'button', onclick: replace }, t('save')))));
}
