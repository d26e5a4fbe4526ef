package provisioning

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"thor/provisioning/soap"
)

// ServeHTTP answers SOAP calls and requests for the WSDL.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		s.describe(w, r)
	case http.MethodPost:
		s.answer(w, r)
	default:
		w.Header().Set("Allow", "GET, HEAD, POST")
		s.refuse(w, &soap.Fault{Code: soap.Client, Name: "MethodNotAllowed", Text: "SOAP calls are POST requests", Status: http.StatusMethodNotAllowed})
	}
}

// answer reads a call, does it, and writes what came of it.
func (s *Server) answer(w http.ResponseWriter, r *http.Request) {
	data, charset, f := s.receive(w, r)
	if f != nil {
		s.refuse(w, f)
		return
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(r.Context(), callTime)
	defer cancel()
	x := exchange{Server: s, port: "none", op: "none", from: remote(r), path: r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]}
	out, err := x.call(ctx, data, charset)
	result, status := "ok", http.StatusOK
	if err != nil {
		f := s.asFault(err)
		out = f.Envelope()
		result = f.Name
		status = f.HTTPStatus()
		x.fault = f
	} else if s.failing.Load() && x.port != "Network" && s.failing.Swap(false) {
		s.log.Info().Msg("the store works again")
	}
	took := time.Since(began)
	s.metrics.call(x.port, x.op, result, took)
	s.log.Debug().Str("peer", x.from.String()).Str("user", x.user).Str("port", x.port).Str("op", x.op).Str("result", result).
		Dur("took_ms", took).Msg("call")
	x.audit()
	send(w, status, out)
}

func send(w http.ResponseWriter, status int, envelope []byte) {
	h := w.Header()
	h.Set("Content-Type", "text/xml; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(envelope)))
	w.WriteHeader(status)
	_, _ = w.Write(envelope) // a client that went away needs no answer
}

// refuse answers a request that is no call. The rest of it is not read.
func (s *Server) refuse(w http.ResponseWriter, f *soap.Fault) {
	s.metrics.refused.WithLabelValues(strconv.Itoa(f.HTTPStatus())).Inc()
	w.Header().Set("Connection", "close")
	send(w, f.HTTPStatus(), f.Envelope())
}

func remote(r *http.Request) netip.Addr {
	ap, _ := netip.ParseAddrPort(r.RemoteAddr) // a zero address limits all of them together
	return ap.Addr().Unmap()
}

// receive reads the body of a request, within bounds of form, size and time.
func (s *Server) receive(w http.ResponseWriter, r *http.Request) (data []byte, charset string, f *soap.Fault) {
	unsupported := func(text string) *soap.Fault {
		return &soap.Fault{Code: soap.Client, Name: "UnsupportedMediaType", Text: text, Status: http.StatusUnsupportedMediaType}
	}
	tooLarge := &soap.Fault{Code: soap.Client, Name: "MessageTooLarge", Text: "the message is larger than 256 KiB", Status: http.StatusRequestEntityTooLarge}
	if e := r.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return nil, "", unsupported("send the message without a content encoding")
	}
	if ct := r.Header.Get("Content-Type"); ct != "" {
		kind, params, err := mime.ParseMediaType(ct)
		if err != nil || !slices.Contains([]string{"text/xml", "application/xml", "application/soap+xml"}, kind) {
			return nil, "", unsupported("send the message as text/xml; charset=utf-8")
		}
		charset = params["charset"]
	}
	if r.ContentLength > soap.MaxMessage {
		return nil, "", tooLarge
	}
	deadline := http.NewResponseController(w).SetReadDeadline
	_ = deadline(time.Now().Add(readTime))       // a test's recorder has none
	defer func() { _ = deadline(time.Time{}) }() // or it ends the call as if the client had gone
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, soap.MaxMessage))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, "", tooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, "", &soap.Fault{Code: soap.Client, Name: "RequestTimeout", Text: "the message did not arrive within 5 s", Status: http.StatusRequestTimeout}
	case err != nil:
		return nil, "", &soap.Fault{Code: soap.Client, Name: "MalformedMessage", Text: "the message could not be read", Status: http.StatusBadRequest}
	case len(data) == 0:
		return nil, "", &soap.Fault{Code: soap.Client, Name: "MalformedMessage", Text: "the request has no body", Status: http.StatusBadRequest}
	}
	return data, charset, nil
}
