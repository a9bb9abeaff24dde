// form.js — a list of things that a file holds, and one of them as a form and as text: what changes is shown before it is
// saved, and nothing is saved over what somebody else changed meanwhile.

import { Problem, ask, may, part } from './api.js';
import { act, fail, labelled, sentence } from './act.js';
import { diffLines, memberLines } from './diff.js';
import { clean, h, said, show } from './dom.js';
import { viewKeys } from './keys.js';
import { Rows } from './table.js';
import { t } from './words.js';

/** An input of a form: text, number, checkbox, password, lines, or one of some choices. */
export function control({ type = 'text', choices, value }) {
  if (choices) {
    const select = h('select', {}, choices.map((one) => h('option', { value: one }, one || t('none'))));
    select.value = value ?? '';
    return select;
  }
  if (type === 'lines') return h('textarea', { spellcheck: 'false', value: (value ?? []).join('\n') });
  if (type === 'checkbox') return h('input', { type, checked: Boolean(value) });
  return h('input', { type, value: value ?? '', spellcheck: 'false', autocapitalize: 'off', autocomplete: type === 'password' ? 'new-password' : 'off', step: type === 'number' ? 'any' : null });
}

/** What an input says. */
export function wordsOf(input, { type = 'text' }) {
  if (type === 'lines') return input.value.split('\n').map((line) => line.trim()).filter(Boolean);
  if (type === 'checkbox') return input.checked;
  if (type === 'number') return input.value === '' ? null : Number(input.value);
  return input.value;
}

/**
 * Looks, shows what would change, asks, and saves.
 *
 * `before`, `change`: members; `request(change)`: {method, path, body}. `dry`: the API says itself what would change.
 * Resolves with the answer; null when nothing was saved.
 */
export async function save({ before, change, request, tag, dry = false, secrets = [], done }) {
  const one = { ...request(change), headers: tag ? { 'If-Match': tag } : {} };
  let lines = memberLines(before, change, secrets);
  let rerouted = null;
  if (dry) {
    const found = (await ask(one.method, one.path, { ...one, query: { dry_run: true } })).data;
    if (!found.changed) return act({ ask: t('act.same'), verb: t('close'), perform: async () => null });
    [lines, rerouted] = [found.diff, found.messages_rerouted];
  }
  return act({
    ask: t('act.save.ask'),
    verb: t('act.save.do'),
    extra: [diffLines(lines), rerouted > 0 && h('p', {}, t('act.rerouted', { n: rerouted }))],
    request: () => one,
    done: (answer) => done?.(answer) ?? t('act.save.done'),
  });
}

/**
 * The view of a table.
 *
 * `list`: its path. `scope`: to change it. `fields`: [{name, label, help, type, choices, read(item)}]. `columns` as of Rows.
 * `toBody(values, item)`: the members to send. `dry`: the API knows dry_run. `extra(item, reload)`: nodes below the form.
 */
export async function things(view, { list, scope, fields, columns, words, toBody, nameField, secrets = [], dry = false, extra = () => [], title, read = (item) => item }) {
  const { main, rest, isCurrent } = view;
  const [chosen] = rest;
  const base = `#/${view.view}`;
  if (chosen === undefined) return showList();
  return showOne(chosen === '+' ? null : chosen);

  async function showList() {
    const { data, answer } = await ask('GET', list);
    if (!isCurrent()) return;
    const rows = new Rows({ label: title, columns, onOpen: (row) => (location.hash = `${base}/${part(row.id)}`) });
    rows.setRows(data.items.map((item) => ({ id: item.match ?? item.name ?? item.scope ?? item.whose, ...item })));
    show(
      main,
      h(
        'section',
        { class: 'card' },
        h('div', { class: 'row spread' }, h('h1', {}, title), may(scope) ? h('a', { class: 'button', href: `${base}/+` }, t('add')) : h('p', { class: 'soft' }, t('config.read-only'))),
        broken(answer),
        data.items.length === 0 ? h('p', { class: 'soft' }, words.none) : rows.node,
      ),
    );
    viewKeys({ ...rows.keys(), r: () => showList().catch(fail) });
  }

  async function showOne(name) {
    const found = name === null ? { data: null } : await ask('GET', `${list}/${part(name)}`);
    if (!isCurrent()) return;
    const item = found.data;
    const isOurs = may(scope) && item?.origin !== 'environment';
    const given = h('input', { type: 'text', required: true, value: name ?? '', readonly: name !== null, spellcheck: 'false', autocapitalize: 'off' });
    const inputs = fields.map((field) => {
      const input = control({ ...field, value: item ? field.read(item) : field.initial });
      input.disabled = !isOurs;
      return [field, input];
    });
    const trouble = h('p', { class: 'bad', role: 'alert' });
    const raw = h('textarea', { spellcheck: 'false', disabled: !isOurs, 'aria-label': t('config.raw'), value: JSON.stringify(item ? read(item) : {}, null, 2) });
    const path = () => `${list}/${part(given.value.trim())}`;
    const finish = (answer) => answer && (location.hash = base);

    async function submit(change, method) {
      show(trouble, '');
      try {
        if (Object.keys(change).length === 0) return void (await act({ ask: t('act.same'), verb: t('close'), perform: async () => null }));
        const before = item ? read(item) : {};
        finish(await save({ before, change, request: (body) => ({ method, path: path(), body }), tag: found.tag, dry, secrets, done: words.saved }));
      } catch (error) {
        show(trouble, sentence(error), error instanceof Problem && error.body.diff && diffLines(error.body.diff));
      }
    }

    const form = h('form', { class: 'card' }, h('h1', {}, item ? said(title === name ? name : `${title}: ${name}`, 200) : words.fresh), broken(found.answer), labelled(given, nameField), inputs.map(([field, input]) => [labelled(input, field.label), field.help && h('p', { class: 'soft' }, field.help)]), trouble, isOurs && h('div', { class: 'row end' }, h('a', { class: 'button', href: base }, t('cancel')), h('button', { type: 'submit', class: 'primary' }, t('save'))));
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      const values = Object.fromEntries(inputs.map(([field, input]) => [field.name, wordsOf(input, field)]));
      submit(toBody(values, item), item ? 'PATCH' : 'PUT');
    });
    const text = h('details', { class: 'card' }, h('summary', {}, t('config.raw')), raw, isOurs && h('div', { class: 'row end' }, h('button', { type: 'button', onclick: () => replace() }, t('save'))));
    function replace() {
      try {
        submit(JSON.parse(raw.value), 'PUT');
      } catch (error) {
        show(trouble, t('config.json', { why: clean(error.message, 200) }));
      }
    }
    const remove = item && isOurs && h('button', { type: 'button', class: 'danger', onclick: () => removeIt(name, path()).then(finish).catch(fail) }, t('remove'));
    show(main, form, text, h('div', { class: 'row' }, remove), extra(item, () => showOne(name)));
    (name === null ? given : inputs[0]?.[1])?.focus();
  }
}

async function removeIt(name, path) {
  return act({
    ask: t('act.delete.ask', { name: clean(name, 100) }),
    verb: t('act.delete.do'),
    danger: true,
    request: () => ({ method: 'DELETE', path }),
    done: () => t('act.delete.done', { name: clean(name, 100) }),
  });
}

/** A file that is broken is said above what is in force. */
export function broken(answer) {
  const where = answer?.headers.get('Config-Broken');
  return where ? h('p', { class: 'warn' }, `⚠ ${t('config.broken', { where })}`) : null;
}

