// act.js — doing something: the question with its number, the line of curl, what happened afterwards, and the way back.

import { Problem, ask, curl } from './api.js';
import { clean, h, show } from './dom.js';
import { t } from './words.js';

let region = null;

/** Where it is said what happened; a polite live region, there from the start. */
export function makeNotices() {
  region = h('div', { class: 'notices', role: 'status', 'aria-live': 'polite' });
  return region;
}

/** Says something, for a while; `undo` is offered beside it. */
export function notice(text, { bad = false, undo, label } = {}) {
  const line = h('div', { class: bad ? 'notice bad' : 'notice' }, h('span', {}, text));
  if (undo) line.append(h('button', { type: 'button', onclick: () => (line.remove(), undo()) }, label ?? t('undo')));
  line.append(h('button', { type: 'button', class: 'quiet', 'aria-label': t('close'), onclick: () => line.remove() }, '×'));
  region.append(line);
  while (region.children.length > 4) region.firstChild.remove();
  setTimeout(() => line.remove(), undo || bad ? 30_000 : 12_000);
}

/** A problem as a sentence. */
export function sentence(error) {
  if (!(error instanceof Problem)) return t('problem.other', { why: clean(error?.message ?? error, 300) });
  const key = [0, 401, 403, 404].includes(error.status) ? `problem.${error.status}` : 'problem.other';
  return t(key, { why: clean(error.message, 500) });
}

export const fail = (error) => notice(sentence(error), { bad: true });

/** The line of curl, folded away, with a button that copies it. */
export function handwork(line) {
  const text = h('code', {}, clean(line, 4000));
  const copy = h('button', { type: 'button', class: 'quiet' }, t('copy'));
  copy.addEventListener('click', async () => {
    await navigator.clipboard?.writeText(line).catch(() => {});
    show(copy, t('copied'));
  });
  const details = h('details', { class: 'curl' }, h('summary', {}, t('by-hand')), h('div', { class: 'row' }, text, copy));
  details.change = (next) => show(text, clean((line = next), 4000));
  return details;
}

/**
 * Asks, does, tells.
 *
 * `ask`, `verb`: the words of the question and of its button. `request(fields)`: {method, path, query, body}, shown as
 * curl and sent. `fields`: inputs by name. `extra`: nodes below the question. `perform(fields, say)`: instead of one request;
 * `done(data)`: what to say then; `undo(data)`: a way back, or nothing.
 * Resolves with what was answered; null when somebody thought better of it.
 */
export function act({ ask: question, verb, danger = false, fields = {}, extra = [], request, perform, done, undo }) {
  return new Promise((resolve) => {
    const values = () => Object.fromEntries(Object.entries(fields).map(([name, input]) => [name, input.type === 'checkbox' ? input.checked : input.value]));
    const line = () => {
      const one = request(values());
      return one.lines ?? curl(one.method, one.path, one);
    };
    const hand = request ? handwork(line()) : null;
    const trouble = h('p', { class: 'bad', role: 'alert' });
    const go = h('button', { type: 'submit', class: danger ? 'danger' : 'primary' }, verb);
    const quit = h('button', { type: 'button', onclick: () => dialog.close() }, t('cancel'));
    const dialog = h(
      'dialog',
      { 'aria-labelledby': 'act-question' },
      h(
        'form',
        { method: 'dialog' },
        h('h2', { id: 'act-question' }, question),
        extra,
        Object.entries(fields).map(([name, input]) => labelled(input, input.dataset.label ?? name)),
        hand,
        trouble,
        h('div', { class: 'row end' }, quit, go),
      ),
    );
    let answer = null;
    if (hand) dialog.addEventListener('input', () => hand.change(line()));
    dialog.addEventListener('close', () => {
      dialog.remove();
      resolve(answer);
    });
    dialog.querySelector('form').addEventListener('submit', async (event) => {
      event.preventDefault();
      go.disabled = true;
      show(trouble, '');
      const before = go.textContent;
      show(go, t('act.working'));
      try {
        const tell = (text) => show(go, text);
        answer = perform ? await perform(values(), tell) : ((await send(request(values()))).data ?? {});
        dialog.close();
        const said = done?.(answer, values());
        if (said) notice(said, { undo: undo && (() => undo(answer, values())) });
      } catch (error) {
        answer = null;
        go.disabled = false;
        show(go, before);
        show(trouble, sentence(error), diffOf(error));
      }
    });
    document.body.append(dialog);
    dialog.showModal();
    (dialog.querySelector('input:not([type=checkbox]), textarea') ?? go).focus();
  });
}

/** Where files cannot be written, the API gives the lines that somebody would have to. */
const diffOf = (error) => (error.body?.diff ? h('pre', { class: 'diff' }, clean(error.body.diff, 8000)) : null);

export const send = (one) => ask(one.method, one.path, { query: one.query, body: one.body, headers: one.headers });

/** An input with its label. */
export function labelled(input, label) {
  return input.type === 'checkbox'
    ? h('label', { class: 'field check' }, input, h('span', {}, label))
    : h('label', { class: 'field' }, h('span', {}, label), input);
}

/** An input for `act`, with its label. */
export function field(label, props = {}, tag = 'input') {
  const input = h(tag, tag === 'input' ? { type: 'text', ...props } : props);
  input.dataset.label = label;
  return input;
}
