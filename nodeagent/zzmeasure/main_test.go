package zzmeasure
import (
	"context"; "os"; "os/exec"; "strings"; "testing"; "time"; "fmt"; "syscall"
	"thor/broker/brokertest"; "thor/identity"; "thor/nodeagent"; "thor/nodeagent/sipresponder"; "thor/overlay"; "thor/subjects"
)
func TestMeasure(t *testing.T) {
	if os.Getenv("AGENT") != "" { t.Skip() }
	net := brokertest.Start(t)
	f := net.Files("node1", "sip_proxy", "media_relay", "voicemail_server")
	r, _ := sipresponder.New("127.0.91.9:25999")
	ctx, cancel := context.WithCancel(context.Background()); defer cancel()
	go r.Run(ctx)
	<-r.Ready()
	c := exec.Command(os.Getenv("BIN"), f.Cert, f.Key, f.CA, net.URLs()[0], t.TempDir())
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	if err := c.Run(); err != nil { t.Fatal(err) }
}
var _ = fmt.Sprint; var _ = strings.Cut; var _ = time.Now; var _ = syscall.Kill; var _ identity.Files; var _ nodeagent.Kind; var _ overlay.Config; var _ subjects.Role
