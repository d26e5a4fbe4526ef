package ngnpro

import "fmt"

// A Fault is why an operation failed, as clients see it. The set is closed:
// the sentinels below, which errors.Is compares by code. Numbers from 1000 that
// public clients test for are the original's; the others are ours.
type Fault struct {
	Code int    // errorcode
	Name string // faultstring
	Text string // errorstring: one line that names the record and says what to do
}

func (f *Fault) Error() string { return fmt.Sprintf("%s (%d): %s", f.Name, f.Code, f.Text) }

// Is makes two faults of the same code the same error.
func (f *Fault) Is(target error) bool {
	o, ok := target.(*Fault)
	return ok && o.Code == f.Code
}

// With is f with a text of its own.
func (f *Fault) With(format string, args ...any) *Fault {
	return &Fault{Code: f.Code, Name: f.Name, Text: fmt.Sprintf(format, args...)}
}

// The faults.
var (
	ErrAuthentication = &Fault{1, "AuthenticationFailed", "the user name or the password is wrong"}
	ErrForbidden      = &Fault{2, "PermissionDenied", "this party may not do that"}
	ErrInvalid        = &Fault{3, "InvalidArgument", "an argument is not valid"}
	ErrUnavailable    = &Fault{4, "BackendUnavailable", "the database does not answer, nothing was changed: try again later"}
	ErrLimit          = &Fault{5, "LimitExceeded", "the customer's credit does not allow another one"}

	ErrDomainNotFound  = &Fault{1000, "SipDomainNotFound", "no such SIP domain"}
	ErrDomainExists    = &Fault{1001, "SipDomainAlreadyExists", "the SIP domain exists already"}
	ErrDomainNotEmpty  = &Fault{1002, "SipDomainNotEmpty", "accounts or aliases are left in the SIP domain"}
	ErrAccountNotFound = &Fault{1010, "SipAccountNotFound", "no such SIP account"}
	ErrAccountExists   = &Fault{1011, "SipAccountAlreadyExists", "the SIP account exists already"}
	ErrAliasNotFound   = &Fault{1020, "SipAliasNotFound", "no such SIP alias"}
	ErrAliasExists     = &Fault{1021, "SipAliasAlreadyExists", "the SIP alias exists already"}
	ErrInGroup         = &Fault{1030, "AlreadyInGroup", "the account is in this group already"}
	ErrNotInGroup      = &Fault{1031, "NotInGroup", "the account is not in this group"}
	ErrPeerNotFound    = &Fault{1040, "TrustedPeerNotFound", "no such trusted peer"}
	ErrPeerExists      = &Fault{1041, "TrustedPeerAlreadyExists", "the trusted peer exists already"}
	ErrEntryNotFound   = &Fault{1050, "PhonebookEntryNotFound", "no such entry in the phonebook"}
	ErrEntryExists     = &Fault{1051, "PhonebookEntryAlreadyExists", "the entry is in the phonebook already"}

	ErrNoMediaTrace = &Fault{1060, "MediaTraceNotFound", "no relay carries such a call"}

	ErrVoicemailNotFound = &Fault{2000, "VoicemailAccountNotFound", "no such voicemail account"}
	ErrVoicemailExists   = &Fault{2001, "VoicemailAccountAlreadyExists", "the voicemail account exists already"}

	ErrRangeNotFound  = &Fault{3000, "EnumRangeNotFound", "no such ENUM range"}
	ErrRangeExists    = &Fault{3001, "EnumRangeAlreadyExists", "the ENUM range exists already"}
	ErrNumberNotFound = &Fault{3002, "EnumNumberNotFound", "no such ENUM number"}
	ErrNumberExists   = &Fault{3003, "EnumNumberAlreadyExists", "the ENUM number exists already"}
	ErrRangeNotEmpty  = &Fault{3004, "EnumRangeNotEmpty", "numbers are left in the ENUM range"}

	ErrCustomerNotFound = &Fault{5000, "CustomerNotFound", "no such customer"}
	ErrCustomerExists   = &Fault{5001, "CustomerAlreadyExists", "the customer's user name exists already"}
	ErrCustomerInUse    = &Fault{5002, "CustomerInUse", "records still belong to the customer"}

	ErrZoneNotFound   = &Fault{7000, "DnsZoneNotFound", "no such DNS zone"}
	ErrZoneExists     = &Fault{7001, "DnsZoneAlreadyExists", "the DNS zone exists already"}
	ErrRecordNotFound = &Fault{7002, "DnsRecordNotFound", "no such DNS record"}
	ErrRecordExists   = &Fault{7003, "DnsRecordAlreadyExists", "the DNS record exists already"}
	ErrZoneNotEmpty   = &Fault{7004, "DnsZoneNotEmpty", "records are left in the DNS zone"}
)
