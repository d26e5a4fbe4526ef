// The parts of the page that follow from a picture.
const mostRows = 200; // of members, unless all are asked for
let allRows = false;

function show() {
  const p = model.shown;
  if (!p) return;
  if (model.role && !p.roles.has(model.role)) model.role = null;
  if (model.site && !sitesOf(p).some((s) => s.site === model.site)) model.site = null;
  showHealth(p);
  showRoles(p);
  showSites(p);
  showMembers(p);
  showRing(p);
  showServers(p);
  showBrokers(p);
}

function showHealth(p) {
  const h = $('health');
  const reasons = [...silentSites().keys()].filter((s) => !sitesOf(p).some((x) => x.site === s && x.lost)).map((s) => 'site ' + s + ' is silent').concat(p.reasons);
  const healthy = p.healthy && reasons.length === 0;
  document.title = (healthy ? '' : '▲ ') + (p.domain || 'thor') + ' – thor';
  setText($('domain'), p.domain || 'thor');
  const words = !p.known ? 'Nothing is known of the network yet' : healthy ? (model.at ? 'All was well' : 'All is well') : 'Degraded';
  if (h.dataset.words !== words) {
    h.dataset.words = words;
    h.replaceChildren(glyph(healthy ? 'up' : 'suspect'), words);
  }
  const f = $('facts');
  if (!p.known) { setText(f, ''); } else {
    const missing = [p.lost && p.lost + ' lost', p.held && p.held + ' held'].filter(Boolean).join(', ');
    f.replaceChildren(
      number.format(p.members) + ' members in ' + p.role_names.length + ' roles' + (missing ? ', ' + missing : '') + ' · manager ' + (p.manager || 'none') +
      ' · epoch ' + p.epoch + ', generation ' + number.format(p.generation) + ', changed ', age(p.changed, (t) => span(t) + ' ago'));
  }
  const list = $('reasons');
  list.hidden = reasons.length === 0;
  const key = reasons.join('\n');
  if (list.dataset.key !== key) {
    list.dataset.key = key;
    list.replaceChildren(...reasons.map((r) => el('li', {}, r)));
  }
}

// Cards of roles: those of the platform first.
function showRoles(p) {
  const all = rolesOf(p).sort((a, b) => a.infrastructure - b.infrastructure || (a.role < b.role ? -1 : 1));
  const box = $('roles');
  const have = new Map([...box.children].map((c) => [c.dataset.role, c]));
  all.forEach((r, i) => {
    let c = have.get(r.role);
    have.delete(r.role);
    const key = JSON.stringify(r.members.map((m) => m.state)) + r.serving + r.of + r.expected;
    if (!c) {
      c = el('button', { type: 'button', 'data-role': r.role });
      c.addEventListener('click', () => choose(model.role === r.role ? null : r.role));
    }
    if (c.dataset.key !== key) {
      c.dataset.key = key;
      fillCard(c, r);
    }
    c.setAttribute('aria-pressed', String(model.role === r.role));
    if (box.children[i] !== c) box.insertBefore(c, box.children[i] || null);
  });
  for (const c of have.values()) c.remove();
}

function fillCard(c, r) {
  const words = [];
  for (const s of ['lost', 'held', 'suspect', 'draining']) if (r[s]) words.push(r[s] + ' ' + s);
  if (r.total < r.expected) words.push(r.expected + ' expected');
  c.className = 'role' + (r.short ? ' short' : words.length ? ' warn' : '');
  const states = r.members.map((m) => m.state).sort((a, b) => order[b] - order[a]);
  const dots = el('span', { class: 'dots', 'aria-hidden': 'true' });
  if (states.length <= 24) dots.append(...states.map(glyph));
  else dots.append(bar(states));
  c.replaceChildren(
    el('span', { class: 'name' }, ...breakable(r.role)),
    el('span', { class: 'number' }, number.format(r.serving), ' ', el('small', {}, 'of ' + number.format(r.of))),
    dots, words.length ? el('span', { class: 'words' }, words.join(' · ')) : '');
}

// bar is the share of each state, where single members are too many to draw.
function bar(states) {
  const n = {};
  for (const s of states) n[s] = (n[s] || 0) + 1;
  const b = el('span', { class: 'bar' });
  for (const [s, k] of Object.entries(n)) {
    const i = el('i', { class: s });
    i.style.flex = String(k);
    b.append(i);
  }
  return b;
}

function choose(role) {
  model.role = role;
  allRows = false;
  if (model.at) showPast(model.at); // the ring of another role
  show();
}

// Members: those that are not up first.
const rows = new Map();

function showMembers(p) {
  const words = $('filter').value.toLowerCase().split(/\s+/).filter(Boolean);
  const list = [];
  let total = 0;
  for (const r of rolesOf(p)) {
    if (model.role && r.role !== model.role) continue;
    const members = model.site ? r.members.filter((m) => placeOf(m) === model.site) : r.members;
    total += members.length;
    for (const m of members) {
      if (words.length) {
        const text = [r.role, m.node, m.state, m.reason, placeOf(m) && 'site ' + placeOf(m), ...m.addresses].join(' ').toLowerCase();
        if (!words.every((w) => text.includes(w))) continue;
      }
      list.push([r, m]);
    }
  }
  const grouped = model.bySite && sitesOf(p).length > 0;
  list.sort(([ra, a], [rb, b]) => (grouped ? bySite(placeOf(a), placeOf(b)) : 0) || order[a.state] - order[b.state] || ra.infrastructure - rb.infrastructure ||
    (ra.role < rb.role ? -1 : ra.role > rb.role ? 1 : a.node < b.node ? -1 : 1));
  setText($('members-title'), [model.role || 'Members', model.site && 'in ' + model.site].filter(Boolean).join(' '));
  setText($('members-count'), words.length ? list.length + ' of ' + number.format(total) : number.format(total));
  const part = allRows ? list : list.slice(0, mostRows);
  const more = $('more');
  more.hidden = part.length === list.length;
  setText(more, 'Show all ' + number.format(list.length));
  fillMembers(part, grouped);
}

function fillMembers(list, grouped) {
  const box = $('members');
  const used = new Set();
  const first = rows.size === 0;
  let i = 0, place = null;
  for (const [r, m] of list) {
    if (grouped && place !== placeOf(m)) {
      place = placeOf(m);
      i = fillHeading(box, used, place, i);
    }
    const id = r.role + ' ' + m.node;
    used.add(id);
    const key = JSON.stringify(m) + model.role + model.bySite + model.open.has(id);
    let row = rows.get(id);
    if (!row || row.key !== key) {
      const made = memberRow(r, m, id);
      made.key = key;
      if (row) row.replaceWith(made);
      if (!first && !model.at && (!row || row.state !== m.state)) made.classList.add('new');
      made.state = m.state;
      if (row && row.contains(document.activeElement)) made.firstChild.focus();
      rows.set(id, made);
      row = made;
    }
    if (box.children[i] !== row) box.insertBefore(row, box.children[i] || null);
    i++;
  }
  for (const [id, row] of rows) if (!used.has(id)) { row.remove(); rows.delete(id); }
  while (box.children.length > i) box.lastChild.remove();
  if (list.length === 0) box.replaceChildren(el('p', { class: 'empty' }, 'No member.'));
}

function memberRow(r, m, id) {
  const open = model.open.has(id);
  const b = el('button', { type: 'button', 'aria-expanded': String(open) },
    el('span', { class: 'state ' + m.state }, glyph(m.state), m.state),
    el('span', { class: 'node' }, m.node, m.active ? el('span', { class: 'tag' }, 'active') : null, m.plain ? el('span', { class: 'tag' }, 'plain') : null, placeOf(m) && !model.bySite ? el('span', { class: 'tag site' }, placeWords(m)) : null),
    el('span', { class: 'sub' }, model.role ? null : el('span', { class: 'of' }, ...breakable(r.role)),
      el('span', { class: 'addr mono' }, m.addresses[0] || '–')),
    el('span', { class: 'age' }, m.until ? age(m.until, (t) => 'in ' + span(-t)) : m.since ? age(m.since) : '–'),
    m.reason ? el('span', { class: 'why' }, m.reason) : null);
  if (model.role) b.classList.add('one');
  const row = el('div', { class: 'member', 'data-node': m.node, 'data-of': r.role, 'data-state': m.state }, b);
  b.addEventListener('click', () => {
    if (!model.open.delete(id)) model.open.add(id);
    showMembers(model.shown);
    rows.get(id)?.firstChild.focus();
  });
  if (open) row.append(memberDetail(r, m));
  return row;
}

function memberDetail(r, m) {
  const facts = [['Addresses', m.addresses.join(', ') || 'none']];
  if (m.since) facts.push(['Since', new Date(m.since).toLocaleString()]);
  if (m.until) facts.push(['May return', new Date(m.until).toLocaleString()]);
  if (m.priority) facts.push(['Priority', m.priority]);
  if (m.weight) facts.push(['Weight', m.weight]);
  if (m.version) facts.push(['Version', m.version]);
  for (const k of Object.keys(m.attrs || {}).sort()) facts.push([k, m.attrs[k]]);
  const dl = el('dl', {});
  for (const [k, v] of facts) dl.append(el('dt', {}, k), el('dd', { class: 'mono' }, String(v)));
  const d = el('div', { class: 'detail' }, dl);
  const of = ' ' + m.node + ' --role ' + r.role;
  const commands = { lost: ['thor forget' + of], held: [], draining: ['thor resume' + of] }[m.state] || (r.infrastructure ? [] : ['thor drain' + of]);
  for (const c of [...commands, 'thor events --since 2h --node ' + m.node]) d.append(command(c));
  return d;
}

// Name servers: what the status has, and what each answered when it was asked.
function showServers(p) {
  const r = p.roles.get('thor_dnsmanager');
  const members = r ? r.members : [];
  const said = new Map((model.at || !model.link ? [] : model.link.name_servers).map((s) => [s.node, s]));
  const zones = new Set(members.map((m) => m.attrs && m.attrs.zone).filter(Boolean));
  setText($('dns-note'), members.length === 0 ? 'none' : zones.size > 1 ? 'their zones differ' : 'serial ' + p.generation % 4294967296);
  $('dns-note').classList.toggle('lost', zones.size > 1);
  fillRows($('dns'), members.map((m) => {
    const s = said.get(m.node);
    let right = m.state === 'up' ? '' : m.state, bad = m.state === 'lost', what = m.addresses[0] || '';
    if (m.attrs && m.attrs.port) what += ' port ' + m.attrs.port;
    if (placeOf(m)) what += ' · site ' + placeWords(m);
    if (m.attrs && m.attrs.zone) what += ' · zone ' + m.attrs.zone.slice(0, 8);
    if (m.reason) what += ' · ' + m.reason;
    if (s && m.state !== 'lost') {
      const behind = (p.generation - s.serial) >>> 0;
      if (s.error) { right = 'no answer'; bad = true; what += ' · ' + s.error; } else if (behind > 0 && behind < 2147483648) { right = behind + ' behind'; bad = behind > 1; } else { right = 'serial ' + s.serial; what += ' · ' + s.ms.toFixed(1) + ' ms'; }
    }
    return { state: m.state, name: m.node, right, bad, what };
  }));
}

function showBrokers(p) {
  const r = p.roles.get('thor_eventserver');
  const members = r ? r.members : [];
  const others = members.filter((m) => m.state !== 'lost').length - 1;
  setText($('brokers-note'), members.length ? '' : 'none');
  fillRows($('brokers'), members.map((m) => {
    const routes = m.attrs && m.attrs.routes;
    const few = m.state !== 'lost' && routes !== undefined && Number(routes) < others;
    let what = m.addresses[0] || '';
    if (placeOf(m)) what += ' · site ' + placeWords(m);
    if (m.attrs && m.attrs.peers) what += ' · to ' + m.attrs.peers.split(',').join(', ');
    if (m.reason) what += ' · ' + m.reason;
    if (!model.at && model.link && model.link.broker === m.node) what += ' · this page follows it';
    return { state: m.state, name: m.node, right: m.state === 'lost' ? 'lost' : routes !== undefined ? routes + (routes === '1' ? ' route' : ' routes') : '', bad: few || m.state === 'lost', what };
  }));
}

function fillRows(box, list) {
  const key = JSON.stringify(list);
  if (box.dataset.key === key) return;
  box.dataset.key = key;
  box.replaceChildren(...list.map((x) => el('div', {}, glyph(x.state), el('span', { class: 'n' }, x.name),
    el('span', { class: 'r' + (x.bad ? ' bad' : '') }, x.right), el('span', { class: 's' }, x.what))));
  if (list.length === 0) box.append(el('p', { class: 'empty' }, 'None.'));
}

// Events: the newest first.
const kinds = { join: 'up', leave: 'lost', guard: 'suspect', duplicate: 'suspect', rejected: 'suspect', revoked: 'lost', cut: 'lost', gap: 'held', drain: 'draining', resume: 'up' };
let paused = false;

function showEvents() {
  if (paused) return;
  const box = $('events');
  const have = new Map([...box.children].map((c) => [c.key, c]));
  const list = model.events.slice(0, 120);
  box.replaceChildren(...list.map((e) => have.get(e.key) || eventRow(e)));
  if (list.length === 0) box.append(el('li', { class: 'empty' }, 'Nothing has happened yet.'));
}

function eventRow(e) {
  const d = new Date(e.time);
  const row = el('li', {}, el('time', { datetime: e.time, title: d.toLocaleString() }, clockOf(d)),
    el('span', { class: 'k ' + (kinds[e.event] || '') }, e.event.replaceAll('_', ' ')),
    el('span', { class: 'w' }, [e.node, e.role].filter(Boolean).join(' · '), ' ',
      el('span', { class: 'd' }, [e.detail, e.by && !(e.detail || '').includes(e.by) && 'by ' + e.by].filter(Boolean).join(' · '))));
  row.key = e.key;
  return row;
}
