package up

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"time"
)

// awaitReady returns when all URLs answer 200, or after a while.
func awaitReady(ctx context.Context, urls []string, patience time.Duration) {
	awaitAll(ctx, urls, patience, answers)
}

// awaitAll returns when all URLs pass, or after a while.
func awaitAll(ctx context.Context, urls []string, patience time.Duration, pass func(context.Context, string) bool) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for _, u := range urls {
		for !pass(ctx, u) {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}
}

func answers(ctx context.Context, url string) bool {
	ready, _ := health(ctx, url)
	return ready
}

// well reports whether a daemon is ready and has nothing to complain of, such as
// a status that no manager has confirmed.
func well(ctx context.Context, url string) bool {
	ready, reasons := health(ctx, url)
	return ready && len(reasons) == 0
}

// health asks a daemon's /readyz.
func health(ctx context.Context, url string) (ready bool, reasons []string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false, nil
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false, nil
	}
	defer resp.Body.Close()
	var h struct{ Reasons []string }
	if err := json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&h); err != nil {
		return false, nil
	}
	return resp.StatusCode == http.StatusOK, h.Reasons
}
