// app.js — the frame: who is there, which view the address names, what is the same around all of them.

import { ask, doorbell, may, me, meet } from './api.js';
import { fail, makeNotices, sentence } from './act.js';
import { h, s, say, show } from './dom.js';
import { commonKeys, listen, viewKeys } from './keys.js';
import { begin, follow } from './live.js';
import { applyTheme, nextTheme, theme } from './theme.js';
import { t } from './words.js';

// What a view needs of a token; those without a place in the bar are reached from others.
const VIEWS = {
  now: { scope: 'status:read', load: () => import('./now.js'), bar: true },
  queue: { scope: 'queue:read', load: () => import('./queue.js'), bar: true },
  history: { scope: 'queue:read', load: () => import('./history.js'), bar: true },
  live: { scope: 'queue:read', load: () => import('./tail.js'), bar: true },
  bulk: { scope: 'queue:write', load: () => import('./bulk.js'), bar: true },
  routes: { scope: 'routes:read', load: () => import('./routes.js'), bar: true },
  addresses: { scope: 'routes:read', load: () => import('./addresses.js'), bar: true },
  dkim: { scope: 'access:read', load: () => import('./dkim.js'), bar: true },
  staging: { scope: 'config:read', load: () => import('./staging.js'), bar: true },
  webhooks: { scope: 'webhooks:read', load: () => import('./webhooks.js'), bar: true },
  outbound: { scope: 'config:read', load: () => import('./outbound.js'), bar: true },
  limits: { scope: 'config:read', load: () => import('./limits.js'), bar: true },
  reactions: { scope: 'queue:read', load: () => import('./lists.js'), bar: true },
  pauses: { scope: 'queue:read', load: () => import('./lists.js'), bar: true },
  suppressions: { scope: 'queue:read', load: () => import('./lists.js'), bar: true },
  nodes: { scope: 'status:read', load: () => import('./lists.js'), bar: true },
  changes: { scope: 'queue:read', load: () => import('./config.js'), bar: true },
  explain: { scope: 'routes:read', load: () => import('./explain.js'), bar: true },
  sessions: { scope: 'access:read', load: () => import('./sessions.js'), bar: true },
  message: { scope: 'queue:read', load: () => import('./message.js') },
  destination: { scope: 'queue:read', load: () => import('./destination.js') },
};

let leave = null;
let turn = 0;
// The address whose view is shown or on its way.
let shown = null;
const main = h('main', { id: 'content', tabindex: '-1' });
const nav = h('nav', { class: 'views', 'aria-label': t('views') });
const tools = h('div', { class: 'tools' });
const link = h('span', { class: 'link', role: 'status' });

/** #/queue?state=held: {view, rest, query}. */
function place() {
  const [path, query] = location.hash.replace(/^#\/?/, '').split('?');
  const [view, ...rest] = path.split('/');
  return { view: VIEWS[view] ? view : 'now', rest: rest.map(decodeURIComponent), query: new URLSearchParams(query ?? '') };
}

async function route() {
  const mine = ++turn;
  shown = location.hash;
  const { view, rest, query } = place();
  leave?.();
  leave = null;
  delete main.dataset.view;
  viewKeys({});
  mark(view);
  if (!mayShow(view)) return show(main, h('p', { class: 'card' }, t('problem.403', { why: t(`view.${view}`) })));
  document.title = `${t(`view.${view}`, { id: rest[0], name: rest[0] })} · ${t('title')}`;
  try {
    const module = await VIEWS[view].load();
    if (mine !== turn) return;
    const end = await module.default({ main, rest, query, view, isCurrent: () => mine === turn });
    if (mine !== turn) return end?.();
    leave = end ?? null;
    // Whoever waits for a view to stand, such as who takes its picture, waits for this, and for what it still asks for.
    main.dataset.view = view;
  } catch (error) {
    if (mine !== turn) return;
    // A module of a version that is gone: the relay was updated under an open page.
    if (error instanceof TypeError && /module/i.test(error.message)) {
      return show(main, h('div', { class: 'card strip is-warn' }, t('updated'), h('button', { type: 'button', onclick: () => location.reload() }, t('reload'))));
    }
    show(main, h('p', { class: 'card bad', role: 'alert' }, sentence(error)));
  }
}

/** The view that is shown, in the bar. */
function mark(view) {
  for (const one of nav.children) {
    if (one.dataset.view === view) {
      one.setAttribute('aria-current', 'page');
      one.scrollIntoView({ block: 'nearest', inline: 'nearest' });
    } else one.removeAttribute('aria-current');
  }
}

const mayShow = (view) => may(VIEWS[view].scope);

function fillBar() {
  const shown = Object.keys(VIEWS).filter((view) => VIEWS[view].bar && mayShow(view));
  show(
    nav,
    shown.map((view) => h('a', { href: `#/${view}`, 'data-view': view }, t(`view.${view}`))),
  );
  mark(place().view);
}

function fillTools() {
  const themes = h('button', { type: 'button', class: 'quiet' }, t('theme', { name: t(`theme.${theme()}`) }));
  themes.addEventListener('click', () => show(themes, t('theme', { name: t(`theme.${nextTheme()}`) })));
  const who = { loopback: t('who.loopback'), socket: t('who.socket') }[me.kind] ?? me.name;
  show(
    tools,
    link,
    h('span', { class: 'soft' }, who),
    themes,
    h('button', { type: 'button', class: 'quiet', onclick: help }, t('help')),
    me.kind === 'session' && h('button', { type: 'button', class: 'quiet', onclick: logout }, t('logout')),
  );
  commonKeys({ t: () => themes.click() });
}

function showLink(state) {
  // A view that nothing changes by itself needs no word about it.
  if (state === 'off') return show(link);
  link.classList.toggle('is-trying', state === 'retrying');
  const fill = { live: 'f-good', polling: 'f-good', retrying: 'f-bad' }[state] ?? 'f-soft';
  const word = h('span', {});
  say(word, t(`link.${state}`));
  show(link, s('svg', { viewBox: '0 0 10 10', 'aria-hidden': 'true' }, s('circle', { class: fill, cx: 5, cy: 5, r: 4 })), word);
}

async function help() {
  const { help: open } = await import('./help.js');
  open();
}

async function logout() {
  await ask('DELETE', '/v1/session').catch(fail);
  location.reload();
}

/** Finds out who is there, and asks for a token as long as that is nobody. */
async function enter() {
  while (true) {
    try {
      return await meet();
    } catch (error) {
      if (error.status !== 401 && error.status !== 403 && error.status !== 421) {
        show(main, h('p', { class: 'card bad', role: 'alert' }, sentence(error)));
        await new Promise((resolve) => setTimeout(resolve, 3000));
        continue;
      }
      const { login } = await import('./login.js');
      await login(main);
    }
  }
}

function frame() {
  const bird = s('svg', { viewBox: '0 0 32 32', 'aria-hidden': 'true' }, s('path', { class: 'f-ink', d: 'M4 10c6-2 10 0 12 4 2-4 6-6 12-4-3 2-5 4-6 7-2 4-4 6-6 9-2-3-4-5-6-9-1-3-3-5-6-7z' }));
  show(
    document.body,
    h('a', { class: 'skip', href: '#content', onclick: (event) => (event.preventDefault(), main.focus()) }, t('skip')),
    h('header', { class: 'top' }, h('div', { class: 'bar' }, h('a', { class: 'brand', href: '#/now' }, bird, t('title')), tools), nav),
    main,
    makeNotices(),
  );
}

async function start() {
  applyTheme();
  // What the view is made of comes while we hear who is there.
  VIEWS[place().view].load().catch(() => {});
  frame();
  await enter();
  fillTools();
  follow('state', showLink);
  const go = (view) => () => (location.hash = `#/${view}`);
  commonKeys({
    '?': help,
    Escape: () => history.length > 1 && place().view !== 'now' && history.back(),
    'g n': go('now'), 'g q': go('queue'), 'g h': go('history'), 'g l': go('live'), 'g b': go('bulk'), 'g e': go('explain'),
  });
  listen();
  begin();
  // Two changes in a row are told when the second has happened: what is shown by then stays, with what was typed into it.
  addEventListener('hashchange', () => location.hash !== shown && route());
  let isAsking = false;
  doorbell.addEventListener('login', async () => {
    if (isAsking) return;
    isAsking = true;
    await enter();
    isAsking = false;
    fillTools();
    fillBar();
    route();
  });
  fillBar();
  await route();
}

start();
