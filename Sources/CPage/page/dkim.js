// dkim.js — keys that sign mail, domain by domain, and the change of a domain's keys, step by step: dkim.ini.

import { ask, get, may, part } from './api.js';
import { act, fail, field, notice } from './act.js';
import { diffLines } from './diff.js';
import { clean, h, said, show } from './dom.js';
import { broken } from './form.js';
import { time } from './format.js';
import { viewKeys } from './keys.js';
import { t } from './words.js';

const KEYS = '/v1/dkim-keys';
const rotation = (domain) => `/v1/dkim-rotations/${part(domain)}`;
const isOurs = () => may('access:write');

export default async function dkim(view) {
  const [domain] = view.rest;
  return domain === undefined ? all(view) : one(view, domain);
}

/** Looks what the file would say, shows it, asks, and does it; null when somebody thought better of it. */
async function change({ question, verb, danger, request, done, tag }) {
  const headers = tag ? { 'If-Match': tag } : {};
  const found = (await ask(request.method, request.path, { query: { dry_run: true }, body: request.body, headers })).data;
  return act({ ask: question, verb, danger, extra: [diffLines(found.diff ?? '')], request: () => ({ ...request, headers }), done: () => done });
}

/** What somebody fills in before it is looked at. */
const fillIn = (question, fields, request) => act({ ask: question, verb: t('dkim.look'), fields, request, perform: async (values) => values });

async function all(view) {
  const { data, answer } = await ask('GET', KEYS);
  if (!view.isCurrent()) return;
  const again = () => all(view).catch(fail);
  const domains = Map.groupBy(data.items, (key) => key.domain);
  const row = ([domain, keys]) =>
    h(
      'tr',
      {},
      h('td', { class: 'address', 'data-name': t('dkim.domain') }, h('a', { href: `#/dkim/${part(domain)}` }, said(domain, 200))),
      h('td', { class: 'words', 'data-name': t('dkim.signs') }, said(keys.filter((key) => key.signs).map((key) => key.selector).join(', '), 300)),
      h('td', { class: 'words', 'data-name': t('dkim.rests') }, said(keys.filter((key) => !key.signs).map((key) => key.selector).join(', '), 300)),
    );
  show(
    view.main,
    h(
      'section',
      { class: 'card' },
      h('div', { class: 'row spread' }, h('h1', {}, t('view.dkim')), isOurs() ? h('button', { type: 'button', onclick: () => add('').then((done) => done && again()).catch(fail) }, t('add')) : h('p', { class: 'soft' }, t('config.read-only'))),
      broken(answer),
      domains.size === 0
        ? h('p', { class: 'soft' }, t('dkim.none'))
        : h('table', { class: 'fold' }, h('thead', {}, h('tr', {}, ['dkim.domain', 'dkim.signs', 'dkim.rests'].map((word) => h('th', { scope: 'col' }, t(word))))), h('tbody', {}, [...domains].map(row))),
    ),
  );
  viewKeys({ r: again });
}

async function one(view, domain) {
  const [{ data, answer, tag }, state] = await Promise.all([ask('GET', KEYS), turn(domain)]);
  if (!view.isCurrent()) return;
  const again = () => one(view, domain).catch(fail);
  const keys = data.items.filter((key) => key.domain === domain);
  show(
    view.main,
    h('div', { class: 'row spread' }, h('h1', {}, said(domain, 200)), h('a', { class: 'button', href: '#/dkim' }, t('view.dkim'))),
    broken(answer),
    state && rotate(domain, state, again),
    h(
      'section',
      { class: 'card' },
      h('div', { class: 'row spread' }, h('h2', {}, t('dkim.keys')), isOurs() && h('button', { type: 'button', onclick: () => add(domain).then((done) => done && again()).catch(fail) }, t('add'))),
      keys.length === 0 ? h('p', { class: 'soft' }, t('dkim.none')) : h('ul', { class: 'plain' }, keys.map((key) => describe(key, tag, again))),
    ),
  );
  viewKeys({ r: again });
}

/** How far a change of keys is; null where this relay cannot say. */
async function turn(domain) {
  return get(rotation(domain), {}, { timeout: 30_000 }).catch((error) => (error.status === 404 ? null : Promise.reject(error)));
}

/** The record that somebody has to publish, with a button that copies it. */
const record = ({ name, type, value }) =>
  h(
    'div',
    { class: 'row record' },
    h('code', {}, clean(`${name}. ${type} ${value}`, 2000)),
    h('button', { type: 'button', class: 'quiet', onclick: () => navigator.clipboard?.writeText(value).then(() => notice(t('copied'))) }, t('copy')),
  );

function describe(key, tag, again) {
  const name = `${key.selector}._domainkey.${key.domain}`;
  const path = `${KEYS}/${part(key.domain)}/${part(key.selector)}`;
  const run = (request) => change({ tag, ...request }).then((done) => done && again()).catch(fail);
  const sign = () =>
    run({ question: t(key.signs ? 'dkim.rest.ask' : 'dkim.sign.ask', { name }), verb: t('act.save.do'), request: { method: 'PATCH', path, body: { signs: !key.signs } }, done: t('act.save.done') });
  const remove = () =>
    run({ question: t('act.delete.ask', { name }), verb: t('act.delete.do'), danger: true, request: { method: 'DELETE', path }, done: t('act.delete.done', { name }) });
  return h(
    'li',
    {},
    h('div', { class: 'row' }, h('strong', {}, said(key.selector, 100)), h('span', { class: `chip ${key.signs ? 'good' : ''}` }, t(key.signs ? 'dkim.signing' : 'dkim.resting')), h('span', { class: 'soft' }, key.type, key.bits ? ` ${key.bits}` : ''), isOurs() && h('button', { type: 'button', onclick: sign }, t(key.signs ? 'dkim.rest' : 'dkim.sign')), isOurs() && h('button', { type: 'button', onclick: remove }, t('remove'))),
    record(key.record),
  );
}

/** The change of keys: how far it is, what the DNS has to say, and the next step. */
function rotate(domain, state, again) {
  const step = (name) => next(domain, name).then((done) => done && again()).catch(fail);
  const button = (name) => isOurs() && h('button', { type: 'button', onclick: () => step(name) }, t(`dkim.${name}`));
  const steps = { none: ['prepare'], prepared: ['switch'], scheduled: ['switch'], switched: [], over: ['finish'] }[state.stage] ?? [];
  return h(
    'section',
    { class: 'card' },
    h('div', { class: 'row spread' }, h('h2', {}, t('dkim.rotation')), h('span', { class: 'row' }, steps.map(button))),
    h('p', {}, t(`dkim.stage.${state.stage}`), state.sign_from && [' ', t('dkim.from'), ' ', time(state.sign_from)], state.keep_until && [' ', t('dkim.until'), ' ', time(state.keep_until)]),
    h('p', { class: 'soft' }, t('dkim.signing'), ': ', said(state.signing.join(', '), 300)),
    state.next.map((one) => h('div', {}, h('p', {}, said(one.selector, 100), ' ', h('span', { class: `chip ${one.publication === 'published' ? 'good' : 'warn'}` }, t(`dkim.dns.${one.publication}`))), record(one.record))),
  );
}

async function next(domain, step) {
  const path = rotation(domain);
  const given = ({ selector, type, sign_from, keep_days }) => ({
    step,
    ...(selector ? { selector } : {}),
    ...(type ? { type } : {}),
    ...(sign_from ? { sign_from: new Date(sign_from).toISOString() } : {}),
    ...(keep_days ? { keep_days: Number(keep_days) } : {}),
  });
  const days = field(t('dkim.keep'), { type: 'number', min: 1, max: 365, placeholder: '14' });
  const fields = {
    prepare: { selector: field(t('dkim.selector.empty')), type: field(t('dkim.type'), { placeholder: 'rsa', pattern: 'rsa|ed25519' }), keep_days: days },
    switch: { sign_from: field(t('dkim.sign-from'), { type: 'datetime-local' }), keep_days: days },
  }[step];
  const values = fields ? await fillIn(t(`dkim.${step}.ask`, { domain: clean(domain, 100) }), fields, (filled) => ({ method: 'POST', path, body: given(filled) })) : {};
  if (!values) return null;
  return change({ question: t('act.save.ask'), verb: t('act.save.do'), request: { method: 'POST', path, body: given(values) }, done: t(`dkim.${step}.done`) });
}

/** A new key: made here; it signs once its record is published, unless somebody knows that it is. */
async function add(domain) {
  const fields = {
    ...(domain ? {} : { domain: field(t('dkim.domain'), { required: true }) }),
    selector: field(t('dkim.selector'), { required: true }),
    type: field(t('dkim.type'), { placeholder: 'rsa', pattern: 'rsa|ed25519' }),
    signs: field(t('dkim.signs-now'), { type: 'checkbox' }),
  };
  const request = (filled) => ({ method: 'PUT', path: `${KEYS}/${part(filled.domain ?? domain)}/${part(filled.selector)}`, body: { signs: filled.signs, ...(filled.type ? { type: filled.type } : {}) } });
  const values = await fillIn(t('dkim.add.ask'), fields, request);
  if (!values) return null;
  return change({ question: t('act.save.ask'), verb: t('act.save.do'), request: request(values), done: t('dkim.add.done') });
}
