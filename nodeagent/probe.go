package nodeagent

import (
	"slices"

	"thor/nodeagent/sipprobe"
	"thor/overlay/check"
)

// A prober asks a service in one way.
type prober interface {
	check.Prober
	// Name says what is asked of which service, to stand before a fault.
	Name() string
}

// prober makes what asks the question of c.
func (c *CheckConfig) prober() (prober, error) {
	switch c.Kind {
	case SIP, Register, Call:
		return c.sipProber()
	case RTPEngine:
		return newRTPEngineProbe(c), nil
	case Kamailio, OpenSIPS:
		return newProxyProbe(c)
	case Asterisk:
		return newAsteriskProbe(c)
	case TCP:
		return &tcpProbe{target: c.Target}, nil
	case HTTP:
		return newHTTPProbe(c)
	}
	return &commandProbe{argv: slices.Clone(c.Command), weigh: c.Weigh}, nil
}

func (c *CheckConfig) sipProber() (p prober, err error) {
	s := sipprobe.Config{
		Transport: c.Transport, Target: c.Target, TLS: c.tlsConfig(hostOf(c.Target)),
		Account: c.Account, AuthUser: c.AuthUser, PasswordFile: c.PasswordFile, Callee: c.Callee,
	}
	if c.namesCodes() {
		s.Accepts = c.accepts
	}
	switch c.Kind {
	case Register:
		p, err = sipprobe.NewRegister(s)
	case Call:
		p, err = sipprobe.NewCall(s)
	default:
		p, err = sipprobe.NewOptions(s)
	}
	return p, err
}
