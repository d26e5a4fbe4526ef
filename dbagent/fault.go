package dbagent

import (
	"errors"

	"thor/dbagent/location/driver"
	"thor/overlay/check"
)

// explain finds the fault in an error of the driver.
func explain(err error) *check.Fault {
	var f *check.Fault
	if errors.As(err, &f) {
		return f
	}
	if text := driver.FaultText(err); text != "" {
		return &check.Fault{Text: text, Cause: err}
	}
	return check.Explain(err)
}

const passwordText = "the password cannot be read"
