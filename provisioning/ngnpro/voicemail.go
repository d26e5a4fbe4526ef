package ngnpro

// A VoicemailAccount is the mailbox of a subscriber.
type VoicemailAccount struct {
	SipID    SipID             `soap:"sipId"`
	Mailbox  string            `soap:"mailbox,ro"` // a number, assigned by the server
	Name     *string           `soap:"name" rule:"text 128"`
	Password *string           `soap:"password"` // PIN
	Email    *string           `soap:"email" rule:"email"`
	Info     *string           `soap:"info" rule:"lines 1024"`
	Options  *VoicemailOptions `soap:"options"`
}

// VoicemailOptions of a mailbox.
type VoicemailOptions struct {
	Delete bool `soap:"delete"` // messages after they were sent by e-mail
}

// Clean checks a mailbox. Its password is dialled.
func (a *VoicemailAccount) Clean() error {
	a.Password = given(a.Password)
	if p := a.Password; p != nil && (len(*p) > 32 || !madeOf(*p, digits)) {
		return invalid("account.password", "is not 1 to 32 digits")
	}
	return first(a.SipID.clean("account.sipId"), fields("account", a))
}
