package main
import (
	"context"; "fmt"; "os"; "strings"; "syscall"; "time"
	"thor/identity"; "thor/nodeagent"; "thor/overlay"
)
func main() {
	a := os.Args[1:]
	creds, err := identity.Load(identity.Files{Cert: a[0], Key: a[1], CA: a[2]}); if err != nil { panic(err) }
	on, err := overlay.New(overlay.Config{Credentials: creds, Brokers: a[3:4], StateDir: a[4]}); if err != nil { panic(err) }
	tgt := "127.0.91.9:25999"
	ag, err := nodeagent.New(nodeagent.Config{Overlay: on, Roles: []nodeagent.RoleConfig{
		{Role: "sip_proxy", Checks: []nodeagent.CheckConfig{{Kind: "sip", Target: tgt}, {Kind: "sip", Transport: "tcp", Target: tgt}}},
		{Role: "media_relay", Checks: []nodeagent.CheckConfig{{Kind: "tcp", Target: tgt}}},
		{Role: "voicemail_server", Checks: []nodeagent.CheckConfig{{Kind: "sip", Target: tgt}}},
	}}); if err != nil { panic(err) }
	ctx, cancel := context.WithCancel(context.Background()); defer cancel()
	go on.Run(ctx); go ag.Run(ctx)
	<-ag.Ready()
	time.Sleep(5*time.Second)
	var r0, r1 syscall.Rusage
	syscall.Getrusage(0, &r0); t0 := time.Now()
	time.Sleep(60*time.Second)
	syscall.Getrusage(0, &r1)
	cpu := time.Duration(r1.Utime.Nano()+r1.Stime.Nano()-r0.Utime.Nano()-r0.Stime.Nano())
	b, _ := os.ReadFile("/proc/self/status")
	for _, l := range strings.Split(string(b), "\n") { if strings.HasPrefix(l, "VmRSS") || strings.HasPrefix(l, "VmHWM") || strings.HasPrefix(l, "RssAnon") { fmt.Println(l) } }
	fmt.Printf("cpu %v in %v = %.3f %%  status %v\n", cpu, time.Since(t0), 100*float64(cpu)/float64(time.Since(t0)), ag.Status())
	if len(a) > 5 { select {} }
}
