// theme.js — light or dark: as the system says, until somebody says otherwise here.

const KEY = 'martlet-theme';
const order = ['auto', 'light', 'dark'];

const stored = () => {
  try {
    return localStorage.getItem(KEY) ?? 'auto';
  } catch {
    return 'auto';
  }
};

export const theme = () => stored();

export function applyTheme() {
  const value = stored();
  if (value === 'auto') document.documentElement.removeAttribute('data-theme');
  else document.documentElement.setAttribute('data-theme', value);
}

export function nextTheme() {
  const value = order[(order.indexOf(stored()) + 1) % order.length];
  try {
    localStorage.setItem(KEY, value);
  } catch {
    // Without a place to keep it, it stays as the system says.
  }
  applyTheme();
  return value;
}
