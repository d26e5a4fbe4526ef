// The stream, and the keys.
let source = null;
let retry = 0; // timer
let drawn = false;
let refused = ''; // why there is no stream, where an answer says it
const silent = 3500; // ms without a word until the connection counts as lost

function open() {
  if (source) source.close();
  source = new EventSource('/api/events');
  source.addEventListener('status', (e) => { heard(); takeStatus(JSON.parse(e.data)); });
  source.addEventListener('event', (e) => { heard(); takeEvents(JSON.parse(e.data)); });
  source.addEventListener('link', (e) => { heard(); takeLink(JSON.parse(e.data)); });
  source.onerror = () => { again(1000); whyNot(); };
}

// whyNot finds out why no stream was opened, which the browser does not tell.
async function whyNot() {
  let why = '';
  try {
    const r = await fetch('/api/events', { cache: 'no-store' });
    if (r.ok) r.body.cancel();
    else why = refusal(r.status, r.headers.get('content-type') || '', await r.text());
  } catch { /* no answer */ }
  refused = why;
  check();
}

// again opens the stream anew: the browser does not try again after every error.
function again(ms) {
  source.close();
  clearTimeout(retry);
  retry = setTimeout(open, ms);
}

function heard() { model.heard = performance.now(); refused = ''; }

// pictureOf is a message as the page keeps it: roles by name.
function pictureOf(m) { return { ...m, roles: new Map(m.roles.map((r) => [r.role, r])) }; }

// takeStatus merges what changed: a message has the roles that did, all after a
// reconnection.
function takeStatus(m) {
  const p = pictureOf(m);
  if (!p.known && model.live && model.live.known) return; // a daemon that begins anew: what was known last stays
  if (model.live) for (const n of p.role_names) if (!p.roles.has(n) && model.live.roles.has(n)) p.roles.set(n, model.live.roles.get(n));
  model.live = p;
  document.body.classList.remove('waiting');
  setText($('myself'), p.myself ? 'Shown by ' + p.myself + '.' : '');
  if (model.at) return;
  model.shown = p;
  show();
  if (!drawn && p.known) {
    drawn = true;
    requestAnimationFrame(() => setTimeout(() => performance.mark('members'))); // after the frame, for who measures
  }
}

const told = new Set();
let came = 0; // events so far
function takeEvents(list) {
  for (const e of list) {
    e.key = JSON.stringify(e);
    if (told.has(e.key)) continue;
    told.add(e.key);
    e.came = ++came;
    model.events.push(e);
    marks.push({ time: Date.parse(e.time), kind: e.event });
  }
  if (marks.length > 4000) marks = marks.slice(-2000); // as many as the history answers with
  model.events.sort(newestFirst);
  for (const e of model.events.splice(500)) told.delete(e.key);
  showEvents();
  drawRail();
  if (model.shown) { showHealth(model.shown); showSites(model.shown); }
}

function takeLink(l) {
  if (model.link && l.broker && l.broker !== model.link.broker) readAgain(5); // between two brokers nothing is heard
  model.link = l;
  clock = Date.parse(l.now) - Date.now();
  const late = l.confirmed ? Date.parse(l.now) - Date.parse(l.confirmed) : Infinity;
  const words = !l.connected ? 'no broker' : l.broker_alone ? 'broker is cut off' : l.stale || late > 5000 ? 'no manager heard' : 'live';
  setText($('link-text'), words + (l.broker && words === 'live' ? ' through ' + l.broker : ''));
  if (model.live) { showServers(model.shown); showBrokers(model.shown); }
  check();
}

// check says whether what is shown may be old, and counts on.
function check() {
  const ms = performance.now() - model.heard;
  const l = model.link;
  let why = '';
  if (refused) why = refused + '. Trying again' + (model.live ? '; below is what was known last.' : '.');
  else if (ms > silent) why = 'Connection lost: no word from thor web for ' + span(ms) + '. Trying again; below is what was known last.';
  else if (l && !l.connected) why = 'thor web has no connection to a broker; below is what was known last.';
  else if (l && l.from_disk) why = 'What is shown is of an earlier run of thor web, until a manager tells it anew.';
  document.body.classList.toggle('cut', why !== '');
  $('lost').hidden = !why;
  setText($('lost'), why);
  if (ms > silent) setText($('link-text'), 'connection lost');
  if (ms > 3 * silent) { model.heard = performance.now() - silent - 1000; again(0); } // an open connection on which nothing comes
}

setInterval(() => { check(); countAges(); }, 1000);
setInterval(() => { if (!document.hidden) readHistory(); }, 60000);
setInterval(drawRail, 10000);
document.addEventListener('visibilitychange', () => { if (!document.hidden) { check(); readHistory(); } });

// A browser keeps a page that was left, for the way back: such a one holds no stream.
addEventListener('pagehide', () => { source.close(); clearTimeout(retry); });
addEventListener('pageshow', (e) => { if (e.persisted) open(); });

$('filter').addEventListener('input', () => { allRows = false; if (model.shown) showMembers(model.shown); });
$('more').addEventListener('click', () => { allRows = true; showMembers(model.shown); });
$('slider').addEventListener('input', slide);
$('range').addEventListener('change', (e) => { range = Number(e.target.value); readHistory(); });
$('live').addEventListener('click', goLive);
$('search').addEventListener('submit', (e) => { e.preventDefault(); search($('key').value.trim()); });
$('key').addEventListener('input', (e) => { if (!e.target.value) search(''); });
$('by-site').addEventListener('click', groupBySite);
$('pause').addEventListener('click', pause);
$('help-open').addEventListener('click', () => $('help').showModal());

function pause() {
  paused = !paused;
  $('pause').setAttribute('aria-pressed', String(paused));
  setText($('pause'), paused ? 'Resume' : 'Pause');
  showEvents();
}

function theme() {
  const next = { undefined: 'light', light: 'dark', dark: undefined }[document.documentElement.dataset.theme];
  if (next) document.documentElement.dataset.theme = next; else delete document.documentElement.dataset.theme;
  try { localStorage.theme = next || ''; } catch { /* no storage: until the page is closed */ }
}
try { if (localStorage.theme) document.documentElement.dataset.theme = localStorage.theme; } catch { /* as the system */ }

const keys = {
  '/': () => $('filter').focus(), s: () => $('key').focus(), w: groupBySite, l: goLive, p: pause, t: theme, '?': () => $('help').showModal(),
  '[': () => step(-1), ']': () => step(1), 0: () => choose(null),
};
document.addEventListener('keydown', (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey || $('help').open) return;
  const typing = e.target.matches('input[type=search]');
  if (e.key === 'Escape') {
    if (typing && e.target.value) { e.target.value = ''; e.target.dispatchEvent(new Event('input')); } else e.target.blur();
    return;
  }
  if (typing || e.target.matches('select')) return;
  const card = /^[1-9]$/.test(e.key) && $('roles').children[e.key - 1];
  if (card) { card.click(); card.focus(); e.preventDefault(); } else if (keys[e.key]) { e.preventDefault(); keys[e.key](); }
});

model.heard = performance.now();
open();
readHistory();
