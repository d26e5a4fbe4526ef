package opensipstest

import (
	"encoding/json"
	"fmt"
)

// dispatcher: modules/dispatcher/README.md (4.0), and dispatch.c ds_print_mi_list for the
// form of the list.
func (f *Fake) dispatcher(name string, p map[string]any) (any, *refused) {
	switch name {
	case "ds_reload":
		if !has(p, "", "inherit_state") || f.Old && len(p) > 0 {
			return nil, badParams
		}
		before := make(map[string]string)
		for _, d := range f.destinations {
			before[fmt.Sprint(d.set, d.uri)] = d.state
		}
		if !f.load("dispatcher", f.readDestinations) {
			return nil, reloadError
		}
		for i, d := range f.destinations {
			if s := before[fmt.Sprint(d.set, d.uri)]; s != "" && p["inherit_state"] != "n" {
				f.destinations[i].state = s
			}
		}
		return ok, nil
	case "ds_set_state":
		state := map[string]string{"a": "Active", "i": "Inactive", "p": "Probing"}[text(p["state"])]
		if !has(p, "state group address") || state == "" {
			return nil, &refused{500, "Bad state value"}
		}
		for i, d := range f.destinations {
			if d.set == number(p["group"]) && d.uri == p["address"] {
				f.destinations[i].state = state
				return ok, nil
			}
		}
		return nil, &refused{404, "destination not found"}
	}
	sets := []map[string]any{}
	at := make(map[int]int)
	for _, d := range f.destinations {
		i, is := at[d.set]
		if !is {
			i = len(sets)
			at[d.set] = i
			sets = append(sets, map[string]any{"id": d.set, "Destinations": []any{}})
		}
		sets[i]["Destinations"] = append(sets[i]["Destinations"].([]any), map[string]any{"URI": d.uri, "state": d.state, "first_hit_counter": 0, "attr": d.attrs})
	}
	return map[string]any{"PARTITIONS": []any{map[string]any{"name": "default", "SETS": sets}}}, nil
}

// rtpengine: modules/rtpengine/README.md (4.0), and rtpengine.c mi_show_rtpengines for the
// form of the list.
func (f *Fake) rtpengine(name string, p map[string]any) (any, *refused) {
	switch name {
	case "rtpengine_reload":
		if !has(p, "", "type") || f.Old && len(p) > 0 {
			return nil, badParams
		}
		off := make(map[string]int)
		if p["type"] == "soft" {
			for _, r := range f.relays {
				off[fmt.Sprint(r.set, r.url)] = r.disabled
			}
		}
		if !f.load("rtpengine", f.readRelays) {
			return nil, &refused{500, "Internal error"}
		}
		for i, r := range f.relays {
			f.relays[i].disabled = off[fmt.Sprint(r.set, r.url)]
		}
		return ok, nil
	case "rtpengine_enable":
		if !has(p, "url enable", "url enable setid") || f.Old && len(p) > 2 {
			return nil, badParams
		}
		found := false
		for i, r := range f.relays {
			if set, of := p["setid"]; r.url == p["url"] && (!of || r.set == number(set)) {
				f.relays[i].disabled, found = 1-number(p["enable"]), true
			}
		}
		if !found {
			return nil, &refused{404, "RTP engine not found"}
		}
		return ok, nil
	}
	sets := []map[string]any{}
	at := make(map[int]int)
	for n, r := range f.relays {
		i, is := at[r.set]
		if !is {
			i = len(sets)
			at[r.set] = i
			sets = append(sets, map[string]any{"Set": r.set, "Nodes": []any{}})
		}
		sets[i]["Nodes"] = append(sets[i]["Nodes"].([]any), map[string]any{"url": r.url, "index": n, "disabled": r.disabled, "weight": r.weight, "recheck_ticks": 0})
	}
	return sets, nil
}

// permissions: modules/permissions/README.md (4.0), and hash.c pm_hash_mi_print for the form
// of the list.
func (f *Fake) permissions(name string) (any, *refused) {
	if name == "address_reload" {
		if !f.load("address", f.readAddresses) {
			return nil, &refused{500, "Failed to reolad"}
		}
		return ok, nil
	}
	list := []any{}
	for _, a := range f.addresses {
		list = append(list, map[string]any{"grp": a.group, "ip": a.ip, "mask": a.mask, "port": 0, "proto": "any", "pattern": nil, "context_info": nil})
	}
	return map[string]any{"Partitions": []any{map[string]any{"name": "default", "Destinations": list}}}, nil
}

// usrloc: modules/usrloc/README.md (4.0), and ul_mi.c mi_usrloc_dump and mi_add_aor_node for
// the form.
func (f *Fake) usrloc(name string, p map[string]any) (any, *refused) {
	if name == "ul_show_contact" {
		if !has(p, "table_name aor") {
			return nil, badParams
		}
		c, is := f.contacts[text(p["aor"])]
		switch {
		case p["table_name"] != "location":
			return nil, &refused{404, "Table not found"}
		case !is:
			return nil, &refused{404, "AOR not found"}
		}
		return map[string]any{"AOR": p["aor"], "Contacts": json.RawMessage(c)}, nil
	}
	if !has(p, "", "brief") {
		return nil, badParams
	}
	aors := []any{}
	for a := range f.contacts {
		aors = append(aors, map[string]any{"AOR": a})
	}
	return map[string]any{"Domains": []any{map[string]any{"name": "location", "hash_size": 512, "AORs": aors}}}, nil
}
