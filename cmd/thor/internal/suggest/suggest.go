// Package suggest finds the name that was probably meant.
package suggest

// slips is how many letters may be wrong, missing or too many.
const slips = 2

// Nearest is the known name that is nearest to word, empty if none is near
// enough, or if word is one of them.
func Nearest(word string, known []string) (name string) {
	best := slips + 1
	for _, k := range known {
		if d := distance(word, k); d < best {
			name, best = k, d
		}
	}
	if best == 0 {
		return ""
	}
	return name
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diag
			if a[i] != b[j] {
				cost++
			}
			diag = row[j+1]
			row[j+1] = min(cost, row[j]+1, diag+1)
		}
	}
	return row[len(b)]
}
