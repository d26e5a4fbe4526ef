package identity

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// An Object is one thing of a file, for people to look at. One of its fields is set.
type Object struct {
	Certificate *x509.Certificate
	Request     *SigningRequest
	CRL         *x509.RevocationList
	Key         bool // a private key: nothing of it is read
}

// Inspect reads certificates, requests and revocation lists, PEM or DER, without
// judging who signed them.
func Inspect(data []byte) ([]Object, error) {
	if len(data) > maxCRL {
		return nil, fmt.Errorf("%w: it is larger than %d bytes", ErrFile, maxCRL)
	}
	if !bytes.Contains(data, []byte("-----BEGIN")) {
		return inspectDER(data)
	}
	var out []Object
	for {
		var b *pem.Block
		if b, data = pem.Decode(data); b == nil {
			break
		}
		o, err := inspectBlock(b)
		if err != nil {
			return nil, fmt.Errorf("%w: block %d, %s: %v", ErrPEM, len(out)+1, show(b.Type), err)
		}
		out = append(out, o)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: no block in it is whole", ErrPEM)
	}
	return out, nil
}

func inspectBlock(b *pem.Block) (o Object, err error) {
	switch {
	case b.Type == pemCertificate:
		o.Certificate, err = x509.ParseCertificate(b.Bytes)
	case b.Type == pemRequest, b.Type == "NEW "+pemRequest:
		o.Request, err = ReadRequest(b.Bytes)
	case b.Type == pemCRL:
		o.CRL, err = x509.ParseRevocationList(b.Bytes)
	case strings.HasSuffix(b.Type, "PRIVATE KEY"):
		o.Key = true
	default:
		err = errors.New("neither a certificate nor a request nor a revocation list")
	}
	return o, err
}

func inspectDER(data []byte) ([]Object, error) {
	if c, err := x509.ParseCertificate(data); err == nil {
		return []Object{{Certificate: c}}, nil
	}
	if l, err := x509.ParseRevocationList(data); err == nil {
		return []Object{{CRL: l}}, nil
	}
	if r, err := ReadRequest(data); err == nil {
		return []Object{{Request: r}}, nil
	}
	return nil, fmt.Errorf("%w: neither a certificate nor a request nor a revocation list, in PEM or DER", ErrFile)
}
