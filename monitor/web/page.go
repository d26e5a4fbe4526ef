package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
)

//go:embed page
var files embed.FS

// scripts are the parts of the page's script, in order.
var scripts = []string{"core.js", "site.js", "view.js", "ring.js", "past.js", "main.js"}

// thePage is the page as one document, so that opening it is one request, and the policy
// that lets the browser run nothing but it.
var thePage, thePolicy, theTag = makePage()

func makePage() (page []byte, policy, tag string) {
	read := func(name string) string {
		b, err := files.ReadFile("page/" + name)
		if err != nil {
			panic("web: " + err.Error())
		}
		return string(b)
	}
	style := read("page.css")
	var script strings.Builder
	script.WriteString("(() => {\n'use strict';\n") // nothing of it becomes a name of the window
	for _, name := range scripts {
		script.WriteString(read(name))
	}
	script.WriteString("})();\n")
	html := read("page.html")
	html = strings.Replace(html, "/*style*/", style, 1)
	html = strings.Replace(html, "/*script*/", script.String(), 1)
	sum := sha256.Sum256([]byte(html))
	return []byte(html), strings.Join([]string{
		"default-src 'none'",
		"script-src " + source(script.String()),
		"style-src " + source(style),
		"img-src data:",
		"connect-src 'self'",
		"base-uri 'none'",
		"form-action 'none'",
		"frame-ancestors 'none'",
		"require-trusted-types-for 'script'", // the browser itself refuses to make HTML of text
		"trusted-types 'none'",
	}, "; "), `"` + hex.EncodeToString(sum[:12]) + `"`
}

// source names an inline script or style by its hash.
func source(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

func servePage(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", thePolicy)
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", theTag)
	h.Set("Content-Length", strconv.Itoa(len(thePage)))
	if r.Header.Get("If-None-Match") == theTag {
		h.Del("Content-Length")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	_, _ = bytes.NewReader(thePage).WriteTo(w) // a client that has gone
}
