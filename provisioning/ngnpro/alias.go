package ngnpro

// A SipAlias is another address of a subscriber.
type SipAlias struct {
	ID         SipID  `soap:"id"`
	Target     SipID  `soap:"target"`
	Owner      *int   `soap:"owner" rule:"number"`
	Customer   int    `soap:"customer,ro"`
	Reseller   int    `soap:"reseller,ro"`
	ChangeDate string `soap:"changeDate,ro"`
}

// Clean folds and checks an alias.
func (a *SipAlias) Clean() error {
	if err := first(a.ID.clean("alias.id"), a.Target.clean("alias.target"), fields("alias", a)); err != nil {
		return err
	}
	if a.ID == a.Target {
		return invalid("alias.target", "is the alias itself")
	}
	return nil
}
