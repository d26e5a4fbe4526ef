package ngnpro

// What tests see of the package's own.
const (
	DefaultTLD      = defaultTLD
	DefaultTTL      = defaultTTL
	DefaultPriority = defaultPriority
)

var (
	IsHost = isHost
	SIPURI = sipURI
)
