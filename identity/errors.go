package identity

import "errors"

// Faults of a leaf certificate, as [FromCertificate] reports them. Each comes
// wrapped with the detail.
var (
	ErrNoCertificate     = errors.New("no certificate")
	ErrSubject           = errors.New("subject is not a plain sequence of names")
	ErrMultiValued       = errors.New("subject holds a multi-valued RDN; write each O, OU, L and CN as an RDN of its own")
	ErrControl           = errors.New("subject holds a control character")
	ErrNonASCII          = errors.New("subject (O, OU, L or CN) holds a character outside ASCII")
	ErrSeparator         = errors.New("subject (O or OU) holds a separator of names")
	ErrNoOrganization    = errors.New("subject has no O; it must be the domain")
	ErrManyOrganizations = errors.New("subject has more than one O")
	ErrOrganization      = errors.New("the O is not the domain of the URI SAN")
	ErrNoURI             = errors.New("no URI SAN; exactly one spiffe://<domain>/node/<node> is needed")
	ErrManyURIs          = errors.New("more than one URI SAN")
	ErrURIScheme         = errors.New("URI SAN is not of the scheme spiffe")
	ErrURIForm           = errors.New("URI SAN is not spiffe://<domain>/node/<node>")
	ErrDomain            = errors.New("not a domain name")
	ErrNode              = errors.New("bad node name")
	ErrNoRole            = errors.New("subject has no OU; it must name each role")
	ErrManyRoles         = errors.New("too many roles")
	ErrDuplicateRole     = errors.New("a role stands twice in the subject")
	ErrRole              = errors.New("OU is not a role")
	ErrReservedRole      = errors.New("OU is an unknown role with the reserved prefix thor_")
	ErrBound             = errors.New("OU is not a bound; write ROLE:weight:N or ROLE:priority:N")
	ErrDuplicateBound    = errors.New("a bound stands twice in the subject")
	ErrBoundRole         = errors.New("a bound of a role that the certificate does not name")
	ErrSite              = errors.New("attribute L is not a site")
	ErrManySites         = errors.New("subject has more than one L")
	ErrAuthorityLeaf     = errors.New("certificate of an authority cannot be a node's")
	ErrKeyUsage          = errors.New("key usage does not allow digital signatures")
	ErrClientAuth        = errors.New("extended key usage lacks clientAuth")
	ErrServerAuth        = errors.New("extended key usage lacks serverAuth, which thor_eventserver needs")
	ErrWeakSignature     = errors.New("signature algorithm is not accepted")
	ErrWeakKey           = errors.New("key is not accepted")
	ErrAddress           = errors.New("IP SAN cannot be a node's address")
	ErrManyAddresses     = errors.New("too many IP SANs")
)

// Faults of a chain, a peer or the time.
var (
	ErrNotYetValid   = errors.New("certificate is not yet valid")
	ErrExpired       = errors.New("certificate has expired")
	ErrChainTooLong  = errors.New("certificate chain is too long")
	ErrUntrusted     = errors.New("certificate does not chain to an authority of ours")
	ErrForeignDomain = errors.New("certificate is of another domain")
	ErrRevoked       = errors.New("certificate is revoked")
	ErrNotBroker     = errors.New("certificate lacks the role thor_eventserver")
	ErrNotOperator   = errors.New("certificate lacks the role thor_operator")
	ErrHost          = errors.New("certificate is not for this host")
)

// Faults of credential files, as [Load] reports them.
var (
	ErrFile         = errors.New("unusable file") // missing, a directory, too big, unreadable
	ErrPEM          = errors.New("no usable PEM block")
	ErrKeyMode      = errors.New("secret can be read by others")
	ErrKeyEncrypted = errors.New("private key is encrypted")
	ErrKeyMismatch  = errors.New("private key does not belong to the certificate")
	ErrNotAuthority = errors.New("not the certificate of an authority")
	ErrOtherNode    = errors.New("new certificate is of another node or domain")
)

// Faults of a revocation list, as [Revocations.Update] reports them.
var (
	ErrCRL         = errors.New("not a usable certificate revocation list")
	ErrCRLUnknown  = errors.New("revocation list is not signed by an authority of ours")
	ErrCRLRollback = errors.New("revocation list is older than the one held")
)

// Refusals of an [Authority].
var (
	ErrExists      = errors.New("an authority exists there already")
	ErrLocked      = errors.New("another process is using the authority")
	ErrRequest     = errors.New("bad certificate request")
	ErrTooLong     = errors.New("certificate would outlive its authority")
	ErrNotIssued   = errors.New("no such certificate was issued here")
	ErrForeignCert = errors.New("certificate was not issued here")
)
