package powerdns

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"thor/subjects"
)

const controlTimeout = 2 * time.Second

// control sends one command to the control socket of a PowerDNS, as pdns_control
// does, and returns the answer.
func control(ctx context.Context, socket, command string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, controlTimeout)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }() // all was read
	if d, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(d)
	}
	if _, err := io.WriteString(c, command+"\n"); err != nil {
		return "", err
	}
	b, err := io.ReadAll(io.LimitReader(c, 4096))
	if err != nil {
		return "", err
	}
	answer := strings.TrimSpace(string(b))
	if answer == "" {
		return "", errors.New("it answers nothing")
	}
	if strings.HasPrefix(answer, "Unknown command") {
		return "", fmt.Errorf("it answers %s", subjects.Printable(answer, 100))
	}
	return answer, nil
}
