// table.js — rows that stay: one that is still there keeps its place, its focus and its selection when others come and go.

import { h, put, show } from './dom.js';
import { t } from './words.js';

/**
 * A table of things with ids.
 *
 * columns: [{key, label, cell(row) -> node, class, sort}]. `onOpen(row)`, `onSort(key)`, `onPick()`; `picks`: rows can be
 * selected. `label` names it.
 */
export class Rows {
  constructor({ label, columns, picks = false, onOpen = () => {}, onSort = () => {}, onPick = () => {} }) {
    Object.assign(this, { label, columns, picks, onOpen, onSort, onPick });
    this.rows = new Map();
    this.nodes = new Map();
    this.picked = new Set();
    this.active = null;
    this.sort = null;
    this.body = h('tbody');
    this.head = h('thead');
    this.table = h('table', { class: 'fold' }, h('caption', { class: 'hidden' }, label), this.head, this.body);
    this.node = h('div', { class: 'scroll', role: 'region', 'aria-label': label, tabindex: '0' }, this.table);
  }

  setColumns(columns) {
    this.columns = columns;
    this.nodes.clear();
    show(this.body);
    this.setRows([...this.rows.values()]);
  }

  setSort(sort) {
    this.sort = sort;
    this.drawHead();
  }

  drawHead() {
    show(
      this.head,
      h(
        'tr',
        {},
        this.picks && h('th', { scope: 'col' }, h('span', { class: 'hidden' }, t('col.pick'))),
        this.columns.map((column) => {
          if (!column.sort) return h('th', { scope: 'col', class: column.class }, column.label);
          const direction = this.sort === column.sort ? 'ascending' : this.sort === `-${column.sort}` ? 'descending' : 'none';
          const sign = { ascending: ' ▲', descending: ' ▼', none: '' }[direction];
          const turn = direction === 'descending' ? column.sort : `-${column.sort}`;
          return h('th', { scope: 'col', class: column.class, 'aria-sort': direction }, h('button', { type: 'button', onclick: () => this.onSort(turn) }, column.label + sign));
        }),
      ),
    );
  }

  /** Other rows; those with the same id stay the nodes that they are. */
  setRows(rows) {
    const focused = this.body.contains(document.activeElement) ? document.activeElement : null;
    this.rows = new Map(rows.map((row) => [row.id, row]));
    for (const [id, node] of this.nodes) {
      if (!this.rows.has(id)) {
        node.remove();
        this.nodes.delete(id);
      }
    }
    rows.forEach((row, index) => {
      let node = this.nodes.get(row.id);
      if (!node) {
        node = h('tr', { 'data-id': row.id, tabindex: '-1' });
        node.addEventListener('click', (event) => this.clicked(event, row.id));
        this.nodes.set(row.id, node);
      }
      const state = JSON.stringify(row);
      if (node.state !== state) {
        node.state = state;
        this.drawRow(node, row);
      }
      if (this.body.children[index] !== node) this.body.insertBefore(node, this.body.children[index] ?? null);
    });
    if (this.active && !this.rows.has(this.active)) this.active = null;
    this.mark();
    // Moving a node takes its focus away.
    if (focused && document.activeElement !== focused && focused.isConnected) focused.focus();
    this.drawHead();
  }

  drawRow(node, row) {
    show(node);
    if (this.picks) {
      const box = h('input', { type: 'checkbox', checked: this.picked.has(row.id), 'aria-label': `${t('col.pick')}: ${row.id}`, tabindex: '-1' });
      box.addEventListener('change', () => this.pick(row.id, box.checked));
      node.append(h('td', { 'data-name': '' }, box));
    }
    for (const column of this.columns) {
      put(node, [h('td', { class: column.class, 'data-name': column.label }, column.cell(row))]);
    }
  }

  clicked(event, id) {
    if (event.target.closest('a, button, input, summary')) return;
    if (String(getSelection())) return;
    this.setActive(id, { focus: false });
    this.onOpen(this.rows.get(id));
  }

  pick(id, isPicked = !this.picked.has(id)) {
    if (isPicked) this.picked.add(id);
    else this.picked.delete(id);
    this.mark();
    this.onPick();
  }

  pickNone() {
    this.picked.clear();
    this.mark();
    this.onPick();
  }

  mark() {
    const first = this.body.firstElementChild?.dataset.id;
    for (const [id, node] of this.nodes) {
      const isActive = id === this.active;
      node.classList.toggle('active', isActive);
      node.tabIndex = isActive || (!this.active && id === first) ? 0 : -1;
      if (this.picks) {
        node.setAttribute('aria-selected', this.picked.has(id));
        const box = node.querySelector('input[type=checkbox]');
        if (box) box.checked = this.picked.has(id);
      }
      const row = this.rows.get(id);
      node.classList.toggle('gone', row?.isGone === true);
    }
  }

  setActive(id, { focus = true } = {}) {
    if (!this.nodes.has(id)) return;
    this.active = id;
    this.mark();
    const node = this.nodes.get(id);
    if (focus) node.focus();
    node.scrollIntoView({ block: 'nearest' });
  }

  move(step) {
    const ids = [...this.rows.keys()];
    if (ids.length === 0) return;
    const at = ids.indexOf(this.active);
    this.setActive(ids[Math.min(ids.length - 1, Math.max(0, at < 0 ? 0 : at + step))]);
  }

  /** What the keyboard does with rows. */
  keys() {
    return {
      j: () => this.move(1),
      k: () => this.move(-1),
      x: () => this.picks && this.active && this.pick(this.active),
      Enter: () => this.active && this.onOpen(this.rows.get(this.active)),
    };
  }
}
