// Package soap reads and writes SOAP 1.1 in the style "rpc/encoded": it parses
// messages of clients that are not trusted, turns elements into Go values and
// back, and describes both in a WSDL. All three follow from the same tagged structs,
// so that they cannot disagree.
//
// Reading is liberal in form and strict in size. Types and prefixes that a
// client writes are ignored, only structure counts; bytes, depth, attributes
// and elements are bounded, and there are no DTDs and no processing
// instructions. The header of a message can be judged before its body is read.
//
// The package does no I/O and knows no operation: what to do with a call is the
// caller's business.
package soap

// The namespaces.
const (
	nsEnvelope   = "http://schemas.xmlsoap.org/soap/envelope/"
	nsEnvelope12 = "http://www.w3.org/2003/05/soap-envelope"
	nsEncoding   = "http://schemas.xmlsoap.org/soap/encoding/"
	nsSchema     = "http://www.w3.org/2001/XMLSchema"
	nsInstance   = "http://www.w3.org/2001/XMLSchema-instance"
	nsWSDL       = "http://schemas.xmlsoap.org/wsdl/"
	nsWSDLSOAP   = "http://schemas.xmlsoap.org/wsdl/soap/"
	actorNext    = "http://schemas.xmlsoap.org/soap/actor/next"
)

// Limits of a message.
const (
	MaxMessage  = 256 << 10      // bytes
	maxDepth    = 32             // elements inside each other, the envelope included
	maxAttrs    = 64             // of one element, namespace declarations included
	maxElements = 20_000         // in a message; and values decoded, however often a reference repeats them
	maxText     = 4 * MaxMessage // bytes of text in the values decoded, however often a reference repeats them
	maxHeader   = 256            // elements in the header, which is read before the login
	maxHrefs    = 8              // references from one to the next
)
