package reference

import (
	"cmp"
	"fmt"
	"strings"
)

// TOML is a file that has every key of tables, all commented out.
func TOML(tables []Table) string {
	var b strings.Builder
	for i, t := range tables {
		if i > 0 {
			b.WriteString("\n")
		}
		wrap(&b, t.Doc)
		fmt.Fprintf(&b, "#%s\n", t.Header())
		for _, k := range t.Keys {
			b.WriteString("\n")
			wrap(&b, k.Doc)
			wrap(&b, "("+k.Facts()+")")
			fmt.Fprintf(&b, "#%s = %s\n", k.Name, cmp.Or(k.Default, k.empty))
		}
	}
	return b.String()
}

// wrap writes text as comments of at most 100 characters.
func wrap(b *strings.Builder, text string) {
	line := "#"
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > 100 {
			b.WriteString(line + "\n")
			line = "#"
		}
		line += " " + word
	}
	b.WriteString(line + "\n")
}

const introduction = `A daemon is started with a TOML file, as in **thor broker --config /etc/thor/thor.toml**, or with its name in THOR_CONFIG. It reads
**[network]**, **[log]** and the section that has its own name; one file may hold the sections of several daemons. **thor config check FILE**
reports every problem of a file with its line: an unknown key, a duration without a unit, a port out of range.

Defaults come first, then the file, then the environment. Relative paths are relative to the file. A duration is text such as
"500ms", "10s" or "2h"; a role is a name such as sip_proxy. Zero, or empty text, means the default unless it is said to turn something off.

On SIGHUP a daemon reads the file again. It applies the keys that are marked SIGHUP here; it names the others that have changed, and
they need a restart. **thor config reference** prints what follows as a file to fill in.
`

// Markdown is the reference as a page.
func Markdown(tables []Table) string {
	var b strings.Builder
	b.WriteString("# Configuration\n\n<!-- go generate ./cmd/thor/internal/reference writes this page: do not edit it. -->\n\n")
	b.WriteString(introduction)
	sections(&b, tables)
	return b.String()
}

// Manual is the source of the manual page thor.toml(5), for go-md2man.
func Manual(tables []Table) string {
	var b strings.Builder
	b.WriteString("% \"THOR.TOML\" \"5\" \"Jan 1970\" \"thor\" \"thor\"\n\n# NAME\n\nthor.toml - configuration of the daemons of thor\n\n# DESCRIPTION\n\n")
	b.WriteString(introduction)
	sections(&b, tables)
	b.WriteString("\n# SEE ALSO\n\n**thor(1)**, **thor-config-check(1)**, **thor-config-reference(1)**\n")
	return b.String()
}

func sections(b *strings.Builder, tables []Table) {
	for _, t := range tables {
		fmt.Fprintf(b, "\n## %s\n\n%s\n\n", t.Header(), t.Doc)
		for _, k := range t.Keys {
			fmt.Fprintf(b, "- **%s** (%s): %s\n", k.Name, k.Facts(), k.Doc)
		}
	}
}
