package ngnpro

// A MediaTraceFilter names a call.
type MediaTraceFilter struct {
	NodeIP  string `soap:"nodeIp" rule:"text 64"` // of the relay; any other address: all relays are asked
	CallID  string `soap:"callId" rule:"text 255"`
	FromTag string `soap:"fromTag" rule:"text 255"`
	ToTag   string `soap:"toTag" rule:"text 255"` // empty: any
}

// Clean checks a filter.
func (f *MediaTraceFilter) Clean() error {
	if err := fields("filter", f); err != nil {
		return err
	}
	if f.CallID == "" {
		return invalid("filter.callId", "is missing")
	}
	return nil
}
