package work

import (
	"context"
	"fmt"

	"thor/nodeagent/ng"
	"thor/overlay/check"
	"thor/subjects"
)

// RTPEngine counts the sessions of the rtpengine whose ng protocol listens on target:
// those that it has, and those that it keeps for another one.
func RTPEngine(target string) Counter {
	return Counter{What: subjects.Sessions, Count: func(ctx context.Context) (int, error) {
		c := ng.New(target)
		defer c.Close()
		s, err := c.Statistics(ctx)
		if err != nil {
			return 0, fmt.Errorf("rtpengine: %s", check.Explain(err).Text)
		}
		return s.Sessions, nil
	}}
}
