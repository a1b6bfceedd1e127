// Package oserror recognises what operating systems say in numbers of their own,
// and what Go's names for Unix's numbers do not match elsewhere.
package oserror

import "errors"

// is reports that err has one of the numbers.
func is(err error, numbers ...error) bool {
	for _, n := range numbers {
		if errors.Is(err, n) {
			return true
		}
	}
	return false
}
