// What the page knows, and small tools. Text from the network becomes text nodes
// alone: nothing here makes HTML.
const $ = (id) => document.getElementById(id);
const model = {
  live: null, // the newest picture: head and roles by name
  shown: null, // the one on the page: live, or of the past
  at: null, // a Date of the past; null: live
  link: null, // what the stream said last of the daemon's own connection
  heard: 0, // when that was
  role: null, // the chosen one; null: all
  site: null, // likewise
  bySite: false, // members are in their sites
  open: new Set(), // members whose details are shown
  events: [], // the newest first
  found: null, // the answer to the last search
};

// el makes an element. Attributes are set, children appended; text is text.
function el(tag, attrs, ...children) {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(attrs || {})) {
    if (v === false || v === null || v === undefined) continue;
    e.setAttribute(k, v);
  }
  e.append(...children.filter((c) => c !== null && c !== undefined));
  return e;
}

const svgSpace = 'http://www.w3.org/2000/svg';
function svg(tag, attrs, ...children) {
  const e = document.createElementNS(svgSpace, tag);
  for (const [k, v] of Object.entries(attrs || {})) e.setAttribute(k, v);
  e.append(...children);
  return e;
}

// setText changes the page only where it says something else.
function setText(e, s) { if (e.textContent !== s) e.textContent = s; }

// The sign of a state: shape first, colour repeats it.
const shapes = {
  up: () => [svg('circle', { cx: 6, cy: 6, r: 5, fill: 'currentColor' })],
  suspect: () => [svg('circle', { cx: 6, cy: 6, r: 4.2, fill: 'none', stroke: 'currentColor', 'stroke-width': 1.6 }), svg('path', { d: 'M6 1.8a4.2 4.2 0 0 1 0 8.4z', fill: 'currentColor' })],
  draining: () => [svg('circle', { cx: 6, cy: 6, r: 4.2, fill: 'none', stroke: 'currentColor', 'stroke-width': 1.6, 'stroke-dasharray': '2.2 2.2' })],
  lost: () => [svg('path', { d: 'M2 2l8 8M10 2l-8 8', stroke: 'currentColor', 'stroke-width': 2.2, 'stroke-linecap': 'round' })],
  held: () => [svg('path', { d: 'M2.5 1.2h7L6 6l3.5 4.8h-7L6 6z', fill: 'currentColor' })],
};
function glyph(state) {
  return svg('svg', { viewBox: '0 0 12 12', class: 'glyph ' + (shapes[state] ? state : 'suspect'), 'aria-hidden': 'true' }, ...(shapes[state] || shapes.suspect)());
}

// breakable is a name that may be broken after its underscores.
const breakable = (name) => name.split(/(?<=_)/).flatMap((part, i) => (i ? [el('wbr'), part] : [part]));

const order = { lost: 0, held: 1, suspect: 2, draining: 3, up: 4 };
const number = new Intl.NumberFormat('en');
const percent = (n, of) => (of ? (100 * n / of).toFixed(1) : '0.0') + ' %';

// now is the time at the daemon: its clock is the one that the picture is judged by.
let clock = 0;
const now = () => model.at ? model.at.getTime() : Date.now() + clock;

// span is a duration in words.
function span(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return s + ' s';
  if (s < 3600) return Math.floor(s / 60) + ' min';
  if (s < 86400) return Math.floor(s / 3600) + ' h' + (s < 36000 ? ' ' + Math.floor(s / 60) % 60 + ' min' : '');
  return Math.floor(s / 86400) + ' d';
}
const two = (n) => String(n).padStart(2, '0');
const clockOf = (d) => two(d.getHours()) + ':' + two(d.getMinutes()) + ':' + two(d.getSeconds());
function dateOf(d) {
  const today = new Date(Date.now() + clock);
  return (d.toDateString() === today.toDateString() ? '' : d.getDate() + ' ' + d.toLocaleString('en', { month: 'short' }) + ' ') + clockOf(d);
}

// age is an element that shows how long ago something was, and goes on counting.
function age(time, words) {
  const e = el('span', { 'data-time': time, title: new Date(time).toLocaleString() });
  e.words = words || ((t) => span(t));
  setText(e, e.words(now() - Date.parse(time)));
  return e;
}
function countAges() {
  for (const e of document.querySelectorAll('[data-time]')) setText(e, e.words(now() - Date.parse(e.dataset.time)));
}

// terminal is what a command has behind it to reach this network from an operator's terminal.
const terminal = () => model.live && model.live.flags ? ' ' + model.live.flags : '';

// command is a command to copy.
function command(text) {
  text += terminal();
  const b = el('button', { type: 'button' }, 'Copy');
  b.addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(text);
      b.textContent = 'Copied';
    } catch {
      getSelection().selectAllChildren(b.previousElementSibling); // no clipboard: it is marked
      b.textContent = 'Marked';
    }
    setTimeout(() => { b.textContent = 'Copy'; }, 1500);
  });
  return el('div', { class: 'cmd' }, el('code', {}, text), b);
}

// ask fetches JSON from the daemon.
async function ask(path, signal) {
  const r = await fetch(path, { signal, cache: 'no-store' });
  const v = await r.json();
  if (!r.ok) throw new Error(v.error || 'the daemon answers ' + r.status);
  return v;
}

const rolesOf = (p) => p ? p.role_names.map((n) => p.roles.get(n)).filter(Boolean) : [];

// refusal says why there is no stream. What stands before thor web answers with pages of its own.
function refusal(status, type, text) {
  const own = type.startsWith('text/plain') && text.length <= 200;
  return own ? 'thor web refuses: ' + text.trim() : 'No stream: HTTP ' + status;
}
