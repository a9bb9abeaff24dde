// filter.js — the one grammar of filters: words as the API knows them, short forms of them, ages with a comparison.
//
//   to:ann@example.com from:*@shop.example domain:example.com route:smart state:held reason:dns error:"try later"
//   age>2h age<1d attempts>3 due<2027-01-31T12:00:00Z            in the queue
//   id: header:"<x@y>" tag: code:550 class: status:bounced since: before: age<7d    in history
//
// `Tests/Tables/filters.table` holds this reader and the API's (`?q=`) together.

const WORDS = {
  queue: { to: 'recipient', from: 'sender', domain: 'domain', route: 'route', state: 'state', status: 'state', reason: 'reason', error: 'error_contains', sort: 'sort' },
  history: {
    to: 'recipient', from: 'sender', domain: 'domain', route: 'route', reason: 'reason', class: 'reply_class', id: 'id', header: 'header_message_id',
    tag: 'tag', code: 'code', status: 'status', since: 'since', before: 'before',
  },
};
const COMPARED = { age: { '>': 'min_age_s', '<': 'max_age_s' }, attempts: { '>': 'min_attempts' }, due: { '<': 'due_before' } };
const UNITS = { s: 1, m: 60, min: 60, h: 3600, d: 86400 };
const LISTS = new Set(['state', 'status']);

function seconds(text) {
  const match = /^(\d+)(s|m|min|h|d)?$/.exec(text);
  return match ? Number(match[1]) * UNITS[match[2] ?? 's'] : null;
}

/** A day is a time too. */
const moment = (text) => (/^\d{4}-\d\d-\d\d$/.test(text) ? `${text}T00:00:00Z` : text);

/** Parts a text into words; quotes keep blanks. */
const split = (text) => text.match(/(?:[^\s"]|"[^"]*")+/g) ?? [];

const unquoted = (text) => text.replace(/^"([^"]*)"$/, '$1');

/** In history an age is a time: accepted since, or before. */
function aged(word) {
  const match = /^age([<>])(.+)$/.exec(word);
  const span = match && seconds(match[2]);
  if (!match || span === null) return null;
  return [match[1] === '>' ? 'before' : 'since', new Date(Date.now() - span * 1000).toISOString()];
}

function compared(word, kind) {
  if (kind === 'history') return aged(word);
  const match = kind === 'queue' && /^(age|attempts|due)([<>])(.+)$/.exec(word);
  const name = match && COMPARED[match[1]][match[2]];
  if (!name) return null;
  const [, what, sign, text] = match;
  if (what === 'age') return seconds(text) === null ? null : [name, String(seconds(text))];
  if (what === 'due') return [name, moment(text)];
  return /^\d+$/.test(text) ? [name, String(Number(text) + (sign === '>' ? 1 : 0))] : null;
}

/** What a text means: {query, wrong}; `wrong` is the first word that means nothing. A bare address is a recipient. */
export function parse(text, kind = 'queue') {
  const query = {};
  for (const word of split(text.trim())) {
    const pair = /^(\w+):(.*)$/.exec(word);
    const name = pair && WORDS[kind][pair[1]];
    let found = name ? [name, unquoted(pair[2])] : compared(word, kind);
    if (!found && /^[^\s:<>"]*@[^\s"]+$/.test(word)) found = ['recipient', word];
    if (!found || found[1] === '') return { query, wrong: word };
    if (found[0] === 'since' || found[0] === 'before') found[1] = moment(found[1]);
    if (LISTS.has(found[0])) query[found[0]] = [...(query[found[0]] ?? []), found[1]];
    else if (query[found[0]] !== undefined) return { query, wrong: word };
    else query[found[0]] = found[1];
  }
  return { query, wrong: null };
}

const shortAge = (value) => {
  const number = Number(value);
  for (const [unit, size] of [['d', 86400], ['h', 3600], ['m', 60]]) if (number > 0 && number % size === 0) return `${number / size}${unit}`;
  return `${number}s`;
};

/** The text of a query: what `parse` reads. */
export function text(query, kind = 'queue') {
  const words = [];
  const quoted = (value) => (/[\s"]/.test(value) ? `"${value.replaceAll('"', '')}"` : value);
  for (const [short, name] of Object.entries(WORDS[kind])) {
    if (name === 'sort' || short === 'status' && kind === 'queue') continue;
    for (const value of [query[name] ?? []].flat()) words.push(`${short}:${quoted(String(value))}`);
  }
  if (kind === 'queue') {
    if (query.min_age_s) words.push(`age>${shortAge(query.min_age_s)}`);
    if (query.max_age_s) words.push(`age<${shortAge(query.max_age_s)}`);
    if (query.min_attempts) words.push(`attempts>${Number(query.min_attempts) - 1}`);
    if (query.due_before) words.push(`due<${query.due_before}`);
  }
  return words.join(' ');
}

const KNOWN = new Set([...Object.values(WORDS.queue), ...Object.values(WORDS.history), 'min_age_s', 'max_age_s', 'min_attempts', 'due_before']);

/** The query that an address has. */
export function fromAddress(params) {
  const query = {};
  for (const name of new Set(params.keys())) {
    if (!KNOWN.has(name)) continue;
    query[name] = LISTS.has(name) ? params.getAll(name) : params.get(name);
  }
  return query;
}

/** The address that a query has. */
export function toAddress(query) {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) for (const one of [value].flat()) if (one !== '' && one != null) params.append(name, one);
  return String(params);
}

/** As the API takes it in a body: numbers are numbers. */
export function toBody(query) {
  const filter = {};
  for (const [name, value] of Object.entries(query)) {
    if (name === 'sort') continue;
    filter[name] = ['min_age_s', 'max_age_s', 'min_attempts'].includes(name) ? Number(value) : value;
  }
  return filter;
}
