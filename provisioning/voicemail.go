package provisioning

import (
	"context"

	"thor/provisioning/ngnpro"
	"thor/provisioning/store"
)

func voicemailOperations(st *store.Store) []operation {
	account := record("account", (*ngnpro.VoicemailAccount).Clean)
	message := value[[]byte]("message", nil)
	exists := keyed(func(a *ngnpro.VoicemailAccount) ngnpro.SipID { return a.SipID }, sipID, st.Mailboxes.Get)
	return []operation{
		// The answer is the mailbox as it is now: clients want its number.
		creates("addAccount", account, func(ctx context.Context, v ngnpro.Viewer, a *ngnpro.VoicemailAccount) (*ngnpro.VoicemailAccount, store.Notices, error) {
			ns, err := st.Mailboxes.Add(ctx, v, a)
			if err != nil {
				return nil, nil, err
			}
			if made, err := st.Mailboxes.Get(ctx, v, a.SipID); err == nil {
				return made, ns, nil
			}
			return a, ns, nil // it is made: no failure of a later step may deny that
		}),
		existing(exists, changes("updateAccount", account, st.Mailboxes.Update)),
		changes("deleteAccount", sipID, st.Mailboxes.Delete),
		reads("getAccount", sipID, st.Mailboxes.Get),
		existing(named(sipID, st.Mailboxes.Get), sets("setAnnouncement", sipID, message, noPush2(st.Mailboxes.SetAnnouncement))),
	}
}
