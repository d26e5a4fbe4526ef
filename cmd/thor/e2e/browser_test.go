//go:build e2e

package e2e_test

import (
	"bytes"
	"context"
	"image"
	"image/color"
	"image/png"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	cdpnetwork "github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// A browser is Debian's Chromium with one page of the web view.
type browser struct {
	t   testing.TB
	ctx context.Context

	mu     sync.Mutex
	faults []string // errors of the page's script, and what its policy refused
	asked  []string // URLs that the page asked for
}

// openBrowser starts Chromium without a window. Names of other hosts than this one
// lead nowhere.
func openBrowser(t testing.TB) *browser {
	t.Helper()
	opts := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(need(t, "chromium", "chromium")), chromedp.UserDataDir(t.TempDir()),
		chromedp.NoSandbox, // as root it cannot have one
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND , EXCLUDE 127.*, EXCLUDE localhost"),
		chromedp.Flag("force-color-profile", "srgb"),
		chromedp.Flag("hide-scrollbars", true),
	)
	ctx, end := chromedp.NewExecAllocator(context.Background(), opts...)
	t.Cleanup(end)
	b := &browser{t: t}
	b.ctx, end = chromedp.NewContext(ctx, chromedp.WithListener(b.note))
	t.Cleanup(func() { _ = chromedp.Cancel(b.ctx); end() })
	call(b, runtime.Enable, cdp.Empty{})
	call(b, log.Enable, cdp.Empty{})
	call(b, cdpnetwork.Enable, cdpnetwork.EnableParams{})
	return b
}

// note keeps what goes wrong in the page.
func (b *browser) note(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		b.faults = append(b.faults, e.ExceptionDetails.Text)
		if x := e.ExceptionDetails.Exception; x != nil {
			b.faults = append(b.faults, x.Description)
		}
	case *log.EventEntryAdded:
		if e.Entry.Source == log.EntrySourceSecurity || e.Entry.Source == log.EntrySourceViolation {
			b.faults = append(b.faults, e.Entry.Text)
		}
	case *cdpnetwork.EventRequestWillBeSent:
		b.asked = append(b.asked, e.Request.URL)
	}
}

// healthy fails the test if the page's script had errors, its policy refused
// something, or it asked another host.
func (b *browser) healthy(url string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.faults) > 0 {
		b.t.Errorf("the page failed: %s", strings.Join(b.faults, "; "))
	}
	if len(b.asked) == 0 {
		b.t.Error("no request was noted")
	}
	for _, u := range b.asked {
		if !strings.HasPrefix(u, url) && !strings.HasPrefix(u, "data:") {
			b.t.Errorf("the page asked for %s", u)
		}
	}
}

// call sends one command of the protocol.
func call[P, R any](b *browser, c cdp.Command[P, R], params P) R {
	b.t.Helper()
	r, err := chromedp.Call(b.ctx, c, params)
	if err != nil {
		b.t.Fatalf("%s: %v", c.Method, err)
	}
	return r
}

// value is what an expression gives in the page.
func value[T any](b *browser, js string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](js))
	if err != nil {
		b.t.Fatalf("%s: %v", js, err)
	}
	return v
}

// do runs a statement in the page.
func (b *browser) do(js string) {
	b.t.Helper()
	value[bool](b, "("+js+", true)")
}

// open loads the page and waits until it shows a network.
func (b *browser) open(url string) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, chromedp.Navigate(url)); err != nil {
		b.t.Fatal(err)
	}
	b.until(20*time.Second, "the page shows members", `document.querySelectorAll('.member').length > 0`)
}

// until waits for an expression of the page to be true.
func (b *browser) until(within time.Duration, what, js string) {
	b.t.Helper()
	for began := time.Now(); !value[bool](b, "!!("+js+")"); <-time.After(20 * time.Millisecond) {
		if time.Since(began) > within {
			b.t.Fatalf("not within %s: %s; the page says:\n%s", within, what, value[string](b, `document.body.innerText.slice(0, 3000)`))
		}
	}
}

// press sends keys to the page.
func (b *browser) press(keys string) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, chromedp.KeyEvent(keys)); err != nil {
		b.t.Fatal(err)
	}
}

// sized makes the window so big, and the system light or dark.
func (b *browser) sized(width, height int64, dark bool) {
	b.t.Helper()
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	call(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: height, DeviceScaleFactor: 1, Mobile: width < 600})
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
}

// picture writes what the window shows, in 256 colours, so that it is small.
func (b *browser) picture(file string) {
	b.t.Helper()
	shot := call(b, page.CaptureScreenshot, page.CaptureScreenshotParams{})
	img, err := png.Decode(bytes.NewReader(shot.Data))
	if err != nil {
		b.t.Fatal(err)
	}
	var out bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, fewColours(img)); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(file, out.Bytes(), 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// fewColours is img in its 256 most frequent colours.
func fewColours(img image.Image) *image.Paletted {
	size := img.Bounds()
	often := make(map[color.RGBA]int)
	at := func(x, y int) color.RGBA { return color.RGBAModel.Convert(img.At(x, y)).(color.RGBA) }
	for y := size.Min.Y; y < size.Max.Y; y++ {
		for x := size.Min.X; x < size.Max.X; x++ {
			often[at(x, y)]++
		}
	}
	var palette color.Palette
	for _, c := range slices.SortedFunc(maps.Keys(often), func(a, b color.RGBA) int { return often[b] - often[a] })[:min(256, len(often))] {
		palette = append(palette, c)
	}
	out := image.NewPaletted(size, palette)
	known := make(map[color.RGBA]uint8)
	for y := size.Min.Y; y < size.Max.Y; y++ {
		for x := size.Min.X; x < size.Max.X; x++ {
			c := at(x, y)
			i, ok := known[c]
			if !ok {
				i = uint8(palette.Index(c))
				known[c] = i
			}
			out.SetColorIndex(x, y, i)
		}
	}
	return out
}
