package local

import "time"

var AsText = asText

// SetRetry shortens the wait for a port.
func SetRetry(s *Server, d time.Duration) { s.retry = d }
