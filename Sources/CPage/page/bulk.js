// bulk.js — one thing for all that a filter finds: look first, then do exactly that, and follow it.

import { ask, get, may } from './api.js';
import { act, fail, handwork, labelled, sentence } from './act.js';
import { curl } from './api.js';
import { fieldsOf, membersOf } from './deed.js';
import { h, said, show } from './dom.js';
import { age, bytes, count } from './format.js';
import { fromAddress, parse, text, toBody } from './filter.js';
import { hurry } from './live.js';
import { t } from './words.js';

const ACTIONS = ['retry', 'hold', 'release', 'revive', 'remove'];

export default async function bulk({ main, query: params, isCurrent }) {
  const query = fromAddress(params);
  const action = h('select', { name: 'action' }, ACTIONS.map((name) => h('option', { value: name }, t(`bulk.${name}`))));
  action.value = ACTIONS.includes(params.get('action')) ? params.get('action') : 'hold';
  const filter = h('input', { type: 'search', name: 'filter', value: text(query), spellcheck: 'false', autocapitalize: 'off', autocomplete: 'off' });
  const extra = h('div', {});
  const found = h('section', { class: 'card', hidden: true, 'aria-live': 'polite' });
  const progress = h('section', { class: 'card', hidden: true, 'aria-live': 'polite' });
  const jobs = h('section', { class: 'card' });
  const trouble = h('p', { class: 'bad', role: 'alert' });
  let fields = {};
  const form = h(
    'form',
    { class: 'card' },
    h('p', { class: 'soft' }, t('bulk.text')),
    labelled(action, t('bulk.action')),
    labelled(filter, t('queue.filter')),
    h('p', { class: 'soft mono hint' }, t('queue.filter.help')),
    extra,
    trouble,
    h('div', { class: 'row' }, h('button', { type: 'submit', class: 'primary' }, t('bulk.preview'))),
  );

  const values = () => Object.fromEntries(Object.entries(fields).map(([name, input]) => [name, input.type === 'checkbox' ? input.checked : input.value]));
  function drawFields() {
    fields = fieldsOf(action.value);
    show(extra, Object.values(fields).map((input) => labelled(input, input.dataset.label)));
  }

  async function preview() {
    const parsed = parse(filter.value);
    show(trouble, parsed.wrong === null ? '' : t('queue.wrong', { word: parsed.wrong }));
    if (parsed.wrong !== null) return;
    const wanted = toBody(parsed.query);
    const all = Object.keys(wanted).length === 0;
    const body = { action: action.value, ...(all ? { all: true } : { filter: wanted }), ...membersOf(action.value, values()), dry_run: true };
    try {
      const plan = (await ask('POST', '/v1/queue/actions', { body })).data;
      const sample = await get('/v1/queue', { ...parsed.query, limit: 1000 });
      if (!isCurrent()) return;
      drawPreview(plan, sample.items, body, all);
    } catch (error) {
      show(trouble, sentence(error));
    }
  }

  function drawPreview(plan, rows, body, all) {
    found.hidden = false;
    const go = h('button', { type: 'button', class: plan.action === 'remove' ? 'danger' : 'primary', disabled: plan.matched === 0 }, t(`act.${plan.action}.do`, { n: plan.matched }));
    go.addEventListener('click', async () => {
      const job = await act({
        ask: t(`act.${plan.action}.ask`, { n: plan.matched }),
        verb: t(`act.${plan.action}.do`, { n: plan.matched }),
        danger: plan.action === 'remove',
        request: () => ({ method: 'POST', path: '/v1/queue/actions', body: { plan: plan.plan } }),
      });
      if (!job) return;
      found.hidden = true;
      watch(job).catch(fail);
    });
    show(
      found,
      h('h2', {}, t('bulk.found', { n: plan.matched, size: bytes(plan.bytes) })),
      all && h('p', { class: 'warn' }, t('bulk.all')),
      h('div', { class: 'pair' }, breakdown('bulk.by-route', rows, (row) => row.routes), breakdown('bulk.by-reason', rows, (row) => [row.last_reply?.reason ?? t('bulk.no-reason')])),
      h('h3', {}, t('bulk.samples', { n: plan.sample.length })),
      h('ul', { class: 'plain' }, plan.sample.slice(0, 10).map((row) => h('li', {}, h('a', { class: 'mono', href: `#/message/${row.id}` }, row.id), ' ', said(row.sender || '<>', 120), ' → ', said(row.recipients.join(', '), 200), ' ', h('span', { class: 'soft' }, t('ago', { span: age(row.queued_at) }))))),
      handwork(`${curl('POST', '/v1/queue/actions', { body })}   # ${t('bulk.preview')}`),
      h('div', { class: 'row end' }, go),
    );
    found.scrollIntoView({ block: 'nearest' });
    go.focus();
  }

  /** Exactly what a hold held goes on. */
  async function undo(job) {
    const back = await act({
      ask: t('bulk.undo.ask', { n: job.done }),
      verb: t('bulk.undo'),
      request: () => ({ method: 'POST', path: `/v1/jobs/${job.id}/undo` }),
    });
    if (back) await watch(back);
  }

  async function watch(job) {
    progress.hidden = false;
    let now = job;
    while (isCurrent()) {
      drawJob(progress, now, () => undo(now).catch(fail));
      if (now.state !== 'running') break;
      now = await get(`/v1/jobs/${now.id}`, { wait_s: 1 });
    }
    hurry('stats', 'waiting');
    if (isCurrent()) await list();
  }

  async function list() {
    const page = await get('/v1/jobs').catch(() => ({ items: [] }));
    if (!isCurrent()) return;
    show(
      jobs,
      h('h2', {}, t('bulk.jobs')),
      page.items.length === 0 ? h('p', { class: 'soft' }, t('bulk.jobs.none')) : h('ul', { class: 'plain' }, page.items.slice(0, 20).map((one) => h('li', {}, h('strong', {}, t(`bulk.${one.action}`)), ' ', t(`job.${one.state}`), ' ', h('span', { class: 'soft' }, summary(one), ' · ', t('ago', { span: age(one.started_at) })), one.undoable && may('queue:write') && [' ', h('button', { type: 'button', class: 'quiet', onclick: () => undo(one).catch(fail) }, t('bulk.undo'))]))),
    );
  }

  action.addEventListener('change', drawFields);
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    preview();
  });
  drawFields();
  show(main, h('h1', { class: 'hidden' }, t('view.bulk')), form, found, progress, jobs);
  await list();
  if (Object.keys(query).length) await preview();
}

const summary = (job) => t('bulk.progress', { done: job.done, all: job.matched, skipped: job.skipped, failed: job.failed });

function drawJob(node, job, undo) {
  const bar = h('progress', { max: Math.max(1, job.matched), 'aria-label': summary(job) });
  bar.value = job.done + job.skipped + job.failed;
  show(
    node,
    h('h2', {}, t(`bulk.${job.action}`), ': ', t(`job.${job.state}`)),
    bar,
    h('p', {}, summary(job), job.problem && [' ', said(job.problem, 300)]),
    h(
      'div',
      { class: 'row' },
      job.state === 'running' && h('button', { type: 'button', onclick: () => ask('DELETE', `/v1/jobs/${job.id}`).catch(fail) }, t('bulk.stop')),
      job.undoable && may('queue:write') && h('button', { type: 'button', onclick: undo }, t('bulk.undo')),
    ),
  );
}

function breakdown(word, rows, keys) {
  const counts = new Map();
  for (const row of rows) for (const key of keys(row)) counts.set(key, (counts.get(key) ?? 0) + 1);
  const sorted = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 8);
  return h('div', {}, h('h3', {}, t(word), rows.length >= 1000 && h('span', { class: 'soft' }, ` ${t('bulk.of-first', { n: rows.length })}`)), h('dl', { class: 'facts' }, sorted.map(([key, value]) => [h('dt', {}, said(key, 100)), h('dd', {}, count(value))])));
}
