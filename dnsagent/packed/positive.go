package packed

import (
	"encoding/binary"

	"thor/dnsagent/dnssec"
	"thor/dnsagent/zone"
	"thor/subjects"
)

// positive replies with s or a draw of it.
func (w *Writer) positive(s *set, request, out []byte) int {
	q := &w.ask
	limit := q.limit - w.optLen()
	var sig *dnssec.Signature
	if q.do && s.signed != nil {
		if len(s.whole.glue) > 0 {
			return 0
		}
		if sig = s.signed.Ready(w.Rand, w.site(s), w.Now); sig == nil {
			return 0
		}
		limit -= len(sig.Packed)
	}
	if s.draw != nil {
		return w.draw(s, sig, limit, request, out)
	}
	end := q.end + len(s.whole.data)
	if end > limit {
		return 0
	}
	copy(out[q.end:], s.whole.data)
	n := counts{answer: s.count}
	if sig != nil {
		end += copy(out[end:], sig.Packed)
		n.answer += uint16(len(sig.Records))
	}
	for i := range s.whole.glue {
		g := &s.whole.glue[i]
		if end+len(g.data) > q.glue-w.optLen() {
			break
		}
		end += copy(out[end:], g.data)
		n.additional += g.count
	}
	return w.finish(request, out, end, flagAA, n)
}

// draw replies with a draw of s, of which sig is a signature if there are any.
func (w *Writer) draw(s *set, sig *dnssec.Signature, limit int, request, out []byte) int {
	q := &w.ask
	slice := &w.drawn
	switch {
	case sig != nil && sig.Slice != nil:
		slice = sig.Slice
	case s.prefers:
		s.draw.PickFor(w.Rand, s.draw.Asker(w.site(s)), slice)
	default:
		slice.N = s.draw.Pick(w.Rand, &slice.Records)
	}
	picked := slice.Records[:slice.N]
	end := q.end
	var hosts [zone.MaxSlice]int // where their names are in the reply
	for k, i := range picked {
		r := s.record(i)
		if end+len(r.data) > limit {
			return 0
		}
		hosts[k] = end + r.host
		copy(out[end:], r.data)
		if s.varies {
			s.vary(out[end:], slice, k, i)
		}
		end += len(r.data)
	}
	n := counts{answer: uint16(len(picked))}
	if sig != nil {
		end += copy(out[end:], sig.Packed)
		n.answer += uint16(len(sig.Records))
	}
	for k, i := range picked {
		glue := s.record(i).glue
		for j := range glue {
			g := &glue[j]
			var of *dnssec.Signature
			size := len(g.data)
			if sig != nil {
				if of = g.signed.Ready(w.Rand, "", w.Now); of == nil {
					return 0
				}
				size += len(of.Packed)
			}
			if end+size > q.glue-w.optLen() {
				return w.finish(request, out, end, flagAA, n)
			}
			copy(out[end:], g.data)
			own(out[end:end+len(g.data)], int(g.count), hosts[k])
			n.additional += g.count
			if of != nil {
				at := end + len(g.data)
				copy(out[at:], of.Packed)
				own(out[at:at+len(of.Packed)], len(of.Records), hosts[k])
				n.additional += uint16(len(of.Records))
			}
			end += size
		}
	}
	return w.finish(request, out, end, flagAA, n)
}

// site is that of who asks, where the set makes a difference between sites.
func (w *Writer) site(s *set) subjects.Site {
	if !s.prefers {
		return ""
	}
	site, _ := w.Askers.At(w.Client)
	return site
}

// vary gives record i, an SRV record that begins at b, the priority and the weight that it has
// as the k-th of the slice.
func (s *set) vary(b []byte, slice *zone.Slice, k, i int) {
	p, w := b[srvPriority:], b[srvWeight:]
	priority, weight := s.of.Varied(slice, k, i, binary.BigEndian.Uint16(p), binary.BigEndian.Uint16(w))
	binary.BigEndian.PutUint16(p, priority)
	binary.BigEndian.PutUint16(w, weight)
}

// own makes the name at offset host the owner of the count records in b, all of one size.
func own(b []byte, count, host int) {
	size := len(b) / count
	for i := 0; i < len(b); i += size {
		binary.BigEndian.PutUint16(b[i:], uint16(pointer|host))
	}
}
