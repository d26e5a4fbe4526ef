package ngnpro

import (
	"strings"
)

// A PhonebookEntry is one contact of a subscriber.
type PhonebookEntry struct {
	URI   string `soap:"uri"`
	Name  string `soap:"name" rule:"text 128"`
	Group string `soap:"group" rule:"text 64"`
}

// Clean checks an entry of the phonebook.
func (e *PhonebookEntry) Clean() error { return first(PhonebookURI(&e.URI), fields("entry", e)) }

// PhonebookURI checks what names an entry of the phonebook: any URI, or a number.
func PhonebookURI(p *string) error {
	*p = strings.TrimSpace(*p)
	switch {
	case *p == "":
		return invalid("uri", "is missing")
	case len(*p) > maxText || !uriText(*p):
		return invalid("uri", "is longer than %d characters, or holds some that may not stand in a URI", maxText)
	}
	return nil
}
