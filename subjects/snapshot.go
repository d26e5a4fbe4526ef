package subjects

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// Headers of the messages that carry a snapshot.
const (
	headerChunk    = "Thor-Chunk"    // "<n>/<of>", counted from 1; absent for a single message
	headerEncoding = "Thor-Encoding" // encodingGzip, or absent: plain JSON
	headerDigest   = "Thor-Digest"   // Digest of the plain snapshot
	HeaderError    = "Thor-Error"    // an ErrorCode; the payload is its text
	HeaderAge      = "Thor-Age"      // milliseconds since the answerer last knew that the snapshot is the current one
	HeaderKnown    = "Thor-Known"    // "<epoch> <generation>": a manager's answer to another one, the greatest that it is sure of
)

// SnapshotPatience is how long who asks for the snapshot waits for the next part
// of the answer. Later it asks anew, so that a request older than this is not
// worth an answer.
const SnapshotPatience = 3 * time.Second

// MaxAge is the greatest age of a confirmation that proves anything: a manager
// that is not active answers requests only while its own is not older, and an
// answer with an older one does not say that the status is current.
const MaxAge = 3 * time.Second

// EncodeAge is the value of HeaderAge.
func EncodeAge(age time.Duration) string { return strconv.FormatInt(max(age, 0).Milliseconds(), 10) }

// ParseAge reads HeaderAge. ok is false if it is absent, as it is in the answers
// of older managers, or malformed: then the age is not known.
func ParseAge(header string) (age time.Duration, ok bool) {
	ms, err := strconv.ParseUint(header, 10, 32)
	return time.Duration(ms) * time.Millisecond, err == nil
}

// EncodeKnown is the value of HeaderKnown.
func EncodeKnown(m Mark) string {
	return strconv.FormatUint(m.Epoch, 10) + " " + strconv.FormatUint(m.Generation, 10)
}

// ParseKnown reads HeaderKnown. ok is false if it is absent or malformed.
func ParseKnown(header string) (m Mark, ok bool) {
	e, g, _ := strings.Cut(header, " ")
	var errs [2]error
	m.Epoch, errs[0] = strconv.ParseUint(e, 10, 64)
	m.Generation, errs[1] = strconv.ParseUint(g, 10, 64)
	if errs != [2]error{} || !m.Sane() {
		return Mark{}, false
	}
	return m, true
}

// Sizes of snapshot replies.
const (
	PlainSnapshot = 48 << 10  // bytes up to which a snapshot travels as it is, in one message
	snapshotChunk = 192 << 10 // bytes of one compressed chunk
)

// An ErrorCode is how a request fails. The set is closed.
type ErrorCode string

// The codes of failed requests.
const (
	ErrorBehind    ErrorCode = "behind"    // this manager does not hold the asked-for status yet; ask again
	ErrorBad       ErrorCode = "bad"       // the request is malformed
	ErrorForbidden ErrorCode = "forbidden" // the asker may not have this
	ErrorFailed    ErrorCode = "failed"    // the member tried and could not
)

// A SnapshotRequest asks for a status at least as new as AtLeast. An empty
// payload asks for any.
type SnapshotRequest struct {
	V       int   `json:"v"`
	AtLeast *Mark `json:"at_least,omitempty"`
	Losses  bool  `json:"losses,omitempty"` // the answer is to have the losses
	Sites   bool  `json:"sites,omitempty"`  // the answer is to have the members' sites
	// Roles are those that the answer is to be limited to; empty: it is to be whole, as
	// an answer may be in any case.
	Roles []Role `json:"roles,omitempty"`
}

// Encode returns the wire form.
func (r *SnapshotRequest) Encode() []byte { return Encode(r) }

// ParseSnapshotRequest decodes a request for the snapshot.
func ParseSnapshotRequest(b []byte) (*SnapshotRequest, error) {
	r := &SnapshotRequest{V: Version}
	if len(bytes.TrimSpace(b)) == 0 {
		return r, nil
	}
	if err := Decode(b, MaxAnnouncement, r); err != nil {
		return nil, err
	}
	if err := CheckVersion(r.V); err != nil {
		return nil, err
	}
	return r, checkFollowed(r.Roles)
}

// A Chunk is one message of a snapshot reply.
type Chunk struct {
	Header map[string]string
	Data   []byte
}

// Chunks cuts an encoded status into the messages of a reply.
func Chunks(encoded []byte) []Chunk {
	digest := Digest(encoded)
	if len(encoded) <= PlainSnapshot {
		return []Chunk{{Header: map[string]string{headerDigest: digest}, Data: encoded}}
	}
	rest := compress(encoded)
	of := (len(rest) + snapshotChunk - 1) / snapshotChunk
	out := make([]Chunk, 0, of)
	for n := 1; n <= of; n++ {
		part := rest[:min(snapshotChunk, len(rest))]
		rest = rest[len(part):]
		out = append(out, Chunk{Data: part, Header: map[string]string{
			headerDigest: digest, headerEncoding: encodingGzip, headerChunk: fmt.Sprintf("%d/%d", n, of),
		}})
	}
	return out
}

// An Assembly puts the chunks of one reply together. The zero value is ready.
type Assembly struct {
	parts [][]byte
	have  int
	of    int
	gzip  bool
	sum   string
}

// Add takes one message. done is true when the snapshot is whole; then plain is
// its encoding, verified against the digest that came with it.
func (a *Assembly) Add(header func(string) string, data []byte) (plain []byte, done bool, err error) {
	n, of := 1, 1
	if c := header(headerChunk); c != "" {
		x, y, ok := bytes.Cut([]byte(c), []byte("/"))
		n, _ = strconv.Atoi(string(x))
		of, _ = strconv.Atoi(string(y))
		if !ok || n < 1 || of < n || of > maxStatus/snapshotChunk {
			return nil, false, Bad(CodeRange, "chunk %q", clip(c))
		}
	}
	if a.of == 0 {
		a.of, a.parts = of, make([][]byte, of)
		a.gzip, a.sum = header(headerEncoding) == encodingGzip, header(headerDigest)
	}
	if of != a.of || header(headerDigest) != a.sum {
		return nil, false, Bad(CodeForeign, "chunks of two snapshots")
	}
	if a.parts[n-1] == nil {
		a.parts[n-1] = data
		a.have++
	}
	if a.have < a.of {
		return nil, false, nil
	}
	plain = bytes.Join(a.parts, nil)
	if a.gzip {
		if plain, err = gunzip(plain, maxStatus); err != nil {
			return nil, false, err
		}
	}
	if a.sum != "" && Digest(plain) != a.sum {
		return nil, false, Bad(CodeForeign, "snapshot does not have its digest")
	}
	return plain, true, nil
}

const encodingGzip = "gzip"

func compress(b []byte) []byte {
	var z bytes.Buffer
	w, _ := gzip.NewWriterLevel(&z, gzip.BestSpeed) // the level is valid
	_, _ = w.Write(b)                               // a bytes.Buffer takes everything
	_ = w.Close()
	return z.Bytes()
}

func gunzip(b []byte, most int) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, Bad(CodeType, "compressed payload: %v", err)
	}
	out, err := io.ReadAll(io.LimitReader(r, int64(most)+1))
	if err != nil {
		return nil, Bad(CodeType, "compressed payload: %v", err)
	}
	if len(out) > most {
		return nil, Bad(CodeTooLarge, "compressed payload of more than %d bytes", most)
	}
	return out, nil
}
