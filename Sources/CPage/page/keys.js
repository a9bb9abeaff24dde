// keys.js — the keyboard: letters mean something while nobody writes; every view adds its own.

let ofView = {};
const ofAll = {};

/** Letters of the view that is shown now. */
export function viewKeys(map) {
  ofView = map;
}

/** Letters that mean the same everywhere. */
export function commonKeys(map) {
  Object.assign(ofAll, map);
}

const writes = (node) =>
  node instanceof HTMLElement && (node.matches('input, textarea, select') || node.isContentEditable) && node.type !== 'checkbox';

let pending = '';
let timer = 0;

function handle(event) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (document.querySelector('dialog[open]')) return;
  if (writes(event.target)) {
    if (event.key === 'Escape') event.target.blur();
    return;
  }
  const key = pending + event.key;
  pending = '';
  clearTimeout(timer);
  if (event.key === 'g' && key === 'g') {
    pending = 'g ';
    timer = setTimeout(() => (pending = ''), 1500);
    return;
  }
  // Enter and blanks belong to whatever has the focus, when that does something by itself.
  if ((event.key === 'Enter' || event.key === ' ') && event.target.closest?.('a, button, summary')) return;
  const action = ofView[key] ?? ofAll[key];
  if (!action) return;
  event.preventDefault();
  action(event);
}

export const listen = () => document.addEventListener('keydown', handle);
