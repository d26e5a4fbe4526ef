package local

import "time"

// SetRetry shortens the wait for a port.
func SetRetry(s *Server, d time.Duration) { s.retry = d }
