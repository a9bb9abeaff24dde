// deed.js — what is done to messages: to some by their ids, one after the other, or to all that a filter finds.

import { ask, curl } from './api.js';
import { act, field, notice } from './act.js';
import { toAddress } from './filter.js';
import { hurry } from './live.js';
import { t } from './words.js';

const path = (action, id) => (action === 'remove' ? `/v1/queue/${id}` : `/v1/queue/${id}/${action}`);

/** What an action asks besides. */
export function fieldsOf(action) {
  const reason = field(t('act.reason'), { maxlength: 200 });
  if (action === 'hold') return { reason, until: field(t('act.until'), { type: 'datetime-local' }) };
  if (action === 'remove') return { reason, dsn: field(t('act.dsn'), { type: 'checkbox' }) };
  return {};
}

/** The members that the API takes for them. */
export function membersOf(action, fields) {
  const members = {};
  if (fields.reason) members.reason = fields.reason;
  if (fields.until) members.until = new Date(fields.until).toISOString();
  if (action === 'remove') members.dsn = fields.dsn ? 'send' : 'none';
  return members;
}

function request(action, id, fields) {
  const members = membersOf(action, fields);
  if (action === 'remove') return { method: 'DELETE', path: path(action, id), query: members };
  return { method: 'POST', path: path(action, id), body: members };
}

/** Asks, and does it to messages by their ids. Resolves with the ids that it was done to; null when nothing was done. */
export async function doTo(action, ids) {
  const n = ids.length;
  const done = await act({
    ask: t(`act.${action}.ask`, { n }),
    verb: t(`act.${action}.do`, { n }),
    danger: action === 'remove',
    fields: fieldsOf(action),
    request: (fields) => {
      const one = request(action, ids[0], fields);
      if (n === 1) return one;
      const line = curl(one.method, one.path, one).replace(ids[0], '$ID');
      return { lines: `for ID in ${ids.slice(0, 20).join(' ')}${n > 20 ? ' …' : ''}; do ${line}; done` };
    },
    perform: async (fields, tell) => {
      const good = [];
      let [failed, why] = [0, ''];
      for (const [index, id] of ids.entries()) {
        if (index % 10 === 9) tell(`${index + 1} / ${n}`);
        try {
          const one = request(action, id, fields);
          await ask(one.method, one.path, one);
          good.push(id);
        } catch (error) {
          if (error.status === 401 || error.status === 403 || n === 1) throw error;
          [failed, why] = [failed + 1, error.message];
        }
      }
      if (failed) notice(t('act.partly', { done: good.length, failed, why }), { bad: true });
      return good;
    },
    done: (good) => good.length && t(`act.${action}.done`, { n: good.length }),
    undo: action === 'hold' ? (good) => doTo('release', good) : undefined,
  });
  hurry('stats', 'waiting');
  return done;
}

/** What a filter finds is looked at first. */
export function doToAll(query, action = '') {
  const { sort, ...filter } = query;
  const address = toAddress({ ...filter, ...(action ? { action } : {}) });
  location.hash = `#/bulk${address ? `?${address}` : ''}`;
}

