// The ring of a role: each node's share, and what the last change moved. The outer
// ring is now, the inner one before; bands lead from one to the other.
const hues = [212, 168, 32, 282, 352, 96, 190, 58, 248, 320, 130, 12];
const wheel = { size: 320, out: 150, in: 122, was: 84, core: 74 };

// ringRole is the role whose ring is shown: the chosen one if it has a ring.
function ringRole(p) {
  const have = rolesOf(p).filter((r) => r.ring);
  return have.find((r) => r.role === model.role) || have.find((r) => r.role === 'sip_proxy') || have.find((r) => !r.infrastructure) || have[0];
}

function showRing(p) {
  const r = ringRole(p);
  const box = $('ring');
  const found = model.found && r && model.found.role === r.role ? model.found : null;
  const key = r ? JSON.stringify([r.role, r.ring, found]) : 'none';
  setText($('ring-note'), r ? 'of ' + r.role : '');
  if (box.dataset.key === key) return;
  box.dataset.key = key;
  if (!r) {
    box.replaceChildren(el('p', { class: 'empty' }, p.lookups.length ? 'The shares are being computed.' : 'No role has a lookup table.'));
    return;
  }
  const paint = colours(r.ring);
  box.replaceChildren(drawWheel(r.ring, paint, found), shareList(r.ring, paint), ...movedWords(r.ring));
}

// colours gives each node its own, or two shades in turn where there are too many.
function colours(ring) {
  const names = new Set(ring.shares.map((s) => s.node));
  for (const m of ring.moved ? ring.moved.moves : []) { if (m.from) names.add(m.from); if (m.to) names.add(m.to); }
  const sorted = [...names].sort();
  const many = sorted.length > hues.length;
  const of = new Map(sorted.map((n, i) => [n, many ? `hsl(212 ${i % 2 ? 34 : 42}% ${i % 2 ? 62 : 50}%)` : `hsl(${hues[i]} 42% 54%)`]));
  return (n) => of.get(n) || 'gray';
}

const at = (radius, turn) => {
  const a = 2 * Math.PI * turn - Math.PI / 2;
  return (wheel.size / 2 + radius * Math.cos(a)).toFixed(2) + ' ' + (wheel.size / 2 + radius * Math.sin(a)).toFixed(2);
};

// arc is the path of a piece of a ring, from one turn to another (0 to 1).
function arc(r0, r1, from, to) {
  const whole = to - from > 0.9999;
  if (whole) to = from + 0.9999;
  const big = to - from > 0.5 ? 1 : 0;
  return `M${at(r1, from)}A${r1} ${r1} 0 ${big} 1 ${at(r1, to)}L${at(r0, to)}A${r0} ${r0} 0 ${big} 0 ${at(r0, from)}Z`;
}

// band is a path from a piece of the inner ring to one of the outer ring, the
// shorter way round.
function band(a0, a1, b0, b1) {
  const turn = Math.round((a0 + a1 - b0 - b1) / 2);
  b0 += turn;
  b1 += turn;
  const points = [], steps = 24;
  const side = (a, b, t) => at(wheel.was + (wheel.in - wheel.was) * t, a + (b - a) * t * t * (3 - 2 * t));
  const edge = (r, a, b, t) => at(r, a + (b - a) * t);
  for (let i = 0; i <= steps; i++) points.push(side(a0, b0, i / steps));
  for (let i = 1; i <= steps; i++) points.push(edge(wheel.in, b0, b1, i / steps));
  for (let i = steps; i >= 0; i--) points.push(side(a1, b1, i / steps));
  for (let i = steps - 1; i > 0; i--) points.push(edge(wheel.was, a0, a1, i / steps));
  return 'M' + points.join('L') + 'Z';
}

function drawWheel(ring, paint, found) {
  const s = svg('svg', { viewBox: `0 0 ${wheel.size} ${wheel.size}`, class: 'wheel', role: 'img', 'aria-label': 'Share of each node: ' + ring.shares.slice(0, 20).map((x) => x.node + ' ' + percent(x.slots, ring.slots)).join(', ') });
  const moves = ring.moved ? ring.moved.moves.filter((m) => m.from && m.to) : [];
  if (ring.shares.length === 0) s.append(svg('path', { d: arc(wheel.in, wheel.out, 0, 1), class: 'none' }));
  const spots = placeNow(ring, moves);
  if (moves.length) s.append(...before(ring, moves, paint, spots));
  for (const x of ring.shares) {
    const p = spots.get(x.node);
    const mark = found ? (found.owner === x.node ? ' owner' : found.heir === x.node ? ' heir' : ' dim') : '';
    s.append(svg('path', { d: arc(wheel.in, wheel.out, p.from, p.to), fill: paint(x.node), class: 'arc' + mark }, svg('title', {}, x.node + ' ' + percent(x.slots, ring.slots))));
  }
  if (found) for (const x of s.querySelectorAll('.owner,.heir')) s.append(x); // above its neighbours
  const c = wheel.size / 2;
  const big = ring.moved ? percent(ring.moved.slots, ring.slots) : number.format(ring.shares.length);
  const small = ring.moved ? 'moved last' : ring.shares.length === 1 ? 'node' : 'nodes';
  s.append(svg('text', { x: c, y: c + 6, class: 'big' }, big), svg('text', { x: c, y: c + 26, class: 'small' }, small));
  return s;
}

// placeNow is where each node's arc is on the outer ring, and in it the piece that
// each move brought.
function placeNow(ring, moves) {
  const spots = new Map();
  let turn = 0;
  for (const x of ring.shares) {
    const from = turn;
    turn += x.slots / ring.slots;
    const spot = { from, to: turn, gains: new Map() };
    let end = turn;
    for (const m of moves) if (m.to === x.node) {
      spot.gains.set(m.from, [end - m.slots / ring.slots, end]);
      end -= m.slots / ring.slots;
    }
    spots.set(x.node, spot);
  }
  return spots;
}

// before is the inner ring, and the bands from it to where its slots are now.
function before(ring, moves, paint, spots) {
  const had = new Map(ring.shares.map((x) => [x.node, x.slots]));
  for (const m of moves) {
    had.set(m.from, (had.get(m.from) || 0) + m.slots);
    had.set(m.to, (had.get(m.to) || 0) - m.slots);
  }
  const out = [];
  let turn = 0;
  for (const n of [...had.keys()].sort()) {
    if (had.get(n) <= 0) continue;
    const from = turn;
    turn += had.get(n) / ring.slots;
    out.push(svg('path', { d: arc(wheel.core, wheel.was, from, turn), fill: paint(n), class: 'arc before' }, svg('title', {}, n + ' before: ' + percent(had.get(n), ring.slots))));
    let end = turn;
    for (const m of moves) if (m.from === n) {
      const gain = spots.get(m.to) && spots.get(m.to).gains.get(n);
      const begin = end - m.slots / ring.slots;
      if (gain) out.push(svg('path', { d: band(begin, end, gain[0], gain[1]), fill: paint(n), class: 'ribbon' }, svg('title', {}, n + ' to ' + m.to + ': ' + percent(m.slots, ring.slots))));
      end = begin;
    }
  }
  return out;
}

const mostShares = 24;

function shareList(ring, paint) {
  const list = el('ul', { class: 'shares' });
  const row = (node, share, more, cls) => {
    const dot = svg('svg', { viewBox: '0 0 12 12', 'aria-hidden': 'true' }, svg('rect', { width: 12, height: 12, rx: 3, fill: paint(node) }));
    return el('li', { class: cls }, dot, el('span', { class: 'n' }, node), el('span', { class: 'p' }, share), el('span', { class: 'g' }, more));
  };
  for (const x of [...ring.shares].sort((a, b) => b.slots - a.slots).slice(0, mostShares)) {
    list.append(row(x.node, percent(x.slots, ring.slots), x.gained ? '+' + percent(x.gained, ring.slots) : '', ''));
  }
  if (ring.shares.length > mostShares) list.append(el('li', {}, '', el('span', { class: 'n gone' }, 'and ' + (ring.shares.length - mostShares) + ' more'), '', ''));
  const gone = new Map();
  const have = new Set(ring.shares.map((x) => x.node));
  for (const m of ring.moved ? ring.moved.moves : []) if (m.from && !have.has(m.from)) gone.set(m.from, (gone.get(m.from) || 0) + m.slots);
  for (const [n, k] of gone) list.append(row(n, '–', '−' + percent(k, ring.slots), 'gone'));
  return list;
}

function movedWords(ring) {
  const m = ring.moved;
  if (!m) return [];
  const p = el('p', { class: 'moved' }, 'The last change moved ' + percent(m.slots, ring.slots) + ' of the subscribers, ', age(m.at, (t) => span(t) + ' ago'), '. Inner ring: before. Outer ring: ' + (model.at ? 'then.' : 'now.'));
  return [p];
}

// The search: the daemon computes owner and heir from the status, as members do.
async function search(key) {
  const box = $('found');
  $('devices').hidden = true;
  const r = ringRole(model.live || model.shown);
  if (!key) { model.found = null; box.hidden = true; showRing(model.shown); return; }
  box.hidden = false;
  try {
    if (!r) throw new Error('no role has a lookup table');
    const f = await ask('/api/lookup?role=' + encodeURIComponent(r.role) + '&key=' + encodeURIComponent(key));
    model.found = { role: r.role, owner: f.owner, heir: f.heir, key };
    const addr = (a) => a ? el('span', { class: 'mono muted' }, ' ' + a) : null;
    box.replaceChildren(el('div', {}, el('b', {}, f.owner), addr(f.owner_address), ' serves ' + f.key),
      el('div', { class: 'muted' }, f.heir ? 'Next: ' : 'No other node is there to follow.', f.heir ? el('b', {}, f.heir) : null, addr(f.heir_address), f.residence ? ' · before the drain: ' + f.residence : '', ' · slot ' + number.format(f.slot)),
      f.registered ? whereButton(r.role, key) : null,
      command('thor lookup ' + r.role + ' ' + quoteWord(f.key)));
  } catch (err) {
    model.found = null;
    box.replaceChildren(el('span', { class: 'no' }, err.message));
  }
  showRing(model.shown);
}

function whereButton(role, key) {
  const b = el('button', { type: 'button' }, 'Where registered');
  b.addEventListener('click', () => showRegistered(role, key));
  return b;
}

// showRegistered asks the nodes of a subscriber for its devices; the web view notes who asked.
async function showRegistered(role, key) {
  const box = $('devices');
  try {
    const f = await ask('/api/registered?role=' + encodeURIComponent(role) + '&key=' + encodeURIComponent(key));
    box.replaceChildren(...f.devices.length ? f.devices.map((d) => el('div', {}, el('b', {}, d.node), ' ',
      el('span', { class: 'mono' }, d.transport + ' ' + d.address + ':' + d.port + (d.public_address ? ' from ' + d.public_address + ':' + d.public_port : '')),
      el('span', { class: 'muted' }, ' ' + [d.user_agent, d.expires + ' s left'].filter(Boolean).join(' · ')))) : ['Not registered.']);
  } catch (err) {
    box.replaceChildren(el('span', { class: 'no' }, err.message));
  }
  box.hidden = false;
}

// quoteWord makes text one word of a shell.
const quoteWord = (s) => /^[\w@.:+-]+$/.test(s) ? s : "'" + s.replaceAll("'", "'\\''") + "'";
