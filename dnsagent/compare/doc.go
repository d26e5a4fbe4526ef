// Package compare finds out whether the name servers of a network say the same, and
// whether the parent of its zone delegates to them.
//
//	compare.go   answers -> differences        pure
//	ask.go       name servers -> answers
//	parent.go    the parent's name servers -> what they delegate
//
// It asks what every client may ask. The names below all.D show whole sets where clients
// get slices, so two servers can be compared.
package compare
