package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"thor/cmd/thor/internal/galeranode"
	"thor/cmd/thor/internal/sipresponder"
	"thor/cmd/thor/internal/up"
)

func newUp() *cobra.Command {
	var o up.Options
	c := &cobra.Command{
		Use: "up", Short: "Run a whole network on this machine, to try and to test",
		Long: "Run a whole network on this machine: three brokers, three managers, two name servers, a web view, some nodes,\n" +
			"certificates included. Each is a process of its own with a directory of its own. Ctrl-C ends all of it.",
		Example: "  thor up\n  thor up --nodes 5 --dns 127.0.0.1:5454\n  thor up stop node2; thor up start node2",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.Check(); err != nil {
				return usageError{err}
			}
			bin, err := os.Executable()
			if err != nil {
				return err
			}
			o.Binary = bin
			o.Say = func(format string, args ...any) { fmt.Fprintf(cmd.ErrOrStderr(), format+"\n", args...) }
			began := time.Now()
			ctx, stop := endWithTerminal(cmd.Context())
			defer stop()
			return up.Run(ctx, o, func(n *up.Network) {
				fmt.Fprint(cmd.OutOrStdout(), greeting(called(os.Args[0]), o, n, time.Since(began)))
			})
		},
	}
	f := c.Flags()
	c.PersistentFlags().StringVar(&o.Dir, "dir", up.DefaultDir(), "`directory` of the network (THOR_DIR)")
	f.StringVar(&o.Domain, "domain", "thor.test", "`domain` of the network")
	f.IntVar(&o.Nodes, "nodes", 3, "`number` of nodes with a SIP proxy, 1 to 100")
	f.StringVar(&o.DNS, "dns", "127.0.0.1:5354", "`host:port` of the first name server; the second has the next port")
	f.StringVar(&o.Loopback, "loopback", "127.83", "first two bytes of the `addresses` to use")
	f.StringSliceVar(&o.Sites, "sites", nil, "`list` of sites, such as ams,fra,lon, over which the processes are spread")
	f.BoolVar(&o.Damping, "damping", true, "hold back members that flap (off for measurements)")
	f.BoolVar(&o.PowerDNS, "powerdns", false, "run a PowerDNS beside each name server, at the two ports after theirs, with a database that the name servers keep")
	f.BoolVar(&o.Galera, "galera", false, "run three MariaDB that are one Galera cluster, each with a database locator, instead of one MariaDB")
	f.DurationVar(&o.RestartAfter, "restart-after", 3*time.Second, "when to start a child again that died; 0 is never")
	c.AddCommand(newUpControl("stop", "End processes of a running thor up", &o.Dir), newUpControl("start", "Start processes of a running thor up", &o.Dir))
	return c
}

// endWithTerminal makes the loss of the terminal an orderly end, and the loss of
// the reader of the output none: to die of them would leave processes behind.
// Under nohup the network outlives its terminal.
func endWithTerminal(ctx context.Context) (context.Context, context.CancelFunc) {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // a write without a reader is an error only
	if signal.Ignored(syscall.SIGHUP) {
		return context.WithCancel(ctx)
	}
	return signal.NotifyContext(ctx, syscall.SIGHUP)
}

// called is how a shell calls the program of that name again.
func called(name string) string {
	if strings.ContainsFunc(name, func(r rune) bool { return !strings.ContainsRune(plainInShell, r) }) {
		return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
	}
	return name
}

// plainInShell are characters that a shell takes as they are.
const plainInShell = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+=:,@%"

// greeting is what an operator tries next, with the program as it was called.
func greeting(program string, o up.Options, n *up.Network, took time.Duration) string {
	flag := ""
	if o.Dir != up.DefaultDir() {
		flag = " --dir " + called(o.Dir)
	}
	host, port, _ := net.SplitHostPort(n.DNS[0]) // checked by up
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
	fmt.Fprintf(w, "  %s monitor%s\twatch the network\n", program, flag)
	fmt.Fprintf(w, "  %s\tand in the browser\n", n.Web)
	fmt.Fprintf(w, "  dig @%s -p %s _sip._udp.%s SRV\task a name server\n", host, port, n.Domain)
	if len(n.PowerDNS) > 0 {
		host, port, _ := net.SplitHostPort(n.PowerDNS[0])
		fmt.Fprintf(w, "  dig @%s -p %s _sip._udp.%s SRV\task the PowerDNS beside it\n", host, port, n.Domain)
	}
	fmt.Fprintf(w, "  %s drain node2%s ; %[1]s resume node2%[2]s\tmaintenance\n", program, flag)
	if len(o.Sites) > 0 {
		fmt.Fprintf(w, "  %s drain --site %s%s ; %[1]s resume --site %[2]s%[3]s\tmaintenance of a site\n", program, o.Sites[0], flag)
	}
	fmt.Fprintf(w, "  %s doctor%s\tis all well?\n", program, flag)
	_ = w.Flush() // a strings.Builder takes everything
	return fmt.Sprintf("ready after %.1f s\n\n%s\nKill any process that %s/%s lists, and watch.\n%s\nCtrl-C ends the network.\n",
		took.Seconds(), b.String(), o.Dir, up.NetworkFile, greetSOAP(n))
}

// greetSOAP is what a SOAP client needs, if there is a provisioning server.
func greetSOAP(n *up.Network) string {
	if n.SOAP == nil {
		return ""
	}
	return fmt.Sprintf("What SOAP clients can do, as user %s with the password in %s:\n  curl --cacert %s %swsdl\n",
		n.SOAP.User, n.SOAP.PasswordFile, n.Operator.CA, n.SOAP.URL)
}

func newUpControl(verb, short string, dir *string) *cobra.Command {
	c := &cobra.Command{
		Use: verb + " NAME…", Short: short, Example: "  thor up " + verb + " node2", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), 30*time.Second)
			defer cancel()
			done, err := up.Control(ctx, *dir, verb, args)
			for _, line := range done {
				fmt.Fprintln(cmd.OutOrStdout(), line)
			}
			return err
		},
	}
	c.ValidArgsFunction = func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		return processNames(*dir, args), noFiles
	}
	return c
}

func newGaleraNode() *cobra.Command {
	var n galeranode.Node
	c := &cobra.Command{
		Use: "galera-node", Short: "Become a node of the Galera cluster of thor up", Hidden: true,
		Example: "  thor galera-node --server /usr/sbin/mariadbd --dir DIR", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return n.Exec(cmd.Context()) },
	}
	c.Flags().StringVar(&n.Server, "server", "/usr/sbin/mariadbd", "`program` to become")
	c.Flags().StringVar(&n.Dir, "dir", "", "`directory` with my.cnf and data")
	return c
}

func newSIPResponder() *cobra.Command {
	var listen string
	c := &cobra.Command{
		Use: "sip-responder", Short: "Answer SIP OPTIONS, where no SIP server is installed", Hidden: true,
		Example: "  thor sip-responder --listen 127.0.0.1:5060", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return sipresponder.Run(cmd.Context(), listen) },
	}
	c.Flags().StringVar(&listen, "listen", "127.0.0.1:5060", "`host:port`, UDP and TCP")
	return c
}
