// dom.js — elements made by calls: what comes from outside is always a text node, and nothing ever becomes markup.

const SVG = 'http://www.w3.org/2000/svg';

function fill(node, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (name === 'value' || name === 'checked' || name === 'disabled' || name === 'selected') node[name] = value;
    else node.setAttribute(name, value === true ? '' : String(value));
  }
  put(node, children);
  return node;
}

/** Adds children: nodes, texts, lists of them; nothing for null and false. */
export function put(node, children) {
  for (const child of children.flat(4)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return node;
}

/** An element of HTML: h('p', {class: 'x', onclick: f}, 'text', node). */
export const h = (tag, props, ...children) => fill(document.createElement(tag), props, children);

/** An element of SVG. */
export const s = (tag, props, ...children) => fill(document.createElementNS(SVG, tag), props, children);

/** Puts other children in the place of all. */
export function show(node, ...children) {
  node.replaceChildren();
  return put(node, children);
}

// Controls, and the characters that turn the direction of what follows, are shown by their numbers.
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

/** Text that somebody outside wrote, for reading: nothing hidden in it, and not without end. */
export function clean(text, most = 2000) {
  const all = String(text ?? '');
  const cut = all.length > most ? all.slice(0, most) + '…' : all;
  return cut.replace(HIDDEN, (c) => `‹${c.codePointAt(0).toString(16).toUpperCase().padStart(4, '0')}›`);
}

/** The same in an element of its own, whose direction is nobody else's. */
export const said = (text, most) => h('bdi', { class: 'said' }, clean(text, most));

/** Only what differs is replaced: for texts that change every two seconds. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** A word before a screen reader's ears only. */
export const hidden = (text) => h('span', { class: 'hidden' }, text);

/** An answer whose members are not known here, as names and values. */
export function facts(value) {
  return h(
    'dl',
    { class: 'facts' },
    Object.entries(value).map(([key, one]) => [h('dt', {}, key.replaceAll('_', ' ')), h('dd', {}, one !== null && typeof one === 'object' ? h('pre', {}, said(JSON.stringify(one, null, 1), 4000)) : said(one === null ? '–' : String(one), 500))]),
  );
}
