package provisioning

import (
	"context"
	"reflect"
	"slices"

	"thor/provisioning/ngnpro"
	"thor/provisioning/soap"
	"thor/provisioning/store"
)

func sipOperations(st *store.Store) []operation {
	return slices.Concat(domainOperations(st), accountOperations(st), aliasOperations(st), screeningOperations(st), phonebookOperations(st),
		peerOperations(st), []operation{deviceLocations(st)}, mediaOperations())
}

// sipID is the parameter that names a subscriber.
var sipID = value("sipId", (*ngnpro.SipID).Clean)

func domainOperations(st *store.Store) []operation {
	name := value("domain", ngnpro.Domain)
	domain := record("domain", (*ngnpro.SipDomain).Clean)
	exists := keyed(func(d *ngnpro.SipDomain) string { return d.Domain }, name, st.Domains.Get)
	return []operation{
		changes("addDomain", domain, noPush(st.Domains.Add)),
		existing(exists, changes("updateDomain", domain, st.Domains.Update)),
		changes("deleteDomain", name, noPush(st.Domains.Delete)),
		lists("getDomains", st.Domains.Find, func(total int, ds []ngnpro.SipDomain) ngnpro.SipDomains {
			return ngnpro.SipDomains{Total: total, Domains: ds}
		}),
	}
}

func accountOperations(st *store.Store) []operation {
	account := record("account", (*ngnpro.SipAccount).Clean)
	group := value("group", ngnpro.Group)
	exists := keyed(func(a *ngnpro.SipAccount) ngnpro.SipID { return a.ID }, sipID, st.Accounts.Get)
	return []operation{
		creates("addAccount", record("account", (*ngnpro.SipAccount).CleanNew), st.Accounts.Add),
		existing(exists, changes("updateAccount", account, st.Accounts.Update)),
		changes("deleteAccount", sipID, st.Accounts.Delete),
		reads("getAccount", sipID, st.Accounts.Get),
		lists("getAccounts", st.Accounts.Find, func(total int, as []ngnpro.SipAccount) ngnpro.SipAccounts {
			return ngnpro.SipAccounts{Total: total, Accounts: as}
		}),
		existing(named(sipID, st.Accounts.Get), sets("addToGroup", sipID, group, st.Accounts.AddToGroup)),
		existing(named(sipID, st.Accounts.Get), sets("removeFromGroup", sipID, group, st.Accounts.RemoveFromGroup)),
		reads("getGroups", sipID, st.Accounts.Groups),
	}
}

func aliasOperations(st *store.Store) []operation {
	alias, id := record("alias", (*ngnpro.SipAlias).Clean), value("id", (*ngnpro.SipID).Clean)
	exists := keyed(func(a *ngnpro.SipAlias) ngnpro.SipID { return a.ID }, id, st.Aliases.Get)
	return []operation{
		changes("addAlias", alias, st.Aliases.Add),
		existing(exists, changes("updateAlias", alias, st.Aliases.Update)),
		changes("deleteAlias", id, st.Aliases.Delete),
		reads("getAlias", id, st.Aliases.Get),
		lists("getAliases", st.Aliases.Find, func(total int, as []ngnpro.SipAlias) ngnpro.SipAliases {
			return ngnpro.SipAliases{Total: total, Aliases: as}
		}),
	}
}

func screeningOperations(st *store.Store) []operation {
	exists := named(sipID, st.Accounts.Get)
	diversions := record("diversions", (*ngnpro.CallDiversions).Clean)
	prefixes := value("prefixes", cleanList(ngnpro.BarringPrefixes))
	members := value("members", cleanList(ngnpro.RejectMembers))
	rules := record("rules", (*ngnpro.AcceptRules).Clean)
	return []operation{
		existing(exists, sets("setCallDiversions", sipID, diversions, st.Screening.SetCallDiversions)),
		reads("getCallDiversions", sipID, st.Screening.CallDiversions),
		existing(exists, sets("setBarringPrefixes", sipID, prefixes, st.Screening.SetBarringPrefixes)),
		reads("getBarringPrefixes", sipID, st.Screening.BarringPrefixes),
		existing(exists, sets("setRejectMembers", sipID, members, st.Screening.SetRejectMembers)),
		reads("getRejectMembers", sipID, st.Screening.RejectMembers),
		existing(exists, sets("setAcceptRules", sipID, rules, st.Screening.SetAcceptRules)),
		reads("getAcceptRules", sipID, func(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID) (s ngnpro.AcceptRulesState, err error) {
			r, groups, err := st.Screening.AcceptRules(ctx, v, id)
			if err != nil {
				return s, err
			}
			return ngnpro.AcceptRulesState{Rules: *r, NonEmptyGroups: groups}, nil
		}),
	}
}

// cleanList makes a list that f returns replace the one that it is given.
func cleanList(f func([]string) ([]string, error)) func(*[]string) error {
	return func(p *[]string) (err error) {
		*p, err = f(*p)
		return err
	}
}

func phonebookOperations(st *store.Store) []operation {
	entry := record("entry", (*ngnpro.PhonebookEntry).Clean)
	uri := value("uri", ngnpro.PhonebookURI)
	match := record("match", (*ngnpro.PhonebookEntry).CleanFilter)
	part := value("range", func(r **ngnpro.Range) error { return (*r).Clean() })
	exists := named(sipID, st.Accounts.Get)
	// The account is looked up first.
	entryExists := func(c *call, args []any) error {
		if err := exists(c, args); err != nil {
			return err
		}
		id, u := sipID.take(args[0]), args[1].(*ngnpro.PhonebookEntry).URI
		if id.Clean() != nil || ngnpro.PhonebookURI(&u) != nil {
			return nil
		}
		_, err := st.Phonebook.Get(c.ctx, c.v, id, u)
		return err
	}
	return []operation{
		existing(exists, sets("addPhonebookEntry", sipID, entry, st.Phonebook.Add)),
		existing(entryExists, sets("updatePhonebookEntry", sipID, entry, st.Phonebook.Update)),
		existing(exists, sets("deletePhonebookEntry", sipID, uri, st.Phonebook.Delete)),
		{
			Operation: soap.Operation{
				Name: "getPhonebookEntries", Params: []soap.Param{sipID.Param, match.Param, part.Param}, Result: reflect.TypeFor[ngnpro.PhonebookEntries](),
			},
			do: func(c *call, args []any) (any, error) {
				for i, clean := range []func(any) error{sipID.clean, match.clean, part.clean} {
					if err := clean(args[i]); err != nil {
						return nil, err
					}
				}
				es, err := st.Phonebook.Find(c.ctx, c.v, sipID.take(args[0]), match.take(args[1]), part.take(args[2]))
				return ngnpro.PhonebookEntries{Entries: es}, err
			},
		},
	}
}

func peerOperations(st *store.Store) []operation {
	peer, ip := record("peer", (*ngnpro.TrustedPeer).Clean), value("ip", ngnpro.PeerIP)
	exists := keyed(func(p *ngnpro.TrustedPeer) string { return p.IP }, ip, st.Peers.Get)
	return []operation{
		changes("addTrustedPeer", peer, noPush(st.Peers.Add)),
		existing(exists, changes("updateTrustedPeer", peer, noPush(st.Peers.Update))),
		changes("deleteTrustedPeer", ip, noPush(st.Peers.Delete)),
		lists("getTrustedPeers", st.Peers.Find, func(total int, ps []ngnpro.TrustedPeer) ngnpro.TrustedPeers {
			return ngnpro.TrustedPeers{Total: total, Peers: ps}
		}),
	}
}
