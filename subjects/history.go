package subjects

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// HistoryStream is the stream in which the active manager records what happened.
// Brokers make it; it is read by direct gets, with HistoryGet.
const HistoryStream = "THOR_HISTORY"

// The subjects of the history. Managers alone publish there.
const (
	HistoryEvent  = "thor.history.event"  // an Event
	HistoryDelta  = "thor.history.delta"  // a Delta of any size, or the part of one
	HistoryStatus = "thor.history.status" // a Status with its losses, or the part of one
	AllHistory    = "thor.history.>"
	HistoryGet    = "$JS.API.DIRECT.GET." + HistoryStream // a HistoryRequest
)

// What the history keeps.
const (
	HistoryAge         = 7 * 24 * time.Hour
	HistoryBytes       = 256 << 20
	HistoryStatusEvery = 5 * time.Minute // a status is recorded at least so often while a manager is active
)

// What a HistoryRequest may ask for: JetStream sends all of an answer at once, and
// keeps it in memory until the asker has read it.
const (
	MaxHistoryBatch = 500       // records
	MaxHistoryBytes = 512 << 10 // about
	// MaxHistoryRequest is how many bytes a request may have.
	MaxHistoryRequest = 256
)

// A HistoryRequest asks for stored records, either from the sequence Seq on or
// from those that were stored at Start. Brokers refuse one that asks for more.
type HistoryRequest struct {
	Seq      uint64     `json:"seq,omitempty"`
	Start    *time.Time `json:"start_time,omitempty"`
	Batch    int        `json:"batch"`     // answers at most
	MaxBytes int        `json:"max_bytes"` // about so much at most
}

// Encode returns the wire form. RFC 3339 has neither each year nor each offset of a
// time.Time: Start is written in UTC, and one before 1970 as the beginning of 1970.
func (r HistoryRequest) Encode() []byte {
	if r.Start != nil {
		start := r.Start.UTC()
		if epoch := time.Unix(0, 0).UTC(); start.Before(epoch) {
			start = epoch
		}
		r.Start = &start
	}
	return Encode(&r)
}

// ParseHistoryRequest decodes and checks a request. It refuses fields that it does
// not know: JetStream would obey them.
func ParseHistoryRequest(b []byte) (*HistoryRequest, error) {
	if len(b) > MaxHistoryRequest {
		return nil, Bad(CodeTooLarge, "%d bytes", len(b))
	}
	var r HistoryRequest
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return nil, Bad(CodeJSON, "%v", err)
	}
	if d.More() {
		return nil, Bad(CodeJSON, "more than one value")
	}
	if r.Seq > 0 && r.Batch == 0 && r.MaxBytes == 0 && r.Start == nil {
		return &r, nil // one record
	}
	if r.Batch < 1 || r.Batch > MaxHistoryBatch || r.MaxBytes < 1 || r.MaxBytes > MaxHistoryBytes {
		return nil, Bad(CodeRange, "batch %d, max_bytes %d", r.Batch, r.MaxBytes)
	}
	return &r, nil
}

// Headers of records. The number of a record orders those of one process and
// shows one that is stored twice, or missing.
const (
	headerRecord = "Nats-Msg-Id" // "<boot>/<number>"; JetStream drops a second one for some time
	headerAt     = "Thor-At"     // of a status: when it was the current one, RFC 3339, by the manager's clock
)

// A Record is one entry of the history: an event, a delta or a status.
type Record struct {
	Boot   string // of the process that recorded it
	Number uint64 // of its first message among those of that process, from 1
	Parts  int    // of how many messages it was made, when it was read

	Event  *Event
	Delta  *Delta
	Status *Status
	At     time.Time // when Status was the current one
}

// A RecordMessage is one message of the history. A big record needs several, with
// numbers that follow each other.
type RecordMessage struct {
	Subject string
	Header  map[string]string
	Data    []byte
}

// ID is the header by which JetStream knows the message.
func (m *RecordMessage) ID() string { return m.Header[headerRecord] }

// Messages are the wire form of r, which has one of Event, Delta and Status.
func (r *Record) Messages() []RecordMessage {
	var out []RecordMessage
	switch {
	case r.Event != nil:
		out = []RecordMessage{{HistoryEvent, map[string]string{}, r.Event.Encode()}}
	case r.Delta != nil:
		out = parts(HistoryDelta, r.Delta.encodeWhole(), PlainSnapshot)
	case r.Status != nil:
		out = parts(HistoryStatus, r.Status.EncodeFull(r.Status.Encode()), 0)
		for i := range out {
			out[i].Header[headerAt] = r.At.UTC().Format(time.RFC3339Nano)
		}
	}
	for i := range out {
		out[i].Header[headerRecord] = r.Boot + "/" + strconv.FormatUint(r.Number+uint64(i), 10)
	}
	return out
}

// encodeWhole is d as JSON, however big.
func (d *Delta) encodeWhole() []byte {
	c := *d
	c.Changes = slices.Clone(d.Changes)
	for i := range c.Changes {
		if m := c.Changes[i].Member; m != nil {
			n := *m
			n.normalise()
			c.Changes[i].Member = &n
		}
	}
	return Encode(&c)
}

// parts compresses encoded, if it is above plain bytes, and cuts it into messages
// in the way of a snapshot's chunks.
func parts(subject string, encoded []byte, plain int) []RecordMessage {
	digest := Digest(encoded)
	if len(encoded) <= plain {
		return []RecordMessage{{subject, map[string]string{}, encoded}}
	}
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	_, _ = w.Write(encoded) // a bytes.Buffer takes everything
	_ = w.Close()
	var out []RecordMessage
	of := (z.Len() + snapshotChunk - 1) / snapshotChunk
	for n := 1; n <= of; n++ {
		out = append(out, RecordMessage{subject, map[string]string{
			headerDigest: digest, headerEncoding: "gzip", headerChunk: fmt.Sprintf("%d/%d", n, of),
		}, z.Next(snapshotChunk)})
	}
	return out
}

// A RecordReader makes records of messages, in the order of the stream. The zero
// value is ready.
type RecordReader struct {
	open map[string]*Assembly // of records that are not whole, by boot, subject and digest
}

// maxOpenRecords is how many records may be in parts at once: one of each manager.
const maxOpenRecords = 64

// Add takes one message. It returns nil while the record is not whole. An error
// is a BadMessage.
func (x *RecordReader) Add(subject string, header func(string) string, data []byte) (*Record, error) {
	boot, number, err := parseRecordID(header(headerRecord))
	if err != nil {
		return nil, err
	}
	r := &Record{Boot: boot, Number: number, Parts: 1}
	if subject == HistoryEvent {
		r.Event, err = ParseEvent(data)
		return r, err
	}
	plain, of, err := x.whole(boot, subject, header, data)
	if plain == nil || err != nil {
		return nil, err
	}
	if r.Parts = of; number < uint64(of) {
		return nil, Bad(CodeRange, "record %d in %d parts", number, of)
	}
	r.Number -= uint64(of) - 1
	switch subject {
	case HistoryDelta:
		r.Delta, err = parseWholeDelta(plain)
	case HistoryStatus:
		err = r.takeStatus(header, plain)
	default:
		err = Bad(CodeForeign, "%q is no subject of the history", clip(subject))
	}
	return r, err
}

// whole puts parts together; of is how many they are.
func (x *RecordReader) whole(boot, subject string, header func(string) string, data []byte) (plain []byte, of int, err error) {
	chunk := header(headerChunk)
	if chunk == "" {
		var a Assembly
		plain, _, err = a.Add(header, data)
		return plain, 1, err
	}
	key := boot + " " + subject + " " + header(headerDigest)
	if strings.HasPrefix(chunk, "1/") { // what is there of the same is a first attempt
		delete(x.open, key)
	}
	if len(x.open) >= maxOpenRecords { // their writers ended halfway
		x.open = nil
	}
	if x.open == nil {
		x.open = make(map[string]*Assembly)
	}
	a := x.open[key]
	if a == nil {
		a = new(Assembly)
		x.open[key] = a
	}
	plain, done, err := a.Add(header, data)
	if !done || err != nil {
		return nil, 0, err
	}
	delete(x.open, key)
	return plain, a.of, nil
}

func (r *Record) takeStatus(header func(string) string, plain []byte) (err error) {
	if r.Status, err = ParseStatus(plain); err != nil {
		return err
	}
	if r.At, err = time.Parse(time.RFC3339Nano, header(headerAt)); err != nil {
		return Bad(CodeType, "%s is not a time", headerAt)
	}
	return nil
}

func parseRecordID(s string) (boot string, number uint64, err error) {
	boot, n, ok := strings.Cut(s, "/")
	number, e := strconv.ParseUint(n, 10, 64)
	if !ok || e != nil || number == 0 || boot == "" || len(boot) > 64 {
		return "", 0, Bad(CodeType, "%q does not number a record", clip(s))
	}
	return boot, number, nil
}

// parseWholeDelta is ParseDelta without its limit.
func parseWholeDelta(b []byte) (*Delta, error) {
	var d Delta
	if err := Decode(b, maxStatus, &d); err != nil {
		return nil, err
	}
	return &d, d.check()
}

// MarshalJSON writes the kind twice: older readers know it as "event".
func (e *Event) MarshalJSON() ([]byte, error) {
	type plain Event
	var b bytes.Buffer
	j := json.NewEncoder(&b)
	j.SetEscapeHTML(false)
	err := j.Encode(struct {
		V    int       `json:"v"`
		Time time.Time `json:"time"`
		Kind EventKind `json:"kind"`
		*plain
	}{e.V, e.Time, e.Kind, (*plain)(e)})
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}
