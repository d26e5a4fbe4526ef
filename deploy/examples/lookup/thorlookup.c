/* Which node serves a subscriber: thor's lookup function, versions 1 and 2, without a table.
 * For modules in C, and as an example for other languages. Build: cc -O2 -o thorlookup thorlookup.c
 *   printf '%s\n' 'set 18 node1:100 node2:200 node3:100:draining' 'key sip:alice@example.com' | ./thorlookup
 *   198778 node2 node1 node2
 * "set" gives log2 of the slots and the members of the role, as the network status
 * has them: "lookup" and "roles"; suspect members count. "key" answers with slot,
 * owner, heir and residence ("-" for nobody), or "bad key", "bad set", "no members". The usual weight is 100.
 * With "@SITE" behind members, such as node1:100@ams, the answer ends with the remote, the first in rank in another
 * site than the owner; "-" while those that take new work stand in fewer than two sites. */
#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const uint64_t P1 = 0x9e3779b185ebca87, P2 = 0xc2b2ae3d27d4eb4f, P3 = 0x165667b19e3779f9, P4 = 0x85ebca77c2b2ae63,
	P5 = 0x27d4eb2f165667c5;

static uint64_t rotl(uint64_t x, int n) { return x << n | x >> (64 - n); }
static uint64_t le(const unsigned char *p, int n) { uint64_t v = 0; while (n--) v = v << 8 | p[n]; return v; }
static uint64_t step(uint64_t a, uint64_t in) { return rotl(a + in * P2, 31) * P1; }

static uint64_t xxh64(const void *data, size_t n) /* seed 0 */
{
	const unsigned char *p = data;
	uint64_t h = P5, v[4] = { P1 + P2, P2, 0, -P1 };
	size_t all = n;
	if (n >= 32) {
		for (; n >= 32; p += 32, n -= 32)
			for (int i = 0; i < 4; i++) v[i] = step(v[i], le(p + 8 * i, 8));
		h = rotl(v[0], 1) + rotl(v[1], 7) + rotl(v[2], 12) + rotl(v[3], 18);
		for (int i = 0; i < 4; i++) h = (h ^ step(0, v[i])) * P1 + P4;
	}
	h += all;
	for (; n >= 8; p += 8, n -= 8) h = rotl(h ^ step(0, le(p, 8)), 27) * P1 + P4;
	if (n >= 4) { h = rotl(h ^ le(p, 4) * P1, 23) * P2 + P3; p += 4; n -= 4; }
	for (; n; p++, n--) h = rotl(h ^ *p * P5, 11) * P1;
	h = (h ^ h >> 33) * P2, h = (h ^ h >> 29) * P3;
	return h ^ h >> 32;
}

static uint64_t mix64(uint64_t x)
{
	x = (x ^ x >> 33) * 0xff51afd7ed558ccdu, x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53u;
	return x ^ x >> 33;
}

static uint64_t T[4097]; /* floor(2^40 * log2(1 + i/4096)) */
static void make_table(void)
{
	for (uint64_t i = 0; i < 4096; i++) {
		uint64_t y = (4096 + i) << 51;
		for (int bit = 0; bit < 40; bit++) {
			uint64_t q = (uint64_t)((unsigned __int128)y * y >> 64);
			T[i] = T[i] << 1 | q >> 63;
			y = q >> 63 ? q : q << 1;
		}
	}
	T[4096] = (uint64_t)1 << 40;
}

static uint64_t score(uint64_t x, uint64_t w) /* -log2(x / 2^64) with 56 fraction bits, divided by w */
{
	uint64_t y = x | 1, z = __builtin_clzll(y), m = y << z << 1, i = m >> 52, f = m >> 20 & 0xffffffff;
	return ((((z + 1) << 40) - (T[i] + ((T[i + 1] - T[i]) * f >> 32))) << 16) / w;
}

static struct member { char node[256], site[33]; uint64_t hash, weight; int draining; } members[65535];
static int n_members, bits = 18, sited;

/* The two best of a slot, as indices, -1 for nobody. Members are sorted by name. */
static void best(uint64_t slot, int with_draining, int *owner, int *heir)
{
	uint64_t m = mix64(slot + 0x9e3779b97f4a7c15u), s[2] = { 0 }, x[2] = { 0 };
	int at[2] = { -1, -1 };
	for (int i = 0; i < n_members; i++) {
		if (members[i].weight == 0 || (members[i].draining && !with_draining)) continue;
		uint64_t xi = mix64(members[i].hash ^ m), si = score(xi, members[i].weight);
		int k = 2; /* the place it takes */
		while (k > 0 && (at[k - 1] < 0 || si < s[k - 1] || (si == s[k - 1] && xi > x[k - 1]))) k--;
		if (k == 0) { s[1] = s[0]; x[1] = x[0]; at[1] = at[0]; }
		if (k < 2) { s[k] = si; x[k] = xi; at[k] = i; }
	}
	*owner = at[0], *heir = at[1];
}

/* The first in rank in another site than the owner, as an index, -1 for nobody. */
static int remote(uint64_t slot, int owner)
{
	uint64_t m = mix64(slot + 0x9e3779b97f4a7c15u), s = 0, x = 0;
	const char *one = NULL;
	int at = -1, sites = 0;
	for (int i = 0; i < n_members; i++) {
		const char *site = members[i].site;
		if (members[i].weight == 0 || members[i].draining || !*site) continue;
		if (!one || strcmp(one, site)) one = site, sites++; /* two at least, if there are */
		if (strcmp(site, members[owner].site) == 0) continue;
		uint64_t xi = mix64(members[i].hash ^ m), si = score(xi, members[i].weight);
		if (at < 0 || si < s || (si == s && xi > x)) at = i, s = si, x = xi;
	}
	return sites < 2 ? -1 : at;
}

/* The normal form of a key in out (513 bytes); its length, or 0 for a bad key. */
static size_t normalise(const char *k, char *out)
{
	int scheme = strncasecmp(k, "sip:", 4) == 0 ? 4 : strncasecmp(k, "sips:", 5) == 0 ? 5 : 0;
	const char *user = k + scheme, *at = strchr(user, '@');
	if (strlen(k) > 1024 || !at) return 0;
	const char *host = at + 1, *end = host + strcspn(host, ";?"), *colon = memchr(user, ':', at - user), *port;
	if (colon && !scheme) return 0;
	size_t n = (colon ? colon : at) - user, h;
	if (n == 0) return 0;
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)user[i] <= 0x20 || user[i] == 0x7f || strchr("<>\"", user[i])) return 0;
	if (*host == '[') {
		h = 1 + strspn(host + 1, "0123456789abcdefABCDEF:.");
		if (host + h >= end || h == 1 || host[h] != ']') return 0;
		port = host + ++h;
	} else {
		port = memchr(host, ':', end - host);
		if (!port) port = end;
		h = port - host;
		if (h && host[h - 1] == '.') h--;
		if (h == 0 || host[0] == '.' || host[h - 1] == '.') return 0;
		for (size_t i = 0; i < h; i++)
			if (!(isalnum((unsigned char)host[i]) || strchr("-_.", host[i])) || (i && host[i] == '.' && host[i - 1] == '.')) return 0;
	}
	if (port < end && (*port != ':' || end - port < 2 || end - port > 6 || (size_t)(end - port) != 1 + strspn(port + 1, "0123456789"))) return 0;
	if (n + 1 + h > 512) return 0;
	memcpy(out, user, n);
	out[n] = '@';
	for (size_t i = 0; i < h; i++) out[n + 1 + i] = host[i] >= 'A' && host[i] <= 'Z' ? host[i] | 0x20 : host[i];
	return n + 1 + h;
}

static int by_name(const void *a, const void *b) { return strcmp(((const struct member *)a)->node, ((const struct member *)b)->node); }

int main(void)
{
	static char line[16 << 20], out[513];
	make_table();
	while (fgets(line, sizeof line, stdin)) {
		line[strcspn(line, "\n")] = 0;
		if (strncmp(line, "set ", 4) == 0) {
			char *b = strtok(line + 4, " ");
			n_members = 0, sited = 0, bits = b ? atoi(b) : 0;
			for (char *t; n_members < 65535 && (t = strtok(NULL, " "));) {
				struct member *m = &members[n_members++];
				char *site = strchr(t, '@');
				if (site) *site++ = 0, sited = 1;
				snprintf(m->site, sizeof m->site, "%s", site ? site : "");
				snprintf(m->node, sizeof m->node, "%.*s", (int)strcspn(t, ":"), t);
				m->hash = xxh64(m->node, strlen(m->node));
				m->draining = strstr(t += strcspn(t, ":"), ":draining") != NULL;
				m->weight = *t && t[1] != 'd' ? strtoul(t + 1, NULL, 10) : 100;
			}
			qsort(members, n_members, sizeof *members, by_name);
		} else if (strncmp(line, "key ", 4) == 0) {
			size_t n = normalise(line + 4, out);
			int owner, heir, residence, unused;
			if (bits < 10 || bits > 24) { puts("bad set"); continue; }
			uint64_t slot = xxh64(out, n) >> (64 - bits);
			best(slot, 0, &owner, &heir), best(slot, 1, &residence, &unused);
			if (n == 0) puts("bad key");
			else if (owner < 0) puts("no members");
			else {
				printf("%llu %s %s %s", (unsigned long long)slot, members[owner].node, heir < 0 ? "-" : members[heir].node, members[residence].node);
				int far = sited ? remote(slot, owner) : -1;
				if (sited) printf(" %s", far < 0 ? "-" : members[far].node);
				putchar('\n');
			}
		}
	}
	return 0;
}
