package soap

// The limits that tests go to.
const (
	MaxDepth    = maxDepth
	MaxAttrs    = maxAttrs
	MaxElements = maxElements
	MaxText     = maxText
)
