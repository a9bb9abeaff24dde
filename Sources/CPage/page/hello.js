// hello.js — who is there: asked before the rest of the page has come, so that one need not wait for the other.

/** The answer to the first question of the page; null where there is none. */
export const hello = fetch(new URL('v1/session', document.baseURI), {
  headers: { Accept: 'application/json', 'X-Martlet-Page': '1' },
  credentials: 'same-origin',
  redirect: 'error',
}).catch(() => null);
