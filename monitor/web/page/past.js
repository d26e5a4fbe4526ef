// The time slider: the status at any time that the history has.
let range = 3600; // seconds
let begins = 0; // of the history; 0: not known
let asking = null; // AbortController of the question under way
let waiting = 0; // timer of the next one
let noPast = ''; // why there is none

const sliderTime = (v) => Date.now() + clock - (1000 - v) * range;
const sliderOf = (ms) => 1000 - (Date.now() + clock - ms) / range;

function slide() {
  const v = Number($('slider').value);
  if (v >= 999.5) { goLive(); return; }
  showPast(new Date(sliderTime(v)));
}

// showPast asks for the status of a time, a moment after the last wish.
function showPast(when) {
  model.at = when;
  document.body.classList.add('past');
  $('live').disabled = false;
  setText($('time-now'), dateOf(when));
  clearTimeout(waiting);
  waiting = setTimeout(() => askPast(when), 120);
}

async function askPast(when) {
  if (asking) asking.abort();
  asking = new AbortController();
  const role = ringRole(model.live) || {};
  try {
    const p = await ask('/api/status?at=' + encodeURIComponent(when.toISOString()) + '&ring=' + encodeURIComponent(model.role || role.role || ''), asking.signal);
    if (model.at !== when) return;
    model.shown = pictureOf(p);
    note(p.doubt ? 'Perhaps not the last change: ' + p.doubt + '.' : 'The status of ' + when.toLocaleString() + '. Same: thor status --at ' + quoteWord(when.toISOString().slice(0, 19) + 'Z') + terminal());
    show();
    countAges();
  } catch (err) {
    if (err.name !== 'AbortError' && model.at === when) note('The status of that time is not known: ' + err.message + '.');
  }
}

function goLive() {
  if (!model.at) return;
  model.at = null;
  clearTimeout(waiting);
  if (asking) asking.abort();
  document.body.classList.remove('past');
  $('live').disabled = true;
  $('slider').value = 1000;
  setText($('time-now'), 'now');
  note(noPast);
  model.shown = model.live;
  show();
  countAges();
}

function note(text) {
  $('time-note').hidden = !text;
  setText($('time-note'), text);
}

// step goes to the event before, or after, what is shown.
function step(by) {
  const t = now();
  const times = marks.map((m) => m.time).sort((a, b) => a - b);
  const to = by < 0 ? times.findLast((x) => x < t - 500) : times.find((x) => x > t + 500);
  if (to === undefined) { if (by > 0) goLive(); return; }
  $('slider').value = Math.max(0, sliderOf(to));
  showPast(new Date(to + 1)); // what it changed is there
}

let marks = []; // {time, kind} of the history

async function readHistory() {
  try {
    const since = Math.max(Date.now() + clock - range * 1000, 0);
    const h = await ask('/api/history?since=' + encodeURIComponent(new Date(since).toISOString()));
    begins = h.begins ? Date.parse(h.begins) : 0;
    takeEvents(h.events.slice(-300)); // those that were missed
    marks = h.events.map((e) => ({ time: Date.parse(e.time), kind: e.event }));
    noPast = '';
  } catch (err) {
    noPast = 'The history is not known: ' + err.message + '.';
  }
  if (!model.at) note(noPast);
  drawRail();
}

// readAgain reads the history after what happened may have been missed. While brokers choose
// who keeps it there may be no answer.
let missed = 0; // timer
function readAgain(tries) {
  clearTimeout(missed);
  missed = setTimeout(async () => {
    await readHistory();
    if (noPast && tries > 1) readAgain(tries - 1);
  }, 1500);
}

function drawRail() {
  const box = $('rail');
  const rects = [];
  if (begins && sliderOf(begins) > 0) rects.push(svg('rect', { x: 0, y: 15, width: Math.min(1000, sliderOf(begins)).toFixed(1), height: 5, class: 'unknown' }));
  const seen = new Set();
  for (const m of marks) {
    const x = Math.round(sliderOf(m.time) * 2) / 2;
    if (x < 0 || x > 1000 || seen.has(x + m.kind)) continue;
    seen.add(x + m.kind);
    const tall = m.kind === 'leave' || m.kind === 'guard' || m.kind === 'elected';
    rects.push(svg('rect', { x: (x - 0.8).toFixed(1), y: tall ? 2 : 8, width: 1.6, height: tall ? 18 : 12, class: m.kind.replace(/[^a-z_]/g, '') }));
  }
  box.replaceChildren(...rects);
  if (model.at) $('slider').value = Math.max(0, sliderOf(model.at.getTime()));
}
