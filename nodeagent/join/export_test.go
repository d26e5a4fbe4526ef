package join

// ErrEnded is what a line to a program that is gone meets.
var ErrEnded = errEnded

// Tells returns how each program that takes commands is told something, as Command does
// it: it goes on with them while they may leave.
func (s *Service) Tells() (out []func(line any) error) {
	for _, c := range s.commands.all() {
		out = append(out, c.out.say)
	}
	return out
}

// MaxWatchers is how many connections may follow the members without joining.
const MaxWatchers = maxWatchers

// StatusOf is the status of a refusal.
func StatusOf(err error) int { return statusOf(err) }
