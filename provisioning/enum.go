package provisioning

import (
	"thor/provisioning/ngnpro"
	"thor/provisioning/store"
)

func enumOperations(st *store.Store) []operation {
	rng, rangeID := record("range", (*ngnpro.EnumRange).Clean), value("range", (*ngnpro.EnumRangeID).Clean)
	number, numberID := record("number", (*ngnpro.EnumNumber).Clean), value("enumId", (*ngnpro.EnumID).Clean)
	rangeExists := keyed(func(r *ngnpro.EnumRange) ngnpro.EnumRangeID { return r.ID }, rangeID, st.Ranges.Get)
	numberExists := keyed(func(n *ngnpro.EnumNumber) ngnpro.EnumID { return n.ID }, numberID, st.Numbers.Get)
	return []operation{
		changes("addRange", record("range", (*ngnpro.EnumRange).CleanNew), noPush(st.Ranges.Add)),
		existing(rangeExists, changes("updateRange", rng, noPush(st.Ranges.Update))),
		changes("deleteRange", rangeID, noPush(st.Ranges.Delete)),
		lists("getRanges", st.Ranges.Find, func(total int, rs []ngnpro.EnumRange) ngnpro.EnumRanges {
			return ngnpro.EnumRanges{Total: total, Ranges: rs}
		}),
		changes("addNumber", number, noPush(st.Numbers.Add)),
		existing(numberExists, changes("updateNumber", number, noPush(st.Numbers.Update))),
		changes("deleteNumber", numberID, noPush(st.Numbers.Delete)),
		reads("getNumber", numberID, st.Numbers.Get),
		lists("getNumbers", st.Numbers.Find, func(total int, ns []ngnpro.EnumNumber) ngnpro.EnumNumbers {
			return ngnpro.EnumNumbers{Total: total, Numbers: ns}
		}),
	}
}
