package ngnpro

// IsHost is isHost for tests.
var IsHost = isHost
