package config

import "thor/monitor/web"

// Web configures the web view.
type Web struct {
	web.Config
	// Address of metrics and health.
	HTTP string `toml:"http" form:"listen" default:"127.0.0.1:9508" off:"yes"`
}
