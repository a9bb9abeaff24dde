// chart.js — pictures as SVG made by calls: bars of a day, a line, a strip of outcomes. Each has its words beside it.

import { s } from './dom.js';
import { shortTime } from './format.js';
import { t } from './words.js';

const HEIGHT = 150;
const LEFT = 34;
const BOTTOM = 18;

/** A number for an axis: 1, 2 or 5 and zeros, not below `value`. */
export function ceiling(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, value)));
  return [1, 2, 5, 10].map((one) => one * power).find((one) => one >= value) ?? value;
}

const short = (value) => (value >= 1e6 ? `${value / 1e6}M` : value >= 1000 ? `${value / 1000}k` : `${value}`);

/** Stacked bars, a group for each step, as wide as there is room; `parts`: [{key, fill}]. */
export function bars(steps, parts, label, room) {
  const width = Math.max(280, Math.round(room));
  const most = ceiling(Math.max(1, ...steps.map((one) => parts.reduce((sum, part) => sum + one[part.key], 0))));
  const slot = (width - LEFT) / Math.max(24, steps.length);
  const scale = (HEIGHT - BOTTOM - 8) / most;
  const nodes = [];
  for (const share of [0, 0.5, 1]) {
    const y = HEIGHT - BOTTOM - share * most * scale;
    nodes.push(s('line', { class: 'axis', x1: LEFT, x2: width, y1: y, y2: y }));
    if (share === 0 || most * share >= 1) nodes.push(s('text', { x: LEFT - 6, y: y + 4, 'text-anchor': 'end' }, short(most * share)));
  }
  const start = width - steps.length * slot;
  steps.forEach((one, index) => {
    let y = HEIGHT - BOTTOM;
    for (const part of parts) {
      const height = one[part.key] * scale;
      if (height <= 0) continue;
      y -= height;
      nodes.push(s('rect', { class: part.fill, x: start + index * slot + 0.5, y, width: Math.max(1, slot - 1), height }));
    }
    const every = Math.max(1, Math.ceil(steps.length / 8));
    if (index % every === 0) {
      const x = start + (index + 0.5) * slot;
      if (x < width - 30) nodes.push(s('text', { x, y: HEIGHT - 4, 'text-anchor': 'middle' }, shortTime(one.at)));
    }
  });
  return s('svg', { class: 'chart', viewBox: `0 0 ${width} ${HEIGHT}`, role: 'img', 'aria-label': label }, nodes);
}

/** A small line without an axis. */
export function spark(values, label) {
  const most = Math.max(1, ...values);
  const step = 100 / Math.max(1, values.length - 1);
  const path = values.map((value, index) => `${index ? 'L' : 'M'}${(index * step).toFixed(2)} ${(25 - (value / most) * 22).toFixed(2)}`).join('');
  return s(
    'svg',
    { class: 'spark', viewBox: '0 0 100 26', preserveAspectRatio: 'none', role: 'img', 'aria-label': label },
    s('path', { d: values.length > 1 ? path : 'M0 25L100 25', 'vector-effect': 'non-scaling-stroke' }),
  );
}

const FILL = { delivered: 'f-good', deferred: 'f-warn', queued: 'f-warn', bounced: 'f-bad', removed: 'f-soft', suppressed: 'f-soft' };
const RISE = { delivered: 10, deferred: 20, queued: 20, bounced: 30 };

/** A strip of outcomes, a bar each; the height says the same as the colour. */
export function outcomes(list, label) {
  const slot = 12;
  return s(
    'svg',
    { class: 'outcomes', viewBox: `0 0 ${slot * Math.max(50, list.length)} 34`, preserveAspectRatio: 'none', role: 'img', 'aria-label': label },
    list.map((one, index) => {
      const height = RISE[one] ?? 6;
      return s('rect', { class: FILL[one] ?? 'f-soft', x: index * slot + 1, y: 33 - height, width: slot - 2, height });
    }),
  );
}

/** The sign of a colour in a legend. */
export const swatch = (fill) => s('svg', { viewBox: '0 0 12 12', 'aria-hidden': 'true' }, s('rect', { class: fill, width: 12, height: 12, rx: 2 }));

/** Where a row of numbers is going. */
export function trend(values) {
  if (values.length < 2) return null;
  const half = Math.max(1, Math.floor(values.length / 2));
  const mean = (list) => list.reduce((a, b) => a + b, 0) / list.length;
  const [before, after] = [mean(values.slice(0, half)), mean(values.slice(-half))];
  const word = after > before * 1.1 + 0.5 ? 'up' : after < before * 0.9 - 0.5 ? 'down' : 'flat';
  return { word, sign: { up: '↗', down: '↘', flat: '→' }[word], text: t(`now.trend.${word}`) };
}
