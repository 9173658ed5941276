package web

import (
	"bytes"
	"io"
	"net/http"
)

// NewLocalClient returns a client of a door in this same process, for use while no
// daemon runs.
func NewLocalClient(h http.Handler) *Client { return &Client{http.Client{Transport: local{h}}} }

// local hands requests to a handler without a connection.
type local struct{ handler http.Handler }

// RoundTrip implements http.RoundTripper.
func (l local) RoundTrip(q *http.Request) (*http.Response, error) {
	a := &localAnswer{header: http.Header{}, code: http.StatusOK}
	l.handler.ServeHTTP(a, q)
	return &http.Response{
		StatusCode: a.code, Status: http.StatusText(a.code), Proto: q.Proto, ProtoMajor: q.ProtoMajor, ProtoMinor: q.ProtoMinor,
		Header: a.header, Body: io.NopCloser(&a.body), ContentLength: int64(a.body.Len()), Request: q,
	}, nil
}

// localAnswer implements http.ResponseWriter.
type localAnswer struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

func (a *localAnswer) Header() http.Header         { return a.header }
func (a *localAnswer) WriteHeader(code int)        { a.code = code }
func (a *localAnswer) Write(p []byte) (int, error) { return a.body.Write(p) }
