// Sites: where members are. A network without sites has nothing of this.
const sitesOf = (p) => p.sites || [];
const placeOf = (m) => m.site || m.announced_site || '';
const placeWords = (m) => m.site || (m.announced_site ? m.announced_site + ' (announced)' : '');

// bySite orders sites; no site comes last.
const bySite = (a, b) => (a === b ? 0 : a === '' ? 1 : b === '' ? -1 : a < b ? -1 : 1);

// newestFirst orders events. Of one moment the one that came later is newer: a new manager tells
// of its election and then of silent sites.
const newestFirst = (a, b) => Date.parse(b.time) - Date.parse(a.time) || b.came - a.came;

// silentSites are those of which the newest word is that nothing is heard, since when. A
// manager that begins to lead tells anew which they are.
function silentSites() {
  const out = new Map();
  const told = new Set();
  if (model.at) return out;
  for (const e of model.events) {
    if (e.event === 'elected') break;
    if (!e.site || told.has(e.site)) continue;
    told.add(e.site);
    if (e.event === 'guard') out.set(e.site, e.time);
  }
  return out;
}

function showSites(p) {
  const all = sitesOf(p);
  const box = $('sites');
  box.hidden = $('by-site').hidden = all.length === 0;
  for (const e of document.querySelectorAll('.sited')) e.hidden = all.length === 0;
  const silent = silentSites();
  const key = JSON.stringify([all, [...silent], model.site]);
  if (box.dataset.key === key) return;
  box.dataset.key = key;
  const focused = document.activeElement.dataset.site;
  box.replaceChildren(...all.map((s) => {
    const [state, words] = siteState(s, silent.get(s.site));
    const b = el('button', { type: 'button', class: 'site ' + state, 'data-site': s.site, 'aria-pressed': String(model.site === s.site) },
      glyph(state), el('b', {}, s.site), s.serving + ' of ' + s.total, words ? el('span', {}, words) : null,
      silent.has(s.site) && !s.lost ? age(silent.get(s.site)) : s.lost ? age(s.since, (t) => span(t) + ' ago') : null);
    b.addEventListener('click', () => { model.site = model.site === s.site ? null : s.site; allRows = false; show(); });
    if (s.site === focused) setTimeout(() => b.focus());
    return b;
  }));
}

// siteState is how a site is, as a state of members, and in words.
function siteState(s, silent) {
  if (s.lost) return [s.serving ? 'suspect' : 'lost', s.lost + ' lost with the site'];
  if (silent) return ['suspect', 'silent'];
  if (s.suspect) return ['suspect', s.suspect + ' suspect'];
  if (s.draining) return ['draining', s.draining + ' draining'];
  return ['up', s.announced ? 'announced only' : ''];
}

// fillHeading puts the heading of a site at place i of the members, and returns the next.
function fillHeading(box, used, place, i) {
  const id = 'site ' + place;
  used.add(id);
  let h = rows.get(id);
  if (!h) rows.set(id, h = el('h4', { class: 'place' }, place || 'no site'));
  if (box.children[i] !== h) box.insertBefore(h, box.children[i] || null);
  return i + 1;
}

function groupBySite() {
  if (!model.shown || sitesOf(model.shown).length === 0) return;
  model.bySite = !model.bySite;
  $('by-site').setAttribute('aria-pressed', String(model.bySite));
  showMembers(model.shown);
}
